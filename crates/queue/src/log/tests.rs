//! The log against its laws, its naive twin, torn tails, damage and a disk that fails.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use event::{Batch, DatasetName};
use futures::future::join_all;
use proptest::prelude::*;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::segment::Segment;
use super::*;
use crate::MemoryQueue;
use crate::laws::{self, all, batch};

fn one_partition() -> LogOptions {
    LogOptions {
        partitions: 1,
        ..LogOptions::default()
    }
}

fn open(path: &Path, options: &LogOptions) -> (LogQueue, Recovery) {
    LogQueue::open(path, options.clone()).unwrap()
}

fn dataset() -> DatasetName {
    "d".parse().unwrap()
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path.join("d/0"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A batch whose payload has no zero at its end and a given size.
fn sized(emitter: u128, sequence: u64, bytes: usize) -> Batch {
    Batch {
        payload: Bytes::from(vec![b'x'; bytes]),
        ..batch(&dataset(), emitter, 0, sequence)
    }
}

fn sequences(records: &[Record]) -> Vec<u64> {
    records
        .iter()
        .map(|record| record.batch.header.key.sequence.0)
        .collect()
}

/// What is written goes out of the page cache but for its end, and is there all the same.
#[tokio::test]
async fn only_the_end_of_a_partition_stays_cached() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 24 << 20,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    for sequence in 0..50 {
        queue.append(sized(1, sequence, 1 << 20)).await.unwrap();
    }
    // Segments of 23 MiB, of which the last has 4: the second keeps its end.
    let uncached = options.disk.faults.uncached.load(SeqCst);
    let cached = (50 << 20) - uncached;
    assert!(
        (16 << 20..=28 << 20).contains(&cached),
        "{cached} bytes stay cached"
    );
    let records = all(&queue, &dataset(), Partition(0)).await;
    assert_eq!(sequences(&records), (0..50).collect::<Vec<_>>());
    assert!(
        records
            .iter()
            .all(|record| record.batch.payload.iter().all(|byte| *byte == b'x'))
    );
}

#[tokio::test]
async fn keeps_the_laws() {
    let folder = tempfile::tempdir().unwrap();
    laws::check_durable(async || open(folder.path(), &LogOptions::default()).0).await;
    let queue = open(folder.path(), &LogOptions::default()).0;
    laws::check_retention(Arc::new(queue)).await;
}

#[tokio::test]
async fn keeps_the_laws_with_a_segment_for_each_batch() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 1,
        writers: 1,
        ..LogOptions::default()
    };
    laws::check_durable(async || open(folder.path(), &options).0).await;
    laws::check_retention(Arc::new(open(folder.path(), &options).0)).await;
}

#[test]
fn a_folder_has_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let (first, _) = open(folder.path(), &LogOptions::default());
    let error = LogQueue::open(folder.path(), LogOptions::default()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
    first.close();
    open(folder.path(), &LogOptions::default());
}

#[tokio::test]
async fn a_shut_queue_answers_and_wakes_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(folder.path(), &one_partition());
    let answers: Vec<_> = (0..20)
        .map(|sequence| queue.append(batch(&dataset(), 1, 0, sequence)))
        .collect();
    let d = dataset();
    let mut read = queue.read(&d, Partition(0), Offset(20), 1);
    assert!(futures::poll!(&mut read).is_pending());
    queue.close();
    for answer in join_all(answers).await {
        answer.unwrap();
    }
    assert_eq!(read.await.unwrap_err().kind(), ErrorKind::Closed);
    let after = queue.append(batch(&dataset(), 1, 0, 20)).await;
    assert_eq!(after.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(
        queue.read(&d, Partition(0), Offset(19), 1).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn segments_roll_and_the_snapshot_remembers_emitters_of_old_ones() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 2_000,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    queue.append(sized(1, 0, 10)).await.unwrap();
    for sequence in 0..50 {
        queue.append(sized(2, sequence, 300)).await.unwrap();
    }
    drop(queue);
    assert!(segments(folder.path()).len() > 5);
    let (queue, recovery) = open(folder.path(), &options);
    assert_eq!(
        recovery,
        Recovery {
            datasets: 1,
            batches: 51,
            ..Recovery::default()
        }
    );
    assert!(queue.append(sized(1, 0, 10)).await.unwrap().duplicate);
    assert_eq!(
        queue.append(sized(1, 2, 10)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert!(queue.append(sized(2, 49, 300)).await.unwrap().duplicate);
    let records = all(&queue, &dataset(), Partition(0)).await;
    assert_eq!(sequences(&records[1..]), (0..50).collect::<Vec<_>>());
    for from in [0, 7, 50, 33] {
        let records = queue
            .read(&dataset(), Partition(0), Offset(from), 1)
            .await
            .unwrap();
        assert_eq!((records.len(), records[0].offset), (1, Offset(from)));
    }
}

#[tokio::test]
async fn reads_from_disk_within_one_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(folder.path(), &one_partition());
    let answers: Vec<_> = (0..400)
        .map(|sequence| queue.append(sized(1, sequence, 3_000)))
        .collect();
    join_all(answers).await;
    drop(queue);
    let (queue, _) = open(folder.path(), &one_partition());
    for (from, bytes_max, count) in [
        (0, 30_000, 10),
        (11, 1, 1),
        (10, 1, 1),
        (10, 30_000, 10),
        (399, 1, 1),
        (100, 300_000, 100),
        (5, 0, 1),
    ] {
        let records = queue
            .read(&dataset(), Partition(0), Offset(from), bytes_max)
            .await
            .unwrap();
        let expected: Vec<_> = (from..from + count).collect();
        assert_eq!(sequences(&records), expected);
    }
}

/// The folder as a crash at this moment would leave it.
fn copied(original: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir_all(copy.path().join("d/0")).unwrap();
    fs::copy(
        original.join("d/dataset.meta"),
        copy.path().join("d/dataset.meta"),
    )
    .unwrap();
    for file in segments(original) {
        fs::copy(&file, copy.path().join("d/0").join(file.file_name().unwrap())).unwrap();
    }
    copy
}

/// Opens a copy of the last segment after `change`, appends once more, and returns how many batches were kept
/// before that and how many torn tails were named.
async fn reopened(original: &Path, change: impl FnOnce(&Path)) -> (usize, usize) {
    let copy = copied(original);
    change(segments(copy.path()).last().unwrap());
    let (queue, recovery) = open(copy.path(), &one_partition());
    let kept = sequences(&all(&queue, &dataset(), Partition(0)).await);
    assert_eq!(kept, (0..kept.len() as u64).collect::<Vec<_>>());
    let next = queue.append(sized(1, kept.len() as u64, 5)).await.unwrap();
    assert_eq!(next.offset, Some(Offset(kept.len() as u64)));
    assert_eq!(all(&queue, &dataset(), Partition(0)).await.len(), kept.len() + 1);
    assert!(recovery.damaged.is_empty(), "{recovery:?}");
    (kept.len(), recovery.truncated.len())
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let (queue, _) = open(folder.path(), &one_partition());
    for sequence in 0..2 {
        queue.append(sized(1, sequence, 20)).await.unwrap();
    }
    drop(queue);
    let before = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    let (queue, _) = open(folder.path(), &one_partition());
    queue.append(sized(1, 2, 20)).await.unwrap();
    drop(queue);
    let after = fs::metadata(&segments(folder.path())[0]).unwrap().len();
    assert_eq!(after - before, record::RECORD_BYTES_MIN as u64 + 50 + 20);
    let write = |path: &Path| OpenOptions::new().write(true).open(path).unwrap();
    for at in before..after {
        let torn = usize::from(at > before);
        let cut = reopened(folder.path(), |path| write(path).set_len(at).unwrap()).await;
        assert_eq!(cut, (2, torn), "cut at={at}");
        let zeros = vec![0; (after - at) as usize + 5_000];
        let lost = reopened(folder.path(), |path| {
            write(path).write_all_at(&zeros, at).unwrap()
        })
        .await;
        assert_eq!(lost, (2, torn), "zeros from at={at}");
        let garbage = vec![0xA5; (after - at) as usize];
        let wrong = reopened(folder.path(), |path| {
            write(path).write_all_at(&garbage, at).unwrap()
        })
        .await;
        assert_eq!(wrong, (2, 1), "garbage from at={at}");
    }
    let whole = reopened(folder.path(), |path| {
        write(path).write_all_at(&[0; 9_000], after).unwrap()
    })
    .await;
    assert_eq!(whole, (3, 0), "zeros allocated ahead");
    let behind = reopened(folder.path(), |path| {
        write(path).write_all_at(&[7; 90], after).unwrap()
    })
    .await;
    assert_eq!(behind, (3, 1), "garbage behind the last record");
}

#[tokio::test]
async fn a_segment_whose_making_was_cut_short_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 300,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    for sequence in 0..9 {
        queue.append(sized(1, sequence, 20)).await.unwrap();
    }
    drop(queue);
    let last = fs::read(segments(folder.path()).last().unwrap()).unwrap();
    let snapshot = record::SEGMENT_HEADER.len() + record::RECORD_BYTES_MIN + 16 + 28;
    for cut in 0..snapshot {
        let half = folder.path().join("d/0/00000000000000000009.log");
        fs::write(&half, &last[..cut]).unwrap();
        let (queue, recovery) = open(folder.path(), &options);
        assert_eq!(recovery.truncated.len(), usize::from(cut > 0));
        assert_eq!(queue.ends(&dataset()), [Offset(9)]);
        assert!(queue.append(sized(1, 8, 20)).await.unwrap().duplicate);
        assert!(!half.exists());
    }
}

/// Writes groups of batches: each inner number is the size of one group, made by holding the disk still.
async fn grouped(queue: &LogQueue, options: &LogOptions, groups: &[u64]) {
    let mut next = 0;
    for group in groups {
        let held = options.disk.faults.gate.lock().unwrap();
        // A batch of another partition keeps the one writer busy while the group gathers.
        let busy: DatasetName = "busy".parse().unwrap();
        let other = queue.append(batch(&busy, Uuid::now_v7().as_u128(), 0, 0));
        let answers: Vec<_> = (next..next + group)
            .map(|sequence| queue.append(sized(1, sequence, 20)))
            .collect();
        next += group;
        drop(held);
        other.await.unwrap();
        for answer in join_all(answers).await {
            answer.unwrap();
        }
    }
}

#[tokio::test]
async fn a_hole_in_the_last_group_is_torn_and_one_in_an_earlier_group_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        writers: 1,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    grouped(&queue, &options, &[1, 3, 3]).await;
    drop(queue);
    let path = segments(folder.path()).pop().unwrap();
    let whole = fs::read(&path).unwrap();
    let size = record::RECORD_BYTES_MIN + 50 + 20;
    let position = |offset: usize| whole.len() - (7 - offset) * size;
    let with_hole = |offset: usize| {
        let mut bytes = whole.clone();
        bytes[position(offset)..position(offset) + size].fill(0);
        fs::write(&path, bytes).unwrap();
        open(folder.path(), &options)
    };

    let (queue, recovery) = with_hole(5);
    assert_eq!((recovery.truncated.len(), recovery.damaged.len()), (1, 0));
    assert_eq!(
        (recovery.truncated[0].at, recovery.truncated[0].bytes),
        (position(5) as u64, 2 * size as u64)
    );
    assert_eq!(queue.ends(&dataset()), [Offset(5)]);
    queue.append(sized(1, 5, 20)).await.unwrap();
    let crashed = copied(folder.path());
    let (after_crash, recovery) = open(crashed.path(), &options);
    assert_eq!(
        (after_crash.ends(&dataset()), recovery.truncated.len()),
        (vec![Offset(6)], 0),
        "6 was cut off"
    );
    drop((queue, after_crash));

    let (queue, recovery) = with_hole(2);
    assert_eq!((recovery.truncated.len(), recovery.damaged.len()), (0, 1));
    assert_eq!(recovery.damaged[0].offsets, Offset(2)..Offset(3));
    assert_eq!(queue.ends(&dataset()), [Offset(7)]);
    let before = queue
        .read(&dataset(), Partition(0), Offset(0), usize::MAX)
        .await
        .unwrap();
    assert_eq!(sequences(&before), [0, 1]);
    let error = queue
        .read(&dataset(), Partition(0), Offset(2), usize::MAX)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let after = queue
        .read(&dataset(), Partition(0), Offset(3), usize::MAX)
        .await
        .unwrap();
    assert_eq!(sequences(&after), [3, 4, 5, 6]);
    assert!(queue.append(sized(1, 6, 20)).await.unwrap().duplicate);
    assert_eq!(
        queue.append(sized(1, 7, 20)).await.unwrap().offset,
        Some(Offset(7))
    );
}

#[tokio::test]
async fn a_flipped_bit_in_an_old_segment_is_corrupt_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes: 1_000,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    for sequence in 0..40 {
        queue.append(sized(1, sequence, 100)).await.unwrap();
    }
    drop(queue);
    let path = segments(folder.path())[1].clone();
    let base = Segment::base_of(path.file_name().unwrap().to_str().unwrap()).unwrap();
    let whole = fs::read(&path).unwrap();
    let size = record::RECORD_BYTES_MIN + 50 + 100;
    let at = record::SEGMENT_HEADER.len() + record::RECORD_BYTES_MIN + 16 + 28 + size;
    let mut bytes = whole.clone();
    bytes[at + 90] ^= 4;
    fs::write(&path, &bytes).unwrap();
    let (queue, recovery) = open(folder.path(), &options);
    assert!(
        recovery.damaged.is_empty(),
        "old segments are not read at the start"
    );
    let before = queue
        .read(&dataset(), Partition(0), Offset(base), usize::MAX)
        .await
        .unwrap();
    assert_eq!(sequences(&before), [base]);
    let error = queue
        .read(&dataset(), Partition(0), Offset(base + 1), usize::MAX)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let text = error.to_string();
    assert!(
        text.contains(path.to_str().unwrap()) && text.contains(&format!("position={at}")),
        "{text}"
    );
    let after = queue
        .read(&dataset(), Partition(0), Offset(base + 2), 1)
        .await
        .unwrap();
    assert_eq!(sequences(&after), [base + 2]);
    drop(queue);

    let last = segments(folder.path()).pop().unwrap();
    fs::write(&path, &whole).unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes[record::SEGMENT_HEADER.len() + 30] ^= 1;
    fs::write(&last, bytes).unwrap();
    let (queue, recovery) = open(folder.path(), &options);
    assert_eq!(recovery.damaged.len(), 1, "the snapshot of the last segment");
    assert_eq!(
        sequences(&all(&queue, &dataset(), Partition(0)).await),
        (0..40).collect::<Vec<_>>()
    );
    assert!(
        queue.append(sized(1, 39, 100)).await.unwrap().duplicate,
        "an earlier snapshot and the records since"
    );
    assert_eq!(
        queue.append(sized(1, 41, 100)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
}

/// What a failing disk does, however it fails: nothing acked is lost, nothing refused is kept, order holds.
async fn a_failing_disk(break_it: impl Fn(&faults::Faults), mend_it: impl Fn(&faults::Faults)) {
    let folder = tempfile::tempdir().unwrap();
    let options = one_partition();
    let faults = options.disk.faults.clone();
    let (queue, _) = open(folder.path(), &options);
    for sequence in 0..3 {
        queue.append(sized(1, sequence, 500)).await.unwrap();
    }
    break_it(&faults);
    let held = faults.gate.lock().unwrap();
    let sent = [(1, 3), (1, 4), (1, 5), (2, 0), (2, 1)];
    let answers: Vec<_> = sent
        .map(|(emitter, sequence)| queue.append(sized(emitter, sequence, 500)))
        .into();
    let twin = queue.append(sized(1, 4, 500));
    drop(held);
    let answers = join_all(answers).await;
    // What fits may form a group of its own and be kept; all from the first failure on is not.
    let acked = answers.iter().take_while(|answer| answer.is_ok()).count();
    assert!(acked <= 2);
    let failed = &sent[acked..];
    for answer in &answers[acked..] {
        assert_eq!(answer.as_ref().unwrap_err().kind(), ErrorKind::Retry);
    }
    match twin.await {
        Ok(receipt) => assert!(receipt.duplicate && acked == 2),
        Err(error) => assert!(error.kind() == ErrorKind::Retry && acked < 2),
    }
    mend_it(&faults);
    for (i, (emitter, sequence)) in failed.iter().enumerate() {
        if failed[..i].iter().any(|before| before.0 == *emitter) {
            let error = queue.append(sized(*emitter, *sequence, 500)).await.unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::Conflict,
                "a batch behind a failed one waits for it"
            );
        }
    }
    assert_eq!(queue.ends(&dataset()), [Offset(3 + acked as u64)]);
    for (emitter, sequence) in failed {
        assert!(
            !queue
                .append(sized(*emitter, *sequence, 500))
                .await
                .unwrap()
                .duplicate
        );
    }
    assert_eq!(
        segments(folder.path()).len(),
        2,
        "the segment of the failure is given up"
    );
    for (emitter, sequence) in sent {
        assert!(
            queue
                .append(sized(emitter, sequence, 500))
                .await
                .unwrap()
                .duplicate
        );
    }
    for round in 0..2 {
        let fresh = (round == 1).then(|| {
            queue.close();
            open(folder.path(), &options)
        });
        if let Some((_, recovery)) = &fresh {
            assert_eq!(
                (recovery.batches, recovery.truncated.len(), recovery.damaged.len()),
                (8, 0, 0)
            );
        }
        let records = all(
            fresh.as_ref().map_or(&queue, |fresh| &fresh.0),
            &dataset(),
            Partition(0),
        )
        .await;
        assert_eq!(sequences(&records), [0, 1, 2, 3, 4, 5, 0, 1]);
    }
}

#[tokio::test]
async fn a_full_disk() {
    for room in [0, 1, 100, 700, 1_200] {
        a_failing_disk(
            |faults| faults.room.store(room, SeqCst),
            |faults| faults.room.store(-1, SeqCst),
        )
        .await;
    }
}

#[tokio::test]
async fn a_sync_that_fails() {
    a_failing_disk(
        |faults| faults.sync_fails.store(true, SeqCst),
        |faults| faults.sync_fails.store(false, SeqCst),
    )
    .await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let options = one_partition();
    options.disk.faults.room.store(10, SeqCst);
    let (queue, _) = open(folder.path(), &options);
    assert_eq!(
        queue.append(sized(1, 0, 500)).await.unwrap_err().kind(),
        ErrorKind::Retry
    );
    assert_eq!(
        queue.append(sized(1, 1, 500)).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    options.disk.faults.room.store(-1, SeqCst);
    assert_eq!(
        queue.append(sized(1, 0, 500)).await.unwrap().offset,
        Some(Offset(0))
    );
}

#[tokio::test]
async fn a_busy_queue_answers_at_once_and_keeps_the_order() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        in_flight_bytes_max: 3_000,
        ..one_partition()
    };
    let (queue, _) = open(folder.path(), &options);
    let held = options.disk.faults.gate.lock().unwrap();
    let first = queue.append(sized(1, 0, 2_000));
    let busy = queue.append(sized(2, 0, 2_000));
    // It fits, but the one before it did not.
    let behind = queue.append(sized(2, 1, 10));
    drop(held);
    let busy = busy.await.unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::Retry);
    assert!(busy.to_string().contains("busy"), "{busy}");
    assert_eq!(behind.await.unwrap_err().kind(), ErrorKind::Conflict);
    first.await.unwrap();
    for sequence in 0..2 {
        assert!(!queue.append(sized(2, sequence, 2_000)).await.unwrap().duplicate);
    }
    assert_eq!(queue.budget.in_flight_bytes.load(SeqCst), 0);
}

#[derive(Clone, Debug)]
enum Step {
    /// Appended one after the other without waiting: emitter, epoch, sequence.
    Append(Vec<(u128, u32, u64)>),
    Reopen,
    Read(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = (0u128..4, 0u32..2, 0u64..12);
    let step = prop_oneof![
        6 => prop::collection::vec(key, 1..20).prop_map(Step::Append),
        4 => (0u128..4, 0u64..6, 1u64..8).prop_map(|(emitter, from, count)| {
            Step::Append((from..from + count).map(|sequence| (emitter, 0, sequence)).collect())
        }),
        1 => Just(Step::Reopen),
        2 => (0u64..40, 0usize..400).prop_map(|(from, bytes_max)| Step::Read(from, bytes_max)),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Every answer and every read of the log is that of the queue in memory.
    #[test]
    fn the_log_is_the_memory_queue(steps in steps(), segment_bytes in prop::sample::select(vec![1u64, 400, 1 << 20])) {
        Runtime::new().unwrap().block_on(twins(steps, segment_bytes));
    }
}

async fn twins(steps: Vec<Step>, segment_bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions {
        segment_bytes,
        partitions: 2,
        ..LogOptions::default()
    };
    let naive = MemoryQueue::new(2);
    let mut queue = open(folder.path(), &options).0;
    for step in steps {
        match step {
            Step::Append(keys) => {
                let append = |queue: &dyn Queue| {
                    let batches = keys
                        .iter()
                        .map(|(emitter, epoch, sequence)| batch(&dataset(), *emitter, *epoch, *sequence));
                    join_all(batches.map(|batch| queue.append(batch)).collect::<Vec<_>>())
                };
                assert_eq!(append(&queue).await, append(&naive).await);
            }
            Step::Reopen => {
                drop(queue);
                let (fresh, recovery) = open(folder.path(), &options);
                assert!(recovery.truncated.is_empty() && recovery.damaged.is_empty());
                queue = fresh;
            }
            Step::Read(from, bytes_max) => {
                for (i, end) in naive.ends(&dataset()).into_iter().enumerate() {
                    if from < end.0 {
                        let place = (Partition(i as u32), Offset(from));
                        let found = queue.read(&dataset(), place.0, place.1, bytes_max).await.unwrap();
                        let expected = naive.read(&dataset(), place.0, place.1, bytes_max).await.unwrap();
                        // The log may end a read with its segment.
                        assert!(!found.is_empty() && expected.starts_with(&found));
                    }
                }
            }
        }
    }
    assert_eq!(queue.ends(&dataset()), naive.ends(&dataset()));
    for i in 0..naive.ends(&dataset()).len() as u32 {
        assert_eq!(
            all(&queue, &dataset(), Partition(i)).await,
            all(&naive, &dataset(), Partition(i)).await
        );
    }
}
