//! Jobs whose threads somebody else deals out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use flow::{
    ErrorKind, JobOptions, Local, Producer, Sink, Source, Timestamp, Turn, VecSink, VecSource, Workers,
};
use proptest::prelude::*;
use store::{MemoryStore, Store};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many turns at once; of each epoch another number of chunks.
#[derive(Debug)]
struct Dealt {
    turns: Arc<Semaphore>,
    most: Vec<usize>,
    asked: AtomicUsize,
    begun: Arc<AtomicUsize>,
}

impl Dealt {
    fn new(turns: usize, most: Vec<usize>) -> Arc<Self> {
        Arc::new(Self {
            turns: Arc::new(Semaphore::new(turns)),
            most,
            asked: AtomicUsize::default(),
            begun: Arc::default(),
        })
    }
}

struct Permit(
    #[expect(dead_code, reason = "held")] OwnedSemaphorePermit,
    Arc<AtomicUsize>,
);

impl Turn for Permit {
    fn begin(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Workers for Dealt {
    fn most(&self) -> usize {
        self.most[self.asked.fetch_add(1, Ordering::Relaxed) % self.most.len()]
    }
    async fn turn(&self) -> Box<dyn Turn> {
        let permit = self.turns.clone().acquire_owned().await.unwrap();
        Box::new(Permit(permit, self.begun.clone()))
    }
}

fn source(numbers: std::ops::Range<u64>) -> Producer<Local, u64> {
    let items = numbers.map(|n| (Timestamp(n as i64), n));
    Producer::source(Arc::new(VecSource::new(items)) as Arc<dyn Source<u64>>)
}

fn options(workers: &Arc<Dealt>) -> JobOptions {
    JobOptions {
        epoch_bytes_max: 20 << 10,
        workers: Some(workers.clone()),
        ..JobOptions::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_workers_give_the_same_in_the_same_order_and_no_more_run_than_have_a_turn(
        turns in 1usize..4, most in prop::collection::vec(0usize..6, 1..4), count in 1u64..6_000,
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let workers = Dealt::new(turns, most);
        let (running, sink) = (Arc::new(AtomicUsize::default()), VecSink::default());
        let store = MemoryStore::<u64, u64>::new();
        let counted = running.clone();
        let tail = source(0..count)
            .map(move |n| {
                assert!(counted.fetch_add(1, Ordering::SeqCst) < turns, "more than have a turn");
                counted.fetch_sub(1, Ordering::SeqCst);
                n
            })
            .write(Arc::new(sink.clone()) as Arc<dyn Sink<u64>>)
            .map(|n| (n % 7, n))
            .sum_by_key(Arc::new(store.clone()) as Arc<dyn Store<u64, u64>>);
        runtime.block_on(async {
            Local::run("dealt", &tail, options(&workers)).unwrap().join().await.unwrap();
            let written: Vec<u64> = sink.items().into_iter().map(|(_, n)| n).collect();
            assert_eq!(written, (0..count).collect::<Vec<_>>());
            for key in 0..7u64 {
                let sum: u64 = (0..count).filter(|n| n % 7 == key).sum();
                let got = store.multi_get(&[key]).await.unwrap()[0].unwrap_or(0);
                assert_eq!(got, sum);
            }
        });
        prop_assert_eq!(workers.turns.available_permits(), turns);
        prop_assert!(workers.begun.load(Ordering::Relaxed) > 0, "no function runs without a turn");
    }
}

#[tokio::test]
async fn a_panic_gives_its_turn_back() {
    let workers = Dealt::new(1, vec![3]);
    let sink = VecSink::<u64>::default();
    let tail = source(0..5_000)
        .map(|n| {
            assert_ne!(n, 1_000, "bad number");
            n
        })
        .write(Arc::new(sink) as Arc<dyn Sink<u64>>);
    let error = Local::run("panics", &tail, options(&workers))
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("bad number"), "{error}");
    // The others of its epoch have their turn, or have given up their place.
    drop(workers.turns.clone().acquire_owned().await.unwrap());
}

#[tokio::test]
async fn a_port_that_panics_fails_the_job() {
    #[derive(Debug)]
    struct Broken;
    #[async_trait]
    impl Workers for Broken {
        fn most(&self) -> usize {
            1
        }
        async fn turn(&self) -> Box<dyn Turn> {
            panic!("no turns today")
        }
    }
    let options = JobOptions {
        workers: Some(Arc::new(Broken)),
        ..JobOptions::default()
    };
    let tail = source(0..3).write(Arc::new(VecSink::default()) as Arc<dyn Sink<u64>>);
    let error = Local::run("broken", &tail, options)
        .unwrap()
        .join()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("no turns today"), "{error}");
}

#[tokio::test]
async fn a_view_outlives_the_job_and_keeps_none_running() {
    let tail = source(0..3).write(Arc::new(VecSink::default()) as Arc<dyn Sink<u64>>);
    let mut job = Local::run("viewed", &tail, JobOptions::default()).unwrap();
    let view = job.view();
    job.join().await.unwrap();
    let (progress, epochs) = view.progress();
    assert_eq!((&progress, epochs), (&job.status().progress, job.status().epochs));
    drop(job);
    assert_eq!(view.status().elements, 3);
    assert_eq!(view.graph().to_dot(), view.clone().graph().to_dot());
}
