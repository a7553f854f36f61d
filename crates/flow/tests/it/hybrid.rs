//! One job in batch, live and both, with events out of order and late, any cuts, and faults at every commit: the read
//! says at every moment what plain collections say.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flow::{
    Answer, BatchId, Batcher, ClientStore, Error, ErrorKind, Hybrid, HybridJob, HybridSource, Live, Memory,
    Platform, Producer, Service, Sink, SnapshotOptions, Snapshots, Tail, Tails, Timestamp, VecSink,
    VecSource,
};
use proptest::prelude::*;
use store::{Embedded, MemoryStore, Store, Typed};

use crate::faulty::{FaultyStore, faults};
use crate::kit::{Add, Fault, Pair, Script, Text, Timed, options, runtime, service};

const LENGTH: i64 = 10;

fn batcher() -> Batcher {
    Batcher::every(Duration::from_millis(LENGTH as u64)).unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Map(i64),
    Filter(u8),
    FlatMap(u8),
    Keys(u8),
    Lookup,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (-3i64..4).prop_map(Step::Map),
        (2u8..5).prop_map(Step::Filter),
        (0u8..3).prop_map(Step::FlatMap),
        (1u8..4).prop_map(Step::Keys),
        Just(Step::Lookup),
    ];
    prop::collection::vec(step, 0..5)
}

struct Stores<P: Platform> {
    texts: P::Store<u8, Text>,
    adds: P::Store<u8, Add>,
    below: P::Store<u8, Add>,
}

/// A sum that keeps the order of its elements, one that does not, of twice the elements, the sum of its deltas, and a
/// sink.
fn job<P: Platform>(
    steps: &[Step],
    source: P::Source<Pair>,
    lookup: P::Service<u8, Add>,
    stores: Stores<P>,
    sink: P::Sink<Pair>,
) -> Tails<P> {
    let pairs = steps
        .iter()
        .cloned()
        .fold(Producer::<P, Pair>::source(source), |pairs, step| match step {
            Step::Map(x) => pairs.map(move |(k, Add(v))| (k, Add(v * 3 + x))),
            Step::Filter(x) => pairs.filter(move |(k, Add(v))| (i64::from(*k) + v) % i64::from(x) != 0),
            Step::FlatMap(x) => {
                pairs.flat_map(move |(k, Add(v))| (0..x).map(move |n| (k, Add(v + i64::from(n)))))
            }
            Step::Keys(x) => pairs.map_keys(move |k| k / x),
            Step::Lookup => pairs
                .left_join(lookup.clone())
                .map(|(k, (Add(v), found))| (k, Add(v + found.unwrap_or_default().0))),
        });
    let texts = pairs
        .map_values(|Add(v)| Text(format!("{v},")))
        .sum_by_key(stores.texts);
    let adds = pairs
        .merge(&pairs.map(|(k, v)| (k ^ 1, v)))
        .sum_by_key(stores.adds);
    let below = adds.map(|(k, (_, delta))| (k, delta)).sum_by_key(stores.below);
    texts.also(adds).also(below).also(pairs.write(sink))
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    texts: BTreeMap<u8, Text>,
    adds: BTreeMap<u8, Add>,
    below: BTreeMap<u8, Add>,
}

/// What plain collections say: the events in the order of their batches, and as they came within one.
fn oracle(steps: &[Step], events: impl IntoIterator<Item = Timed<Pair>>) -> Sums {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|(time, _)| batcher().batch_of(*time));
    let stores = Stores::<Memory> {
        texts: Default::default(),
        adds: Default::default(),
        below: Default::default(),
    };
    let (texts, adds, below) = (stores.texts.clone(), stores.adds.clone(), stores.below.clone());
    Memory::run(&job(steps, events, service(), stores, Default::default()));
    let sums = Sums {
        texts: texts.lock().unwrap().clone(),
        adds: adds.lock().unwrap().clone(),
        below: below.lock().unwrap().clone(),
    };
    sums
}

/// One hybrid world; its stores fail by the script.
struct World {
    steps: Vec<Step>,
    texts: ClientStore<u8, Text>,
    adds: ClientStore<u8, Add>,
    below: ClientStore<u8, Add>,
    sink: VecSink<Pair>,
    run: HybridJob,
}

/// The first batch that is kept.
const FIRST: BatchId = BatchId(-1);

async fn client<V: flow::Value>(
    batch: Arc<dyn Store<u8, flow::Versions<V>>>,
    live: Arc<dyn Store<(u8, BatchId), V>>,
    script: &Script,
) -> ClientStore<u8, V> {
    let snapshots = Snapshots::new(batch.clone(), SnapshotOptions::default()).unwrap();
    snapshots.begin_empty(FIRST).await.unwrap();
    let snapshots = Snapshots::new(FaultyStore::over(batch, script), SnapshotOptions::default()).unwrap();
    ClientStore::new(snapshots, Live::new(FaultyStore::over(live, script), FIRST))
}

fn is_fault(error: &Error) -> bool {
    [ErrorKind::Retry, ErrorKind::Corrupt].contains(&error.kind())
}

impl World {
    async fn new(steps: Vec<Step>, script: &Script) -> Self {
        let texts = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        let adds = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        let below = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        Self::of(steps, texts, [adds, below])
    }

    fn of(steps: Vec<Step>, texts: ClientStore<u8, Text>, [adds, below]: [ClientStore<u8, Add>; 2]) -> Self {
        Self {
            steps,
            texts,
            adds,
            below,
            sink: VecSink::default(),
            run: HybridJob::new("test", batcher()).with_options(options(100, 2)),
        }
    }

    /// The job over these events, on both sides.
    fn tails(&self, events: &[Timed<Pair>]) -> Tails<Hybrid> {
        let source = HybridSource {
            history: Arc::new(VecSource::new(events.to_vec())),
            live: Arc::new(VecSource::new(events.to_vec())),
        };
        let stores = Stores::<Hybrid> {
            texts: self.texts.clone(),
            adds: self.adds.clone(),
            below: self.below.clone(),
        };
        let lookup: Arc<dyn Service<u8, Add>> = Arc::new(service());
        let sink: Arc<dyn Sink<Pair>> = Arc::new(self.sink.clone());
        job(&self.steps, source, lookup, stores, sink)
    }

    /// Live up to the end of these events, whatever fails.
    async fn live(&self, events: &[Timed<Pair>]) {
        while let Err(error) = self.run.run(&self.tails(events)).unwrap().join().await {
            assert!(is_fault(&error), "{error}");
        }
    }

    /// The batches from these events, whatever fails.
    async fn build(&self, events: &[Timed<Pair>], batches: Range<BatchId>) {
        while let Err(error) = self.run.build(&self.tails(events), batches.clone()).await {
            assert!(is_fault(&error), "{error}");
        }
    }

    async fn drop_covered(&self) {
        while self.texts.drop_covered().await.is_err() {}
        while self.adds.drop_covered().await.is_err() {}
        while self.below.drop_covered().await.is_err() {}
    }

    /// What the client reads; all of it is there.
    async fn read(&self, now: BatchId) -> Sums {
        let keys: Vec<u8> = (0..=20).collect();
        let texts = self.texts.multi_get(&keys, now).await.unwrap();
        let adds = self.adds.multi_get(&keys, now).await.unwrap();
        let below = self.below.multi_get(&keys, now).await.unwrap();
        assert!(texts.coverage.is_complete(), "{:?}", texts.coverage);
        assert_eq!(
            (&adds.coverage, &below.coverage),
            (&texts.coverage, &texts.coverage)
        );
        Sums {
            texts: by_key(&keys, texts),
            adds: by_key(&keys, adds),
            below: by_key(&keys, below),
        }
    }
}

fn by_key<V>(keys: &[u8], answer: Answer<V>) -> BTreeMap<u8, V> {
    let values = keys.iter().copied().zip(answer.values);
    values.filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Events in the order of arrival; their times are anywhere in batches −1 to 6.
fn events() -> impl Strategy<Value = Vec<Timed<Pair>>> {
    let event = (-LENGTH..7 * LENGTH, 0u8..6, -4i64..5);
    // Times rise on the whole, and are off by a few batches.
    prop::collection::vec(event, 0..60).prop_flat_map(|events| {
        (Just(events), 0i64..40).prop_map(|(mut events, spread)| {
            events.sort_by_key(|(time, _, v)| time + (v * 7919 + time * 31).rem_euclid(spread.max(1)));
            let timed = |(time, k, v)| (Timestamp(time), (k, Add(v)));
            events.into_iter().map(timed).collect()
        })
    })
}

/// At a moment: how many more events have come, the batches to build, and whether what is covered is dropped.
#[derive(Clone, Debug)]
struct Moment {
    events: usize,
    batches: i64,
    drops: bool,
}

fn moments() -> impl Strategy<Value = Vec<Moment>> {
    let moment = (0usize..30, 0i64..3, any::<bool>()).prop_map(|(events, batches, drops)| Moment {
        events,
        batches,
        drops,
    });
    prop::collection::vec(moment, 1..6)
}

fn before(events: &[Timed<Pair>], batches: Range<BatchId>) -> impl Iterator<Item = Timed<Pair>> + '_ {
    let within = move |(time, _): &&Timed<Pair>| batches.contains(&batcher().batch_of(*time));
    events.iter().filter(within).cloned()
}

const END: BatchId = BatchId(i64::MAX);

async fn check(world: &World, events: &[Timed<Pair>], moments: &[Moment]) {
    let (mut come, mut bound) = (0, FIRST);
    // What has gone into snapshots, in the order of batches.
    let mut history: Vec<Timed<Pair>> = Vec::new();
    for moment in moments {
        come = (come + moment.events).min(events.len());
        let now = &events[..come];
        world.live(now).await;
        let end = BatchId(bound.0 + moment.batches);
        if bound < end {
            world.build(now, bound..end).await;
            history.extend(before(now, bound..end));
            bound = end;
        }
        if moment.drops {
            world.drop_covered().await;
        }
        // Whatever came late: an answer is the history as it was built, and live from there on.
        let last = BatchId(bound.0.max(7));
        let sides = history.iter().cloned().chain(before(now, bound..END));
        assert_eq!(world.read(last).await, oracle(&world.steps, sides));
        // Nothing came late for what is built: batch = live = both.
        let all: Vec<_> = before(now, FIRST..END).collect();
        if before(now, FIRST..bound).count() == history.len() {
            assert_eq!(world.read(last).await, oracle(&world.steps, all));
        }
    }
    let sink: Vec<_> = world.sink.items();
    let twin: <Memory as Platform>::Sink<Pair> = Default::default();
    let stores = Stores::<Memory> {
        texts: Default::default(),
        adds: Default::default(),
        below: Default::default(),
    };
    Memory::run(&job(
        &world.steps,
        events[..come].to_vec(),
        service(),
        stores,
        twin.clone(),
    ));
    assert_eq!(sink, *twin.lock().unwrap(), "a sink takes the live elements");
}

fn script(faults: Vec<Fault>) -> Script {
    Arc::new(Mutex::new(faults.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn reads_are_the_sums_at_every_moment(
        steps in steps(), events in events(), moments in moments(), faults in faults(),
    ) {
        runtime().block_on(async {
            let world = World::new(steps, &script(faults)).await;
            check(&world, &events, &moments).await;
        });
    }

    /// History alone, live alone, and any cut between them.
    #[test]
    fn batch_is_live_is_both(
        steps in steps(), events in events(), cuts in prop::collection::btree_set(0i64..8, 0..4), faults in faults(),
    ) {
        runtime().block_on(async {
            let sums = oracle(&steps, events.clone());
            let faults = script(faults);
            let (batch, live) = (World::new(steps.clone(), &faults).await, World::new(steps.clone(), &faults).await);
            let both = World::new(steps, &faults).await;
            batch.build(&events, FIRST..BatchId(7)).await;
            prop_assert_eq!(&batch.read(BatchId(6)).await, &sums);
            live.live(&events).await;
            prop_assert_eq!(&live.read(BatchId(7)).await, &sums);
            let mut bound = FIRST;
            for cut in cuts {
                both.build(&events, bound..BatchId(cut)).await;
                bound = BatchId(cut);
            }
            both.live(&events).await;
            both.drop_covered().await;
            prop_assert_eq!(&both.read(BatchId(7)).await, &sums);
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn on_disk(steps in steps(), events in events(), moments in moments(), faults in faults()) {
        let folder = tempfile::tempdir().unwrap();
        let stores = Embedded::open(folder.path()).unwrap();
        let bytes = |name: &str| stores.store(name).unwrap();
        runtime().block_on(async {
            let script = script(faults);
            let (batch, live) = (Typed::new("a", bytes("a")), Typed::new("b", bytes("b")));
            let texts = client(Arc::new(batch), Arc::new(live), &script).await;
            let (batch, live) = (Typed::new("c", bytes("c")), Typed::new("d", bytes("d")));
            let adds = client(Arc::new(batch), Arc::new(live), &script).await;
            let (batch, live) = (Typed::new("e", bytes("e")), Typed::new("f", bytes("f")));
            let below = client(Arc::new(batch), Arc::new(live), &script).await;
            check(&World::of(steps, texts, [adds, below]), &events, &moments).await;
        });
    }
}

/// A crash before and after each commit of builds of two stores, of the live side and of dropping.
#[test]
fn a_crash_at_each_commit() {
    let events: Vec<Timed<Pair>> = (0..24)
        .map(|i| (Timestamp(i * 3), (i as u8 % 3, Add(i))))
        .collect();
    let mut over = false;
    for commit in 0.. {
        if over {
            break;
        }
        for applied in [false, true] {
            let mut faults = vec![Fault::None; commit];
            faults.push(Fault::Crash { applied });
            let script = script(faults);
            runtime().block_on(async {
                let world = World::new(Vec::new(), &script).await;
                world.build(&events, FIRST..BatchId(3)).await;
                world.live(&events).await;
                world.build(&events, BatchId(3)..BatchId(5)).await;
                world.drop_covered().await;
                assert_eq!(
                    world.read(BatchId(7)).await,
                    oracle(&[], events.clone()),
                    "commit={commit}"
                );
            });
            over = !script.lock().unwrap().is_empty();
        }
    }
    assert!(
        over,
        "every commit has been hit when the script is longer than the run"
    );
}

#[test]
fn what_cannot_be_built_is_told() {
    runtime().block_on(async {
        let world = World::new(Vec::new(), &script(Vec::new())).await;
        let source = HybridSource {
            history: Arc::new(VecSource::<Pair>::new([])),
            live: Arc::new(VecSource::new([])),
        };
        let pairs = Producer::<Hybrid, Pair>::source(source);
        let batches = FIRST..BatchId(1);
        let told = |error: Error, part: &str| {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(part), "{error}");
        };
        let twice = pairs
            .sum_by_key(world.adds.clone())
            .also(pairs.sum_by_key(world.adds.clone()));
        told(
            world.run.build(&twice, batches.clone()).await.unwrap_err(),
            "two sums write to one store",
        );
        told(
            world.run.run(&twice).err().unwrap(),
            "two sums write to one store",
        );
        let sink: Arc<dyn Sink<Pair>> = Arc::new(VecSink::default());
        told(
            world.run.build(&pairs.write(sink), batches).await.unwrap_err(),
            "nothing to build",
        );
        // One store does not fit: the other is not begun.
        world
            .run
            .build(&pairs.sum_by_key(world.adds.clone()), FIRST..BatchId(0))
            .await
            .unwrap();
        let error = world
            .run
            .build(&world.tails(&[]), FIRST..BatchId(1))
            .await
            .unwrap_err();
        told(error, "no holes");
        world
            .run
            .build(&world.tails(&[]), FIRST..BatchId(0))
            .await
            .unwrap();
        assert_eq!(world.read(BatchId(0)).await, Sums::default());
        // What reads from a sum cannot begin later than the sum.
        let mut world = World::new(Vec::new(), &script(Vec::new())).await;
        let events = [(Timestamp(0), (0, Add(1)))];
        world.live(&events).await;
        world.below = client(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryStore::new()),
            &script(Vec::new()),
        )
        .await;
        let error = world
            .run
            .run(&world.tails(&events))
            .unwrap()
            .join()
            .await
            .unwrap_err();
        told(error, "behind a sum");
    });
}

#[test]
fn a_join_with_its_own_sum_is_refused() {
    fn job<P: Platform>(numbers: &Producer<P, (u8, i64)>, sums: P::Store<u8, i64>) -> impl Tail<P> + use<P> {
        numbers.left_join_and_sum(sums, |number, _| Some(number))
    }
    let versions: Arc<dyn Store<u8, flow::Versions<i64>>> = Arc::new(MemoryStore::new());
    let snapshots = Snapshots::new(versions, SnapshotOptions::default()).unwrap();
    let live = Live::new(Arc::new(MemoryStore::new()), BatchId(0));
    let source: Arc<dyn flow::Source<(u8, i64)>> = Arc::new(VecSource::new([]));
    let source = HybridSource {
        history: source.clone(),
        live: source,
    };
    let tail = job::<Hybrid>(&Producer::source(source), ClientStore::new(snapshots, live));
    let error = HybridJob::new("sums", Batcher::unit()).run(&tail).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("run it on `Local`"), "{error}");
}
