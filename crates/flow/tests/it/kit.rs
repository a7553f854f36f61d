//! One set of sources, stores, sinks and services, for `Memory` and for `Local`, and faults for the latter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use algebra::Semigroup;
use async_trait::async_trait;
use flow::{
    Element, Error, ErrorKind, JobOptions, Key, Local, Memory, Platform, Recent, Result, Sink, Slice, Source,
    Tails, Timestamp, Value, VecSource,
};
use store::{Addition, Commit, MemoryStore, Progress, Store};

#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub(crate) struct Add(pub(crate) i64);

impl Semigroup for Add {
    fn plus(&mut self, right: Self) {
        self.0 = self.0.wrapping_add(right.0);
    }
}

/// Concatenation: does not commute.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Text(pub(crate) String);

impl Semigroup for Text {
    fn plus(&mut self, right: Self) {
        self.0.push_str(&right.0);
    }
}

/// What flows in the generated jobs: a key and a value.
pub(crate) type Pair = (u8, Add);
pub(crate) type Timed<T> = (Timestamp, T);

pub(crate) fn timed<T>(items: impl IntoIterator<Item = T>) -> Vec<Timed<T>> {
    (0..).map(Timestamp).zip(items).collect()
}

/// Where the generated jobs read and write, by number.
pub(crate) trait Kit {
    type P: Platform;
    fn source(&self, n: usize) -> <Self::P as Platform>::Source<Pair>;
    fn store(&self, n: usize) -> <Self::P as Platform>::Store<u8, Add>;
    fn sink(&self, n: usize) -> <Self::P as Platform>::Sink<Pair>;
    /// A store of sums over time; there is one.
    fn recent(&self) -> <Self::P as Platform>::Store<u8, Recent<Add, 9>>;
    fn service(&self) -> <Self::P as Platform>::Service<u8, Add>;
}

pub(crate) fn service() -> BTreeMap<u8, Add> {
    (0..4).map(|key| (key * 2, Add(i64::from(key) + 10))).collect()
}

/// What all stores and sinks hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct World {
    pub(crate) stores: Vec<BTreeMap<u8, Add>>,
    pub(crate) sinks: Vec<Vec<Timed<Pair>>>,
}

type Shared<T> = Arc<Mutex<T>>;

pub(crate) struct MemoryKit {
    pub(crate) inputs: Vec<Vec<Timed<Pair>>>,
    pub(crate) stores: Vec<Shared<BTreeMap<u8, Add>>>,
    pub(crate) sinks: Vec<Shared<Vec<Timed<Pair>>>>,
    recent: Shared<BTreeMap<u8, Recent<Add, 9>>>,
}

impl MemoryKit {
    pub(crate) fn new(inputs: Vec<Vec<Timed<Pair>>>, targets: usize) -> Self {
        let (stores, sinks) = (0..targets).map(|_| <(Shared<_>, Shared<_>)>::default()).unzip();
        Self {
            inputs,
            stores,
            sinks,
            recent: Shared::default(),
        }
    }

    pub(crate) fn world(&self) -> World {
        World {
            stores: self
                .stores
                .iter()
                .map(|store| store.lock().unwrap().clone())
                .collect(),
            sinks: self
                .sinks
                .iter()
                .map(|sink| sink.lock().unwrap().clone())
                .collect(),
        }
    }
}

impl Kit for MemoryKit {
    type P = Memory;
    fn source(&self, n: usize) -> Vec<Timed<Pair>> {
        self.inputs[n].clone()
    }
    fn store(&self, n: usize) -> Shared<BTreeMap<u8, Add>> {
        self.stores[n].clone()
    }
    fn sink(&self, n: usize) -> Shared<Vec<Timed<Pair>>> {
        self.sinks[n].clone()
    }
    fn recent(&self) -> Shared<BTreeMap<u8, Recent<Add, 9>>> {
        self.recent.clone()
    }
    fn service(&self) -> BTreeMap<u8, Add> {
        service()
    }
}

/// What happens at a commit or a write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Fails before or after it took effect; the job goes on by itself.
    Retry {
        applied: bool,
    },
    /// The process dies before or after it took effect.
    Crash {
        applied: bool,
    },
}

/// The faults to come, over all stores and sinks; none when the script is over.
pub(crate) type Script = Arc<Mutex<VecDeque<Fault>>>;

/// A store or a sink at whose commits and writes the script's faults happen.
pub(crate) struct Faulty<S> {
    pub(crate) inner: S,
    pub(crate) script: Script,
}

impl<S> Faulty<S> {
    fn next(&self) -> Fault {
        self.script.lock().unwrap().pop_front().unwrap_or(Fault::None)
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Store<K, V>> Store<K, V> for Faulty<S> {
    async fn multi_get(&self, keys: &[K]) -> store::Result<Vec<Option<V>>> {
        self.inner.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<K, V>) -> store::Result<()> {
        let fault = self.next();
        if let Fault::None | Fault::Retry { applied: true } | Fault::Crash { applied: true } = fault {
            self.inner.commit(commit).await?;
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Retry { .. } => Err(store::Error::new(store::ErrorKind::Retry, "the store is away")),
            Fault::Crash { .. } => Err(store::Error::new(store::ErrorKind::Corrupt, "crash")),
        }
    }
    async fn add(&self, addition: Addition<K, V>) -> store::Result<()> {
        let fault = self.next();
        if let Fault::None | Fault::Retry { applied: true } | Fault::Crash { applied: true } = fault {
            self.inner.add(addition).await?;
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Retry { .. } => Err(store::Error::new(store::ErrorKind::Retry, "the store is away")),
            Fault::Crash { .. } => Err(store::Error::new(store::ErrorKind::Corrupt, "crash")),
        }
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.inner.progress().await
    }
    async fn scan(&self, after: Option<&K>, limit: usize) -> store::Result<Vec<(K, V)>> {
        self.inner.scan(after, limit).await
    }
}

#[async_trait]
impl<T: Element, S: Sink<T>> Sink<T> for Faulty<S> {
    async fn progress(&self) -> Result<Option<Progress>> {
        self.inner.progress().await
    }
    async fn write(&self, items: Vec<Timed<T>>, progress: &Progress) -> Result<()> {
        let fault = self.next();
        if let Fault::None | Fault::Retry { applied: true } | Fault::Crash { applied: true } = fault {
            self.inner.write(items, progress).await?;
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Retry { .. } => Err(Error::new(ErrorKind::Retry, "the sink is away")),
            Fault::Crash { .. } => Err(Error::new(ErrorKind::Corrupt, "crash")),
        }
    }
}

/// A sink that keeps what it took at each `keep_every`-th write and forgets the rest in a crash.
#[derive(Clone)]
pub(crate) struct TestSink {
    state: Shared<SinkState>,
    keep_every: usize,
}

#[derive(Clone, Default)]
struct SinkState {
    items: Vec<Timed<Pair>>,
    progress: Option<Progress>,
    writes: usize,
    /// How many items there were after each write: where epochs ended.
    cuts: Vec<usize>,
    kept: (usize, Option<Progress>),
}

impl TestSink {
    fn new(keep_every: usize) -> Self {
        Self {
            state: Shared::default(),
            keep_every,
        }
    }
    fn crash(&self) {
        let mut state = self.state.lock().unwrap();
        let (len, progress) = state.kept.clone();
        state.items.truncate(len);
        state.cuts.retain(|cut| *cut <= len);
        state.progress = progress;
    }
}

#[async_trait]
impl Sink<Pair> for TestSink {
    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.state.lock().unwrap().progress.clone())
    }
    async fn write(&self, items: Vec<Timed<Pair>>, progress: &Progress) -> Result<()> {
        let mut state = self.state.lock().unwrap();
        assert_ne!(
            state.progress.as_ref(),
            Some(progress),
            "an epoch must be written once"
        );
        state.items.extend(items);
        state.progress = Some(progress.clone());
        state.writes += 1;
        let cut = state.items.len();
        state.cuts.push(cut);
        if state.writes.is_multiple_of(self.keep_every) {
            state.kept = (state.items.len(), state.progress.clone());
        }
        Ok(())
    }
}

struct Ragged {
    inner: VecSource<Pair>,
    divisors: Vec<usize>,
    reads: AtomicUsize,
}

#[async_trait]
impl Source<Pair> for Ragged {
    async fn start(&self) -> Result<Progress> {
        self.inner.start().await
    }
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<Pair>>>> {
        let read = self.reads.fetch_add(1, Ordering::Relaxed);
        let bytes_max = bytes_max / self.divisors[read % self.divisors.len()];
        self.inner.read(from, until, bytes_max).await
    }
}

pub(crate) struct LocalKit {
    inputs: Vec<Vec<Timed<Pair>>>,
    stores: Vec<MemoryStore<u8, Add>>,
    sinks: Vec<TestSink>,
    /// Stores and sinks as the job sees them: the same handles at each run.
    seen: RefCell<BTreeMap<usize, Arc<dyn Store<u8, Add>>>>,
    recent: Arc<dyn Store<u8, Recent<Add, 9>>>,
    script: Script,
    /// What each read's size is divided by, in turn.
    divisors: Vec<usize>,
}

impl LocalKit {
    /// `volatile(n)`: at which writes the n-th sink keeps what it took.
    pub(crate) fn new(
        inputs: Vec<Vec<Timed<Pair>>>,
        targets: usize,
        script: Vec<Fault>,
        volatile: impl Fn(usize) -> usize,
    ) -> Self {
        let script: Script = Arc::new(Mutex::new(script.into()));
        let recent = Faulty {
            inner: MemoryStore::new(),
            script: script.clone(),
        };
        Self {
            inputs,
            recent: Arc::new(recent),
            stores: (0..targets).map(|_| MemoryStore::new()).collect(),
            sinks: (0..targets).map(|n| TestSink::new(volatile(n))).collect(),
            seen: RefCell::default(),
            script,
            divisors: vec![1],
        }
    }

    /// The same, with sources whose reads are of other lengths each time.
    pub(crate) fn ragged(self, divisors: Vec<usize>) -> Self {
        Self { divisors, ..self }
    }

    /// The same stores and sinks, with other sources.
    pub(crate) fn with_inputs(self, inputs: Vec<Vec<Timed<Pair>>>) -> Self {
        Self { inputs, ..self }
    }

    pub(crate) fn world(&self) -> World {
        World {
            stores: self
                .stores
                .iter()
                .map(|store| store.entries().into_iter().collect())
                .collect(),
            sinks: self
                .sinks
                .iter()
                .map(|sink| sink.state.lock().unwrap().items.clone())
                .collect(),
        }
    }

    /// Where the epochs of a sink ended.
    pub(crate) fn cuts(&self, sink: usize) -> Vec<usize> {
        self.sinks[sink].state.lock().unwrap().cuts.clone()
    }

    /// Runs until the input has ended, again after each crash; returns how often it crashed.
    pub(crate) async fn run(&self, tails: &Tails<Local>, options: &JobOptions) -> usize {
        self.run_as(tails, |_| options.clone()).await
    }

    /// As [`run`](Self::run), after each crash with the options for that many.
    pub(crate) async fn run_as(&self, tails: &Tails<Local>, options: impl Fn(usize) -> JobOptions) -> usize {
        let mut crashes = 0;
        loop {
            match Local::run("test", tails, options(crashes)).unwrap().join().await {
                Ok(()) => return crashes,
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    crashes += 1;
                    self.sinks.iter().for_each(TestSink::crash);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Kit for LocalKit {
    type P = Local;
    fn source(&self, n: usize) -> Arc<dyn Source<Pair>> {
        Arc::new(Ragged {
            inner: VecSource::new(self.inputs[n].clone()),
            divisors: self.divisors.clone(),
            reads: AtomicUsize::new(n),
        })
    }
    fn store(&self, n: usize) -> Arc<dyn Store<u8, Add>> {
        let faulty = || {
            Arc::new(Faulty {
                inner: self.stores[n].clone(),
                script: self.script.clone(),
            }) as _
        };
        self.seen.borrow_mut().entry(n).or_insert_with(faulty).clone()
    }
    fn sink(&self, n: usize) -> Arc<dyn Sink<Pair>> {
        Arc::new(Faulty {
            inner: self.sinks[n].clone(),
            script: self.script.clone(),
        })
    }
    fn recent(&self) -> Arc<dyn Store<u8, Recent<Add, 9>>> {
        self.recent.clone()
    }
    fn service(&self) -> Arc<dyn flow::Service<u8, Add>> {
        Arc::new(service())
    }
}

/// Options for tests: epochs of `epoch_bytes_max`, no waiting after failures.
pub(crate) fn options(epoch_bytes_max: usize, parallelism: usize) -> JobOptions {
    JobOptions {
        epoch_bytes_max,
        parallelism,
        retry_wait_min: Duration::ZERO,
        retry_wait_max: Duration::ZERO,
        ..JobOptions::default()
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}
