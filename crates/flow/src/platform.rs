//! The seam between a job and what runs it.

use std::sync::Arc;

use crate::{Element, Joined, Key, NodeId, NodeInfo, Timestamp, Value};

/// The function between two nodes: takes one element and its event time, emits any number, which have that time too.
pub type FlatMapFn<T, U> = Arc<dyn Fn(Timestamp, T, &mut dyn FnMut(U)) + Send + Sync>;

/// The function that finds the key of an element.
pub type KeyFn<T, K> = Arc<dyn Fn(&T) -> K + Send + Sync>;

/// The function that makes deltas of a value and the sum before it.
pub type DeltaFn<V, J> = Arc<dyn Fn(V, Option<J>, &mut dyn FnMut(J)) + Send + Sync>;

/// A sum that is joined, as lowered before the join.
pub struct JoinedSum<'a, P: Platform, K: Key, J: Value> {
    /// The sum's node.
    pub node: NodeId,
    /// What it adds.
    pub deltas: P::Stream<(K, J)>,
    /// What it emits.
    pub changes: P::Stream<Summed<K, J>>,
    /// Where it lives.
    pub store: &'a P::Store<K, J>,
}

/// What a sum emits: the key, the value before (`None` at first) and what has been added to it.
pub type Summed<K, V> = (K, (Option<V>, V));

/// What can plan and run a job. A job is written once, generic over its platform.
///
/// [`crate::Tail::lower`] plans a job and walks the planned graph parents first; it calls one method per node, with the
/// node's concrete types; each node once, however many nodes read it. A method gets the streams of its parents and
/// returns its own. Whether running happens meanwhile or afterwards is the platform's affair.
///
/// The planned graph is not the graph as written: a [`Planner`](crate::Planner) has made one function of several, and
/// one merge of many sides of several merges. [`NodeInfo::members`] says which nodes as written a node stands for;
/// sources, look-ups, joins and tails stand for themselves alone and are never left out. [`NodeInfo::options`]
/// has what the user has set for them.
///
/// All platforms, with any rules of a planner, agree on what arrives in stores and sinks, with five freedoms: the order
/// between the sides of a merge; how many elements of a key one delta of a sum joins (the deltas of a key always form a
/// chain, `before ⊕ delta = next before`); the time of such a delta, which is the largest of its elements'; the
/// order between keys behind a sum; and what late elements see in a join with a sum: see
/// [`Producer::left_join_sum`](crate::Producer::left_join_sum).
pub trait Platform: Sized + 'static {
    /// Where elements come from.
    type Source<T: Element>: Element;
    /// Where sums live.
    type Store<K: Key, V: Value>: Element;
    /// Where elements go.
    type Sink<T: Element>: Element;
    /// What is looked up.
    type Service<K: Key, V: Element>: Element;
    /// The output of a lowered node.
    type Stream<T: Element>: Clone + 'static;
    /// What is being built.
    type Plan;

    /// Elements from outside.
    fn source<T: Element>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        source: &Self::Source<T>,
    ) -> Self::Stream<T>;

    /// Each element becomes any number of elements, in order.
    fn flat_map<T: Element, U: Element>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        input: Self::Stream<T>,
        function: &FlatMapFn<T, U>,
    ) -> Self::Stream<U>;

    /// The elements of all sides, of which there is one at least; each side keeps its order.
    fn merge<T: Element>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        sides: Vec<Self::Stream<T>>,
    ) -> Self::Stream<T>;

    /// Each element with the value of its key.
    fn lookup<T: Element, K: Key, V: Element>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        input: Self::Stream<T>,
        key: &KeyFn<T, K>,
        service: &Self::Service<K, V>,
    ) -> Self::Stream<(T, Option<V>)>;

    /// Adds each value to its key's value in the store, in order; emits the true value before and the delta.
    fn sum_by_key<K: Key, V: Value>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        input: Self::Stream<(K, V)>,
        store: &Self::Store<K, V>,
    ) -> Self::Stream<Summed<K, V>>;

    /// Each pair with its key's sum as it was before the pair's time; the pairs keep their order.
    fn left_join_sum<K: Key, V: Element, J: Value>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        left: Self::Stream<(K, V)>,
        sum: JoinedSum<'_, Self, K, J>,
    ) -> Self::Stream<Joined<K, V, J>>;

    /// As a join with the sum in the store, and adds what the function makes of value and sum, at the pair's time.
    fn left_join_and_sum<K: Key, V: Element, J: Value>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        input: Self::Stream<(K, V)>,
        store: &Self::Store<K, J>,
        function: &DeltaFn<V, J>,
    ) -> Self::Stream<Joined<K, V, J>>;

    /// Writes each element to the sink, and hands it on.
    fn write<T: Element>(
        plan: &mut Self::Plan,
        node: &NodeInfo,
        input: Self::Stream<T>,
        sink: &Self::Sink<T>,
    ) -> Self::Stream<T>;
}

/// An element with its time.
pub(crate) type Timed<T> = (Timestamp, T);
