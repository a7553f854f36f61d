//! A job with one store in generations, two definitions of it, and their twin over plain collections.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use flow::{
    BatchId, Batcher, ClientStore, Error, ErrorKind, Generation, GenerationState, GenerationStore,
    Generations, Hybrid, HybridJob, HybridSource, Job, Live, Platform, Producer, Result, Sink, Slice,
    SnapshotOptions, Snapshots, Source, Tail, Tails, Timestamp, VecSink, VecSource, Versions,
};
use store::{MemoryStore, Progress};
use tokio::sync::watch;

use crate::faulty::FaultyStore;
use crate::kit::{Add, Fault, Pair, Script, Timed, options};

pub(super) const KEYS: u8 = 4;

#[derive(Clone, Copy, Debug)]
pub(super) struct Definition {
    pub(super) name: &'static str,
    factor: i64,
    batch_ms: u64,
}

pub(super) const OLD: Definition = Definition {
    name: "old",
    factor: 1,
    batch_ms: 10,
};
/// Other sums by other batches.
pub(super) const NEW: Definition = Definition {
    name: "new",
    factor: 1_000_000,
    batch_ms: 7,
};

impl Definition {
    /// The same under another name.
    pub(super) fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    pub(super) fn batcher(self) -> Batcher {
        Batcher::every(Duration::from_millis(self.batch_ms)).unwrap()
    }
}

/// What is built of history: about half of all times.
pub(super) fn batches(definition: Definition) -> Range<BatchId> {
    BatchId(0)..definition.batcher().batch_of(Timestamp(50))
}

pub(super) fn oracle<'a>(
    definition: Definition,
    events: impl IntoIterator<Item = &'a Timed<Pair>>,
) -> Vec<Option<Add>> {
    let mut sums = BTreeMap::<u8, i64>::new();
    for (_, (key, Add(n))) in events {
        *sums.entry(*key).or_default() += n * definition.factor;
    }
    (0..KEYS).map(|key| sums.get(&key).copied().map(Add)).collect()
}

fn job<P: Platform>(definition: Definition, pairs: Producer<P, Pair>, sums: P::Store<u8, Add>) -> Tails<P> {
    pairs
        .map_values(move |Add(n)| Add(n * definition.factor))
        .sum_by_key(sums)
        .ends()
}

pub(super) fn is_fault(error: &Error) -> bool {
    [ErrorKind::Retry, ErrorKind::Corrupt].contains(&error.kind())
}

/// The elements of a vector as they are fed.
pub(super) struct Fed {
    inner: VecSource<Pair>,
    end: watch::Receiver<u64>,
}

impl Fed {
    pub(super) fn over(inner: VecSource<Pair>) -> (watch::Sender<u64>, Arc<dyn Source<Pair>>) {
        let (sender, end) = watch::channel(0);
        (sender, Arc::new(Self { inner, end }))
    }
}

#[async_trait]
impl Source<Pair> for Fed {
    async fn start(&self) -> Result<Progress> {
        self.inner.start().await
    }
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<Pair>>>> {
        let start = from.of("0");
        let end = match self.end.clone().wait_for(|end| *end > start).await {
            Ok(end) => *end,
            Err(_) => u64::MAX,
        };
        let end = until.map_or(end, |until| end.min(until.of("0")));
        self.inner
            .read(from, Some(&Progress::from_iter([("0", end)])), bytes_max)
            .await
    }
}

type Sides = (MemoryStore<u8, Versions<Add>>, MemoryStore<(u8, BatchId), Add>);

/// The stores of all generations, which fail by the script.
#[derive(Clone)]
pub(super) struct World {
    pub(super) generations: Generations,
    pub(super) store: GenerationStore<u8, Add>,
    pub(super) script: Script,
    sides: Arc<Mutex<BTreeMap<Generation, Sides>>>,
}

impl World {
    pub(super) fn new(faults: Vec<Fault>) -> Self {
        let script: Script = Arc::new(Mutex::new(faults.into()));
        let pointer = Arc::new(MemoryStore::<String, GenerationState>::new());
        let generations = Generations::new(FaultyStore::over(pointer, &script), "sums");
        let sides = Arc::new(Mutex::new(BTreeMap::<Generation, Sides>::new()));
        let store = generations.store({
            let (script, sides) = (script.clone(), sides.clone());
            move |generation| {
                let (batch, live) = sides.lock().unwrap().entry(generation).or_default().clone();
                let definition = if generation == Generation(0) { OLD } else { NEW };
                let batch = FaultyStore::over(Arc::new(batch), &script);
                let live = FaultyStore::over(Arc::new(live), &script);
                let snapshots = Snapshots::new(batch, SnapshotOptions::default())?;
                let live = Live::new(live, BatchId(i64::MIN));
                Ok(ClientStore::new(snapshots, live).with_batcher(&definition.batcher()))
            }
        });
        Self {
            generations,
            store,
            script,
            sides,
        }
    }

    /// How many values are kept for a generation.
    pub(super) fn entries(&self, generation: Generation) -> usize {
        let sides = self.sides.lock().unwrap();
        sides
            .get(&generation)
            .map_or(0, |(batch, live)| batch.entries().len() + live.entries().len())
    }

    pub(super) fn job(&self, definition: Definition) -> HybridJob {
        HybridJob::new("sums", definition.batcher()).with_options(options(100, 2))
    }

    pub(super) fn tail(
        &self,
        definition: Definition,
        generation: Generation,
        history: Arc<dyn Source<Pair>>,
        live: Arc<dyn Source<Pair>>,
    ) -> Result<Tails<Hybrid>> {
        let pairs = Producer::source(HybridSource { history, live });
        Ok(job(definition, pairs, self.store.at(generation)?))
    }

    /// Over a vector that ends.
    pub(super) fn bounded(
        &self,
        definition: Definition,
        generation: Generation,
        events: &[Timed<Pair>],
    ) -> Tails<Hybrid> {
        let events: Arc<dyn Source<Pair>> = Arc::new(VecSource::new(events.to_vec()));
        self.tail(definition, generation, events.clone(), events).unwrap()
    }

    /// The first snapshot of generation 0, and its live side.
    pub(super) async fn live(
        &self,
        definition: Definition,
        generation: Generation,
        live: Arc<dyn Source<Pair>>,
    ) -> Job {
        let snapshots = self.store.at(generation).unwrap().snapshots().clone();
        while let Err(error) = snapshots.begin_empty(batches(definition).start).await {
            assert!(is_fault(&error), "{error}");
        }
        let history = Arc::new(VecSource::new([]));
        let tail = self.tail(definition, generation, history, live).unwrap();
        self.job(definition).run(&tail).unwrap()
    }

    pub(super) async fn live_to_end(
        &self,
        definition: Definition,
        generation: Generation,
        events: &[Timed<Pair>],
    ) {
        let events = Arc::new(VecSource::new(events.to_vec()));
        while let Err(error) = self
            .live(definition, generation, events.clone())
            .await
            .join()
            .await
        {
            assert!(is_fault(&error), "{error}");
        }
    }

    /// Generation 0: live, and the first half of all times built.
    pub(super) async fn fill_first(&self, events: &[Timed<Pair>]) {
        self.live_to_end(OLD, Generation(0), events).await;
        let tail = self.bounded(OLD, Generation(0), events);
        while let Err(error) = self.job(OLD).build(&tail, batches(OLD)).await {
            assert!(is_fault(&error), "{error}");
        }
        while let Err(error) = self.store.at(Generation(0)).unwrap().drop_covered().await {
            assert!(is_fault(&error), "{error}");
        }
    }

    /// One attempt; its live side is at its end after it.
    pub(super) async fn try_backfill(&self, definition: Definition, events: &[Timed<Pair>]) -> Result<()> {
        let tail = |generation| Ok(self.bounded(definition, generation, events));
        let job = self.job(definition);
        let mut live = job
            .backfill(&self.generations, definition.name, batches(definition), tail)
            .await?;
        live.join().await
    }

    /// Whatever fails.
    pub(super) async fn backfill(&self, definition: Definition, events: &[Timed<Pair>]) {
        while let Err(error) = self.try_backfill(definition, events).await {
            assert!(is_fault(&error), "{error}");
        }
    }

    pub(super) async fn backfill_with_sink(&self, events: &[Timed<Pair>]) -> Result<Job> {
        let tail = |generation| {
            let events: Arc<dyn Source<Pair>> = Arc::new(VecSource::new(events.to_vec()));
            let pairs = Producer::source(HybridSource {
                history: events.clone(),
                live: events,
            });
            let sink: Arc<dyn Sink<Pair>> = Arc::new(VecSink::default());
            let sums = job(NEW, pairs.clone(), self.store.at(generation)?);
            Ok(sums.also(pairs.write(sink)))
        };
        self.job(NEW)
            .backfill(&self.generations, "with a sink", batches(NEW), tail)
            .await
    }

    /// What a reader gets: all there is.
    pub(super) async fn read(&self) -> (Generation, Vec<Option<Add>>) {
        let keys: Vec<u8> = (0..KEYS).collect();
        let (generation, answer) = self.store.multi_get(&keys, Timestamp(200)).await.unwrap();
        assert!(answer.coverage.is_complete(), "{:?}", answer.coverage);
        (generation, answer.values)
    }
}
