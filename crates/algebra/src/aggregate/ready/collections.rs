//! The items themselves: in order, as a set, as a map. These grow with the items: for use by key, or of few.

use std::collections::{BTreeMap, BTreeSet};

use super::{Sketched, sketched, without_parts};
use crate::Semigroup;
use crate::aggregate::{After, Aggregator, AggregatorExt as _};

without_parts! {
    /// [`to_vec`]: the items, in order.
    ToVec,
    /// The items, in order.
    to_vec
}

impl<T: ToOwned + ?Sized> Aggregator<T> for ToVec<T> {
    type State = Vec<T::Owned>;
    type Output = Vec<T::Owned>;

    fn prepare(&self, item: &T) -> Vec<T::Owned> {
        vec![item.to_owned()]
    }

    #[inline]
    fn add(&self, state: &mut Vec<T::Owned>, item: &T) {
        state.push(item.to_owned());
    }

    fn present(&self, state: Vec<T::Owned>) -> Vec<T::Owned> {
        state
    }
}

/// [`to_set`]: the different items.
pub type ToSet<T> = Sketched<BTreeSet<<T as ToOwned>::Owned>, T>;

/// The different items.
pub fn to_set<T: Ord + ToOwned<Owned: Ord> + ?Sized>() -> ToSet<T> {
    sketched()
}

/// [`distinct`]: how many different items, exactly.
pub type Distinct<T> = After<ToSet<T>, fn(BTreeSet<<T as ToOwned>::Owned>) -> u64>;

/// How many different items, exactly: all of them are kept. For many take a sketch ([`sketched`](super::sketched)).
pub fn distinct<T: Ord + ToOwned<Owned: Ord> + ?Sized>() -> Distinct<T> {
    to_set().after(|items| items.len() as u64)
}

without_parts! {
    /// [`to_map`]: pairs as a map.
    ToMap,
    /// Pairs as a map; the values of equal keys are summed, so `Last<V>` keeps the last.
    to_map
}

impl<K: Ord + Clone, V: Semigroup + Clone> Aggregator<(K, V)> for ToMap<(K, V)> {
    type State = BTreeMap<K, V>;
    type Output = BTreeMap<K, V>;

    fn prepare(&self, (key, value): &(K, V)) -> BTreeMap<K, V> {
        BTreeMap::from([(key.clone(), value.clone())])
    }

    /// Copies the key only when it is new.
    fn add(&self, state: &mut BTreeMap<K, V>, (key, value): &(K, V)) {
        match state.get_mut(key) {
            Some(sum) => sum.plus(value.clone()),
            None => {
                state.insert(key.clone(), value.clone());
            }
        }
    }

    fn present(&self, state: BTreeMap<K, V>) -> BTreeMap<K, V> {
        state
    }
}
