//! What an ack waits for, before a queue and a visibility that the test drives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aggregator::{Aggregator, AggregatorOptions, ErrorKind, Visibility};
use async_trait::async_trait;
use event::wire::PutAck;
use event::{Batch, BatchHeader, BatchKey, DatasetName, Durability, EmitterId, Encoding, Epoch, Sequence};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::BoxFuture;
use queue::{MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use tokio::sync::watch;
use tonic::Code;
use uuid::Uuid;

use crate::door;
use crate::put::{lines_to, put};

/// Keeps batches when it is told to; the order is that of the calls.
struct ByHand {
    queue: MemoryQueue,
    waiting: Mutex<Vec<(Batch, oneshot::Sender<queue::Result<Receipt>>)>>,
}

impl Default for ByHand {
    fn default() -> Self {
        Self {
            queue: MemoryQueue::new(1),
            waiting: Mutex::default(),
        }
    }
}

impl ByHand {
    /// Keeps, or fails, what was appended so far.
    async fn answer(&self, keep: bool) {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        for (batch, answer) in waiting {
            let outcome = match keep {
                true => self.queue.append(batch).await,
                false => Err(queue::Error::new(queue::ErrorKind::Retry, "disk is full")),
            };
            let _ = answer.send(outcome);
        }
    }
}

#[async_trait]
impl Queue for ByHand {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.lock().unwrap().push((batch, sender));
        async move { receiver.await.unwrap() }.boxed()
    }
    async fn create(&self, dataset: &DatasetName, partitions: u32) -> queue::Result<u32> {
        self.queue.create(dataset, partitions).await
    }
    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> queue::Result<Vec<Record>> {
        self.queue.read(dataset, partition, from, bytes_max).await
    }
    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.queue.ends(dataset)
    }
    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.queue.datasets()
    }
}

/// Queries see what is before an offset.
struct Seen {
    before: watch::Sender<u64>,
    asked: Mutex<Vec<(Partition, Offset)>>,
}

impl Default for Seen {
    fn default() -> Self {
        Self {
            before: watch::Sender::new(0),
            asked: Mutex::default(),
        }
    }
}

#[async_trait]
impl Visibility for Seen {
    async fn visible(&self, _: &DatasetName, partition: Partition, offset: Offset) -> aggregator::Result<()> {
        self.asked.lock().unwrap().push((partition, offset));
        let mut before = self.before.subscribe();
        before.wait_for(|before| *before > offset.0).await.unwrap();
        Ok(())
    }
}

fn dataset() -> DatasetName {
    "orders".parse().unwrap()
}

fn accept(aggregator: &Aggregator, sequence: u64) -> BoxFuture<'static, aggregator::Result<PutAck>> {
    let at = aggregator.now();
    let header = BatchHeader {
        key: BatchKey {
            emitter: EmitterId(Uuid::from_u128(7)),
            epoch: Epoch(0),
            sequence: Sequence(sequence),
        },
        events: 2,
        encoding: Encoding::Ndjson,
        generated_at: at,
        received_at: at,
    };
    aggregator.accept(dataset(), header, "{}\n{}\n".into()).boxed()
}

fn with(durability: Durability) -> AggregatorOptions {
    AggregatorOptions {
        durability: Arc::new(move |_| durability),
        ..AggregatorOptions::default()
    }
}

#[tokio::test]
async fn memory_is_acked_before_it_is_kept_and_what_fails_later_is_counted() {
    let queue = Arc::new(ByHand::default());
    let options = AggregatorOptions {
        early_bytes_max: 12,
        ..with(Durability::Memory)
    };
    let aggregator = Aggregator::new(queue.clone(), options);
    let early = [accept(&aggregator, 0), accept(&aggregator, 1)];
    for ack in early {
        assert_eq!(
            ack.now_or_never().unwrap().unwrap().durability,
            Durability::Memory
        );
    }
    // There is room for two, so the third waits until it is durable.
    let mut third = accept(&aggregator, 2);
    assert!((&mut third).now_or_never().is_none());
    queue.answer(true).await;
    assert_eq!(third.await.unwrap().durability, Durability::Durable);
    assert_eq!(queue.ends(&dataset()), [Offset(3)]);
    let lost = || aggregator.counts()[&dataset()].lost;
    assert_eq!(lost(), 0);
    // The room comes back when the tasks that hold it have seen the answers.
    let mut sequence = 3;
    while accept(&aggregator, sequence)
        .now_or_never()
        .is_none_or(|ack| ack.unwrap().durability != Durability::Memory)
    {
        queue.answer(true).await;
        tokio::task::yield_now().await;
        sequence += 1;
    }
    queue.answer(false).await;
    while lost() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(lost(), 2);
}

#[tokio::test]
async fn durable_waits_for_the_queue_and_memory_says_when_it_is_durable() {
    let queue = Arc::new(ByHand::default());
    let aggregator = Aggregator::new(queue.clone(), AggregatorOptions::default());
    let mut ack = accept(&aggregator, 0);
    assert!((&mut ack).now_or_never().is_none());
    queue.answer(true).await;
    assert_eq!(ack.await.unwrap().durability, Durability::Durable);

    let at_once = Aggregator::new(Arc::new(MemoryQueue::default()), with(Durability::Memory));
    let ack = accept(&at_once, 0).await.unwrap();
    assert_eq!((ack.durability, ack.duplicate), (Durability::Durable, false));
    assert!(accept(&at_once, 0).await.unwrap().duplicate);
    let conflict = accept(&at_once, 5).await.unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn queryable_waits_for_the_queue_and_then_for_queries() {
    let (queue, seen) = (Arc::new(ByHand::default()), Arc::new(Seen::default()));
    let options = AggregatorOptions {
        visibility: Some(seen.clone()),
        visible_timeout: Duration::from_secs(3600),
        ..with(Durability::Queryable)
    };
    let aggregator = Aggregator::new(queue.clone(), options);
    let (mut first, mut second) = (accept(&aggregator, 0), accept(&aggregator, 1));
    queue.answer(true).await;
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    seen.before.send_replace(1);
    assert_eq!(first.await.unwrap().durability, Durability::Queryable);
    assert!((&mut second).now_or_never().is_none());

    // The offset of a twin is not known: the end there is when it comes is waited for.
    let mut twin = accept(&aggregator, 0);
    queue.answer(true).await;
    assert!((&mut twin).now_or_never().is_none());
    let partition = Partition(0);
    let asked = seen.asked.lock().unwrap().clone();
    assert_eq!(
        asked,
        [
            (partition, Offset(0)),
            (partition, Offset(1)),
            (partition, Offset(1))
        ]
    );
    seen.before.send_replace(2);
    assert!(twin.await.unwrap().duplicate);
    assert!(!second.await.unwrap().duplicate);
}

#[tokio::test]
async fn rows_that_are_not_seen_in_time_are_to_be_sent_again() {
    let options = AggregatorOptions {
        visibility: Some(Arc::new(Seen::default())),
        visible_timeout: Duration::from_millis(1),
        ..with(Durability::Queryable)
    };
    let aggregator = Aggregator::new(Arc::new(MemoryQueue::default()), options);
    for _ in 0..2 {
        let error = accept(&aggregator, 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().contains("kept"), "{error}");
    }
}

#[tokio::test]
async fn what_nobody_can_tell_is_not_promised() {
    let server_s_fault = Aggregator::new(Arc::new(MemoryQueue::default()), with(Durability::Queryable));
    let error = accept(&server_s_fault, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry);

    let doors = door::open().await;
    let ask = |durability| lines_to("orders", 0, Some(durability));
    let (acks, status) = put(&doors, vec![ask(Durability::Queryable)]).await;
    let status = status.unwrap();
    assert_eq!((acks.len(), status.code()), (0, Code::InvalidArgument));
    assert!(status.message().contains("queryable"), "{status:?}");
    let (acks, status) = put(&doors, vec![ask(Durability::Durable)]).await;
    assert_eq!((acks.len(), status.is_none()), (1, true));
}
