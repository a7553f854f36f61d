//! Options of nodes by name: who gets which, what is refused, and what they do.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use async_trait::async_trait;
use flow::{
    ErrorKind, Graph, JobOptions, Local, Memory, NodeId, NodeKind, NodeOptions, PlanOptions, Producer,
    Result, Service, Source, Tail, Tails, VecSink, VecSource,
};
use proptest::prelude::*;
use store::{Commit, MemoryStore, Progress, Store};

use crate::kit::{Add, options, runtime, timed};

fn parallelism(n: usize) -> NodeOptions {
    NodeOptions {
        parallelism: Some(n),
        ..NodeOptions::default()
    }
}

fn plan(set: &[(&str, NodeOptions)]) -> PlanOptions {
    PlanOptions {
        nodes: set
            .iter()
            .map(|(name, options)| ((*name).to_owned(), options.clone()))
            .collect(),
        ..PlanOptions::default()
    }
}

fn memory() -> Producer<Memory, (u8, Add)> {
    Producer::source(Vec::new())
}

/// `lines` → `found` (a look-up) → `counts` and `totals` (sums)
fn job() -> Tails<Memory> {
    let found = memory()
        .name("lines")
        .left_join(BTreeMap::<u8, Add>::new())
        .name("found");
    let pairs = found.map_values(|(value, _)| value);
    let counts = pairs.sum_by_key(Arc::default()).name("counts").name("all counts");
    counts.also(
        pairs
            .keys()
            .map(|key| (key, Add(1)))
            .sum_by_key(Arc::default())
            .name("totals"),
    )
}

/// The parallelism of source, look-up and both sums.
fn given(set: &[(&str, usize)]) -> Vec<Option<usize>> {
    let set: Vec<_> = set.iter().map(|(name, n)| (*name, parallelism(*n))).collect();
    let graph = job().planned(&plan(&set)).unwrap();
    let reads = |kind| matches!(kind, NodeKind::Source | NodeKind::Lookup | NodeKind::Sum);
    let nodes = graph.nodes().iter().filter(|node| reads(node.kind));
    nodes.map(|node| node.options.parallelism).collect()
}

#[test]
fn a_name_is_seen_from_its_node_up_to_the_sources_and_the_nearest_wins() {
    assert_eq!(given(&[]), [None; 4]);
    assert_eq!(given(&[("lines", 1)]), [Some(1), None, None, None]);
    assert_eq!(given(&[("counts", 1)]), [Some(1), Some(1), Some(1), None]);
    assert_eq!(
        given(&[("counts", 1), ("lines", 2)]),
        [Some(2), Some(1), Some(1), None]
    );
    // `found` names the step after the look-up, which is nearer to it than the sums are.
    assert_eq!(
        given(&[("counts", 1), ("found", 3)]),
        [Some(3), Some(3), Some(1), None]
    );
    // The sums are not equally near to the look-up.
    assert_eq!(
        given(&[("totals", 2), ("counts", 1)]),
        [Some(1), Some(1), Some(1), Some(2)]
    );
    // Of two names of a node the first is nearer.
    assert_eq!(given(&[("all counts", 5)])[2], Some(5));
    assert_eq!(given(&[("all counts", 5), ("counts", 4)])[2], Some(4));
}

#[test]
fn of_two_names_that_are_equally_near_that_of_the_first_tail_wins() {
    let source = memory();
    let tail = |name| source.sum_by_key(Arc::default()).name(name);
    for (first, second) in [("a", "b"), ("b", "a")] {
        let options = plan(&[("a", parallelism(1)), ("b", parallelism(2))]);
        let graph = tail(first).also(tail(second)).planned(&options).unwrap();
        let expected = options.nodes[first].parallelism;
        assert_eq!(graph.nodes()[0].options.parallelism, expected);
    }
}

#[test]
fn an_option_for_all_holds_where_no_name_sets_it() {
    let mut options = plan(&[("counts", parallelism(3))]);
    options.set("parallelism", "7").unwrap();
    options.set("totals.call_keys_max", "2KiB").unwrap();
    let graph = job().planned(&options).unwrap();
    let nodes = graph.nodes().iter().filter(|node| node.kind == NodeKind::Sum);
    let nodes: Vec<_> = nodes.map(|node| node.options.clone()).collect();
    assert_eq!(nodes[0], parallelism(3));
    let expected = NodeOptions {
        call_keys_max: Some(2048),
        ..parallelism(7)
    };
    assert_eq!(nodes[1], expected);
}

/// The value for each node, found by looking at all names for each.
fn naive(graph: &Graph, set: &BTreeMap<String, NodeOptions>) -> Vec<Option<usize>> {
    let of = |node: NodeId| {
        let (mut level, mut seen) = (vec![node], HashSet::from([node]));
        while !level.is_empty() {
            level.sort();
            for node in &level {
                let names = &graph.nodes()[node.0].names;
                if let Some(value) = names.iter().find_map(|name| set.get(name)?.parallelism) {
                    return Some(value);
                }
            }
            let below = |child: &&flow::NodeInfo| child.parents.iter().any(|parent| level.contains(parent));
            let next = graph.nodes().iter().filter(below).map(|child| child.id);
            level = next.filter(|child| seen.insert(*child)).collect();
        }
        None
    };
    let reads =
        |kind: NodeKind| kind == NodeKind::Source || kind == NodeKind::Lookup || kind == NodeKind::Sum;
    let nodes = graph.nodes().iter();
    nodes
        .map(|node| reads(node.kind).then(|| of(node.id)).flatten())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn who_gets_which_is_what_the_naive_search_finds(
        steps in prop::collection::vec((0usize..5, 0usize..8, 0usize..8, prop::option::of(0usize..6)), 1..16),
        set in prop::collection::btree_map((0usize..6).prop_map(|n| format!("n{n}")), 1usize..9, 0..5),
    ) {
        let mut producers = vec![memory()];
        let mut tails = producers[0].write(Arc::default()).ends();
        for (what, a, b, name) in steps {
            let at = |n: usize| producers[n % producers.len()].clone();
            let mut next = match what {
                0 => memory(),
                1 => at(a).merge(&at(b)),
                2 => at(a).map(|pair| pair),
                3 => at(a).left_join(BTreeMap::<u8, Add>::new()).map_values(|(value, _)| value),
                _ => {
                    let sum = at(a).sum_by_key(Arc::default());
                    tails = tails.also(sum.clone());
                    sum.map(|(key, (_, delta))| (key, delta))
                }
            };
            if let Some(name) = name {
                next = next.name(format!("n{name}"));
            }
            tails = tails.also(next.write(Arc::default()));
            producers.push(next);
        }
        let graph = tails.graph();
        let known: HashSet<&String> = graph.nodes().iter().flat_map(|node| &node.names).collect();
        let set: BTreeMap<_, _> = set.into_iter().filter(|(name, _)| known.contains(name)).collect();
        let options = PlanOptions {
            nodes: set.into_iter().map(|(name, n)| (name, parallelism(n))).collect(),
            ..PlanOptions::default()
        };
        let expected = naive(&graph, &options.nodes);
        for node in tails.planned(&options).unwrap().nodes() {
            let member = node.members[0];
            if let NodeKind::Source | NodeKind::Lookup | NodeKind::Sum = node.kind {
                prop_assert_eq!(node.options.parallelism, expected[member.0]);
            }
        }
    }
}

fn refused(options: &PlanOptions) -> String {
    let error = job().planned(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(Memory::run_with(&job(), options).is_err());
    error.to_string()
}

#[test]
fn what_nothing_reads_is_an_error() {
    assert_eq!(
        refused(&plan(&[("count", parallelism(1))])),
        "there is no such name, did you mean `counts`? name=\"count\" known=[all counts, counts, found, lines, totals]"
    );
    let cache = NodeOptions {
        cache_elements: Some(5),
        ..NodeOptions::default()
    };
    assert_eq!(
        refused(&plan(&[("lines", cache)])),
        "nothing with this name or above it reads the option: leave it out, or name a node that does name=\"lines\" \
         option=cache_elements read_by=[lookup] kind=source options_of_the_kind=[parallelism, epoch_bytes_max]"
    );
    assert_eq!(
        refused(&plan(&[("counts", parallelism(0))])),
        "an option is too small name=\"counts\" option=parallelism value=0 min=1"
    );
    let error = JobOptions::default().set("counts.paralelism", "2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no such option, did you mean `parallelism`? option=\"paralelism\" \
         known=[parallelism, epoch_bytes_max, call_keys_max, calls_max, cache_elements]"
    );
    for value in [
        "",
        "-1",
        "two",
        "1 EiB",
        "99999999999999999999",
        "18446744073709551615KiB",
    ] {
        let error = NodeOptions::default().set("epoch_bytes_max", value).unwrap_err();
        assert!(
            error.to_string().ends_with(&format!("value={value:?}")),
            "{error}"
        );
    }
    let tail = Producer::<Local, u8>::source(vec_source([1])).write(Arc::new(VecSink::default()) as _);
    let options = JobOptions::default().with("no one", parallelism(1));
    let error = runtime().block_on(async { Local::run("test", &tail, options).err().unwrap() });
    assert!(error.to_string().contains("no one"), "{error}");
}

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
