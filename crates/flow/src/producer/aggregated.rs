//! Sums of what an aggregator makes of elements.

use algebra::aggregate::Aggregator;

use super::{Producer, SumByKey};
use crate::platform::Platform;
use crate::{Element, Key, Value};

impl<P: Platform, T: Element> Producer<P, T> {
    /// Sums in `store`, by key, the states that `aggregator` makes of the elements; emits as
    /// [`sum_by_key`](Self::sum_by_key) does.
    ///
    /// The store keeps states; [`Aggregator::present`] makes the answer of one. So an aggregate is written once and
    /// read by whoever has the aggregator:
    ///
    /// ```
    /// use algebra::aggregate::{Aggregator, AggregatorExt, average, count};
    /// use flow::{Memory, Platform, Producer, Timestamp};
    ///
    /// let waits = || (count(), average().before(|(_, ms): &(&'static str, u32)| f64::from(*ms)));
    /// let source = vec![(Timestamp(0), ("/", 4)), (Timestamp(1), ("/", 6)), (Timestamp(2), ("/about", 9))];
    /// let sums = <Memory as Platform>::Store::default();
    /// Memory::run(&Producer::source(source).aggregate_by_key(|(page, _)| *page, waits(), sums.clone()));
    /// let sum = sums.lock().unwrap()["/"].clone();
    /// assert_eq!(waits().present(sum), (2, 5.0));
    /// ```
    pub fn aggregate_by_key<K: Key, A>(
        &self,
        key: impl Fn(&T) -> K + Send + Sync + 'static,
        aggregator: A,
        store: P::Store<K, A::State>,
    ) -> SumByKey<P, K, A::State>
    where
        A: Aggregator<T> + Send + Sync + 'static,
        A::State: Value,
    {
        self.map(move |item| (key(&item), aggregator.prepare(&item)))
            .sum_by_key(store)
    }
}
