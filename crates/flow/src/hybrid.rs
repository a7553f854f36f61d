//! The platform of two sides: history in batch up to a cut, and live after it, from one definition of the job.
//!
//! Each side is the job on [`Local`](crate::Local). Its sums are by key and batch of event time: the batch side's in a
//! [`Build`] of the store's snapshots, the live side's in its [`Live`](crate::Live) store. Who reads adds them up: see
//! [`ClientStore`] for why the cut is exact.
//!
//! | | batch side | live side |
//! |---|---|---|
//! | source | `history`, which ends, without what is outside the batches | `live` |
//! | sum | by key and batch, into the next snapshot | by key and batch |
//! | write | nothing: sinks are the live side's | into the sink |
//! | look-up | the service | the service |
//!
//! What a sum hands on is by batch as well: the value before is that of the key in the element's batch, so what reads
//! from a sum here sees other befores than on `Memory`. The sums themselves are the same as there, with the elements in
//! the order of their batches.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;

use crate::local::{Job, JobOptions, LocalPlan, Stream};
use crate::platform::{DeltaFn, FlatMapFn, JoinedSum, KeyFn, Summed};
use crate::{
    BatchId, Batcher, Build, ClientStore, Element, Error, ErrorKind, Joined, Key, Local, NodeInfo, Platform,
    Result, Service, Sink, Source, Tail, Timestamp, Value, Within,
};

/// Batch ⊕ live; run by a [`HybridJob`].
pub enum Hybrid {}

/// The same elements from two places.
pub struct HybridSource<T> {
    /// Ends; has all elements of the batches that are built.
    pub history: Arc<dyn Source<T>>,
    /// Goes on; has all elements from the floor of the live stores on.
    pub live: Arc<dyn Source<T>>,
}

impl<T> Clone for HybridSource<T> {
    fn clone(&self) -> Self {
        Self {
            history: self.history.clone(),
            live: self.live.clone(),
        }
    }
}

/// How a hybrid job runs.
#[derive(Clone, Debug)]
pub struct HybridJob {
    name: String,
    batcher: Batcher,
    options: JobOptions,
}

impl HybridJob {
    /// A job of a name, for errors, whose sums are kept by the batches of `batcher`.
    pub fn new(name: impl Into<String>, batcher: Batcher) -> Self {
        Self {
            name: name.into(),
            batcher,
            options: JobOptions::default(),
        }
    }

    /// How each side runs.
    pub fn with_options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs the batch side over `batches`, which follow the newest snapshots, and publishes the next ones, store by
    /// store. After a crash, call it again: it goes on from where it was. The live side may run meanwhile. Afterwards
    /// [`ClientStore::drop_covered`] drops what the live side need not keep.
    ///
    /// # Errors
    /// `Invalid` when the job has no sum, sums twice into one store, or the batches do not follow; and as
    /// [`Job::join`].
    pub async fn build(&self, tail: &impl Tail<Hybrid>, batches: Range<BatchId>) -> Result<()> {
        let times = self.batcher.interval_of_all(&batches);
        let (local, builds) = self.lower(tail, Side::Batch { times, batches })?;
        if builds.is_empty() {
            let text = format!(
                "a job without sums has nothing to build: run it live alone job={}",
                self.name
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        // All of them fit before one begins: a build that begins binds its store to these batches.
        for build in &builds {
            build.check_due().await?;
        }
        let mut open = false;
        for build in &builds {
            open |= build.open().await?;
        }
        if open {
            Job::spawn(&self.name, local, self.options.clone())?
                .join()
                .await?;
        }
        for build in &builds {
            build.publish().await?;
        }
        Ok(())
    }

    /// Starts the live side; as [`Local::run`].
    ///
    /// # Errors
    /// `Invalid` when two tails write to one store or sink, or two sources have one name.
    pub fn run(&self, tail: &impl Tail<Hybrid>) -> Result<Job> {
        let (local, _) = self.lower(tail, Side::Live)?;
        Job::spawn(&self.name, local, self.options.clone())
    }

    fn lower(&self, tail: &impl Tail<Hybrid>, side: Side) -> Result<(LocalPlan, Vec<Arc<dyn AnyBuild>>)> {
        let mut plan = HybridPlan {
            local: LocalPlan::default(),
            batcher: self.batcher.clone(),
            side,
            builds: Vec::new(),
            stores: HashSet::new(),
            problem: None,
        };
        plan.local.graph = tail.lower(&mut plan, &self.options.plan)?;
        match plan.problem {
            Some(problem) => Err(Error::new(
                ErrorKind::Invalid,
                format!("{problem} job={}", self.name),
            )),
            None => Ok((plan.local, plan.builds)),
        }
    }
}

enum Side {
    Batch {
        times: Range<Timestamp>,
        batches: Range<BatchId>,
    },
    Live,
}

/// One side of a job while it is lowered.
pub struct HybridPlan {
    local: LocalPlan,
    batcher: Batcher,
    side: Side,
    builds: Vec<Arc<dyn AnyBuild>>,
    /// Addresses of stores, to find what is written to twice.
    stores: HashSet<usize>,
    problem: Option<String>,
}

/// A [`Build`] whose types only its sum knows.
#[async_trait]
trait AnyBuild: Send + Sync {
    async fn check_due(&self) -> Result<()>;
    /// Begins or resumes it; whether the job has to run.
    async fn open(&self) -> Result<bool>;
    async fn publish(&self) -> Result<()>;
}

#[async_trait]
impl<K: Key, V: Value> AnyBuild for Build<K, V> {
    async fn check_due(&self) -> Result<()> {
        Build::check_due(self).await
    }

    async fn open(&self) -> Result<bool> {
        self.begin().await?;
        Ok(!self.is_closed().await?)
    }

    async fn publish(&self) -> Result<()> {
        Build::publish(self).await
    }
}

impl Platform for Hybrid {
    type Source<T: Element> = HybridSource<T>;
    type Store<K: Key, V: Value> = ClientStore<K, V>;
    type Sink<T: Element> = Arc<dyn Sink<T>>;
    type Service<K: Key, V: Element> = Arc<dyn Service<K, V>>;
    type Stream<T: Element> = Stream<T>;
    type Plan = HybridPlan;

    fn source<T: Element>(plan: &mut HybridPlan, node: &NodeInfo, source: &HybridSource<T>) -> Stream<T> {
        let source = match &plan.side {
            Side::Batch { times, .. } => Arc::new(Within::new(source.history.clone(), times.clone())),
            Side::Live => source.live.clone(),
        };
        Local::source(&mut plan.local, node, &source)
    }

    fn flat_map<T: Element, U: Element>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        input: Stream<T>,
        function: &FlatMapFn<T, U>,
    ) -> Stream<U> {
        Local::flat_map(&mut plan.local, node, input, function)
    }

    fn merge<T: Element>(plan: &mut HybridPlan, node: &NodeInfo, sides: Vec<Stream<T>>) -> Stream<T> {
        Local::merge(&mut plan.local, node, sides)
    }

    fn lookup<T: Element, K: Key, V: Element>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        input: Stream<T>,
        key: &KeyFn<T, K>,
        service: &Arc<dyn Service<K, V>>,
    ) -> Stream<(T, Option<V>)> {
        Local::lookup(&mut plan.local, node, input, key, service)
    }

    fn sum_by_key<K: Key, V: Value>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        input: Stream<(K, V)>,
        store: &ClientStore<K, V>,
    ) -> Stream<Summed<K, V>> {
        if !plan.stores.insert(store.snapshots().address()) {
            let text = "two sums write to one store: merge their producers and sum once";
            plan.problem = Some(format!("{text} tail={}", node.label()));
        }
        let sums: Arc<dyn store::Store<(K, BatchId), V>> = match &plan.side {
            Side::Batch { batches, .. } => {
                let build = Build::new(store.snapshots().clone(), batches.clone());
                plan.builds.push(Arc::new(build.clone()));
                Arc::new(build)
            }
            Side::Live => Arc::new(store.live().clone()),
        };
        let batcher = plan.batcher.clone();
        let into: FlatMapFn<(K, V), ((K, BatchId), V)> = Arc::new(move |time, (key, value), emit| {
            emit(((key, batcher.batch_of(time)), value));
        });
        let out: FlatMapFn<Summed<(K, BatchId), V>, Summed<K, V>> =
            Arc::new(|_, ((key, _), summed), emit| emit((key, summed)));
        let batched = Local::flat_map(&mut plan.local, node, input, &into);
        let summed = Local::sum_by_key(&mut plan.local, node, batched, &sums);
        // What follows reads from the sum: that is all that is asked of the parents of a node.
        let after = NodeInfo {
            parents: vec![node.id],
            ..node.clone()
        };
        Local::flat_map(&mut plan.local, &after, summed, &out)
    }

    fn left_join_sum<K: Key, V: Element, J: Value>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        left: Stream<(K, V)>,
        _: JoinedSum<'_, Self, K, J>,
    ) -> Stream<Joined<K, V, J>> {
        refused_join(plan, node, left)
    }

    fn left_join_and_sum<K: Key, V: Element, J: Value>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        input: Stream<(K, V)>,
        _: &ClientStore<K, J>,
        _: &DeltaFn<V, J>,
    ) -> Stream<Joined<K, V, J>> {
        refused_join(plan, node, input)
    }

    fn write<T: Element>(
        plan: &mut HybridPlan,
        node: &NodeInfo,
        input: Stream<T>,
        sink: &Arc<dyn Sink<T>>,
    ) -> Stream<T> {
        match plan.side {
            Side::Live => Local::write(&mut plan.local, node, input, sink),
            Side::Batch { .. } => {
                let same: FlatMapFn<T, T> = Arc::new(|_, item, emit| emit(item));
                Local::flat_map(&mut plan.local, node, input, &same)
            }
        }
    }
}

/// A side has the sums of its own batches only, so a join with them would see less than it should. The plan that this
/// goes into is never run.
fn refused_join<K: Key, V: Element, J: Value>(
    plan: &mut HybridPlan,
    node: &NodeInfo,
    pairs: Stream<(K, V)>,
) -> Stream<Joined<K, V, J>> {
    let text = "a join with a sum of the same job cannot be split in batch and live: run it on `Local`";
    plan.problem = Some(format!("{text} node={}", node.label()));
    let none: FlatMapFn<(K, V), Joined<K, V, J>> =
        Arc::new(|_, (key, value), emit| emit((key, (value, None))));
    Local::flat_map(&mut plan.local, node, pairs, &none)
}
