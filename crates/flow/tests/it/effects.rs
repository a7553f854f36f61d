//! What options of nodes do on `Local`, and on both sides of `Hybrid`.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use async_trait::async_trait;
use flow::{
    BatchId, Batcher, ClientStore, Graph, Hybrid, HybridJob, HybridSource, JobOptions, Live, Local, NodeKind,
    Producer, Result, Service, SnapshotOptions, Snapshots, Source, Tail, VecSink, VecSource,
};
use store::{Commit, MemoryStore, Progress, Store};

use crate::kit::{options, runtime, timed};
use crate::options::parallelism;

fn vec_source<T: flow::Element>(items: impl IntoIterator<Item = T>) -> Arc<dyn Source<T>> {
    Arc::new(VecSource::new(timed(items)))
}

/// Runs to the end; the epochs it took, and the graph afterwards.
fn run(tail: &impl Tail<Local>, options: JobOptions) -> (u64, Graph) {
    runtime().block_on(async {
        let mut job = Local::run("test", tail, options).unwrap();
        job.join().await.unwrap();
        (job.status().epochs, job.graph())
    })
}

/// Two threads meet: it resolves when both are here, or gives up after a while.
#[derive(Default)]
struct Meeting(Mutex<usize>, Condvar);

impl Meeting {
    fn meet(&self) {
        let mut here = self.0.lock().unwrap();
        *here += 1;
        self.1.notify_all();
        let patience = Duration::from_secs(30);
        drop(
            self.1
                .wait_timeout_while(here, patience, |here| *here < 2)
                .unwrap(),
        );
    }
}

const ELEMENTS: u64 = 8000;

/// The first and the last element meet, so their functions must run on two threads; the threads that were seen.
fn meeting(options: JobOptions, after: &str, meets: bool) -> HashSet<ThreadId> {
    let (meeting, threads) = (Arc::new(Meeting::default()), Arc::new(Mutex::new(HashSet::new())));
    let (shared, seen) = (meeting.clone(), threads.clone());
    let function = move |n: u64| {
        seen.lock().unwrap().insert(std::thread::current().id());
        if meets && (n == 0 || n == ELEMENTS - 1) {
            shared.meet();
        }
        n
    };
    let source = Producer::<Local, u64>::source(vec_source(0..ELEMENTS));
    let numbers = match after {
        "source" => source,
        "lookup" => source
            .lookup(Arc::new(BTreeMap::from([(0u64, 0u64)])) as _)
            .keys(),
        _ => {
            let store: Arc<dyn Store<u64, u64>> = Arc::new(MemoryStore::new());
            source.map(|n| (n, 1)).sum_by_key(store).keys()
        }
    };
    run(
        &numbers
            .name("numbers")
            .map(function)
            .write(Arc::new(VecSink::default()) as _),
        options,
    );
    assert!(!meets || *meeting.0.lock().unwrap() == 2);
    drop(meeting);
    Arc::try_unwrap(threads).unwrap().into_inner().unwrap()
}

#[test]
fn parallelism_is_that_of_the_functions_after_a_node() {
    for after in ["source", "lookup", "sum"] {
        meeting(options(1 << 20, 1).with("numbers", parallelism(2)), after, true);
        let threads = meeting(options(1 << 20, 4).with("numbers", parallelism(1)), after, false);
        assert_eq!(threads.len(), 1, "{after}");
    }
}

#[test]
fn sources_with_different_parallelism_keep_their_order() {
    let source = |from: u64| Producer::<Local, u64>::source(vec_source(from..from + ELEMENTS));
    let sources = [
        source(0).name("a"),
        source(ELEMENTS).name("b"),
        source(2 * ELEMENTS).name("c"),
    ];
    let merged = sources[0].merge(&sources[1]).merge(&sources[2]);
    let sink = VecSink::default();
    let options = options(1 << 20, 3)
        .with("b", parallelism(2))
        .with("c", parallelism(1));
    let (epochs, _) = run(&merged.write(Arc::new(sink.clone()) as _), options);
    assert_eq!(epochs, 1);
    let items: Vec<u64> = sink.items().into_iter().map(|(_, n)| n).collect();
    assert_eq!(items, (0..3 * ELEMENTS).collect::<Vec<_>>());
}

#[test]
fn a_source_gives_so_many_bytes_to_an_epoch() {
    let (a, b) = (vec_source(0..40u64), vec_source(0..40u64));
    let (a, b) = (
        Producer::<Local, _>::source(a).name("a"),
        Producer::source(b).name("b"),
    );
    let tail = a.merge(&b).write(Arc::new(VecSink::default()) as _);
    // An element takes 16 bytes.
    assert_eq!(run(&tail, options(1 << 20, 1)).0, 1);
    let tail = a.merge(&b).write(Arc::new(VecSink::default()) as _);
    let ten = options(1 << 20, 1).set("a.epoch_bytes_max", "160").unwrap();
    assert_eq!(run(&tail, ten).0, 4);
}

/// A service and a store that note how they are asked.
#[derive(Clone, Default)]
struct Asked(Arc<Notes>);

#[derive(Default)]
struct Notes {
    calls: Mutex<Vec<Vec<u64>>>,
    now: AtomicUsize,
    most: AtomicUsize,
    /// Calls wait until so many are under way, in each group of as many.
    together: Option<tokio::sync::Barrier>,
    store: MemoryStore<u64, u64>,
}

impl Asked {
    async fn note(&self, keys: &[u64]) {
        let now = self.0.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most.fetch_max(now, Ordering::SeqCst);
        if let Some(together) = &self.0.together {
            together.wait().await;
        }
        tokio::task::yield_now().await;
        self.0.calls.lock().unwrap().push(keys.to_vec());
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }

    fn calls(&self) -> Vec<Vec<u64>> {
        self.0.calls.lock().unwrap().clone()
    }
}

#[async_trait]
impl Service<u64, u64> for Asked {
    async fn multi_get(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        self.note(keys).await;
        Ok(keys
            .iter()
            .map(|key| (key % 2 == 0).then_some(key * 10))
            .collect())
    }
}

#[async_trait]
impl Store<u64, u64> for Asked {
    async fn multi_get(&self, keys: &[u64]) -> store::Result<Vec<Option<u64>>> {
        self.note(keys).await;
        self.0.store.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<u64, u64>) -> store::Result<()> {
        self.0.store.commit(commit).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.0.store.progress().await
    }
    async fn scan(&self, after: Option<&u64>, limit: usize) -> store::Result<Vec<(u64, u64)>> {
        self.0.store.scan(after, limit).await
    }
}

/// Looks numbers up and checks what is found.
fn look_up(numbers: impl IntoIterator<Item = u64>, asked: &Asked, options: JobOptions) -> Graph {
    let source = Producer::<Local, u64>::source(vec_source(numbers)).name("numbers");
    let sink = VecSink::<(u64, Option<u64>)>::default();
    let service: Arc<dyn Service<u64, u64>> = Arc::new(asked.clone());
    let found = source.lookup(service).name("found");
    let (_, graph) = run(&found.write(Arc::new(sink.clone()) as _).name("written"), options);
    for (_, (key, value)) in sink.items() {
        assert_eq!(value, (key % 2 == 0).then_some(key * 10));
    }
    graph
}

#[test]
fn a_look_up_asks_for_so_many_keys_at_once() {
    let asked = Asked::default();
    let options = options(1 << 20, 1).set("found.call_keys_max", "4").unwrap();
    look_up((0..10).chain(0..10), &asked, options);
    assert_eq!(asked.calls(), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!(asked.0.most.load(Ordering::SeqCst), 1);
}

#[test]
fn so_many_calls_are_under_way_at_once() {
    let notes = Notes {
        together: Some(tokio::sync::Barrier::new(3)),
        ..Notes::default()
    };
    let asked = Asked(Arc::new(notes));
    let options = options(1 << 20, 1).set("found.call_keys_max", "2").unwrap();
    look_up(0..12, &asked, options.set("found.calls_max", "3").unwrap());
    assert_eq!(asked.calls().len(), 6);
    assert_eq!(asked.0.most.load(Ordering::SeqCst), 3);
}

#[test]
fn answers_are_used_again_for_so_many_elements() {
    let numbers = || [1, 2, 3, 1, 2, 3, 4, 4, 4, 1, 2, 3];
    // Epochs of three elements.
    let calls = |cache: &str| {
        let asked = Asked::default();
        look_up(
            numbers(),
            &asked,
            options(48, 1).set("found.cache_elements", cache).unwrap(),
        );
        asked.calls()
    };
    let without = [vec![1, 2, 3], vec![1, 2, 3], vec![4], vec![1, 2, 3]];
    assert_eq!(calls("0"), without);
    // After three elements the answer to the first is three elements old, after six it is six old.
    assert_eq!(calls("3"), [vec![1, 2, 3], vec![4], vec![1, 2, 3]]);
    assert_eq!(calls("7"), [vec![1, 2, 3], vec![4], vec![1, 2]]);
    assert_eq!(calls("100"), [vec![1, 2, 3], vec![4]]);
}

#[test]
fn a_sum_reads_so_many_keys_at_once() {
    let asked = Asked::default();
    let store: Arc<dyn Store<u64, u64>> = Arc::new(asked.clone());
    let source = Producer::<Local, u64>::source(vec_source(0..10u64));
    let tail = source.map(|n| (n, 1)).sum_by_key(store).name("sums");
    run(&tail, options(1 << 20, 1).set("sums.call_keys_max", "3").unwrap());
    let mut calls: Vec<usize> = asked.calls().iter().map(Vec::len).collect();
    calls.sort_unstable();
    assert_eq!(calls, [1, 3, 3, 3]);
    assert_eq!(asked.0.store.entries().len(), 10);
}

#[test]
fn a_running_job_draws_what_went_through() {
    let asked = Asked::default();
    let graph = look_up((0..10).chain(0..10), &asked, options(160, 2));
    let drawn: Vec<String> = graph
        .to_mermaid()
        .lines()
        .skip(1)
        .take(3)
        .map(str::to_owned)
        .collect();
    assert_eq!(
        drawn,
        [
            r#"  n0(["source numbers<br/>20"])"#,
            r#"  n1["lookup found<br/>20 in, 20 out"]"#,
            r#"  n2[("write written<br/>20 in, 20 out")]"#,
        ]
    );
    let source = Producer::<Local, u64>::source(vec_source(0..100u64));
    let store: Arc<dyn Store<u64, u64>> = Arc::new(MemoryStore::new());
    let sum = source
        .filter(|n| *n < 50)
        .map(|n| (n % 5, 1))
        .sum_by_key(store)
        .name("sums");
    let tail = sum
        .clone()
        .also(sum.keys().write(Arc::new(VecSink::default()) as _));
    let (epochs, graph) = run(&tail, options(160, 2));
    let elements = |kind| {
        graph
            .nodes()
            .iter()
            .find(|node| node.kind == kind)
            .and_then(|node| node.elements)
    };
    assert_eq!(epochs, 10);
    // Ten elements an epoch, of which the first five epochs pass: five keys each.
    let elements = [NodeKind::Source, NodeKind::Sum, NodeKind::Write].map(|kind| elements(kind).unwrap());
    let elements = elements.map(|elements| (elements.taken, elements.given));
    assert_eq!(elements, [(0, 100), (25, 25), (25, 25)]);
}

#[test]
fn both_sides_of_a_hybrid_have_them() {
    runtime().block_on(async {
        let asked = Asked::default();
        let service: Arc<dyn Service<u64, u64>> = Arc::new(asked.clone());
        let snapshots: Arc<dyn Store<_, _>> = Arc::new(MemoryStore::new());
        let snapshots = Snapshots::new(snapshots, SnapshotOptions::default()).unwrap();
        snapshots.begin_empty(BatchId(0)).await.unwrap();
        let live: Arc<dyn Store<_, _>> = Arc::new(MemoryStore::new());
        let counts = ClientStore::new(snapshots, Live::new(live, BatchId(0)));
        let source = HybridSource {
            history: vec_source(0..10u64),
            live: vec_source(0..10u64),
        };
        let found = Producer::<Hybrid, u64>::source(source)
            .lookup(service)
            .name("found");
        let tail = found.map(|(key, _)| (key, 1u64)).sum_by_key(counts);
        let job = |options| {
            let batcher = Batcher::every(Duration::from_millis(5)).unwrap();
            HybridJob::new("test", batcher).with_options(options)
        };
        let four = || options(1 << 20, 1).set("found.call_keys_max", "4").unwrap();
        job(four()).run(&tail).unwrap().join().await.unwrap();
        assert_eq!(asked.calls(), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
        job(four()).build(&tail, BatchId(0)..BatchId(1)).await.unwrap();
        assert_eq!(asked.calls()[3..], [vec![0, 1, 2, 3], vec![4]]);
        let unknown = || options(1 << 20, 1).with("fund", parallelism(1));
        assert!(job(unknown()).run(&tail).is_err());
        assert!(job(unknown()).build(&tail, BatchId(1)..BatchId(2)).await.is_err());
    });
}
