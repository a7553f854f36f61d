//! The talk's second program: which images do other sites embed, by hour, from a web log in the combined format.
//!
//! ```sh
//! cargo run --release --example embeds -- --source 'text:access-*.log.gz' --malformed skip --print 3
//! cargo run --release --example embeds -- --platform batch --batch 1d --source 'text:access-*.log.gz' --store file:./embeds
//! ```

mod line;

use std::collections::BTreeMap;

use sanderling::algebra::sketch::{HeavyHitters, HyperLogLog, Sketch};
use sanderling::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use line::{Line, Request};

/// Where an image was shown in one hour.
#[derive(Clone, Debug, PartialEq, Semigroup, Serialize, Deserialize)]
#[algebra(crate = sanderling::algebra)]
struct Shown {
    /// How often.
    times: u64,
    /// How often by each site.
    sites: BTreeMap<String, u64>,
    /// About how many sites, in bytes that do not grow with them.
    distinct_sites: HyperLogLog<10>,
    /// Sites with a tenth of the embeds or more, likewise.
    top_sites: HeavyHitters<String, 100_000, 64, 4>,
}

impl Shown {
    fn by(site: String) -> Self {
        Self {
            times: 1,
            distinct_sites: HyperLogLog::of(&site),
            top_sites: HeavyHitters::of(&site),
            sites: BTreeMap::from([(site, 1)]),
        }
    }
}

/// Images with a twentieth of an hour's embeds or more.
type TopImages = HeavyHitters<String, 50_000, 128, 4>;

/// `(image, hour) → where it was shown`, and `hour → the images shown most`.
fn embeds<P: Platform>(
    log: Producer<P, Line>,
    images: P::Store<(String, String), Shown>,
    top: P::Store<String, TopImages>,
) -> impl Tail<P> {
    let embeds = log
        .filter_map(|line| Request::parse(&line.line))
        .filter_map(Request::embed)
        .with_time()
        .map(|(time, (image, site))| ((image, hour(time)), site));
    let by_image = embeds.map_values(Shown::by).sum_by_key(images);
    let by_hour = embeds
        .keys()
        .map(|(image, hour)| (hour, TopImages::of(&image)))
        .sum_by_key(top);
    by_image.also(by_hour)
}

/// `2015-05-17T10`, in UTC.
fn hour(time: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(time.0) {
        Ok(instant) => instant.strftime("%Y-%m-%dT%H").to_string(),
        Err(_) => "no hour".to_owned(),
    }
}

sanderling::job! {
    /// Counts the images of a site that other sites embed, by hour.
    embeds {
        source log: Line, time = |line| Request::parse(&line.line).map(|request| request.time);
        store images: (String, String) => Shown, show = |shown| json!({
            "times": shown.times,
            "sites": shown.sites,
            "distinct_sites": shown.distinct_sites.estimate().round(),
            "top_sites": shown.top_sites.heavy(),
        });
        store top: String => TopImages, show = |top| top.heavy();
    }
}
