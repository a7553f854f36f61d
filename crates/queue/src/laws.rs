//! The laws of [`Queue`] as a suite that each backend runs in three lines:
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! queue::laws::check(std::sync::Arc::new(queue::MemoryQueue::default())).await;
//! # });
//! ```
//!
//! A law that does not hold is a panic that names it. The suite makes emitters and datasets of its own, so the
//! queue need not be empty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use event::{Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use futures::future::join_all;
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    ConsumerName, Deleted, ErrorKind, Offset, Partition, Queue, Receipt, Record, Retain, Retention, Seek,
    Untaken,
};

const KEPT: &str = "law kept: an append of the next batch is answered with its offset";

/// A batch for tests: one NDJSON event that names its key, times 0.
pub fn batch(dataset: &DatasetName, emitter: u128, epoch: u32, sequence: u64) -> Batch {
    let time = "1970-01-01T00:00:00Z".parse().expect("a constant time");
    let key = BatchKey {
        emitter: EmitterId(Uuid::from_u128(emitter)),
        epoch: Epoch(epoch),
        sequence: Sequence(sequence),
    };
    let header = BatchHeader {
        key,
        events: 1,
        encoding: Encoding::Ndjson,
        generated_at: time,
        received_at: time,
    };
    let payload = format!("{{\"emitter\":\"{emitter:x}\",\"epoch\":{epoch},\"sequence\":{sequence}}}\n");
    Batch {
        dataset: dataset.clone(),
        header,
        payload: Bytes::from(payload),
    }
}

/// Checks every law that a running queue can show.
pub async fn check(queue: Arc<dyn Queue>) {
    kept_and_ordered(&*queue).await;
    order_is_taken_at_the_call(&*queue).await;
    once(&*queue).await;
    no_holes(&*queue).await;
    same_partition(&*queue).await;
    read_waits(&*queue).await;
    read_is_bounded(&*queue).await;
    datasets(&*queue).await;
}

/// Checks all of [`check`], and that what was kept is there, once and in order, each time the queue is opened
/// again. `open` opens the same queue; the one before has been dropped by then.
pub async fn check_durable<Q: Queue + 'static>(mut open: impl AsyncFnMut() -> Q) {
    check(Arc::new(open().await)).await;
    let dataset = fresh_dataset();
    let emitter = Uuid::now_v7().as_u128();
    let partition = Partition::of(EmitterId(Uuid::from_u128(emitter)), 3);
    for round in 0..3u64 {
        let queue = open().await;
        assert_eq!(
            queue.create(&dataset, 3).await,
            Ok(3),
            "a dataset keeps its number of partitions"
        );
        for sequence in 0..round * 10 {
            let again = queue.append(batch(&dataset, emitter, 0, sequence)).await;
            assert!(
                again.is_ok_and(|receipt| receipt.duplicate),
                "law once: also after a restart"
            );
        }
        let next = round * 10;
        if round > 0 {
            let gap = queue.append(batch(&dataset, emitter, 0, next + 1)).await;
            assert!(gap.is_err(), "law no holes: also after a restart");
        }
        for sequence in next..next + 10 {
            let receipt = queue
                .append(batch(&dataset, emitter, 0, sequence))
                .await
                .expect(KEPT);
            assert!(!receipt.duplicate, "law once: a new batch is no duplicate");
        }
        let records = all(&queue, &dataset, partition).await;
        let expected: Vec<_> = (0..next + 10)
            .map(|sequence| batch(&dataset, emitter, 0, sequence))
            .collect();
        let found: Vec<_> = records.into_iter().map(|record| record.batch).collect();
        assert_eq!(found, expected, "law kept: also after a restart");
    }
}

/// Everything a partition keeps now.
pub async fn all(queue: &dyn Queue, dataset: &DatasetName, partition: Partition) -> Vec<Record> {
    let end = queue.ends(dataset)[partition.0 as usize];
    let mut records: Vec<Record> = Vec::new();
    while (records.len() as u64) < end.0 {
        let from = Offset(records.len() as u64);
        let more = queue
            .read(dataset, partition, from, 1 << 20)
            .await
            .expect("law kept: what is kept can be read");
        records.extend(more);
    }
    records
}

/// Checks the laws of [`Seek`] and [`Retain`].
pub async fn check_retention<Q: Seek + Retain>(queue: Arc<Q>) {
    at_a_time(&*queue).await;
    only_what_is_due(&*queue).await;
    not_before_it_is_taken(&*queue).await;
    consumers(&*queue).await;
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a small number")
}

/// A batch that was received at a second.
pub fn received(dataset: &DatasetName, emitter: u128, sequence: u64, second: i64) -> Batch {
    let mut batch = batch(dataset, emitter, 0, sequence);
    batch.header.received_at = time(second);
    batch
}

/// Keeps batches of one emitter in a dataset with one partition, received at these seconds.
async fn kept_at(queue: &dyn Queue, dataset: &DatasetName, emitter: u128, seconds: &[i64]) {
    queue.create(dataset, 1).await.expect("a dataset can be made");
    for (sequence, second) in (0..).zip(seconds) {
        let batch = received(dataset, emitter, sequence, *second);
        queue.append(batch).await.expect(KEPT);
    }
}

async fn at_a_time<Q: Seek>(queue: &Q) {
    let (dataset, emitter, _) = fresh();
    let seconds = [10, 20, 15, 30, 30, 5, 40];
    kept_at(queue, &dataset, emitter, &seconds).await;
    for second in 0..50 {
        let expected = seconds
            .iter()
            .position(|at| *at >= second)
            .unwrap_or(seconds.len());
        let found = queue.find(&dataset, Partition(0), time(second)).await;
        assert_eq!(
            found,
            Ok(Offset(expected as u64)),
            "law at a time: second={second}"
        );
    }
    let missing = queue.find(&dataset, Partition(1), time(0)).await;
    assert_eq!(
        missing.expect_err("no such partition").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(queue.starts(&fresh_dataset()), []);
}

async fn only_what_is_due<Q: Seek + Retain>(queue: &Q) {
    let (dataset, emitter, _) = fresh();
    let seconds: Vec<_> = (0..40).collect();
    kept_at(queue, &dataset, emitter, &seconds).await;
    let age = |seconds| Retention {
        age_max: Some(Duration::from_secs(seconds)),
        ..Retention::default()
    };
    let nothing = queue.retain(&dataset, &Retention::default(), time(1_000)).await;
    assert_eq!(
        nothing,
        Ok(Deleted::default()),
        "law only what is due: all is kept by default"
    );
    let deleted = queue
        .retain(&dataset, &age(10), time(30))
        .await
        .expect("it can be deleted");
    let start = queue.starts(&dataset)[0];
    assert_eq!(deleted.batches, start.0, "law a prefix: what is counted is gone");
    assert!(start.0 <= 20, "law only what is due: kept for its whole age");
    for offset in 0..start.0 {
        let gone = queue.read(&dataset, Partition(0), Offset(offset), 1).await;
        let gone = gone.expect_err("law a prefix: what is deleted cannot be read");
        assert_eq!((gone.kind(), gone.next()), (ErrorKind::NotFound, Some(start)));
    }
    let rest = all_from(queue, &dataset, start).await;
    let expected: Vec<_> = (start.0..40)
        .map(|i| received(&dataset, emitter, i, i as i64))
        .collect();
    assert_eq!(rest, expected, "law a prefix: the rest stays as it is");
    queue
        .retain(&dataset, &age(0), time(1_000))
        .await
        .expect("it can be deleted");
    assert_eq!(
        queue.starts(&dataset),
        [Offset(40)],
        "a dataset whose batches are all due is empty"
    );
    assert_eq!(queue.ends(&dataset), [Offset(40)], "law a prefix: offsets go on");
    let again = queue
        .append(received(&dataset, emitter, 39, 39))
        .await
        .expect(KEPT);
    assert!(again.duplicate, "law once: also when the twin was deleted");
    let next = queue
        .append(received(&dataset, emitter, 40, 40))
        .await
        .expect(KEPT);
    assert_eq!(next.offset, Some(Offset(40)), "law a prefix: offsets go on");
    let missing = queue.retain(&fresh_dataset(), &age(0), time(0)).await;
    assert_eq!(missing.expect_err("no such dataset").kind(), ErrorKind::NotFound);
}

async fn not_before_it_is_taken<Q: Seek + Retain>(queue: &Q) {
    let (dataset, emitter, _) = fresh();
    let name = |text: &str| text.parse::<ConsumerName>().expect("a plain name");
    kept_at(queue, &dataset, emitter, &[1; 40]).await;
    let (slow, fast) = (name("slow"), name("fast"));
    let advance = async |consumer: &ConsumerName, offset| {
        let advanced = queue.advance(&dataset, consumer, &[Offset(offset)]).await;
        advanced.expect("a consumer can register");
    };
    advance(&slow, 7).await;
    advance(&fast, 40).await;
    let mut retention = Retention {
        age_max: Some(Duration::ZERO),
        ..Retention::default()
    };
    let deleted = queue
        .retain(&dataset, &retention, time(100))
        .await
        .expect("it can be deleted");
    let start = queue.starts(&dataset)[0];
    assert!(start.0 <= 7, "law not before it is taken");
    assert_eq!(deleted.untaken, BTreeMap::new(), "law not before it is taken");
    assert_eq!(deleted.held.get(&fast), None, "who has taken all holds nothing");
    assert_eq!(deleted.held.get(&slow), Some(&33), "what is held is told of");
    retention.untaken = Untaken::Delete;
    advance(&slow, 3).await;
    let deleted = queue
        .retain(&dataset, &retention, time(100))
        .await
        .expect("it can be deleted");
    assert_eq!(
        queue.starts(&dataset),
        [Offset(40)],
        "what nobody has taken goes if it is told to"
    );
    assert_eq!(deleted.batches, 40 - start.0);
    let untaken = BTreeMap::from([(slow.clone(), 33)]);
    assert_eq!(
        deleted.untaken, untaken,
        "law not before it is taken: what is missed is counted"
    );
    let missed: Vec<_> = queue
        .consumers(&dataset)
        .into_iter()
        .map(|found| (found.name, found.missed))
        .collect();
    assert_eq!(missed, [(fast, 0), (slow, 33)], "and seen");
}

async fn consumers<Q: Retain>(queue: &Q) {
    let (dataset, emitter, _) = fresh();
    kept_at(queue, &dataset, emitter, &[1; 3]).await;
    let consumer: ConsumerName = "table/clicks".parse().expect("a plain name");
    for (given, expected) in [(2, 2), (1, 2), (3, 3)] {
        let advanced = queue.advance(&dataset, &consumer, &[Offset(given)]).await;
        assert_eq!(advanced, Ok(()));
        let found = queue.consumers(&dataset).remove(0);
        assert_eq!(
            (found.name, found.progress),
            (consumer.clone(), vec![Offset(expected)]),
            "progress never goes back"
        );
    }
    let wrong = queue.advance(&dataset, &consumer, &[Offset(0); 2]).await;
    assert_eq!(
        wrong.expect_err("one offset a partition").kind(),
        ErrorKind::Invalid
    );
    let missing = queue.advance(&fresh_dataset(), &consumer, &[Offset(0)]).await;
    assert_eq!(missing.expect_err("no such dataset").kind(), ErrorKind::NotFound);
    assert_eq!(queue.forget(&dataset, &consumer).await, Ok(true));
    assert_eq!(queue.forget(&dataset, &consumer).await, Ok(false));
    assert_eq!(queue.consumers(&dataset), []);
}

/// The batches of partition 0 from an offset on, as they are now.
async fn all_from(queue: &dyn Queue, dataset: &DatasetName, from: Offset) -> Vec<Batch> {
    let end = queue.ends(dataset)[0];
    let mut found = Vec::new();
    while from.0 + (found.len() as u64) < end.0 {
        let at = Offset(from.0 + found.len() as u64);
        let records = queue.read(dataset, Partition(0), at, 1 << 20).await;
        found.extend(
            records
                .expect("it is kept")
                .into_iter()
                .map(|record| record.batch),
        );
    }
    found
}

fn fresh_dataset() -> DatasetName {
    let name = format!("laws_{}", Uuid::now_v7().simple());
    name.parse().expect("letters, digits and an underscore")
}

fn fresh() -> (DatasetName, u128, Partition) {
    let emitter = EmitterId(Uuid::now_v7());
    (fresh_dataset(), emitter.0.as_u128(), Partition::of(emitter, 2))
}

async fn kept_and_ordered(queue: &dyn Queue) {
    let (dataset, emitter, partition) = fresh();
    queue.create(&dataset, 2).await.expect("a dataset can be made");
    for sequence in 0..5 {
        let receipt = queue
            .append(batch(&dataset, emitter, 0, sequence))
            .await
            .expect(KEPT);
        let expected = Receipt {
            offset: Some(Offset(sequence)),
            duplicate: false,
            spooled: false,
        };
        assert_eq!(receipt, expected, "law ordered: offsets count 0, 1, 2");
        assert_eq!(
            queue.ends(&dataset)[partition.0 as usize],
            Offset(sequence + 1),
            "law kept: readers see it"
        );
    }
    let records = all(queue, &dataset, partition).await;
    for (i, record) in records.iter().enumerate() {
        let i = i as u64;
        let expected = Record {
            partition,
            offset: Offset(i),
            batch: batch(&dataset, emitter, 0, i),
        };
        assert_eq!(*record, expected, "law kept: what was appended is read");
    }
    assert_eq!(records.len(), 5);
}

async fn order_is_taken_at_the_call(queue: &dyn Queue) {
    let (dataset, emitter, _) = fresh();
    let mut answers: Vec<_> = (0..50)
        .map(|sequence| queue.append(batch(&dataset, emitter, 0, sequence)))
        .collect();
    answers.reverse();
    for (i, answer) in join_all(answers).await.into_iter().rev().enumerate() {
        assert_eq!(
            answer.expect(KEPT).offset,
            Some(Offset(i as u64)),
            "law ordered: by the call, not the poll"
        );
    }
    drop(queue.append(batch(&dataset, emitter, 0, 50)));
    let after = queue.append(batch(&dataset, emitter, 0, 51)).await.expect(KEPT);
    assert_eq!(
        after.offset,
        Some(Offset(51)),
        "law ordered: a dropped future does not undo its append"
    );
}

async fn once(queue: &dyn Queue) {
    let (dataset, emitter, partition) = fresh();
    queue.create(&dataset, 2).await.expect("a dataset can be made");
    let twins: Vec<_> = (0..3)
        .map(|_| queue.append(batch(&dataset, emitter, 0, 0)))
        .collect();
    let twins: Vec<_> = join_all(twins)
        .await
        .into_iter()
        .map(|twin| twin.expect(KEPT))
        .collect();
    let new = twins.iter().filter(|twin| !twin.duplicate).count();
    assert_eq!(
        (new, twins[0].duplicate),
        (1, false),
        "law once: twins in flight are kept once"
    );
    queue.append(batch(&dataset, emitter, 0, 1)).await.expect(KEPT);
    for sequence in [0, 1, 0] {
        let again = queue.append(batch(&dataset, emitter, 0, sequence)).await;
        let expected = Receipt {
            offset: None,
            duplicate: true,
            spooled: false,
        };
        assert_eq!(again, Ok(expected), "law once: what is kept is a duplicate");
    }
    assert_eq!(
        all(queue, &dataset, partition).await.len(),
        2,
        "law once: duplicates are not kept"
    );
    let other = fresh_dataset();
    let elsewhere = queue.append(batch(&other, emitter, 0, 0)).await.expect(KEPT);
    assert!(
        !elsewhere.duplicate,
        "law once: each dataset counts its own sequences"
    );
}

async fn no_holes(queue: &dyn Queue) {
    let (dataset, emitter, _) = fresh();
    let append = |epoch, sequence| queue.append(batch(&dataset, emitter, epoch, sequence));
    append(0, 7)
        .await
        .expect("law no holes: an unknown emitter begins with whatever sequence");
    let gap = append(0, 9).await.expect_err("law no holes: a gap is refused");
    assert_eq!(gap.kind(), ErrorKind::Conflict);
    assert!(
        gap.to_string().contains("expected=8"),
        "law no holes: the error names what is expected: {gap}"
    );
    append(0, 8).await.expect(KEPT);
    append(1, 0)
        .await
        .expect("law no holes: a later epoch begins with 0");
    let fenced = append(0, 9)
        .await
        .expect_err("law no holes: an earlier epoch is over");
    assert_eq!(fenced.kind(), ErrorKind::Fenced);
    let mut empty = batch(&dataset, emitter, 1, 1);
    empty.header.events = 0;
    let invalid = queue.append(empty).await.expect_err("a batch has events");
    assert_eq!(invalid.kind(), ErrorKind::Invalid);
}

async fn same_partition(queue: &dyn Queue) {
    let dataset = fresh_dataset();
    queue.create(&dataset, 3).await.expect("a dataset can be made");
    for emitter in (0..20).map(|_| EmitterId(Uuid::now_v7())) {
        let Partition(partition) = Partition::of(emitter, 3);
        let before = queue.ends(&dataset)[partition as usize];
        let receipt = queue
            .append(batch(&dataset, emitter.0.as_u128(), 0, 0))
            .await
            .expect(KEPT);
        assert_eq!(receipt.offset, Some(before), "law same partition");
    }
}

async fn read_waits(queue: &dyn Queue) {
    let (dataset, emitter, partition) = fresh();
    queue.create(&dataset, 2).await.expect("a dataset can be made");
    for sequence in 0..3 {
        let mut read = queue.read(&dataset, partition, Offset(sequence), 1);
        assert!(
            futures::poll!(&mut read).is_pending(),
            "law kept: a read waits for what is not there"
        );
        let mut dropped = queue.read(&dataset, partition, Offset(sequence), 1);
        assert!(futures::poll!(&mut dropped).is_pending());
        drop(dropped);
        queue
            .append(batch(&dataset, emitter, 0, sequence))
            .await
            .expect(KEPT);
        let records = read.await.expect("law kept: an append wakes the readers");
        assert_eq!(records[0].batch, batch(&dataset, emitter, 0, sequence));
    }
    let again = queue
        .read(&dataset, partition, Offset(0), 1)
        .await
        .expect("reading takes nothing away");
    assert_eq!(
        again[0].offset,
        Offset(0),
        "a read that was dropped has lost nothing"
    );
}

async fn read_is_bounded(queue: &dyn Queue) {
    let (dataset, emitter, partition) = fresh();
    queue.create(&dataset, 2).await.expect("a dataset can be made");
    for sequence in 0..9 {
        queue
            .append(batch(&dataset, emitter, 0, sequence))
            .await
            .expect(KEPT);
    }
    let size = batch(&dataset, emitter, 0, 0).payload.len();
    for (bytes_max, count) in [(0, 1), (1, 1), (size, 1), (3 * size, 3), (3 * size + 1, 3)] {
        let records = queue
            .read(&dataset, partition, Offset(2), bytes_max)
            .await
            .expect("it is kept");
        let found: Vec<_> = records.iter().map(|record| record.offset.0).collect();
        let expected: Vec<_> = (2..2 + count).collect();
        assert_eq!(
            found, expected,
            "a read stays within its bytes, apart from the first record"
        );
    }
}

async fn datasets(queue: &dyn Queue) {
    let (dataset, emitter, _) = fresh();
    assert_eq!(
        queue.ends(&dataset),
        [],
        "a dataset that is not there has no ends"
    );
    let missing = queue
        .read(&dataset, Partition(0), Offset(0), 1)
        .await
        .expect_err("nothing to read");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(queue.create(&dataset, 2).await, Ok(2));
    assert_eq!(
        queue.create(&dataset, 5).await,
        Ok(2),
        "a dataset keeps its number of partitions"
    );
    assert_eq!(queue.ends(&dataset), [Offset(0); 2]);
    let missing = queue
        .read(&dataset, Partition(2), Offset(0), 1)
        .await
        .expect_err("no such partition");
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    for partitions in [0, crate::limits::PARTITIONS_MAX + 1] {
        let error = queue
            .create(&fresh_dataset(), partitions)
            .await
            .expect_err("1 to 64");
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }
    let mut names = queue.datasets();
    names.mark_unchanged();
    let made = fresh_dataset();
    queue
        .append(batch(&made, emitter, 0, 0))
        .await
        .expect("the first batch makes its dataset");
    assert!(
        names.has_changed().expect("the queue lives"),
        "a new dataset is told of"
    );
    let names = names.borrow_and_update();
    assert!(names.contains(&dataset) && names.contains(&made) && names.is_sorted());
}
