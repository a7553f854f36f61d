//! `SparseMap` and `SparseHashMap`: maps that drop what has come to zero, and so are groups when their values are.
//!
//! A plain `BTreeMap` or `HashMap` keeps a key whose value has come to zero: take it to see that a key was there.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap, btree_map, hash_map};
use std::hash::{BuildHasher, Hash, RandomState};
use std::mem::swap;

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Group, Idempotent, Monoid, Semigroup, Times};

/// A function from keys to values that is zero almost everywhere, as the ordered map of the others:
/// `(f ⊕ g)(k) = f(k) ⊕ g(k)`, where an absent key is zero.
///
/// No value in it is ever zero; so equal functions are `==` and have equal bytes, and `f ⊕ negate(f)` is the empty map.
/// Laws are exact where those of the values are. `plus` walks the smaller of the two.
///
/// ```
/// use algebra::{Group, Semigroup, SparseMap};
///
/// let mut stock = SparseMap::from_iter([("nut", 5_i64), ("bolt", 2)]);
/// let mut sold = SparseMap::from_iter([("nut", 3), ("bolt", 2)]);
/// sold.negate();
/// stock.plus(sold);
/// assert_eq!(stock, SparseMap::from_iter([("nut", 2)]));
/// ```
///
/// As JSON it is the map. Bytes: kind, version 1, a length (`u32`), then key and value, keys rising.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    transparent,
    bound(deserialize = "K: Ord + Deserialize<'de>, V: Monoid + Deserialize<'de>")
)]
pub struct SparseMap<K, V> {
    #[serde(deserialize_with = "without_zeros")]
    entries: BTreeMap<K, V>,
}

/// As [`SparseMap`], hashed: faster to add to, in no order. The bytes are those of the ordered one, whatever the hasher.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(
    transparent,
    bound(
        serialize = "K: Serialize, V: Serialize",
        deserialize = "K: Eq + Hash + Deserialize<'de>, V: Monoid + Deserialize<'de>, S: BuildHasher + Default"
    )
)]
pub struct SparseHashMap<K, V, S = RandomState> {
    #[serde(deserialize_with = "hashed_without_zeros")]
    entries: HashMap<K, V, S>,
}

macro_rules! sparse_map {
    ($name:ident, $module:ident, [$($generics:tt)*] $type:ty, [$($key:tt)*] $map:ty) => {
        impl<$($generics)*> $type {
            /// Zero everywhere.
            pub fn new() -> Self {
                Self::default()
            }

            /// The value of a key, when it is not zero.
            pub fn get<Q>(&self, key: &Q) -> Option<&V>
            where
                K: Borrow<Q> + $($key)*,
                Q: $($key)* + ?Sized,
            {
                self.entries.get(key)
            }

            /// How many keys have a value that is not zero.
            pub fn len(&self) -> usize {
                self.entries.len()
            }

            /// Whether every value is zero.
            pub fn is_empty(&self) -> bool {
                self.entries.is_empty()
            }

            /// The keys with their values, zeros left out.
            pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
                self.entries.iter()
            }

            /// The map of what is not zero.
            pub fn into_map(self) -> $map {
                self.entries
            }
        }

        impl<$($generics)*> $type
        where
            K: $($key)*,
            V: Monoid,
        {
            /// `f(key) ← f(key) ⊕ value`.
            pub fn add(&mut self, key: K, value: V) {
                match self.entries.entry(key) {
                    $module::Entry::Occupied(mut place) => {
                        place.get_mut().plus(value);
                        if place.get().is_zero() {
                            place.remove();
                        }
                    }
                    $module::Entry::Vacant(place) => {
                        if !value.is_zero() {
                            place.insert(value);
                        }
                    }
                }
            }

            /// `f(key) ← value ⊕ f(key)`.
            fn add_left(&mut self, key: K, value: V) {
                match self.entries.entry(key) {
                    $module::Entry::Occupied(mut place) => {
                        let right = place.insert(value);
                        place.get_mut().plus(right);
                        if place.get().is_zero() {
                            place.remove();
                        }
                    }
                    $module::Entry::Vacant(place) => {
                        place.insert(value);
                    }
                }
            }

            /// `Σ f(k) ⊗ g(k)`, over the keys of the smaller of the two; keys in no particular order.
            pub fn dot(&self, right: &Self) -> V
            where
                V: Commutative + Times + Clone,
            {
                let product = |left: &V, right: &V| {
                    let mut product = left.clone();
                    product.times(right.clone());
                    product
                };
                let both: Vec<V> = if self.len() <= right.len() {
                    let both = self.iter().filter_map(|(key, left)| Some((left, right.get(key)?)));
                    both.map(|(left, right)| product(left, right)).collect()
                } else {
                    let both = right.iter().filter_map(|(key, right)| Some((self.get(key)?, right)));
                    both.map(|(left, right)| product(left, right)).collect()
                };
                V::sum(both).unwrap_or_else(V::zero)
            }
        }

        /// Key by key; what has come to zero is dropped.
        impl<$($generics)*> Semigroup for $type
        where
            K: $($key)*,
            V: Monoid,
        {
            fn plus(&mut self, mut right: Self) {
                if self.len() >= right.len() {
                    for (key, value) in right.entries {
                        self.add(key, value);
                    }
                } else {
                    swap(self, &mut right);
                    // `right` holds what was on the left, and must stay on the left of each `⊕`.
                    for (key, value) in right.entries {
                        self.add_left(key, value);
                    }
                }
            }
        }

        impl<$($generics)*> Monoid for $type
        where
            K: $($key)*,
            V: Monoid,
        {
            fn zero() -> Self {
                Self::default()
            }

            fn is_zero(&self) -> bool {
                self.is_empty()
            }
        }

        impl<$($generics)*> Group for $type
        where
            K: $($key)*,
            V: Group,
        {
            fn negate(&mut self) {
                self.entries.values_mut().for_each(V::negate);
            }
        }

        impl<$($generics)*> Commutative for $type where K: $($key)*, V: Monoid + Commutative {}
        impl<$($generics)*> Idempotent for $type where K: $($key)*, V: Monoid + Idempotent {}

        /// Without the zeros.
        impl<$($generics)*> From<$map> for $type
        where
            K: $($key)*,
            V: Monoid,
        {
            fn from(mut entries: $map) -> Self {
                entries.retain(|_, value| !value.is_zero());
                Self { entries }
            }
        }

        /// The values of equal keys are summed in the order they come.
        impl<$($generics)*> FromIterator<(K, V)> for $type
        where
            K: $($key)*,
            V: Monoid,
        {
            fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
                let mut sums = Self::default();
                sums.extend(entries);
                sums
            }
        }

        /// Adds each in turn.
        impl<$($generics)*> Extend<(K, V)> for $type
        where
            K: $($key)*,
            V: Monoid,
        {
            fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
                entries.into_iter().for_each(|(key, value)| self.add(key, value));
            }
        }

        impl<$($generics)*> IntoIterator for $type {
            type Item = (K, V);
            type IntoIter = <$map as IntoIterator>::IntoIter;

            fn into_iter(self) -> Self::IntoIter {
                self.entries.into_iter()
            }
        }
    };
}

sparse_map!(SparseMap, btree_map, [K, V] SparseMap<K, V>, [Ord] BTreeMap<K, V>);
sparse_map!(
    SparseHashMap,
    hash_map,
    [K, V, S: BuildHasher + Default] SparseHashMap<K, V, S>,
    [Eq + Hash] HashMap<K, V, S>
);

impl<K, V> Default for SparseMap<K, V> {
    fn default() -> Self {
        Self {
            entries: BTreeMap::new(),
        }
    }
}

impl<K, V, S: Default> Default for SparseHashMap<K, V, S> {
    fn default() -> Self {
        Self {
            entries: HashMap::default(),
        }
    }
}

impl<K: Eq + Hash, V: PartialEq, S: BuildHasher> PartialEq for SparseHashMap<K, V, S> {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl<K: Eq + Hash, V: Eq, S: BuildHasher> Eq for SparseHashMap<K, V, S> {}

impl<K: Codec + Ord, V: Codec + Monoid> Codec for SparseMap<K, V> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SPARSE_MAP, 1);
        self.entries.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::SPARSE_MAP, 1)?;
        let entries = BTreeMap::<K, V>::decode(input)?;
        if entries.values().any(V::is_zero) {
            return Err(input.corrupt("a sparse map holds a zero"));
        }
        Ok(Self { entries })
    }
}

impl<K: Codec + Ord + Hash, V: Codec + Monoid, S: BuildHasher + Default> Codec for SparseHashMap<K, V, S> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SPARSE_MAP, 1);
        self.entries.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let ordered = SparseMap::decode(input)?;
        Ok(Self {
            entries: ordered.into_iter().collect(),
        })
    }
}

fn without_zeros<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
where
    K: Ord + Deserialize<'de>,
    V: Monoid + Deserialize<'de>,
    D: serde::Deserializer<'de>,
{
    BTreeMap::deserialize(deserializer).map(|entries| SparseMap::from(entries).entries)
}

fn hashed_without_zeros<'de, K, V, S, D>(deserializer: D) -> Result<HashMap<K, V, S>, D::Error>
where
    K: Eq + Hash + Deserialize<'de>,
    V: Monoid + Deserialize<'de>,
    S: BuildHasher + Default,
    D: serde::Deserializer<'de>,
{
    HashMap::deserialize(deserializer).map(|entries| SparseHashMap::from(entries).entries)
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, DefaultHasher};

    use proptest::prelude::*;

    use super::*;
    use crate::{Max, laws};

    type Frozen = BuildHasherDefault<DefaultHasher>;

    fn entries() -> impl Strategy<Value = Vec<(u8, i8)>> {
        prop::collection::vec((0..8_u8, -2..3_i8), 0..12)
    }

    proptest! {
        #[test]
        fn laws_hold(a in entries(), b in entries(), c in entries()) {
            let [x, y, z] = [&a, &b, &c].map(|e| e.iter().copied().collect::<SparseMap<_, _>>());
            laws::associative(&x, &y, &z)?;
            laws::identity(&x)?;
            laws::inverse(&x)?;
            laws::commutative(&x, &y)?;
            laws::round_trip(&x)?;
            prop_assert!(laws::sum([x.clone(), y.clone()]).iter().all(|(_, value)| *value != 0));
            let [h, i, j] = [a, b, c].map(|e| e.into_iter().collect::<SparseHashMap<_, _>>());
            laws::associative(&h, &i, &j)?;
            laws::identity(&h)?;
            laws::inverse(&h)?;
            laws::commutative(&h, &i)?;
            laws::round_trip(&h)?;
            prop_assert_eq!(h.to_bytes(), x.to_bytes());
        }

        /// Strings show whether left stays left.
        #[test]
        fn not_commutative(maps in prop::collection::vec(prop::collection::btree_map(0..8_u8, "[a-z]?", 0..8), 3)) {
            let [a, b, c] = [0, 1, 2].map(|i: usize| SparseMap::from(maps[i].clone()));
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            let [h, i, j] = [&a, &b, &c].map(|m| SparseHashMap::<_, _, Frozen>::from_iter(m.clone()));
            laws::associative(&h, &i, &j)?;
        }

        #[test]
        fn idempotent(map in prop::collection::btree_map(0..8_u8, any::<Option<i8>>(), 0..8)) {
            laws::idempotent(&SparseMap::from_iter(map.into_iter().map(|(key, value)| (key, value.map(Max)))))?;
        }

        /// However filled and whatever the hasher.
        #[test]
        fn bytes_do_not_depend_on_the_order(mut list in entries(), at: usize) {
            let forward: SparseHashMap<u8, i8> = list.iter().copied().collect();
            list.reverse();
            let middle = at % (list.len() + 1);
            list.rotate_left(middle);
            let other: SparseHashMap<u8, i8, Frozen> = list.iter().copied().collect();
            let ordered: SparseMap<u8, i8> = list.into_iter().collect();
            prop_assert_eq!(forward.to_bytes(), other.to_bytes());
            prop_assert_eq!(forward.to_bytes(), ordered.to_bytes());
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, changes: Vec<(usize, u8)>, list in entries()) {
            let valid = SparseMap::from_iter(list).to_bytes();
            laws::survives::<SparseMap<u8, i8>>(&bytes, &changes)?;
            laws::survives::<SparseMap<u8, i8>>(&valid, &changes)?;
            laws::survives::<SparseHashMap<u8, i8>>(&valid, &changes)?;
        }
    }

    #[test]
    fn no_way_in_for_zeros() {
        let map: SparseMap<String, i8> = serde_json::from_str(r#"{"a":0,"b":1}"#).unwrap();
        assert_eq!(serde_json::to_string(&map).unwrap(), r#"{"b":1}"#);
        assert_eq!((map.get("a"), map.get("b")), (None, Some(&1)));
        let map: SparseHashMap<String, i8> = serde_json::from_str(r#"{"a":0,"b":1}"#).unwrap();
        assert_eq!(map.len(), 1);
        let mut bytes = SparseMap::from_iter([(1_u8, 1_i8)]).to_bytes();
        *bytes.last_mut().unwrap() = 0;
        laws::refuses::<SparseMap<u8, i8>>(&bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<SparseHashMap<u8, i8>>(&bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
    }

    /// A number with its usual product.
    #[derive(Clone, Debug, PartialEq, crate::Semigroup, crate::Monoid, crate::Commutative)]
    struct Number(i64);

    impl Times for Number {
        fn times(&mut self, right: Self) {
            self.0 *= right.0;
        }
    }

    #[test]
    fn dot() {
        let map = |entries: &[(u8, i64)]| -> SparseMap<u8, Number> {
            entries
                .iter()
                .map(|(key, value)| (*key, Number(*value)))
                .collect()
        };
        let (a, b) = (map(&[(1, 2), (2, 3), (4, 1)]), map(&[(2, 5), (4, 7)]));
        assert_eq!((a.dot(&b), b.dot(&a)), (Number(22), Number(22)));
        assert_eq!(a.dot(&map(&[])), Number(0));
    }
}
