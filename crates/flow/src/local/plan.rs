//! A lowered job: sources, the fused functions between them and the slots, and what happens with each slot.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::slots::{Gathers, SlotKind, Slots};
use super::stage::{AnySource, AnyTail, Barrier};
use crate::limits::FUSED_NODES_MAX;
use crate::platform::Timed;
use crate::{Element, Error, ErrorKind, Graph, NodeId, NodeInfo, NodeOptions, Result, Timestamp};

/// Takes one element to wherever it has to go.
pub(super) type Push<T> = Arc<dyn Fn(&mut Slots, Timestamp, T) + Send + Sync>;

/// The output of a node while a job is planned: its readers attach themselves, then it is sealed.
pub(super) struct Outlet<T> {
    readers: Mutex<Vec<Push<T>>>,
    push: OnceLock<Push<T>>,
    /// Functions called within one another since elements were last gathered.
    depth: usize,
}

impl<T: Element> Outlet<T> {
    pub(super) fn new(depth: usize) -> Arc<Self> {
        Arc::new(Self {
            readers: Mutex::default(),
            push: OnceLock::new(),
            depth,
        })
    }

    pub(super) fn attach(&self, reader: Push<T>) {
        self.readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(reader);
    }

    /// Where the elements of this output go; `None` when nobody reads them. All readers must have attached.
    fn seal(&self) -> Option<Push<T>> {
        let mut readers = std::mem::take(&mut *self.readers.lock().unwrap_or_else(PoisonError::into_inner));
        // Readers attach last one first, because a job is sealed from its leaves to its sources.
        readers.reverse();
        let last = readers.pop()?;
        let push: Push<T> = if readers.is_empty() {
            last
        } else {
            Arc::new(move |slots, time, item: T| {
                readers
                    .iter()
                    .for_each(|reader| reader(slots, time, item.clone()));
                last(slots, time, item);
            })
        };
        Some(self.push.get_or_init(|| push).clone())
    }

    /// See [`seal`](Self::seal), afterwards.
    pub(super) fn push(&self) -> Option<&Push<T>> {
        self.push.get()
    }
}

/// A gathering point amid fused functions, so that the stack stays small.
trait Relay: Send + Sync {
    fn drain(&self, slots: &mut Slots);
}

struct RelayNode<T> {
    slot: usize,
    outlet: Arc<Outlet<T>>,
}

impl<T: Element> Relay for RelayNode<T> {
    fn drain(&self, slots: &mut Slots) {
        let items = std::mem::take(slots.get::<Vec<Timed<T>>>(self.slot));
        if let Some(push) = self.outlet.push() {
            items.into_iter().for_each(|(time, item)| push(slots, time, item));
        }
    }
}

pub(super) struct SourceEntry {
    pub(super) node: NodeId,
    pub(super) name: Option<String>,
    pub(super) options: NodeOptions,
    pub(super) source: Arc<dyn AnySource>,
}

pub(super) struct BarrierEntry {
    pub(super) node: NodeId,
    /// On how many threads the functions below it run, if the job's number does not hold.
    pub(super) parallelism: Option<usize>,
    pub(super) slot: usize,
    /// The tail that the barrier is, if it is one.
    pub(super) tail: Option<usize>,
    /// The sum that it joins, if it does: an index of tails.
    pub(super) joins: Option<usize>,
    pub(super) barrier: Arc<dyn Barrier>,
}

pub(super) struct TailEntry {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) slot: usize,
    pub(super) tail: Arc<dyn AnyTail>,
    /// The sums that it reads from, at any distance: indexes of tails.
    pub(super) above: Vec<usize>,
}

/// A job as `Local` runs it; all lists are in graph order, parents before children.
#[derive(Default)]
pub(super) struct Lowered {
    pub(super) sources: Vec<SourceEntry>,
    pub(super) slots: Vec<Arc<dyn SlotKind>>,
    relays: Vec<Arc<dyn Relay>>,
    pub(super) barriers: Vec<BarrierEntry>,
    pub(super) tails: Vec<TailEntry>,
}

impl Lowered {
    /// Of a job that has been lowered. `Invalid` if two tails write to one store or sink.
    pub(super) fn of(mut plan: LocalPlan) -> Result<Self> {
        plan.seals.drain(..).rev().for_each(|seal| seal());
        match plan.problems.first() {
            Some(problem) => Err(Error::new(ErrorKind::Invalid, problem)),
            None => Ok(plan.lowered),
        }
    }

    /// Puts the elements that wait in relays through; after each chunk of work.
    pub(super) fn drain(&self, slots: &mut Slots) {
        self.relays.iter().for_each(|relay| relay.drain(slots));
    }
}

/// A job while it is lowered.
#[derive(Default)]
pub struct LocalPlan {
    /// The planned graph.
    pub(crate) graph: Graph,
    pub(super) lowered: Lowered,
    /// Connects outputs to inputs, to be run from the last to the first.
    seals: Vec<Box<dyn FnOnce()>>,
    /// For each node the sums that it depends on, itself included.
    sums: Vec<Vec<usize>>,
    /// Addresses of stores and sinks, to find what is written to twice.
    targets: HashSet<usize>,
    /// The tail that a node is.
    tail_of: HashMap<NodeId, usize>,
    problems: Vec<String>,
}

impl LocalPlan {
    pub(super) fn slot(&mut self, kind: impl SlotKind + 'static) -> usize {
        self.lowered.slots.push(Arc::new(kind));
        self.lowered.slots.len() - 1
    }

    /// To be done when all readers of `outlet` are known: seals it and hands over what it leads to.
    pub(super) fn on_seal<T: Element>(
        &mut self,
        outlet: &Arc<Outlet<T>>,
        connect: impl FnOnce(Option<Push<T>>) + 'static,
    ) {
        let outlet = outlet.clone();
        self.seals.push(Box::new(move || connect(outlet.seal())));
    }

    /// An output below `inputs`, deeper by the functions of the node; with relays where they are deep already.
    pub(super) fn fuse<T: Element, U: Element>(
        &mut self,
        node: &NodeInfo,
        inputs: impl IntoIterator<Item = Arc<Outlet<T>>>,
    ) -> (Vec<Arc<Outlet<T>>>, Arc<Outlet<U>>) {
        let mut shallow = |input: Arc<Outlet<T>>| match input.depth + node.depth <= FUSED_NODES_MAX {
            true => input,
            false => self.relay(&input),
        };
        let inputs: Vec<_> = inputs.into_iter().map(&mut shallow).collect();
        let depth = inputs.iter().map(|input| input.depth).max().unwrap_or(0);
        (inputs, Outlet::new(depth + node.depth))
    }

    fn relay<T: Element>(&mut self, input: &Arc<Outlet<T>>) -> Arc<Outlet<T>> {
        let (slot, outlet) = (self.slot(Gathers::<Vec<Timed<T>>>::new()), Outlet::new(0));
        self.lowered.relays.push(Arc::new(RelayNode {
            slot,
            outlet: outlet.clone(),
        }));
        let input = input.clone();
        self.on_seal(&outlet, move |_| input.attach(gather(slot)));
        outlet
    }

    /// Notes which sums a node depends on.
    pub(super) fn depends(&mut self, node: &NodeInfo, sum: Option<usize>) {
        let mut sums: Vec<usize> = node
            .parents
            .iter()
            .flat_map(|parent| self.sums_of(*parent))
            .copied()
            .chain(sum)
            .collect();
        sums.sort_unstable();
        sums.dedup();
        if self.sums.len() <= node.id.0 {
            self.sums.resize(node.id.0 + 1, Vec::new());
        }
        self.sums[node.id.0] = sums;
    }

    /// Adds a tail, under its label.
    pub(super) fn tail(
        &mut self,
        node: &NodeInfo,
        slot: usize,
        tail: Arc<dyn AnyTail>,
        address: usize,
    ) -> usize {
        let above = node
            .parents
            .iter()
            .flat_map(|parent| self.sums_of(*parent))
            .copied()
            .collect();
        if !self.targets.insert(address) {
            self.problems.push(format!(
                "two tails write to one store or sink: merge their producers and write once tail={}",
                node.label()
            ));
        }
        self.lowered.tails.push(TailEntry {
            node: node.id,
            name: node.label(),
            slot,
            tail,
            above,
        });
        let index = self.lowered.tails.len() - 1;
        self.tail_of.insert(node.id, index);
        index
    }

    /// The tail that a node is.
    pub(super) fn tail_of(&self, node: NodeId) -> Option<usize> {
        self.tail_of.get(&node).copied()
    }

    fn sums_of(&self, node: NodeId) -> &[usize] {
        self.sums.get(node.0).map_or(&[], Vec::as_slice)
    }
}

/// A reader that gathers elements in a slot.
pub(super) fn gather<T: Element>(slot: usize) -> Push<T> {
    Arc::new(move |slots, time, item| slots.get::<Vec<Timed<T>>>(slot).push((time, item)))
}
