//! The embeds of a real web log, on every platform.

#[path = "../../examples/embeds/job.rs"]
mod job;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use job::{Request, Shown, TopImages, embeds};
use sanderling::prelude::*;

use crate::{data, digest, reference};

type Images = BTreeMap<(String, BatchId), Shown>;
type Top = BTreeMap<BatchId, TopImages>;

fn requests() -> Vec<(Timestamp, Request)> {
    let file = std::fs::File::open(data().join("semicomplete-access-2015-05-17_20.log.gz")).unwrap();
    let lines = BufReader::new(MultiGzDecoder::new(file)).lines();
    lines.filter_map(|line| Request::parse(&line.unwrap())).collect()
}

fn hours() -> Batcher {
    Batcher::every(Duration::from_secs(3600)).unwrap()
}

fn on_memory(requests: Vec<(Timestamp, Request)>) -> (Images, Top) {
    let (images, top) = Default::default();
    let (images, top): (
        <Memory as Platform>::Store<_, _>,
        <Memory as Platform>::Store<_, _>,
    ) = (images, top);
    Memory::run(&embeds::<Memory>(
        &Producer::source(requests),
        &hours(),
        images.clone(),
        top.clone(),
    ));
    (images.lock().unwrap().clone(), top.lock().unwrap().clone())
}

fn on_local(requests: Vec<(Timestamp, Request)>, epoch_bytes_max: usize) -> (Images, Top) {
    let (images, top) = (MemoryStore::new(), MemoryStore::new());
    let source: Arc<dyn Source<Request>> = Arc::new(VecSource::new(requests));
    let job = embeds::<Local>(
        &Producer::source(source),
        &hours(),
        Arc::new(images.clone()) as Arc<dyn Store<_, _>>,
        Arc::new(top.clone()) as Arc<dyn Store<_, _>>,
    );
    let options = JobOptions {
        epoch_bytes_max,
        ..JobOptions::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        Local::run("embeds", &job, options).unwrap().join().await.unwrap();
        let images = images.scan(None, usize::MAX).await.unwrap();
        let top = top.scan(None, usize::MAX).await.unwrap();
        (images.into_iter().collect(), top.into_iter().collect())
    })
}

#[test]
fn image_embeds() {
    let reference = reference("weblog");
    let requests = requests();
    assert_eq!(requests.len(), reference["scalars"]["parsed"]);

    let (images, top) = on_memory(requests.clone());
    let hour = |batch: &BatchId| {
        let start = jiff::Timestamp::from_millisecond(hours().start_of(*batch).0).unwrap();
        start.to_string()[..13].to_owned()
    };
    let by_hour_path = images
        .iter()
        .map(|((path, batch), shown)| (format!("{}\t{path}", hour(batch)), shown.times.to_string()));
    let expected = &reference["maps"]["image_embeds_by_hour_path"]["sha256"];
    assert_eq!(digest(by_hour_path.collect()), *expected);

    let mut by_site = BTreeMap::<&str, u64>::new();
    for shown in images.values() {
        shown
            .sites
            .iter()
            .for_each(|(site, times)| *by_site.entry(site).or_default() += times);
        assert_eq!(shown.distinct_sites.estimate().round(), shown.sites.len() as f64);
    }
    let by_site = by_site
        .into_iter()
        .map(|(site, times)| (site.to_owned(), times.to_string()));
    let expected = &reference["maps"]["image_embeds_by_host"]["sha256"];
    assert_eq!(digest(by_site.collect()), *expected);

    // At most twenty images can be a twentieth each, and those that are, are found with their true counts: an hour has
    // few embeds, so no two share all four cells.
    for (batch, sketch) in &top {
        let exact: BTreeMap<&str, u64> = images
            .iter()
            .filter(|((_, of), _)| of == batch)
            .map(|((path, _), shown)| (path.as_str(), shown.times))
            .collect();
        let total: u64 = exact.values().sum();
        let found: BTreeMap<String, u64> = sketch.heavy().into_iter().collect();
        for (path, times) in exact.iter().filter(|(_, times)| **times * 20 >= total) {
            assert_eq!(found.get(*path), Some(times), "{path}");
        }
    }

    for epoch_bytes_max in [1 << 10, 1 << 16, 1 << 30] {
        assert_eq!(
            on_local(requests.clone(), epoch_bytes_max),
            (images.clone(), top.clone())
        );
    }
}
