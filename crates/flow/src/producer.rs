//! What users write jobs with: producers, and the tails they end in.

mod aggregated;
mod join;
mod keyed;

use std::any::Any;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

pub use self::join::{Joined, SumByKey};

use either::Either;

use crate::graph::{Graph, NodeKind, Order};
use crate::node::{
    FlatMapNode, LookupNode, Lowering, MergeNode, NameNode, Node, NodeRef, SourceNode, WriteNode,
};
use crate::planner::Work;
use crate::platform::Platform;
use crate::{Element, Key, PlanOptions, Result, Timestamp};

/// A node of a job's graph that produces elements of type `T`; cheap to clone, a clone is the same node.
///
/// Producers are descriptions: nothing runs until a platform runs a [`Tail`]. Functions may be called on any
/// thread and, after a crash, again for the same element: they should depend on their argument alone.
pub struct Producer<P: Platform, T: Element> {
    pub(crate) node: NodeRef<P>,
    element: PhantomData<fn() -> T>,
}

impl<P: Platform, T: Element> Clone for Producer<P, T> {
    fn clone(&self) -> Self {
        Self {
            node: self.node.clone(),
            element: PhantomData,
        }
    }
}

impl<P: Platform, T: Element> Producer<P, T> {
    fn new(node: impl Node<P>) -> Self {
        Self {
            node: NodeRef::new(node),
            element: PhantomData,
        }
    }

    /// Elements from outside. Give it a [`name`](Self::name) if the job has several sources: their progress is
    /// kept under the name.
    pub fn source(source: P::Source<T>) -> Self {
        Self::new(SourceNode::<P, T>(source))
    }

    /// Each element becomes one.
    pub fn map<U: Element>(&self, f: impl Fn(T) -> U + Send + Sync + 'static) -> Producer<P, U> {
        self.then(NodeKind::Map, move |_, item, emit: &mut dyn FnMut(U)| {
            emit(f(item))
        })
    }

    /// Keeps the elements for which `f` holds.
    pub fn filter(&self, f: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.then(NodeKind::Filter, move |_, item, emit: &mut dyn FnMut(T)| {
            if f(&item) {
                emit(item);
            }
        })
    }

    /// Each element becomes one or none.
    pub fn filter_map<U: Element>(
        &self,
        f: impl Fn(T) -> Option<U> + Send + Sync + 'static,
    ) -> Producer<P, U> {
        self.then(NodeKind::FilterMap, move |_, item, emit: &mut dyn FnMut(U)| {
            f(item).into_iter().for_each(emit)
        })
    }

    /// Each element becomes any number, in order.
    pub fn flat_map<U: Element, I: IntoIterator<Item = U>>(
        &self,
        f: impl Fn(T) -> I + Send + Sync + 'static,
    ) -> Producer<P, U> {
        self.then(NodeKind::FlatMap, move |_, item, emit: &mut dyn FnMut(U)| {
            f(item).into_iter().for_each(emit)
        })
    }

    /// Like [`flat_map`](Self::flat_map), for functions that hand over each output at once instead of building
    /// a collection: `|text, emit| text.split(' ').for_each(|word| emit(word.to_owned()))`.
    pub fn flat_map_with<U: Element>(
        &self,
        f: impl Fn(T, &mut dyn FnMut(U)) + Send + Sync + 'static,
    ) -> Producer<P, U> {
        self.then(NodeKind::FlatMap, move |_, item, emit| f(item, emit))
    }

    /// Each element with its event time.
    pub fn with_time(&self) -> Producer<P, (Timestamp, T)> {
        self.then(NodeKind::Map, |time, item, emit| emit((time, item)))
    }

    fn then<U: Element>(
        &self,
        kind: NodeKind,
        function: impl Fn(Timestamp, T, &mut dyn FnMut(U)) + Send + Sync + 'static,
    ) -> Producer<P, U> {
        Producer::new(FlatMapNode {
            kind,
            parent: self.clone(),
            function: Arc::new(function),
        })
    }

    /// The elements of both. A producer merged with itself delivers each element twice.
    pub fn merge(&self, other: &Self) -> Self {
        Self::new(MergeNode {
            left: self.clone(),
            right: other.clone(),
        })
    }

    /// The elements of both, told apart: of this one `Left`, of the other `Right`.
    pub fn either<U: Element>(&self, other: &Producer<P, U>) -> Producer<P, Either<T, U>> {
        self.map(Either::Left).merge(&other.map(Either::Right))
    }

    /// Names this node, for graphs, errors, progress and options. It may have several: graphs, errors and progress show
    /// the nearest, the one given first; options can be set by each.
    pub fn name(&self, name: impl Into<String>) -> Self {
        Self::new(NameNode {
            parent: self.clone(),
            name: name.into(),
        })
    }

    /// Each element with the value that `service` has for it.
    pub fn lookup<V: Element>(&self, service: P::Service<T, V>) -> Producer<P, (T, Option<V>)>
    where
        T: Key,
    {
        self.lookup_by(T::clone, service)
    }

    /// Each element with the value that `service` has for its key. A service that changes is asked once an epoch
    /// and key, and, after a crash, again.
    pub fn lookup_by<K: Key, V: Element>(
        &self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        service: P::Service<K, V>,
    ) -> Producer<P, (T, Option<V>)> {
        Producer::new(LookupNode {
            parent: self.clone(),
            key: Arc::new(key),
            service,
        })
    }

    /// Writes each element to `sink`, and hands it on.
    pub fn write(&self, sink: P::Sink<T>) -> Written<P, T> {
        Written(Self::new(WriteNode {
            parent: self.clone(),
            sink,
        }))
    }
}

/// A [`Producer`] with an effect, a write or a sum: a [`Tail`] that may also be read from.
pub struct Written<P: Platform, T: Element>(Producer<P, T>);

impl<P: Platform, T: Element> Written<P, T> {
    /// Names this tail; see [`Producer::name`].
    pub fn name(&self, name: impl Into<String>) -> Self {
        Self(self.0.name(name))
    }
}

impl<P: Platform, T: Element> Clone for Written<P, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Platform, T: Element> Deref for Written<P, T> {
    type Target = Producer<P, T>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// What a platform can run: one or more written producers, and with them all that they read from.
pub trait Tail<P: Platform> {
    /// The written producers, in the order given.
    fn ends(&self) -> Tails<P>;

    /// This and `other`, as one job.
    fn also(self, other: impl Tail<P>) -> Tails<P>
    where
        Self: Sized,
    {
        let mut tails = self.ends();
        tails.0.extend(other.ends().0);
        tails
    }

    /// The graph of the job as written.
    fn graph(&self) -> Graph {
        Order::of(&self.ends().0).graph
    }

    /// The graph of the job as it runs with these options: rewritten by rules, grouped in stages.
    ///
    /// # Errors
    /// `Invalid` as for [`lower`](Self::lower).
    fn planned(&self, options: &PlanOptions) -> Result<Graph> {
        Ok(Order::of(&self.ends().0).planned(options)?.0)
    }

    /// For platforms: plans the job, and calls `P` for each node of the planned graph, parents first, each node once.
    /// What names set for a node is in its [`NodeInfo::options`](crate::NodeInfo::options).
    ///
    /// # Errors
    /// `Invalid` if an option is set for a name that no node has, or nothing under the name reads it, or a rule is wrong;
    /// before anything is called.
    fn lower(&self, plan: &mut P::Plan, options: &PlanOptions) -> Result<Graph> {
        let order = Order::of(&self.ends().0);
        let (graph, forms) = order.planned(options)?;
        let mut streams: Vec<Box<dyn Any>> = Vec::new();
        for (info, form) in graph.nodes().iter().zip(&forms) {
            // A join reads the deltas of its sum too: what the sum reads.
            let deltas = (info.kind == NodeKind::Join).then(|| graph.nodes()[info.parents[1].0].parents[0]);
            let inputs = info.parents.iter().chain(&deltas);
            let mut lowering = Lowering {
                plan: &mut *plan,
                inputs: inputs.map(|parent| &*streams[parent.0]).collect(),
                function: match &form.work {
                    Work::Function(function) => Some(&**function),
                    _ => None,
                },
            };
            let carrier = order.nodes[form.carrier.0].get();
            let stream = match form.work {
                Work::Merge => carrier.typed().merge(info, &mut lowering),
                _ => carrier.lower(info, &mut lowering),
            };
            streams.push(stream);
        }
        Ok(graph)
    }
}

impl<P: Platform, T: Element> Tail<P> for Written<P, T> {
    fn ends(&self) -> Tails<P> {
        Tails(vec![self.0.node.clone()])
    }
}

/// Several tails as one.
pub struct Tails<P: Platform>(Vec<NodeRef<P>>);

impl<P: Platform> Clone for Tails<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Platform> Tail<P> for Tails<P> {
    fn ends(&self) -> Tails<P> {
        self.clone()
    }
}
