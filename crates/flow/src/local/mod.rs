//! The platform of this machine: one engine for bounded input (batch) and unbounded input (live).
//!
//! A job runs in epochs. An epoch takes what its sources have (at most `epoch_bytes_max`), puts it through the
//! fused functions on all cores, and commits. Nothing is waited for: under load an epoch is what has gathered
//! during the last one. Lookups and sums take all elements of an epoch at once; chunks of work are joined in
//! order, so sums need not commute. A sum that nobody reads does not ask for the values before: its store adds the deltas,
//! in the same atomic step as the progress. While an epoch looks up, sums and commits, the next one is read and put through
//! the functions that need neither; it steps on when the commits are done. So two epochs are in memory at most.
//!
//! # No deadlock
//!
//! One task owns a job and moves it; what it waits for is outside of the job: a source, a service, a store, a sink, or
//! threads that run functions. Nodes have no queues, so none waits for room in another: an epoch goes through
//! the graph in the order of its nodes, which has no cycle, and what a node gives is gathered in memory, bounded by
//! the epoch. The threads of an epoch share nothing and wait for nothing; where a job is given its [`Workers`], each chunk
//! of work waits for its turn before it has a thread, and holds nothing then. The two halves wait for each other once an
//! epoch, at its end: the first holds nothing that the second asks for. Back-pressure is that a source is not read while two
//! epochs are under way. So several sums of any stores, batchers and shards may hang on one producer.
//!
//! # Exactly once
//!
//! Let `p₀ < p₁ < …` be the progress after each epoch. A tail is a store or a sink; it keeps its output and its
//! progress in one atomic step, so a tail at `p` holds the output of exactly the elements before `p`.
//!
//! 1. *Commits go from the leaves to the sources*, one tail after the other, one epoch after the other. So at
//!    any crash the tails hold `pᵢ₊₁ … pᵢ₊₁ pᵢ … pᵢ`, seen from the leaves; a sink that forgets holds some earlier
//!    `pⱼ`. All of them are of one chain. If not, the tails are not of one job: `Invalid`.
//! 2. *Replay* starts from the smallest progress. Its epochs are cut at the progress of each tail that is ahead
//!    (`Source::read(.., until)`), so an epoch is either wholly before a tail's progress or wholly after it.
//!    In the first case the tail is *muted*: it takes nothing. So each tail gets each element once.
//! 3. *What a tail gets is the same in a replay.* Functions depend on their argument, sources give the same
//!    elements again, and what a sum emits depends on its store, which is why the order in 1 is as it is: if a
//!    sum is muted in an epoch then so is every tail below it, as those were committed before it; and if it is
//!    not, then its store holds the values from before the epoch, so its befores are the true ones. A tail that
//!    is behind a sum above it would break this: `Invalid` at the start. (A sink that may go back to an earlier
//!    progress can therefore not stand below a sum; one that keeps what it is given can.) How elements are cut
//!    into epochs does not matter to a sum: `⊕` is associative.
//! 4. *What a join with a sum finds* depends on its store, as with a sum, and on where the epoch ends, as pairs see all
//!    of the epochs before theirs. So an epoch that some tail below the join has taken, while the joined sum has not,
//!    is replayed whole: all sources are read up to that tail's progress before the functions run. By 1 that was
//!    one epoch, so it is no larger than an epoch is (but for a sum that the job was without for a while). A joined sum
//!    that is *new* above tails that are not would make one epoch of all history so. But joined sums hold the start
//!    before the first epoch, so one that holds nothing while a tail below is past the start is new, and what such tails
//!    have is none of its. It keeps this beside its progress until none of them is ahead, and until then its epochs are
//!    cut like any others. Before another tail below takes one of them, it notes where that epoch ends, in a commit of
//!    its own: after a crash this one is replayed whole. Parts stand in an epoch in the order of their sources and names,
//!    so neither does it matter how often sources were asked.
//! 5. *What a closing of batches hands on* depends on its store (which keys are open, what is closed, the largest time of
//!    each part), on the store of its sum, and on where the epoch ends, for the watermark is taken there. Both stores hold
//!    what was before the epoch, by 3, as a closing reads from its sum. And it is a join with its own sum in the sense of
//!    4: an epoch that a tail below it has taken is replayed whole, up to the same progress, so with the same parts at the
//!    same times, the same watermark, and the same elements late. Nothing else goes into it: which sources have ended is
//!    not asked, as a replay could not know it. All that is committed in one step with the progress, in its store.
//! 6. *The end of all sources* closes what is open, in an epoch without elements. A job that closes batches has a part
//!    `$end` in its progress for that, or the commit would be taken for one that was there already; the offset is the sum of
//!    all others, so there is one such epoch for each end, and a replay makes it where the tail ahead has it, after an
//!    epoch of what it has read until then.
//! 7. *A second writer is fenced*: a store takes a commit only from the progress that the writer last saw, so
//!    of two runs at one store one gets a `Conflict`; it reads the tails' progress again and goes on from
//!    there, and fails after `conflicts_max` conflicts in a row. A commit that had succeeded, but whose answer
//!    was lost, is found out in the same way: progress is read again after each error. The sink port has no
//!    such fence: a sink that two processes can reach must refuse a progress that does not go on from its own.
//!
//! Any other epoch without elements is not committed. A lookup may give another value in a replay; each element still
//! arrives once in each tail.

mod cache;
mod calls;
mod close;
mod engine;
mod job;
mod join;
mod plan;
mod position;
mod slots;
mod stage;
mod watermark;
mod work;
mod workers;

use std::sync::Arc;

pub use job::{ClosingStatus, Job, JobOptions, JobState, JobStatus, JobView};
pub use workers::{Turn, Workers};

use store::Deltas;

use self::cache::Cache;
use self::calls::Calls;
use self::join::{JoinStage, JoinSumStage, Sides};
pub(crate) use self::plan::LocalPlan;
use self::plan::{BarrierEntry, Outlet, SourceEntry, gather};
use self::slots::{Gathers, Latest, SumSlot, Sums};
use self::stage::{LookupStage, SourceStage, SumStage, WriteStage};
use crate::platform::{DeltaFn, FlatMapFn, JoinedSum, KeyFn, Summed, Timed};
use crate::{
    CloseRule, Closed, Element, Joined, Key, NodeInfo, Open, Platform, Result, Service, Sink, Source, Tail,
    Value,
};

/// Runs jobs on this machine's cores, on the current tokio runtime.
pub enum Local {}

impl Local {
    /// Starts a job; the name is for errors. Bounded sources: it ends when all is committed. Unbounded: it goes
    /// on until stopped. Costs one task, and threads of the blocking pool while an epoch is large.
    ///
    /// Errors: `Invalid` if two tails write to one store or sink, or two sources have one name, or an option is set that
    /// no node reads. Panics outside a tokio runtime.
    pub fn run(name: &str, tail: &impl Tail<Self>, options: JobOptions) -> Result<Job> {
        let mut plan = LocalPlan::default();
        plan.graph = tail.lower(&mut plan, &options.plan)?;
        Job::spawn(name, plan, options)
    }
}

impl Platform for Local {
    type Source<T: Element> = Arc<dyn Source<T>>;
    type Store<K: Key, V: Value> = Arc<dyn store::Store<K, V>>;
    type Sink<T: Element> = Arc<dyn Sink<T>>;
    type Service<K: Key, V: Element> = Arc<dyn Service<K, V>>;
    type Stream<T: Element> = Stream<T>;
    type Plan = LocalPlan;

    fn source<T: Element>(plan: &mut LocalPlan, node: &NodeInfo, source: &Arc<dyn Source<T>>) -> Stream<T> {
        let outlet = Outlet::new(0);
        let stage = SourceStage {
            source: source.clone(),
            outlet: outlet.clone(),
        };
        let entry = SourceEntry {
            node: node.id,
            name: node.name().map(str::to_owned),
            options: node.options.clone(),
            source: Arc::new(stage),
        };
        plan.source(node, entry);
        plan.on_seal(&outlet, |_| ());
        Stream(outlet)
    }

    fn flat_map<T: Element, U: Element>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        input: Stream<T>,
        function: &FlatMapFn<T, U>,
    ) -> Stream<U> {
        plan.depends(node, None);
        let (inputs, outlet) = plan.fuse([input.0]);
        let function = function.clone();
        plan.on_seal(&outlet, move |push| {
            for (input, push) in inputs.iter().zip(push) {
                let function = function.clone();
                input.attach(Arc::new(move |slots, time, item| {
                    function(time, item, &mut |out| push(slots, time, out));
                }));
            }
        });
        Stream(outlet)
    }

    fn merge<T: Element>(plan: &mut LocalPlan, node: &NodeInfo, sides: Vec<Stream<T>>) -> Stream<T> {
        plan.depends(node, None);
        let (inputs, outlet) = plan.fuse(sides.into_iter().map(|side| side.0));
        plan.on_seal(&outlet, move |push| {
            for input in inputs.iter().rev() {
                push.iter().for_each(|push| input.attach(push.clone()));
            }
        });
        Stream(outlet)
    }

    fn lookup<T: Element, K: Key, V: Element>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        input: Stream<T>,
        key: &KeyFn<T, K>,
        service: &Arc<dyn Service<K, V>>,
    ) -> Stream<(T, Option<V>)> {
        plan.depends(node, None);
        let (slot, outlet) = (plan.slot(Gathers::<Vec<Timed<T>>>::new()), Outlet::new(0));
        let stage = LookupStage {
            key: key.clone(),
            service: service.clone(),
            calls: Calls::of(&node.options),
            cache: Cache::of(&node.options),
            outlet: outlet.clone(),
        };
        plan.lowered.barriers.push(BarrierEntry {
            node: node.id,
            parallelism: node.options.parallelism,
            slot,
            tail: None,
            joins: None,
            barrier: Arc::new(stage),
        });
        plan.on_seal(&outlet, move |_| input.0.attach(gather(slot)));
        Stream(outlet)
    }

    fn sum_by_key<K: Key, V: Value>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        input: Stream<(K, V)>,
        store: &Arc<dyn store::Store<K, V>>,
    ) -> Stream<Summed<K, V>> {
        let outlet = Outlet::new(0);
        let slot = plan.slot(SumSlot(outlet.clone()));
        let stage = Arc::new(SumStage {
            store: store.clone(),
            calls: Calls::of(&node.options),
            outlet: outlet.clone(),
        });
        let tail = plan.tail(node, slot, stage.clone(), Arc::as_ptr(store).cast::<()>().addr());
        plan.depends(node, Some(tail));
        plan.lowered.barriers.push(BarrierEntry {
            node: node.id,
            parallelism: node.options.parallelism,
            slot,
            tail: Some(tail),
            joins: None,
            barrier: stage,
        });
        plan.on_seal(&outlet, move |push| {
            input.0.attach(match push {
                Some(_) => Arc::new(move |slots, time, (key, delta)| {
                    slots.get::<Sums<K, V>>(slot).add(key, Latest { delta, time });
                }),
                None => Arc::new(move |slots, _, (key, delta)| {
                    slots.get::<Deltas<K, V>>(slot).add(key, delta);
                }),
            });
        });
        Stream(outlet)
    }

    fn left_join_sum<K: Key, V: Element, J: Value>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        left: Stream<(K, V)>,
        sum: JoinedSum<'_, Self, K, J>,
    ) -> Stream<Joined<K, V, J>> {
        plan.depends(node, None);
        let (slot, outlet) = (plan.slot(Gathers::<Sides<K, V, J>>::new()), Outlet::new(0));
        let stage = JoinStage {
            store: sum.store.clone(),
            calls: Calls::of(&node.options),
            outlet: outlet.clone(),
        };
        plan.lowered.barriers.push(BarrierEntry {
            node: node.id,
            parallelism: node.options.parallelism,
            slot,
            tail: None,
            joins: plan.tail_of(sum.node),
            barrier: Arc::new(stage),
        });
        plan.on_seal(&outlet, move |_| {
            left.0.attach(Arc::new(move |slots, time, pair| {
                slots.get::<Sides<K, V, J>>(slot).left.push((time, pair));
            }));
            sum.deltas.0.attach(Arc::new(move |slots, time, (key, delta)| {
                slots.get::<Sides<K, V, J>>(slot).deltas.add((key, time), delta);
            }));
        });
        Stream(outlet)
    }

    fn left_join_and_sum<K: Key, V: Element, J: Value>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        input: Stream<(K, V)>,
        store: &Arc<dyn store::Store<K, J>>,
        function: &DeltaFn<V, J>,
    ) -> Stream<Joined<K, V, J>> {
        let (slot, outlet) = (plan.slot(Gathers::<Vec<Timed<(K, V)>>>::new()), Outlet::new(0));
        let end = Arc::new(SumStage {
            store: store.clone(),
            calls: Calls::of(&node.options),
            outlet: Outlet::new(0),
        });
        let tail = plan.tail(node, slot, end, Arc::as_ptr(store).cast::<()>().addr());
        plan.depends(node, Some(tail));
        let stage = JoinSumStage {
            store: store.clone(),
            calls: Calls::of(&node.options),
            function: function.clone(),
            outlet: outlet.clone(),
        };
        plan.lowered.barriers.push(BarrierEntry {
            node: node.id,
            parallelism: node.options.parallelism,
            slot,
            tail: Some(tail),
            joins: Some(tail),
            barrier: Arc::new(stage),
        });
        plan.on_seal(&outlet, move |_| input.0.attach(gather(slot)));
        Stream(outlet)
    }

    fn close<K: Key, V: Value>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        sum: JoinedSum<'_, Self, K, V>,
        rule: &CloseRule<K>,
        open: &Arc<dyn store::Store<Open<K>, ()>>,
    ) -> Stream<Closed<K, V>> {
        close::lower(plan, node, sum, rule, open)
    }

    fn write<T: Element>(
        plan: &mut LocalPlan,
        node: &NodeInfo,
        input: Stream<T>,
        sink: &Arc<dyn Sink<T>>,
    ) -> Stream<T> {
        plan.depends(node, None);
        let slot = plan.slot(Gathers::<Vec<Timed<T>>>::new());
        let stage = Arc::new(WriteStage(sink.clone()));
        plan.tail(node, slot, stage, Arc::as_ptr(sink).cast::<()>().addr());
        let (inputs, outlet) = plan.fuse([input.0]);
        plan.on_seal(&outlet, move |push| {
            for input in &inputs {
                push.iter().for_each(|push| input.attach(push.clone()));
                input.attach(gather(slot));
            }
        });
        Stream(outlet)
    }
}

/// The output of a node while its job is lowered.
#[derive(Clone)]
pub struct Stream<T: Element>(Arc<Outlet<T>>);
