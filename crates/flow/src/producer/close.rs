//! Final sums of closed batches, and what becomes of late elements: one method for each policy.

use super::{Producer, SumByKey, Written};
use crate::closing::LatePolicy;
use crate::graph::NodeKind;
use crate::node::CloseNode;
use crate::platform::Platform;
use crate::{Closed, Closing, Key, Open, Value, Window};

/// Final sums, and what came too late for them.
pub struct ClosedWithLate<P: Platform, K: Key, V: Value> {
    /// Each key's sum when its batch was closed.
    pub closed: Written<P, (K, V)>,
    /// The elements that came later, each with its own time.
    pub late: Producer<P, (K, V)>,
}

/// A key's sum now, after what was handed on for it before: `(key, (before, sum))`.
pub type Corrected<K, V> = (K, (Option<V>, V));

impl<P: Platform, K: Key, W: Window, V: Value> SumByKey<P, (K, W), V> {
    /// Hands on each key's sum once, when its batch is closed, at the last time of the batch; by the ends of batches, and
    /// then by key. See [`Closing`] for when that is. Late elements are counted:
    /// [`JobStatus::closings`](crate::JobStatus::closings). The sum's own store takes them as ever.
    ///
    /// `open` is a store of the closing's own: it holds the keys whose batches are open, without values, and the watermark
    /// beside the progress. Its scan must give the ends of batches in order, as `MemoryStore` does, and stores that keep
    /// [`Open`] as JSON.
    ///
    /// Costs, beside the sum: a copy of each element on its way, to be counted; a small write for each key and epoch; in
    /// memory the ends of the open batches, for which the open keys are read at the start and after an error. When batches
    /// close, their keys and sums are read back and handed on in one epoch, so they should fit into memory and into one
    /// commit, as should all that is open when a bounded input ends.
    ///
    /// ```
    /// use flow::{Batcher, Closing, Memory, Platform, Producer, Timestamp};
    /// use std::time::Duration;
    ///
    /// let tens = Batcher::every(Duration::from_millis(10))?;
    /// let seen = vec![(Timestamp(1), ("tea", 3)), (Timestamp(12), ("tea", 1)), (Timestamp(8), ("tea", 4))];
    /// let sums = Producer::<Memory, _>::source(seen).batched(tens.clone()).sum_by_key(Default::default());
    /// let told = <Memory as Platform>::Sink::default();
    /// Memory::run(&sums.close(&Closing::batches(tens), Default::default()).values().write(told.clone()));
    /// assert_eq!(*told.lock().unwrap(), [(Timestamp(9), 7), (Timestamp(19), 1)]);
    /// # Ok::<(), flow::Error>(())
    /// ```
    pub fn close(&self, closing: &Closing<W>, open: P::Store<Open<(K, W)>, ()>) -> Written<P, ((K, W), V)> {
        Written(finals(&self.closed(closing, LatePolicy::Count, open)))
    }

    /// As [`close`](Self::close), and late elements are handed on aside, as they came. So a key's sum in
    /// its store is the sum that was handed on for it, if one was, and its late elements.
    ///
    /// Costs, beside, that an epoch's elements are kept until it is known which of them are late.
    pub fn close_with_late(
        &self,
        closing: &Closing<W>,
        open: P::Store<Open<(K, W)>, ()>,
    ) -> ClosedWithLate<P, (K, W), V> {
        let closed = self.closed(closing, LatePolicy::Aside, open);
        let late = closed.then(NodeKind::FilterMap, |_, closed, emit: &mut dyn FnMut(_)| {
            if let Closed::Late(key, value) = closed {
                emit((key, value));
            }
        });
        ClosedWithLate {
            closed: Written(finals(&closed)),
            late,
        }
    }

    /// As [`close`](Self::close), and a key that late elements come for is handed on again, once an epoch: with what was
    /// handed on for it before, if something was, and its sum now. So what is handed on for a key is a chain that ends with
    /// its sum in the store.
    pub fn close_with_corrections(
        &self,
        closing: &Closing<W>,
        open: P::Store<Open<(K, W)>, ()>,
    ) -> Written<P, Corrected<(K, W), V>> {
        let closed = self.closed(closing, LatePolicy::Correct, open);
        Written(closed.then(
            NodeKind::FilterMap,
            |_, closed, emit: &mut dyn FnMut(_)| match closed {
                Closed::Final(key, sum) => emit((key, (None, sum))),
                Closed::Corrected(key, before, sum) => emit((key, (before, sum))),
                Closed::Late(..) => {}
            },
        ))
    }

    fn closed(
        &self,
        closing: &Closing<W>,
        late: LatePolicy,
        open: P::Store<Open<(K, W)>, ()>,
    ) -> Producer<P, Closed<(K, W), V>> {
        let closed = Producer::new(CloseNode {
            sum: self.clone(),
            rule: closing.rule(late),
            open,
        });
        match &closing.name {
            Some(name) => closed.name(name),
            None => closed,
        }
    }
}

fn finals<P: Platform, K: Key, V: Value>(closed: &Producer<P, Closed<K, V>>) -> Producer<P, (K, V)> {
    closed.then(NodeKind::FilterMap, |_, closed, emit| {
        if let Closed::Final(key, sum) = closed {
            emit((key, sum));
        }
    })
}
