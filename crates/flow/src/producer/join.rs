//! Joins with sums of the same job: with a sum of another stream, and with one that the join itself feeds.
//!
//! What such a join sees of a sum: *a pair with time t sees the deltas with times before t, never one of t itself or
//! later*; they are added in order of time, those of one time as they come. On [`Memory`](crate::Memory) that is all.
//!
//! [`Local`](crate::Local) takes a stream in epochs, and what the sum had after the last epoch cannot be told apart any
//! more. So a pair sees *all deltas of earlier epochs, those of its own epoch with times before t, and none of later
//! epochs*. Both say the same where a cut between epochs is a cut in time: no delta of the pair's key stands in an earlier
//! epoch with time t or later (a late pair, or one instant cut in two), and none in a later epoch with a time before
//! t (a late delta). A source in order of time, with as many times as offsets, is always cut like that. Elsewhere two
//! runs may differ, as they do in what has arrived by when; one run does not differ from itself: an epoch that any tail
//! below the join has taken is replayed whole after a crash, with the store as it was before, so that each pair
//! has the one answer in all tails, and in all attempts.

use std::ops::Deref;
use std::sync::Arc;

use super::{Producer, Tail, Tails, Written};
use crate::graph::NodeKind;
use crate::node::{JoinNode, JoinSumNode, SumNode};
use crate::platform::{Platform, Summed};
use crate::{Element, Key, Recent, Timestamp, Value};

/// A sum by key: the [`Written`] producer of its changes, `(key, (before, delta))`, and what
/// [`left_join_sum`](Producer::left_join_sum) looks up.
pub struct SumByKey<P: Platform, K: Key, V: Value> {
    pub(crate) deltas: Producer<P, (K, V)>,
    pub(crate) store: P::Store<K, V>,
    pub(crate) changes: Written<P, Summed<K, V>>,
}

impl<P: Platform, K: Key, V: Value> SumByKey<P, K, V> {
    pub(super) fn new(deltas: &Producer<P, (K, V)>, store: P::Store<K, V>) -> Self {
        let node = SumNode {
            parent: deltas.clone(),
            store: store.clone(),
        };
        Self {
            deltas: deltas.clone(),
            store,
            changes: Written(Producer::new(node)),
        }
    }

    /// Names this tail; see [`Producer::name`].
    pub fn name(&self, name: impl Into<String>) -> Self {
        Self {
            changes: self.changes.name(name),
            ..self.clone()
        }
    }
}

impl<P: Platform, K: Key, V: Value> Clone for SumByKey<P, K, V> {
    fn clone(&self) -> Self {
        Self {
            deltas: self.deltas.clone(),
            store: self.store.clone(),
            changes: self.changes.clone(),
        }
    }
}

impl<P: Platform, K: Key, V: Value> Deref for SumByKey<P, K, V> {
    type Target = Written<P, Summed<K, V>>;
    fn deref(&self) -> &Self::Target {
        &self.changes
    }
}

impl<P: Platform, K: Key, V: Value> Tail<P> for SumByKey<P, K, V> {
    fn ends(&self) -> Tails<P> {
        self.changes.ends()
    }
}

/// What a join has found for a pair: `(key, (value, sum before))`.
pub type Joined<K, V, J> = (K, (V, Option<J>));

impl<P: Platform, K: Key, V: Element> Producer<P, (K, V)> {
    /// Each pair with its key's sum as it was before the pair's time: `(key, (value, sum))`, `None` where there is
    /// none. The pairs keep their order.
    ///
    /// Precisely: a pair with time t sees what has been summed with times before t, in its own epoch and in earlier
    /// ones, and all of earlier epochs. [`Memory`](crate::Memory) has one epoch; [`Local`](crate::Local) agrees with it
    /// if what is cut apart by epochs is also apart in time, and gives one answer per pair in any case, whatever crashes.
    ///
    /// ```
    /// use flow::{Memory, Platform, Producer, Timestamp};
    ///
    /// let (prices, found) = (<Memory as Platform>::Store::default(), <Memory as Platform>::Sink::default());
    /// let price = Producer::<Memory, _>::source(vec![(Timestamp(1), ("tea", 3)), (Timestamp(5), ("tea", 1))]);
    /// let orders = Producer::source(vec![(Timestamp(5), ("tea", 'a')), (Timestamp(6), ("tea", 'b'))]);
    /// Memory::run(&orders.left_join_sum(&price.sum_by_key(prices)).values().write(found.clone()));
    /// let found: Vec<_> = found.lock().unwrap().iter().map(|(_, pair)| *pair).collect();
    /// assert_eq!(found, [('a', Some(3)), ('b', Some(4))]);
    /// ```
    pub fn left_join_sum<J: Value>(&self, sum: &SumByKey<P, K, J>) -> Producer<P, Joined<K, V, J>> {
        Producer::new(JoinNode {
            left: self.clone(),
            sum: sum.clone(),
        })
    }

    /// Each pair with its key's sum of another stream as it was before the pair's time: the stream is summed in `store`,
    /// which keeps the deltas of the last `KEEP` milliseconds apart, so that what an epoch cuts in two is still told apart.
    ///
    /// Precisely: a pair with time t sees all deltas with times before t that come in its epoch or in earlier ones, and
    /// none of t or later, unless it is `KEEP` or more behind the newest delta of its key. So
    /// [`Local`](crate::Local) agrees with [`Memory`](crate::Memory) for pairs that are less late than that, as long as
    /// deltas come no later than the pairs that see them: always in a source in order of time, ties or not.
    ///
    /// Costs up to one delta for each key and millisecond of `KEEP`, copied at each look-up; with sums from a store
    /// where that is too much, use [`left_join_sum`](Self::left_join_sum).
    pub fn left_join_stream<J: Value, const KEEP: u32>(
        &self,
        stream: &Producer<P, (K, J)>,
        store: P::Store<K, Recent<J, KEEP>>,
    ) -> Producer<P, Joined<K, V, J>> {
        let deltas = stream.then(NodeKind::FlatMapValues, move |time, (key, delta), emit| {
            emit((key, Recent::new(time, delta)));
        });
        let pairs = self.then(NodeKind::FlatMapValues, |time, (key, value), emit| {
            emit((key, (time, value)))
        });
        let joined = pairs.left_join_sum(&deltas.sum_by_key(store));
        joined.map_values(
            |((time, value), sum): ((Timestamp, V), Option<Recent<J, KEEP>>)| {
                (value, sum.and_then(|sum| sum.before(time)))
            },
        )
    }

    /// Each pair with its key's sum as it was before the pair's time, as [`left_join_sum`](Self::left_join_sum);
    /// and the values that `f` makes of both are added to that very sum, at the pair's time. So pairs of one time do
    /// not see one another. Other streams can take part by [`either`](Self::either).
    ///
    /// `f` knows no key, so what it makes stays with the key that was looked up: keys do not depend on one another, and
    /// the loop ends. The changes of the sum are not emitted; the pairs are, in their order.
    pub fn left_join_and_sum<J: Value, I: IntoIterator<Item = J>>(
        &self,
        store: P::Store<K, J>,
        f: impl Fn(V, Option<J>) -> I + Send + Sync + 'static,
    ) -> Written<P, Joined<K, V, J>> {
        Written(Producer::new(JoinSumNode {
            parent: self.clone(),
            store,
            function: Arc::new(move |value, sum, emit: &mut dyn FnMut(J)| {
                f(value, sum).into_iter().for_each(emit);
            }),
        }))
    }
}
