//! From outside: structures. Their bytes, their derives, and what the compiler says to who misuses these.

mod derives;
mod diagnostics;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasherDefault, DefaultHasher};

use algebra::codec::{Codec, DecodeErrorKind};
use algebra::sketch::Sketch;
use algebra::{
    AdaptiveVector, All, Any, Commutative, Earliest, Eventually, First, Idempotent, Item, Last, Latest, Max,
    MaxBy, Min, MinBy, Monoid, Pointwise, Semigroup, SparseHashMap, SparseMap, hash128, laws,
};

use crate::kit::golden;

/// Which of 16 hashes have come.
#[derive(Clone, Debug, PartialEq, Semigroup, Monoid, Commutative, Idempotent, Codec)]
struct Toy([Any; 16]);

impl<T: Item + ?Sized> Sketch<T> for Toy {
    fn add(&mut self, item: &T) {
        self.0[(hash128(item, 0) % 16) as usize] = Any(true);
    }
}

type Words = Eventually<BTreeSet<String>, Toy, 3>;

fn words(items: &[&str]) -> Words {
    let mut words = Words::new();
    items.iter().for_each(|item| words.add(*item));
    words
}

#[test]
fn golden_bytes() {
    golden(
        "choices",
        &(Min(1_u8), Max(2_u16), First(3_u32), Last("last".to_owned())),
    );
    golden(
        "keyed_choices",
        &(
            MinBy::new(1_u8, 'a'),
            MaxBy::new(2_u8, 'b'),
            Earliest::new(3_u64, "early".to_owned()),
            Latest::new(4_u64, Some(5_u8)),
        ),
    );
    golden("truths", &(All(true), Any(false)));
    golden("pointwise", &Pointwise(vec![1_u16, 0, 3]));
    golden(
        "sparse_map",
        &SparseMap::from_iter([("b".to_owned(), -1_i64), ("a".to_owned(), 2)]),
    );
    golden(
        "sparse_map",
        &SparseHashMap::<_, _>::from_iter([("b".to_owned(), -1_i64), ("a".to_owned(), 2)]),
    );
    golden(
        "adaptive_vector_dense",
        &AdaptiveVector::from(vec![1_u16, 0, 0, 4]),
    );
    golden(
        "adaptive_vector_sparse",
        &AdaptiveVector::from_iter([(1000, 4_u16), (7, 1)]),
    );
    golden("eventually_exact", &words(&["bee", "ant", "ant", "cat"]));
    golden("eventually_sketch", &words(&["bee", "ant", "cat", "dog"]));
    golden(
        "elements",
        &(
            (-1_i8, 0x0102_u16, 1.5_f32, f64::MIN_POSITIVE, 'é', true),
            (
                Some("é".to_owned()),
                None::<u8>,
                Result::<u8, u16>::Err(7),
                [1_u8, 2],
                u128::MAX,
            ),
            BTreeMap::from([(1_u8, vec![BTreeSet::from([3_u32, 2])])]),
        ),
    );
}

/// Bytes do not depend on the order of insertion, on the room made, or on the hasher.
#[test]
fn hashed_bytes_are_the_ordered_ones() {
    type Frozen = BuildHasherDefault<DefaultHasher>;
    let ordered: BTreeMap<u32, u8> = (0..1000).map(|key| (key, (key % 7) as u8)).collect();
    let upwards: HashMap<u32, u8> = ordered.clone().into_iter().collect();
    let mut downwards: HashMap<u32, u8, Frozen> = HashMap::with_capacity_and_hasher(9000, Frozen::default());
    downwards.extend(ordered.iter().rev().map(|(key, value)| (*key, *value)));
    let merged =
        HashMap::<u32, u8>::sum(ordered.iter().map(|(key, value)| HashMap::from([(*key, *value)]))).unwrap();
    for bytes in [upwards.to_bytes(), downwards.to_bytes(), merged.to_bytes()] {
        assert_eq!(bytes, ordered.to_bytes());
    }
    let keys: BTreeSet<u32> = ordered.keys().copied().collect();
    assert_eq!(
        upwards.into_keys().collect::<HashSet<_>>().to_bytes(),
        keys.to_bytes()
    );
    assert_eq!(
        downwards.into_keys().collect::<HashSet<_, Frozen>>().to_bytes(),
        keys.to_bytes()
    );
}

/// A map keeps what has come to zero, a sparse map drops it: two types, and not one that always drops.
#[test]
fn zeros_stay_in_maps_and_go_from_sparse_maps() {
    let sum = |x: i64, y: i64| laws_sum(BTreeMap::from([("key", x)]), BTreeMap::from([("key", y)]));
    assert_eq!(sum(1, -1), BTreeMap::from([("key", 0)]));
    let sparse = laws_sum(
        SparseMap::from_iter([("key", 1_i64)]),
        SparseMap::from_iter([("key", -1)]),
    );
    assert!(sparse.is_zero() && sparse == SparseMap::zero());
}

fn laws_sum<T: Semigroup>(mut left: T, right: T) -> T {
    left.plus(right);
    left
}

#[test]
fn other_kinds_versions_and_shapes_are_refused() {
    fn check<T: Codec>(value: &T) {
        let bytes = value.to_bytes();
        let changed = |at: usize| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x80;
            bytes
        };
        laws::refuses::<T>(&changed(0), DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<T>(&changed(1), DecodeErrorKind::Version).unwrap();
    }
    check(&Pointwise(vec![1_u8]));
    check(&SparseMap::from_iter([(1_u8, 1_u8)]));
    check(&SparseHashMap::<u8, u8>::from_iter([(1, 1)]));
    check(&AdaptiveVector::from(vec![1_u8]));
    check(&words(&["ant"]));
    laws::refuses::<Eventually<BTreeSet<String>, Toy, 4>>(
        &words(&["ant"]).to_bytes(),
        DecodeErrorKind::Shape,
    )
    .unwrap();
}
