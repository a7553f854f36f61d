//! The generated job, its stores on both sides, and its twin over plain collections.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use flow::{
    Answer, BatchId, Batcher, ClientStore, Error, ErrorKind, Hybrid, HybridJob, HybridSource, Live, Memory,
    Platform, Producer, Service, Sink, SnapshotOptions, Snapshots, Tail, Tails, VecSink, VecSource,
};
use proptest::prelude::*;
use store::{MemoryStore, Store};

use crate::faulty::FaultyStore;
use crate::kit::{Add, Pair, Script, Text, Timed, options, service};

pub(super) const LENGTH: i64 = 10;

pub(super) fn batcher() -> Batcher {
    Batcher::every(Duration::from_millis(LENGTH as u64)).unwrap()
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Map(i64),
    Filter(u8),
    FlatMap(u8),
    Keys(u8),
    Lookup,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (-3i64..4).prop_map(Step::Map),
        (2u8..5).prop_map(Step::Filter),
        (0u8..3).prop_map(Step::FlatMap),
        (1u8..4).prop_map(Step::Keys),
        Just(Step::Lookup),
    ];
    prop::collection::vec(step, 0..5)
}

pub(super) struct Stores<P: Platform> {
    pub(super) texts: P::Store<u8, Text>,
    pub(super) adds: P::Store<u8, Add>,
    pub(super) below: P::Store<u8, Add>,
}

/// A sum that keeps the order of its elements, one that does not, of twice the elements, the sum of its deltas, and a
/// sink.
pub(super) fn job<P: Platform>(
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
pub(super) struct Sums {
    pub(super) texts: BTreeMap<u8, Text>,
    pub(super) adds: BTreeMap<u8, Add>,
    pub(super) below: BTreeMap<u8, Add>,
}

/// What plain collections say: the events in the order of their batches, and as they came within one.
pub(super) fn oracle(steps: &[Step], events: impl IntoIterator<Item = Timed<Pair>>) -> Sums {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|(time, _)| batcher().batch_of(*time));
    let stores = Stores::<Memory> {
        texts: Default::default(),
        adds: Default::default(),
        below: Default::default(),
    };
    let (texts, adds, below) = (stores.texts.clone(), stores.adds.clone(), stores.below.clone());
    Memory::run(&job(steps, events, service(), stores, Default::default()));
    Sums {
        texts: texts.lock().unwrap().clone(),
        adds: adds.lock().unwrap().clone(),
        below: below.lock().unwrap().clone(),
    }
}

/// One hybrid world; its stores fail by the script.
pub(super) struct World {
    pub(super) steps: Vec<Step>,
    pub(super) texts: ClientStore<u8, Text>,
    pub(super) adds: ClientStore<u8, Add>,
    pub(super) below: ClientStore<u8, Add>,
    pub(super) sink: VecSink<Pair>,
    pub(super) run: HybridJob,
}

/// The first batch that is kept.
pub(super) const FIRST: BatchId = BatchId(-1);

pub(super) async fn client<V: flow::Value>(
    batch: Arc<dyn Store<u8, flow::Versions<V>>>,
    live: Arc<dyn Store<(u8, BatchId), V>>,
    script: &Script,
) -> ClientStore<u8, V> {
    let snapshots = Snapshots::new(batch.clone(), SnapshotOptions::default()).unwrap();
    snapshots.begin_empty(FIRST).await.unwrap();
    let snapshots = Snapshots::new(FaultyStore::over(batch, script), SnapshotOptions::default()).unwrap();
    ClientStore::new(snapshots, Live::new(FaultyStore::over(live, script), FIRST))
}

pub(super) fn is_fault(error: &Error) -> bool {
    [ErrorKind::Retry, ErrorKind::Corrupt].contains(&error.kind())
}

impl World {
    pub(super) async fn new(steps: Vec<Step>, script: &Script) -> Self {
        let texts = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        let adds = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        let below = client(Arc::new(MemoryStore::new()), Arc::new(MemoryStore::new()), script).await;
        Self::of(steps, texts, [adds, below])
    }

    pub(super) fn of(
        steps: Vec<Step>,
        texts: ClientStore<u8, Text>,
        [adds, below]: [ClientStore<u8, Add>; 2],
    ) -> Self {
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
    pub(super) fn tails(&self, events: &[Timed<Pair>]) -> Tails<Hybrid> {
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
    pub(super) async fn live(&self, events: &[Timed<Pair>]) {
        while let Err(error) = self.run.run(&self.tails(events)).unwrap().join().await {
            assert!(is_fault(&error), "{error}");
        }
    }

    /// The batches from these events, whatever fails.
    pub(super) async fn build(&self, events: &[Timed<Pair>], batches: Range<BatchId>) {
        while let Err(error) = self.run.build(&self.tails(events), batches.clone()).await {
            assert!(is_fault(&error), "{error}");
        }
    }

    pub(super) async fn drop_covered(&self) {
        while self.texts.drop_covered().await.is_err() {}
        while self.adds.drop_covered().await.is_err() {}
        while self.below.drop_covered().await.is_err() {}
    }

    /// What the client reads; all of it is there.
    pub(super) async fn read(&self, now: BatchId) -> Sums {
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
