//! Which images do other sites embed, by hour: a job over a web log, and how a line becomes a request.

use std::collections::BTreeMap;

use jiff::fmt::strtime;
use sanderling::algebra::sketch::{HeavyHitters, HyperLogLog, Sketch};
use sanderling::prelude::*;

/// One line of the log, of what the job needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    method: String,
    path: String,
    /// The host of the page that asked for it, if it says so.
    referrer: Option<String>,
}

/// An image and where it was shown in one hour.
#[derive(Clone, Debug, PartialEq, Semigroup)]
#[algebra(crate = sanderling::algebra)]
pub(crate) struct Shown {
    /// How often.
    pub(crate) times: u64,
    /// How often by each site.
    pub(crate) sites: BTreeMap<String, u64>,
    /// About how many sites, in bytes that do not grow with them.
    pub(crate) distinct_sites: HyperLogLog<10>,
}

/// Images that make up a twentieth of an hour's embeds.
pub(crate) type TopImages = HeavyHitters<String, 50_000, 128, 4>;

/// `(image, hour) → where it was shown`, and `hour → the images shown most`.
pub(crate) fn embeds<P: Platform>(
    log: &Producer<P, Request>,
    hours: &Batcher,
    images: P::Store<(String, BatchId), Shown>,
    top: P::Store<BatchId, TopImages>,
) -> impl Tail<P> + use<P> {
    let embeds = log.filter_map(Request::embed);
    let by_image = embeds
        .map_values(|site| Shown {
            times: 1,
            distinct_sites: HyperLogLog::of(&site),
            sites: BTreeMap::from([(site, 1)]),
        })
        .batched(hours.clone())
        .sum_by_key(images);
    let hours = hours.clone();
    let by_hour = embeds
        .keys()
        .with_time()
        .map(move |(time, image)| (hours.batch_of(time), TopImages::of(&image)))
        .sum_by_key(top);
    by_image.also(by_hour)
}

impl Request {
    /// The image and the site, if it is one that another site shows.
    fn embed(self) -> Option<(String, String)> {
        let site = self.referrer?;
        let is_image = [".png", ".jpg", ".jpeg", ".gif"]
            .iter()
            .any(|end| self.path.to_ascii_lowercase().ends_with(end));
        let is_own = site == "semicomplete.com" || site == "www.semicomplete.com";
        (self.method == "GET" && is_image && !is_own).then_some((self.path, site))
    }

    /// A line in the combined format of web servers; `None` when it is not.
    pub(crate) fn parse(line: &str) -> Option<(Timestamp, Self)> {
        let (before, rest) = line.split_once('[')?;
        let (time, rest) = rest.split_once("] \"")?;
        let (request, rest) = rest.split_once("\" ")?;
        let (status_and_bytes, rest) = rest.split_once(" \"")?;
        let (referrer, rest) = rest.split_once("\" \"")?;
        let agent = rest.strip_suffix('"')?;
        let (status, bytes) = status_and_bytes.split_once(' ')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_whole = before.split(' ').count() == 4
            && status.len() == 3
            && is_number(status)
            && (bytes == "-" || is_number(bytes))
            && !agent.contains('"');
        if !is_whole {
            return None;
        }
        let time = strtime::parse("%d/%b/%Y:%H:%M:%S %z", time)
            .ok()?
            .to_timestamp()
            .ok()?;
        let mut words = request.split(' ');
        let (method, target) = (words.next()?, words.next().unwrap_or_default());
        let path = target.split('?').next().unwrap_or_default();
        let request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            referrer: host(referrer),
        };
        Some((Timestamp(time.as_millisecond()), request))
    }
}

/// The host of an absolute address, lower case.
fn host(address: &str) -> Option<String> {
    let (_, rest) = address.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?.split(':').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}
