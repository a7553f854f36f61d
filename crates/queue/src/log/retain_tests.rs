//! Retention, consumers and replay by time on disk: what a restart and damage leave of them.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use event::DatasetName;
use jiff::Timestamp;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::laws::{batch, received};
use crate::{ConsumerName, Deleted, MemoryQueue, QueueExt, Retain, Retention, Seek, Untaken};

fn dataset() -> DatasetName {
    "d".parse().unwrap()
}

fn consumer() -> ConsumerName {
    "table/d".parse().unwrap()
}

/// About five batches a segment.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 900,
        partitions: 1,
        ..LogOptions::default()
    }
}

fn open(path: &Path) -> (LogQueue, Recovery) {
    LogQueue::open(path, options()).unwrap()
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn older_than(seconds: u64) -> Retention {
    Retention {
        age_max: Some(Duration::from_secs(seconds)),
        ..Retention::default()
    }
}

async fn filled(path: &Path, count: u64) -> LogQueue {
    let (queue, _) = open(path);
    for second in 0..count {
        let kept = queue.append(received(&dataset(), 1, second, second as i64));
        kept.await.unwrap();
    }
    queue
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path.join("d/0")).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn what_was_deleted_stays_deleted_and_consumers_stay_registered() {
    let folder = tempfile::tempdir().unwrap();
    let queue = filled(folder.path(), 40).await;
    queue
        .advance(&dataset(), &consumer(), &[Offset(0)])
        .await
        .unwrap();
    queue
        .advance(&dataset(), &consumer(), &[Offset(12)])
        .await
        .unwrap();
    let before = segments(folder.path()).len();
    let deleted = queue.retain(&dataset(), &older_than(5), time(100)).await.unwrap();
    let start = queue.starts(&dataset())[0];
    assert!((1..=12).contains(&start.0), "{start:?}");
    assert_eq!(deleted.batches, start.0);
    assert!(segments(folder.path()).len() < before && deleted.bytes > 0);
    drop(queue);
    let (queue, recovery) = open(folder.path());
    assert_eq!(recovery.batches, 40 - start.0);
    assert!(recovery.damaged.is_empty() && recovery.repaired.is_empty());
    assert_eq!(queue.starts(&dataset()), [start]);
    let found = queue.consumers(&dataset()).remove(0);
    assert_eq!((found.name, found.progress), (consumer(), vec![Offset(12)]));
    let again = queue.retain(&dataset(), &older_than(5), time(100)).await.unwrap();
    assert_eq!((again.batches, again.held[&consumer()]), (0, 28));
    // All taken: even the segment that is being written goes, and what stands for it survives a restart.
    queue
        .advance(&dataset(), &consumer(), &[Offset(40)])
        .await
        .unwrap();
    queue.retain(&dataset(), &older_than(5), time(100)).await.unwrap();
    assert_eq!(segments(folder.path()).len(), 1);
    drop(queue);
    let (queue, recovery) = open(folder.path());
    assert_eq!(
        (recovery.batches, queue.starts(&dataset())),
        (0, vec![Offset(40)])
    );
    assert!(queue.append(batch(&dataset(), 1, 0, 39)).await.unwrap().duplicate);
    let next = queue.append(batch(&dataset(), 1, 0, 40)).await.unwrap();
    assert_eq!(next.offset, Some(Offset(40)));
    assert!(crate::verify(folder.path()).unwrap().is_whole());
}

#[tokio::test]
async fn a_size_is_kept_to_and_newer_batches_stay() {
    let folder = tempfile::tempdir().unwrap();
    let queue = filled(folder.path(), 60).await;
    let size = |path: &Path| -> u64 {
        segments(path)
            .iter()
            .map(|path| fs::metadata(path).unwrap().len())
            .sum()
    };
    let by_size = |bytes_max| Retention {
        bytes_max: Some(bytes_max),
        ..Retention::default()
    };
    let last = fs::metadata(segments(folder.path()).last().unwrap())
        .unwrap()
        .len();
    let bytes_max = last + 3_000;
    queue
        .retain(&dataset(), &by_size(bytes_max), time(0))
        .await
        .unwrap();
    assert!(size(folder.path()) <= bytes_max);
    assert!(size(folder.path()) > bytes_max - 1_000, "no more than it must");
    let start = queue.starts(&dataset())[0];
    assert!(start.0 > 0);
    queue.retain(&dataset(), &by_size(0), time(0)).await.unwrap();
    assert_eq!(
        segments(folder.path()).len(),
        1,
        "the one that is being written stays"
    );
    assert!(queue.starts(&dataset())[0] > start);
}

#[tokio::test]
async fn damaged_consumers_are_put_aside_and_nothing_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let queue = filled(folder.path(), 20).await;
    queue
        .advance(&dataset(), &consumer(), &[Offset(3)])
        .await
        .unwrap();
    drop(queue);
    let file = folder.path().join("d/consumers.meta");
    let aside = folder.path().join("d/consumers.damaged");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("progress=3", "progress=9");
    fs::write(&file, text).unwrap();
    let (queue, recovery) = open(folder.path());
    assert_eq!(recovery.repaired, std::slice::from_ref(&aside));
    let refused = queue
        .retain(&dataset(), &older_than(0), time(100))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt);
    assert!(refused.to_string().contains(aside.to_str().unwrap()), "{refused}");
    queue
        .advance(&dataset(), &consumer(), &[Offset(20)])
        .await
        .unwrap();
    drop(queue);
    let (queue, recovery) = open(folder.path());
    assert!(recovery.repaired.is_empty());
    queue
        .retain(&dataset(), &older_than(0), time(100))
        .await
        .unwrap_err();
    fs::remove_file(aside).unwrap();
    queue.retain(&dataset(), &older_than(0), time(100)).await.unwrap();
    assert_eq!(queue.starts(&dataset()), [Offset(20)]);
}

#[tokio::test]
async fn damaged_settings_are_made_again_and_those_of_a_later_version_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d/dataset.meta");
    let (queue, _) = open(folder.path());
    queue.create(&dataset(), 3).await.unwrap();
    for emitter in 0..9 {
        queue.append(batch(&dataset(), emitter, 0, 0)).await.unwrap();
    }
    drop(queue);
    let whole = fs::read(&path).unwrap();
    for change in [&b""[..], b"version=1\npartitions=\xff\n", b"nonsense"] {
        fs::write(&path, change).unwrap();
        let (queue, recovery) = open(folder.path());
        assert_eq!(recovery.repaired, std::slice::from_ref(&path));
        assert_eq!(recovery.batches, 9);
        assert_eq!(queue.ends(&dataset()).len(), 3);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    fs::write(&path, "version=2\n").unwrap();
    let refused = LogQueue::open(folder.path(), options()).unwrap_err();
    assert!(refused.to_string().contains("later version"), "{refused}");
}

#[tokio::test]
async fn the_head_of_the_first_segment_that_stays_must_be_readable() {
    let folder = tempfile::tempdir().unwrap();
    let queue = filled(folder.path(), 40).await;
    let second = &segments(folder.path())[1];
    let mut bytes = fs::read(second).unwrap();
    bytes[40] ^= 1;
    fs::write(second, bytes).unwrap();
    let all_but_the_last = Retention {
        bytes_max: Some(0),
        ..Retention::default()
    };
    queue
        .advance(&dataset(), &consumer(), &[Offset(9)])
        .await
        .unwrap();
    queue
        .retain(&dataset(), &all_but_the_last, time(100))
        .await
        .unwrap();
    assert_eq!(queue.starts(&dataset()), [Offset(0)]);
    queue.forget(&dataset(), &consumer()).await.unwrap();
    queue
        .retain(&dataset(), &all_but_the_last, time(100))
        .await
        .unwrap();
    assert_eq!(segments(folder.path()).len(), 1, "later heads say the same");
}

#[tokio::test]
async fn readers_of_what_is_being_deleted_get_records_or_the_first_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let queue = Arc::new(filled(folder.path(), 200).await);
    let reader = tokio::spawn({
        let queue = queue.clone();
        async move {
            let mut at = Offset(0);
            while at.0 < 200 {
                match queue.read(&dataset(), Partition(0), at, 1).await {
                    Ok(records) => at = Offset(records.last().unwrap().offset.0 + 1),
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                        assert!(error.next().unwrap() > at);
                        at = error.next().unwrap();
                    }
                }
            }
        }
    });
    for second in (0..=200).step_by(10) {
        queue
            .retain(&dataset(), &older_than(0), time(second))
            .await
            .unwrap();
    }
    reader.await.unwrap();
}

#[tokio::test]
async fn damage_is_read_past_on_purpose_only() {
    let folder = tempfile::tempdir().unwrap();
    // Opened again, so that no batch is in memory.
    drop(filled(folder.path(), 30).await);
    let (queue, _) = open(folder.path());
    let path = segments(folder.path())[2].clone();
    let base = super::segment::Segment::base_of(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let name = dataset();
    // The index is built while the file is whole; the damage comes later.
    queue.read(&name, Partition(0), Offset(base), 1).await.unwrap();
    let whole = fs::read(&path).unwrap();
    let size = batch(&dataset(), 1, 0, base).payload.len() + record::RECORD_BYTES_MIN + 50;
    let mut bytes = whole.clone();
    let first = whole.len() - (queue_end(&path, folder.path()) - base) as usize * size;
    for record in [1, 2] {
        bytes[first + record * size + 60] ^= 1;
    }
    fs::write(&path, &bytes).unwrap();
    let error = queue
        .read(&name, Partition(0), Offset(base + 1), 1)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.next()),
        (ErrorKind::Corrupt, Some(Offset(base + 3)))
    );
    let place = format!("position={}", first + size);
    assert!(error.to_string().contains(&place), "{error}");
    let sound = queue
        .read(&name, Partition(0), Offset(base), usize::MAX)
        .await
        .unwrap();
    assert_eq!(sound.len(), 1);
    let behind = queue
        .read(&name, Partition(0), Offset(base + 3), 1)
        .await
        .unwrap();
    assert_eq!(behind[0].offset, Offset(base + 3));
    let past = queue
        .read_past_damage(&name, Partition(0), Offset(base + 1), 1)
        .await
        .unwrap();
    assert_eq!(past.skipped, Some(Offset(base + 1)..Offset(base + 3)));
    assert_eq!(past.records[0].offset, Offset(base + 3));
    let plain = queue
        .read_past_damage(&name, Partition(0), Offset(base + 3), 1)
        .await
        .unwrap();
    assert_eq!(plain.skipped, None);
}

fn queue_end(path: &Path, folder: &Path) -> u64 {
    let segments = segments(folder);
    let next = segments.iter().position(|segment| segment == path).unwrap() + 1;
    let name = segments[next].file_name().unwrap().to_str().unwrap().to_owned();
    super::segment::Segment::base_of(&name).unwrap()
}

#[tokio::test]
async fn a_disk_that_fails_while_a_consumer_registers_registers_none() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(folder.path());
    queue.append(batch(&dataset(), 1, 0, 0)).await.unwrap();
    let faults = queue.options.disk.faults.clone();
    faults.room.store(3, SeqCst);
    let full = queue
        .advance(&dataset(), &consumer(), &[Offset(0)])
        .await
        .unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Retry);
    assert_eq!(queue.consumers(&dataset()), []);
    faults.room.store(-1, SeqCst);
    queue
        .advance(&dataset(), &consumer(), &[Offset(0)])
        .await
        .unwrap();
}

/// A folder as version 1 of the segments wrote it.
fn as_version_1(folder: &Path) {
    for path in segments(folder) {
        let bytes = fs::read(&path).unwrap();
        let length = record::length(*bytes[8..].first_chunk().unwrap()).unwrap();
        let head = record::parse(&bytes[8..8 + length]).unwrap();
        let mut old = record::SEGMENT_HEADER_1.to_vec();
        let snapshot = head.head().unwrap().1;
        record::encode(
            &mut old,
            record::Kind::Snapshot,
            head.offset,
            head.durable,
            &[snapshot],
        );
        old.extend_from_slice(&bytes[8 + length..]);
        fs::write(&path, old).unwrap();
    }
}

#[tokio::test]
async fn a_log_of_the_first_version_is_read_searched_and_retained() {
    let folder = tempfile::tempdir().unwrap();
    drop(filled(folder.path(), 40).await);
    as_version_1(folder.path());
    let report = crate::verify(folder.path()).unwrap();
    assert!(report.is_whole(), "{report}");
    let (queue, recovery) = open(folder.path());
    assert_eq!(
        (recovery.batches, recovery.damaged.len(), recovery.truncated.len()),
        (40, 0, 0)
    );
    for second in [0, 1, 13, 39, 40] {
        let found = Seek::find(&queue, &dataset(), Partition(0), time(second)).await;
        assert_eq!(found, Ok(Offset(second as u64)));
    }
    queue.retain(&dataset(), &older_than(0), time(20)).await.unwrap();
    let start = queue.starts(&dataset())[0].0;
    assert!((10..=20).contains(&start), "{start}");
    assert!(queue.append(batch(&dataset(), 1, 0, 39)).await.unwrap().duplicate);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The log deletes a prefix of what the queue in memory deletes, and finds the same.
    #[test]
    fn the_log_deletes_at_most_what_memory_does(
        seconds in prop::collection::vec(0i64..60, 1..60),
        sorted: bool,
        steps in prop::collection::vec((0u64..60, 0u64..70, any::<bool>(), any::<bool>()), 1..5),
    ) {
        Runtime::new().unwrap().block_on(twins(seconds, sorted, steps));
    }
}

async fn twins(mut seconds: Vec<i64>, sorted: bool, steps: Vec<(u64, u64, bool, bool)>) {
    let folder = tempfile::tempdir().unwrap();
    let naive = MemoryQueue::new(1);
    if sorted {
        seconds.sort_unstable();
    }
    let (mut queue, _) = open(folder.path());
    for (sequence, second) in (0..).zip(&seconds) {
        let batch = received(&dataset(), 1, sequence, *second);
        naive.append(batch.clone()).await.unwrap();
        queue.append(batch).await.unwrap();
    }
    for (age, taken, reopen, delete) in steps {
        let progress = [Offset(taken)];
        naive.advance(&dataset(), &consumer(), &progress).await.unwrap();
        queue.advance(&dataset(), &consumer(), &progress).await.unwrap();
        let mut retention = older_than(age);
        if delete {
            retention.untaken = Untaken::Delete;
        }
        naive.retain(&dataset(), &retention, time(60)).await.unwrap();
        let deleted: Deleted = queue.retain(&dataset(), &retention, time(60)).await.unwrap();
        let (start, most) = (queue.starts(&dataset())[0], naive.starts(&dataset())[0]);
        // Where times go back, memory judges a batch by the next one whose time fits, the log a whole segment.
        assert!(start <= most || !sorted, "{start:?} {most:?} {deleted:?}");
        if reopen {
            drop(queue);
            queue = open(folder.path()).0;
            assert_eq!(queue.starts(&dataset()), [start]);
        }
        for second in [0, 7, 30, 59, 60] {
            let kept = seconds.iter().enumerate().skip(start.0 as usize);
            let expected = kept
                .clone()
                .find(|(_, at)| **at >= second)
                .map_or(seconds.len(), |(i, _)| i);
            let found = Seek::find(&queue, &dataset(), Partition(0), time(second)).await;
            assert_eq!(found, Ok(Offset(expected as u64)));
        }
    }
    assert!(crate::verify(folder.path()).unwrap().is_whole());
}
