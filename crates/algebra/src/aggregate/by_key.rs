//! An aggregator for each key by itself: the state is a map of states, the answer a map of answers.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::hash::Hash;

use super::Aggregator;

/// [`by_key`](super::AggregatorExt::by_key): an ordered map, by a key that is computed.
#[derive(Clone, Copy, Debug)]
pub struct ByKey<A, F> {
    pub(super) aggregator: A,
    pub(super) key: F,
}

/// [`hashed_by_key`](super::AggregatorExt::hashed_by_key): a hashed map, by a key that is computed.
#[derive(Clone, Copy, Debug)]
pub struct HashedByKey<A, F> {
    pub(super) aggregator: A,
    pub(super) key: F,
}

macro_rules! by_key {
    ($name:ident, $map:ident, $module:ident, $bound:path $(, $or:path)*) => {
        impl<T: ?Sized, K: $bound $(+ $or)*, A: Aggregator<T>, F: Fn(&T) -> K> Aggregator<T> for $name<A, F> {
            type State = $map<K, A::State>;
            type Output = $map<K, A::Output>;

            fn prepare(&self, item: &T) -> Self::State {
                $map::from([((self.key)(item), self.aggregator.prepare(item))])
            }

            fn add(&self, state: &mut Self::State, item: &T) {
                match state.entry((self.key)(item)) {
                    $module::Entry::Occupied(mut place) => self.aggregator.add(place.get_mut(), item),
                    $module::Entry::Vacant(place) => {
                        place.insert(self.aggregator.prepare(item));
                    }
                }
            }

            fn present(&self, state: Self::State) -> Self::Output {
                state
                    .into_iter()
                    .map(|(key, state)| (key, self.aggregator.present(state)))
                    .collect()
            }
        }
    };
}

by_key!(ByKey, BTreeMap, btree_map, Ord);
by_key!(HashedByKey, HashMap, hash_map, Hash, Eq);

/// [`by_key_of`](super::AggregatorExt::by_key_of): an ordered map, by a key that lies in the item.
#[derive(Clone, Copy, Debug)]
pub struct ByKeyOf<A, F> {
    pub(super) aggregator: A,
    pub(super) key: F,
}

impl<T: ?Sized, Q, A: Aggregator<T>, F: Fn(&T) -> &Q> Aggregator<T> for ByKeyOf<A, F>
where
    Q: Ord + ToOwned<Owned: Ord + Borrow<Q>> + ?Sized,
{
    type State = BTreeMap<Q::Owned, A::State>;
    type Output = BTreeMap<Q::Owned, A::Output>;

    fn prepare(&self, item: &T) -> Self::State {
        BTreeMap::from([((self.key)(item).to_owned(), self.aggregator.prepare(item))])
    }

    fn add(&self, state: &mut Self::State, item: &T) {
        let key = (self.key)(item);
        match state.get_mut(key) {
            Some(state) => self.aggregator.add(state, item),
            None => {
                state.insert(key.to_owned(), self.aggregator.prepare(item));
            }
        }
    }

    fn present(&self, state: Self::State) -> Self::Output {
        state
            .into_iter()
            .map(|(key, state)| (key, self.aggregator.present(state)))
            .collect()
    }
}
