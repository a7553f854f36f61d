//! One bound over all doors, and one dataset that floods beside one that is calm.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aggregator::{AggregatorOptions, Rate, do_put, limits};
use async_trait::async_trait;
use event::{Batch, DatasetName};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use queue::{MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use tokio::sync::watch;
use tonic::Code;

use crate::door::{self, Doors};
use crate::http::post;

const MEMORY: usize = limits::MEMORY_BYTES_MIN;
const BODY: usize = 1 << 20;
/// What one dataset that floods gets, in bodies.
const SHARE: usize = MEMORY / 2 / BODY;

/// A queue that keeps no batch of the dataset `flood` until it is told to.
struct Dam {
    queue: MemoryQueue,
    open: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
}

#[async_trait]
impl Queue for Dam {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        let is_held = batch.dataset.as_str() == "flood";
        let append = self.queue.append(batch);
        if !is_held {
            return append;
        }
        let (mut open, waiting) = (self.open.subscribe(), Arc::clone(&self.waiting));
        waiting.fetch_add(1, Ordering::SeqCst);
        async move {
            open.wait_for(|open| *open).await.unwrap();
            waiting.fetch_sub(1, Ordering::SeqCst);
            append.await
        }
        .boxed()
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

async fn dammed(options: AggregatorOptions) -> (Arc<Dam>, Doors) {
    let dam = Arc::new(Dam {
        queue: MemoryQueue::default(),
        open: watch::Sender::new(false),
        waiting: Arc::default(),
    });
    let options = AggregatorOptions {
        memory_bytes_max: MEMORY,
        stream_bytes_max: MEMORY,
        ..options
    };
    let doors = door::open_before(Arc::clone(&dam) as Arc<dyn Queue>, options).await;
    (dam, doors)
}

fn body() -> Vec<u8> {
    let mut body = br#"{"a":""#.to_vec();
    body.resize(BODY - 2, b'x');
    body.extend_from_slice(b"\"}");
    body
}

/// Waits for what others do.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_by_http_is_told_to_wait_and_a_calm_dataset_is_never_refused() {
    let (dam, doors) = dammed(AggregatorOptions::default()).await;
    let doors = Arc::new(doors);
    let refused = Arc::new(AtomicUsize::new(0));
    let flood = async |doors: Arc<Doors>, refused: Arc<AtomicUsize>| {
        let answer = post(&doors, "flood", &[], &body()).await;
        refused.fetch_add(usize::from(answer.status == 429), Ordering::SeqCst);
        answer.status
    };
    let floods = 2 * SHARE;
    let flood: Vec<_> = (0..floods)
        .map(|_| tokio::spawn(flood(Arc::clone(&doors), Arc::clone(&refused))))
        .collect();
    let held = || dam.waiting.load(Ordering::SeqCst);
    until(|| held() + refused.load(Ordering::SeqCst) == floods).await;
    assert!((1..=SHARE).contains(&held()), "{}", held());
    for _ in 0..20 {
        assert_eq!(post(&doors, "calm", &[], &body()).await.status, 200);
    }
    let late = loop {
        // What the last of the flood leaves free goes to the next, and then there is nothing.
        let (doors, body) = (Arc::clone(&doors), body());
        let post = tokio::spawn(async move { post(&doors, "flood", &[], &body).await });
        let before = held();
        until(|| post.is_finished() || held() > before).await;
        if post.is_finished() {
            break post.await.unwrap();
        }
    };
    assert_eq!(late.status, 429);
    assert!(late.head.contains("retry-after: 1"), "{}", late.head);
    let error = late.body["error"].as_str().unwrap();
    assert!(error.contains("dataset=flood"), "{error}");
    let kept = held();
    dam.open.send_replace(true);
    for flood in flood {
        assert!([200, 429].contains(&flood.await.unwrap()));
    }
    until(|| doors.aggregator.memory_bytes() == 0).await;
    assert_eq!(doors.batches("flood").await.len(), kept);
}

/// Batches of one emitter, a megabyte each.
fn messages(count: u64) -> Vec<arrow_flight::FlightData> {
    let body = body();
    let large = |sequence| door::line("flood", sequence).with_data_body(body.clone());
    (0..count).map(large).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_by_flight_is_not_read_on_and_loses_nothing() {
    let (dam, doors) = dammed(AggregatorOptions::default()).await;
    let mut client = door::flight(&doors.flight);
    let acks = client
        .do_put(futures::stream::iter(messages(3 * SHARE as u64)))
        .await
        .unwrap()
        .into_inner();
    until(|| dam.waiting.load(Ordering::SeqCst) >= SHARE - 2).await;
    for _ in 0..20 {
        assert_eq!(post(&doors, "calm", &[], &body()).await.status, 200);
    }
    assert!(dam.waiting.load(Ordering::SeqCst) <= SHARE);
    assert!(doors.aggregator.memory_bytes() <= MEMORY / 2 + BODY);
    dam.open.send_replace(true);
    assert_eq!(acks.try_collect::<Vec<_>>().await.unwrap().len(), 3 * SHARE);
    assert_eq!(doors.batches("flood").await.len(), 3 * SHARE);
    until(|| doors.aggregator.memory_bytes() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_gets_no_room_ends_after_its_acks() {
    let (dam, doors) = dammed(AggregatorOptions::default()).await;
    let messages = futures::stream::iter(messages(3 * SHARE as u64).into_iter().map(Ok));
    let mut answers = do_put(doors.aggregator.clone(), messages);
    // It takes all that there is room for; when its patience is over, the acks that it owes come first.
    for _ in 0..3 {
        assert!(answers.next().now_or_never().is_none());
        assert_eq!(dam.waiting.load(Ordering::SeqCst), SHARE);
        tokio::time::advance(limits::MEMORY_WAIT_MAX).await;
    }
    dam.open.send_replace(true);
    let mut acked = 0;
    let status = loop {
        match answers.next().await.unwrap() {
            Ok(_) => acked += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(
        (acked, status.code()),
        (SHARE, Code::ResourceExhausted),
        "{status:?}"
    );
    assert!(status.message().contains("dataset=flood"), "{status:?}");
    assert!(answers.next().await.is_none());
    assert_eq!(doors.batches("flood").await.len(), SHARE);
    assert_eq!(doors.aggregator.memory_bytes(), 0);
}

#[tokio::test]
async fn a_dataset_that_sends_too_fast_is_told_how_long_to_wait() {
    let rates = |name: &DatasetName| Rate {
        events_per_second: (name.as_str() == "slow").then_some(1),
        bytes_per_second: None,
    };
    let (_, doors) = dammed(AggregatorOptions {
        rates: Arc::new(rates),
        ..AggregatorOptions::default()
    })
    .await;
    let body = "{}\n".repeat(31);
    assert_eq!(post(&doors, "slow", &[], body.as_bytes()).await.status, 200);
    let answer = post(&doors, "slow", &[], b"{}").await;
    assert_eq!(answer.status, 429);
    let seconds = answer.head.split("retry-after: ").nth(1).unwrap();
    let seconds: u64 = seconds.lines().next().unwrap().parse().unwrap();
    assert!((1..=31).contains(&seconds), "{seconds}");
    assert_eq!(post(&doors, "fast", &[], body.as_bytes()).await.status, 200);
    assert_eq!(post(&doors, "fast", &[], b"{}").await.status, 200);
    let mut client = door::flight(&doors.flight);
    let messages = futures::stream::iter([door::line("slow", 0)]);
    let mut answers = client.do_put(messages).await.unwrap().into_inner();
    let status = answers.next().await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("faster than it may"), "{status:?}");
}
