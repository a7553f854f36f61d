//! Rejects sent again, over a queue that fails and processes that crash.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use event::{Batch, DatasetName};
use futures::FutureExt;
use futures::future::BoxFuture;
use processor::{Chain, ErrorKind, FailedFilter, REPLAYS, Replayed};
use proptest::prelude::*;
use queue::{MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use tokio::sync::watch;

use super::chain::{add, caught_up, chain, places, refuse, with_chain};
use super::{dataset, numbers, warehouse};

/// A queue whose appends fail once their number is up; the one before the last is kept, and its answer is lost.
struct Failing {
    inner: MemoryQueue,
    appends_left: AtomicI64,
}

fn failing() -> Arc<Failing> {
    Arc::new(Failing {
        inner: MemoryQueue::new(2),
        appends_left: AtomicI64::new(i64::MAX),
    })
}

#[async_trait]
impl Queue for Failing {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        let left = self.appends_left.fetch_sub(1, Ordering::Relaxed);
        let failed = || Err(queue::Error::new(queue::ErrorKind::Retry, "the disk is full"));
        match left {
            ..1 => async move { failed() }.boxed(),
            1 => {
                let kept = self.inner.append(batch);
                async move { kept.await.and_then(|_| failed()) }.boxed()
            }
            _ => self.inner.append(batch),
        }
    }

    async fn create(&self, dataset: &DatasetName, partitions: u32) -> queue::Result<u32> {
        self.inner.create(dataset, partitions).await
    }

    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> queue::Result<Vec<Record>> {
        self.inner.read(dataset, partition, from, bytes_max).await
    }

    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.inner.ends(dataset)
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.inner.datasets()
    }
}

/// What stops a replay.
#[derive(Clone, Copy, Debug)]
struct Stop {
    /// How many appends it gets through.
    appends: i64,
    then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    GoOn,
    Crash,
}

fn stops() -> impl Strategy<Value = Vec<Stop>> {
    let stop = (1i64..5, prop_oneof![Just(Then::GoOn), Just(Then::Crash)]);
    prop::collection::vec(stop.prop_map(|(appends, then)| Stop { appends, then }), 0..5)
}

async fn law(batches: Vec<i64>, stops: Vec<Stop>) {
    let folder = tempfile::tempdir().unwrap();
    let failing = failing();
    let queue: Arc<dyn Queue> = failing.clone();
    let mut tables = warehouse(folder.path()).await;
    let refusing = |_: &DatasetName| Ok(chain(vec![refuse(3)]));
    let mut processor = with_chain(&queue, &tables, refusing);
    let mut sent = 0;
    for (sequence, count) in (0..).zip(batches) {
        queue
            .append(numbers(1, sequence, sent..sent + count))
            .await
            .unwrap();
        sent += count;
    }
    caught_up(&processor, &tables).await;
    for table in tables.tables() {
        table.flush().await.unwrap();
    }
    processor
        .set_chain(&dataset(), &Default::default(), &Chain::default())
        .await
        .unwrap();
    for stop in stops {
        failing.appends_left.store(stop.appends, Ordering::Relaxed);
        let stopped = processor
            .replay_failed(&dataset(), &FailedFilter::default())
            .await;
        failing.appends_left.store(i64::MAX, Ordering::Relaxed);
        if let Err(error) = stopped {
            assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
        }
        if stop.then == Then::Crash {
            processor.stop().await;
            tables = warehouse(folder.path()).await;
            processor = with_chain(&queue, &tables, |_| Ok(Chain::default()));
        }
    }
    processor
        .replay_failed(&dataset(), &FailedFilter::default())
        .await
        .unwrap();
    let nothing = processor
        .replay_failed(&dataset(), &FailedFilter::default())
        .await
        .unwrap();
    assert_eq!(nothing, Replayed::default());
    caught_up(&processor, &tables).await;
    let (rows, rejects) = places(&tables).await;
    assert_eq!(rows, (0..sent).collect::<Vec<_>>(), "each event is there once");
    let first: Vec<(i64, String)> = (0..sent)
        .filter(|n| n % 3 == 0)
        .map(|n| (n, "refuse".to_owned()))
        .collect();
    assert_eq!(rejects, first, "what was rejected stays told");
    processor.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn each_reject_is_replayed_once_whatever_stops_it(
        batches in prop::collection::vec(1i64..12, 1..4),
        stops in stops(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(law(batches, stops));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_says_what_is_replayed_and_what_fails_again_may_be_replayed_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue: Arc<dyn Queue> = failing();
    let tables = warehouse(folder.path()).await;
    let processor = with_chain(&queue, &tables, |_| Ok(chain(vec![refuse(2), add(1)])));
    let replay = |filter: FailedFilter| {
        let processor = processor.clone();
        async move { processor.replay_failed(&dataset(), &filter).await }
    };
    let missing = replay(FailedFilter::default()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    queue.append(numbers(1, 0, 1..6)).await.unwrap();
    let of_step = |step: &str| FailedFilter {
        stage: Some("udf".to_owned()),
        step: Some(step.to_owned()),
        ..FailedFilter::default()
    };
    let before = FailedFilter {
        received_until: Some(jiff::Timestamp::from_second(1_700_000_000).unwrap()),
        ..FailedFilter::default()
    };
    for none in [of_step("add"), before] {
        assert_eq!(replay(none).await.unwrap(), Replayed::default());
    }
    let two = Replayed {
        sent: 2,
        ..Replayed::default()
    };
    // The chain is as it was: both fail again, as new rejects.
    assert_eq!(replay(of_step("refuse")).await.unwrap(), two);
    processor
        .set_chain(&dataset(), &Default::default(), &Chain::default())
        .await
        .unwrap();
    assert_eq!(replay(of_step("refuse")).await.unwrap(), two);
    assert_eq!(replay(of_step("refuse")).await.unwrap(), Replayed::default());
    caught_up(&processor, &tables).await;
    let (rows, rejects) = places(&tables).await;
    assert_eq!(rows, [2, 2, 4, 4, 6]);
    assert_eq!(rejects.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [2, 2, 4, 4]);
    let own = processor
        .set_chain(&REPLAYS.parse().unwrap(), &Default::default(), &Chain::default())
        .await
        .unwrap_err();
    assert_eq!(own.kind(), ErrorKind::Invalid);
    let notes = tables.table(REPLAYS).unwrap().version();
    assert_eq!(notes.hot.iter().map(|rows| rows.num_rows()).sum::<usize>(), 4 + 2);
    processor.stop().await;
}
