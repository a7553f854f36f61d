//! `BTreeMap` and `HashMap`: pointwise, `(f ⊕ g)(k) = f(k) ⊕ g(k)`, where an absent key is the other's value.
//!
//! The zero is the empty map. They are not groups, also when the values are: a key whose value has come to zero
//! stays, and `{a: 0}` is not `{}`: [`SparseMap`](crate::SparseMap) is. A map is also
//! the exact twin of a sketch: it takes entries. `plus` walks the smaller of the two maps.

use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::hash::{BuildHasher, Hash};
use std::mem::swap;

use crate::sketch::{Sketch, SumsByKey};
use crate::{Commutative, Idempotent, Monoid, Semigroup};

macro_rules! plus_pointwise {
    ($module:ident) => {
        fn plus(&mut self, mut right: Self) {
            use $module::Entry;
            if self.len() >= right.len() {
                for (key, value) in right {
                    match self.entry(key) {
                        Entry::Occupied(mut place) => place.get_mut().plus(value),
                        Entry::Vacant(place) => {
                            place.insert(value);
                        }
                    }
                }
                return;
            }
            swap(self, &mut right);
            // `right` holds what was on the left, and must stay on the left of each `⊕`.
            for (key, value) in right {
                match self.entry(key) {
                    Entry::Occupied(mut place) => {
                        let right = place.insert(value);
                        place.get_mut().plus(right);
                    }
                    Entry::Vacant(place) => {
                        place.insert(value);
                    }
                }
            }
        }
    };
}

/// Pointwise.
impl<K: Ord, V: Semigroup> Semigroup for BTreeMap<K, V> {
    plus_pointwise!(btree_map);
}

impl<K: Ord, V: Semigroup> Monoid for BTreeMap<K, V> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Ord, V: Commutative> Commutative for BTreeMap<K, V> {}
impl<K: Ord, V: Idempotent> Idempotent for BTreeMap<K, V> {}

/// Exact: the sum of each key's values is kept.
impl<K: Ord + Clone, V: Semigroup + Clone> Sketch<(K, V)> for BTreeMap<K, V> {
    fn add(&mut self, (key, value): &(K, V)) {
        match self.get_mut(key) {
            Some(sum) => sum.plus(value.clone()),
            None => {
                self.insert(key.clone(), value.clone());
            }
        }
    }
}

impl<K: Ord + Clone, V: Semigroup + Clone> SumsByKey<K, V> for BTreeMap<K, V> {}

/// Pointwise, with any hasher.
impl<K: Eq + Hash, V: Semigroup, S: BuildHasher> Semigroup for HashMap<K, V, S> {
    plus_pointwise!(hash_map);
}

impl<K: Eq + Hash, V: Semigroup, S: BuildHasher + Default> Monoid for HashMap<K, V, S> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Eq + Hash, V: Commutative, S: BuildHasher> Commutative for HashMap<K, V, S> {}
impl<K: Eq + Hash, V: Idempotent, S: BuildHasher> Idempotent for HashMap<K, V, S> {}

/// Exact: the sum of each key's values is kept.
impl<K, V, S> Sketch<(K, V)> for HashMap<K, V, S>
where
    K: Eq + Hash + Clone,
    V: Semigroup + Clone,
    S: BuildHasher + Default,
{
    fn add(&mut self, (key, value): &(K, V)) {
        match self.get_mut(key) {
            Some(sum) => sum.plus(value.clone()),
            None => {
                self.insert(key.clone(), value.clone());
            }
        }
    }
}

impl<K, V, S> SumsByKey<K, V> for HashMap<K, V, S>
where
    K: Eq + Hash + Clone,
    V: Semigroup + Clone,
    S: BuildHasher + Default,
{
}

/// The sum of the values of each key, in the order they come; a key whose values sum to zero stays.
///
/// Collect into a [`SparseMap`](crate::SparseMap) to drop it. Turned around and with sets as values it inverts a map:
///
/// ```
/// use std::collections::BTreeSet;
/// use algebra::sum_by_key;
///
/// let sums = sum_by_key([("ant", 1_u64), ("bee", 2), ("ant", 3)]);
/// assert_eq!(sums["ant"], 4);
/// let inverse = sum_by_key([("ant", 6_u8), ("bee", 6)].map(|(key, legs)| (legs, BTreeSet::from([key]))));
/// assert_eq!(inverse[&6], BTreeSet::from(["ant", "bee"]));
/// ```
pub fn sum_by_key<K: Ord, V: Semigroup>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut sums = BTreeMap::new();
    for (key, value) in entries {
        match sums.entry(key) {
            btree_map::Entry::Occupied(mut place) => V::plus(place.get_mut(), value),
            btree_map::Entry::Vacant(place) => {
                place.insert(value);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use proptest::collection::{btree_map, hash_map};
    use proptest::prelude::*;

    use super::*;
    use crate::{Max, laws};

    #[test]
    fn what_comes_to_zero_stays() {
        let map = laws::sum([BTreeMap::from([("a", 1_i8)]), BTreeMap::from([("a", -1)])]);
        assert_eq!(map, BTreeMap::from([("a", 0)]));
        assert!(!map.is_zero());
        let map = laws::sum([HashMap::from([("a", 1_i8)]), HashMap::from([("a", -1)])]);
        assert_eq!(map, HashMap::from([("a", 0)]));
    }

    proptest! {
        #[test]
        fn btree(
            a in btree_map(0..8_u8, any::<i8>(), 0..8),
            b in btree_map(0..8_u8, any::<i8>(), 0..8),
            c in btree_map(0..8_u8, any::<i8>(), 0..8),
        ) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::adds(&a, &(3, 4), BTreeMap::eq)?;
            laws::bulk_equals_repeated(&[a.clone(), b, c])?;
            laws::idempotent(&a.into_iter().map(|(key, value)| (key, Max(value))).collect::<BTreeMap<_, _>>())?;
        }

        #[test]
        fn by_key(entries in prop::collection::vec((0..5_u8, "[a-z]"), 0..20)) {
            let naive: BTreeMap<u8, String> = entries
                .iter()
                .map(|(key, _)| (*key, entries.iter().filter(|(k, _)| k == key).map(|(_, v)| v.as_str()).collect()))
                .collect();
            prop_assert_eq!(sum_by_key(entries), naive);
        }

        /// Strings show whether left stays left.
        #[test]
        fn hash(
            a in hash_map(0..8_u8, "[a-z]", 0..8),
            b in hash_map(0..8_u8, "[a-z]", 0..8),
            c in hash_map(0..8_u8, "[a-z]", 0..8),
        ) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::adds(&a, &(3, "z".to_owned()), HashMap::eq)?;
            let rehash = |map: &HashMap<u8, String>| -> HashMap<_, _, BuildHasherDefault<DefaultHasher>> {
                map.iter().map(|(key, value)| (*key, value.clone())).collect()
            };
            laws::associative(&rehash(&a), &rehash(&b), &rehash(&c))?;
        }

        #[test]
        fn like_the_naive_twin(
            a in btree_map(0..9_u8, "[a-z]", 0..9),
            b in btree_map(0..9_u8, "[a-z]", 0..9),
        ) {
            let naive: BTreeMap<u8, String> = (0..9)
                .filter(|key| a.contains_key(key) || b.contains_key(key))
                .map(|key| (key, [&a, &b].iter().filter_map(|map| map.get(&key)).cloned().collect()))
                .collect();
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]), naive.clone());
            let hashed: HashMap<_, _> = laws::sum([a, b].map(|map| map.into_iter().collect::<HashMap<_, _>>()));
            prop_assert_eq!(hashed.into_iter().collect::<BTreeMap<_, _>>(), naive);
        }
    }
}
