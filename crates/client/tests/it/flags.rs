//! Flags: where events go, and where the flags come from.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array};
use arrow::record_batch::RecordBatch;
use client::{
    BatchFiles, Client, ClientOptions, Dataset, DatasetOptions, DatasetStats, ErrorKind, FlagSource,
    Validation, ValidationSchema,
};
use event::flags::{Flags, Mode, Share};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use crate::emit::{all, numbers, options, queue};
use crate::server::{Service, batches, serve};

fn text(flags: &str) -> Vec<FlagSource> {
    vec![FlagSource::Text(flags.to_owned())]
}

/// The complete files under a folder by their path in it, and the `n` of each of their lines.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u64>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "ndjson") {
                let text = fs::read_to_string(&path).unwrap();
                let n = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["n"].as_u64();
                let lines = text.lines().map(|line| n(line).unwrap()).collect();
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), lines);
            }
        }
    }
    found
}

fn in_files(folder: &Path) -> Vec<u64> {
    let mut numbers: Vec<u64> = files(folder).into_values().flatten().collect();
    numbers.sort_unstable();
    numbers
}

fn emit(dataset: &Dataset, from: u64, to: u64) {
    for n in from..to {
        dataset.emit(&json!({ "n": n })).unwrap();
    }
}

async fn until(dataset: &Dataset, is_so: impl Fn(&DatasetStats) -> bool) {
    while !is_so(&dataset.stats()) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_go_into_a_file_an_hour() {
    let (queue, folder) = (queue(), tempfile::tempdir().unwrap());
    let server = serve(Service::new(Arc::clone(&queue)));
    let now = Arc::new(AtomicI64::new(1_700_000_000));
    let clock = Arc::clone(&now);
    let client = Client::connect(ClientOptions {
        flags: text("default.mode = \"batch\""),
        batch_files: Some(BatchFiles {
            bytes_max: 300,
            ..BatchFiles::new(folder.path())
        }),
        batch_bytes: 64,
        clock: Arc::new(move || Timestamp::from_second(clock.load(Ordering::SeqCst)).unwrap()),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 10);
    client.flush().await.unwrap();
    assert!(files(folder.path()).is_empty(), "the hour is not over");
    now.fetch_add(3600, Ordering::SeqCst);
    let rows: ArrayRef = Arc::new(Int64Array::from(vec![10, 11]));
    dataset
        .emit_rows(&RecordBatch::try_from_iter([("n", rows)]).unwrap())
        .unwrap();
    client.flush().await.unwrap();
    let id = client.emitter().0;
    let first = PathBuf::from(format!("orders/2023/11/14/22/{id}-0.ndjson"));
    assert_eq!(files(folder.path()), BTreeMap::from([(first, all(10))]));
    emit(&dataset, 12, 100);
    let waiting = dataset.emit_acked(&json!({ "n": 100 })).unwrap();
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::NotSent);
    client.close().await.unwrap();
    let found = files(folder.path());
    let hours: Vec<_> = found.keys().map(|path| path.parent().unwrap()).collect();
    assert_eq!(hours[1], Path::new("orders/2023/11/14/23"));
    assert!(found.len() > 3, "full files are followed by others: {found:?}");
    assert_eq!(in_files(folder.path()), all(101));
    let stats = dataset.stats();
    assert_eq!((stats.emitted, stats.filed, stats.acked), (101, 101, 0));
    assert_eq!(
        (stats.mode, stats.buffered_bytes, stats.queued_batches),
        (Mode::Batch, 0, 0)
    );
    assert!(batches(&*queue, "orders").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_its_name_when_its_hour_is_over_though_nothing_follows() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(Service::new(queue()));
    // A clock whose hour is over in a second.
    let ahead = 3599 - Timestamp::now().as_second().rem_euclid(3600);
    let client = Client::connect(ClientOptions {
        flags: text("default.mode = \"batch\""),
        batch_files: Some(BatchFiles::new(folder.path())),
        clock: Arc::new(move || Timestamp::now() + Duration::from_secs(ahead as u64)),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 3);
    client.flush().await.unwrap();
    while files(folder.path()).is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(in_files(folder.path()), all(3));
}

/// The events that a share takes, naively.
fn taken(share: f64, count: u64) -> Vec<u64> {
    let share = Share::new(share).unwrap();
    let is_taken = |n: &u64| share.takes(json!({ "n": n }).to_string().as_bytes());
    all(count).into_iter().filter(is_taken).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Whatever the mode and the share: files and server hold what they are to, and all is accounted for.
    #[test]
    fn each_event_is_where_the_flags_say(mode in 0usize..5, share in 0.0..=1.0, count in 1u64..400) {
        let mode = ["off", "batch", "stream", "both", "shadow"][mode];
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (queue, folder) = (queue(), tempfile::tempdir().unwrap());
            let server = serve(Service::new(Arc::clone(&queue)));
            let flags = json!({ "datasets": { "orders": {
                "mode": mode, "sample": { "of": "events", "share": share },
            }}});
            let client = Client::connect(ClientOptions {
                flags: text(&flags.to_string()),
                batch_files: Some(BatchFiles::new(folder.path())),
                batch_bytes: 256,
                ..options(&server)
            }).unwrap();
            let dataset = client.dataset("orders").unwrap();
            emit(&dataset, 0, count);
            client.close().await.unwrap();
            let streamed = numbers(&batches(&*queue, "orders").await);
            let shadowed = numbers(&batches(&*queue, "orders_shadow").await);
            let sample = taken(share, count);
            let has_files = matches!(mode, "batch" | "both" | "shadow");
            prop_assert_eq!(in_files(folder.path()), if has_files { all(count) } else { vec![] });
            prop_assert_eq!(&streamed, if matches!(mode, "stream" | "both") { &sample[..] } else { &[] });
            prop_assert_eq!(&shadowed, if mode == "shadow" { &sample[..] } else { &[] });
            let (stats, left) = (dataset.stats(), count - sample.len() as u64);
            let dropped = (stats.dropped.off, stats.dropped.sampled);
            prop_assert_eq!(dropped, (if mode == "off" { count } else { 0 }, if mode == "stream" { left } else { 0 }));
            prop_assert_eq!((stats.emitted, stats.share, stats.buffered_bytes), (count, share, 0));
            Ok(())
        })?;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_nobody_s_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(Service::new(queue()));
    let options = ClientOptions {
        flags: text("default.mode = \"shadow\""),
        batch_files: Some(BatchFiles::new(folder.path())),
        ..options(&server)
    };
    drop(server);
    let client = Client::connect(options).unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 100);
    client.close().await.unwrap();
    assert_eq!(in_files(folder.path()), all(100));
    let stats = client.dataset_stats();
    let of = |name: &str| &stats[&name.parse().unwrap()];
    assert_eq!(of("orders").dropped.total(), 0);
    assert_eq!(of("orders_shadow").dropped.best_effort, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_go_into_files_as_lines_and_to_the_server_as_rows() {
    for (mode, dataset) in [("both", "orders"), ("shadow", "orders_shadow")] {
        let (queue, folder) = (queue(), tempfile::tempdir().unwrap());
        let server = serve(Service::new(Arc::clone(&queue)));
        let client = Client::connect(ClientOptions {
            flags: text(&format!("default.mode = \"{mode}\"")),
            batch_files: Some(BatchFiles::new(folder.path())),
            ..options(&server)
        })
        .unwrap();
        let orders = client.dataset("orders").unwrap();
        let n: ArrayRef = Arc::new(Int64Array::from_iter_values(0..50));
        let rows = RecordBatch::try_from_iter([("n", n)]).unwrap();
        orders.emit_rows_wait(&rows).await.unwrap();
        orders.emit_rows(&rows.slice(0, 0)).unwrap();
        client.close().await.unwrap();
        assert_eq!(in_files(folder.path()), all(50));
        let kept = batches(&*queue, dataset).await;
        let seen: Vec<_> = kept
            .iter()
            .map(|batch| (batch.header.encoding, batch.header.events))
            .collect();
        assert_eq!(seen, [(event::Encoding::ArrowIpc, 50)]);
        assert_eq!((orders.stats().emitted, client.stats().buffered_bytes), (50, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_flags_applies_without_a_restart_and_a_bad_one_changes_nothing() {
    let (queue, folder) = (queue(), tempfile::tempdir().unwrap());
    let server = serve(Service::new(Arc::clone(&queue)));
    let path = folder.path().join("flags.toml");
    fs::write(&path, "datasets.orders.mode = \"off\"").unwrap();
    let client = Client::connect(ClientOptions {
        flags: vec![FlagSource::File(path.clone())],
        flags_every: Duration::from_millis(2),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let off = dataset.emit_acked(&json!({ "n": 0 })).unwrap().await.unwrap_err();
    assert_eq!((off.kind(), dataset.stats().dropped.off), (ErrorKind::NotSent, 1));
    fs::write(&path, "later = 1\n[datasets.orders]\nmode = \"stream\"").unwrap();
    until(&dataset, |stats| {
        stats.mode == Mode::Stream && stats.flags_error.is_some()
    })
    .await;
    assert!(dataset.stats().flags_error.unwrap().contains("key=later"));
    emit(&dataset, 1, 2);
    fs::write(&path, "datasets.orders.mode = \"fast\"").unwrap();
    let is_told = |stats: &DatasetStats| {
        stats
            .flags_error
            .as_ref()
            .is_some_and(|error| error.contains("fast"))
    };
    until(&dataset, is_told).await;
    assert_eq!(dataset.stats().mode, Mode::Stream);
    // Without a folder for files there are none, and nothing is lost.
    fs::write(&path, "default = { mode = \"batch\", sample = { share = 0 } }").unwrap();
    let is_told = |stats: &DatasetStats| {
        stats
            .flags_error
            .as_ref()
            .is_some_and(|error| error.contains("batch_files"))
    };
    until(&dataset, is_told).await;
    emit(&dataset, 2, 3);
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), [1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_s_flags_come_first_then_those_of_the_file_then_the_last_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flags.json");
    fs::write(&path, r#"{"default": {"mode": "off"}}"#).unwrap();
    let flags = |text: &str| Some(Flags::parse(text).unwrap().0);
    let service = Service::new(queue());
    let served = Arc::clone(&service.flags);
    *served.lock().unwrap() = flags("default.validate = false");
    let server = serve(service);
    let client = Client::connect(ClientOptions {
        flags: vec![FlagSource::Server, FlagSource::File(path.clone())],
        flags_every: Duration::from_millis(2),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let etag = |text: &str| flags(text).map(|flags| flags.etag());
    let of_server = etag("default.validate = false");
    until(&dataset, |stats| stats.flags_etag == of_server).await;
    assert_eq!(
        (dataset.stats().mode, dataset.stats().flags_error),
        (Mode::Stream, None)
    );
    *served.lock().unwrap() = None;
    until(&dataset, |stats| stats.mode == Mode::Off).await;
    assert!(dataset.stats().flags_error.unwrap().contains("server"));
    fs::remove_file(&path).unwrap();
    let is_told = |stats: &DatasetStats| {
        stats
            .flags_error
            .as_ref()
            .is_some_and(|error| error.contains("file="))
    };
    until(&dataset, is_told).await;
    assert_eq!(dataset.stats().mode, Mode::Off);
    *served.lock().unwrap() = flags("default.sample.share = 0.5");
    until(&dataset, |stats| {
        stats.share == 0.5 && stats.flags_error.is_none()
    })
    .await;
    drop(server);
    until(&dataset, |stats| stats.flags_error.is_some()).await;
    assert_eq!((dataset.stats().mode, dataset.stats().share), (Mode::Stream, 0.5));
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_can_be_switched_off() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other = RecordBatch::try_from_iter([("other", Arc::clone(&n))]).unwrap();
    let unlike = DatasetOptions {
        validation: Some(Validation {
            schema: ValidationSchema::Columns(other.schema(), event::UnknownFields::Reject),
            ..Validation::new(other.schema())
        }),
        ..DatasetOptions::default()
    };
    let client = Client::connect(ClientOptions {
        flags: text("datasets.open.validate = false"),
        ..options(&server)
    })
    .unwrap();
    let closed = client.dataset_with("closed", unlike.clone()).await.unwrap();
    assert_eq!(
        closed.emit(&json!({ "n": 0 })).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let open = client.dataset_with("open", unlike).await.unwrap();
    emit(&open, 0, 3);
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "open").await), all(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let in_the_way = folder.path().join("orders");
    fs::write(&in_the_way, "not a folder").unwrap();
    let server = serve(Service::new(queue()));
    let client = Client::connect(ClientOptions {
        flags: text("default.mode = \"batch\""),
        batch_files: Some(BatchFiles::new(folder.path())),
        retry_max: Duration::from_millis(5),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 5);
    until(&dataset, |stats| stats.file_errors > 1).await;
    let stats = dataset.stats();
    assert_eq!((stats.filed, stats.queued_batches), (0, 1));
    assert!(stats.last_error.unwrap().contains("file cannot be written"));
    fs::remove_file(&in_the_way).unwrap();
    client.close().await.unwrap();
    assert_eq!(in_files(folder.path()), all(5));
}
