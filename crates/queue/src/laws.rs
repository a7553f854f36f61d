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

use std::sync::Arc;

use bytes::Bytes;
use event::{Batch, BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use futures::future::join_all;
use uuid::Uuid;

use crate::{ErrorKind, Offset, Partition, Queue, Receipt, Record};

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
    assert_eq!(fenced.kind(), ErrorKind::Closed);
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
