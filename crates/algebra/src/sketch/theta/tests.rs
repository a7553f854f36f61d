//! Laws and bytes of the theta sketch.

use std::collections::BTreeSet;

use datasketches::theta::{CompactThetaSketch, ThetaSketchBuilder};
use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;
use crate::sketch::StdDevs;

type Small = Theta<5>;

fn hash(item: u64) -> u64 {
    item.with_bytes(|bytes| murmur128(bytes, SEED).0 >> 1)
}

fn of_items(items: impl IntoIterator<Item = u64>) -> Small {
    let mut sketch = Small::new();
    items.into_iter().for_each(|item| sketch.add(&item));
    sketch
}

/// From empty to ten times k, overlapping; and what set operations leave: a θ with few hashes.
fn sketch() -> impl Strategy<Value = Small> {
    let plain = || (0..200_u64, 0..320_u64).prop_map(|(first, count)| of_items(first..first + count));
    prop_oneof![
        2 => plain(),
        1 => (plain(), plain()).prop_map(|(a, b)| a.intersect(&b)),
        1 => (plain(), plain()).prop_map(|(a, b)| a.difference(&b)),
    ]
}

/// θ and the hashes below it, of all hashes, by sorting.
fn naive(items: &BTreeSet<u64>) -> (u64, Vec<u64>) {
    let hashes: BTreeSet<u64> = items.iter().map(|item| hash(*item)).collect();
    let theta = hashes.iter().nth(Small::K).copied().unwrap_or(THETA_MAX);
    (theta, hashes.into_iter().take(Small::K).collect())
}

proptest! {
    #[test]
    fn laws_hold(a in sketch(), b in sketch(), c in sketch(), item: u64) {
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::adds(&a, &item, Small::eq)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn like_the_naive_twin(items in prop::collection::vec(0..400_u64, 0..300), cut: usize) {
        let (left, right) = items.split_at(cut % (items.len() + 1));
        let mut merged = of_items(left.iter().copied());
        merged.plus(of_items(right.iter().copied()));
        let trimmed = merged.trimmed().sorted();
        let expected = naive(&items.iter().copied().collect());
        prop_assert_eq!((trimmed.theta, trimmed.hashes), expected);
        prop_assert_eq!(merged, of_items(items));
    }

    #[test]
    fn set_operations_like_the_naive_twin(
        a in prop::collection::btree_set(0..150_u64, 0..100),
        b in prop::collection::btree_set(0..150_u64, 0..100),
    ) {
        let (left, right) = (of_items(a.iter().copied()), of_items(b.iter().copied()));
        let theta = naive(&a).0.min(naive(&b).0);
        let below = |items: BTreeSet<u64>| -> Vec<u64> {
            let hashes: BTreeSet<u64> = items.into_iter().map(hash).collect();
            hashes.into_iter().filter(|hash| *hash < theta).collect()
        };
        let both = left.intersect(&right).trimmed().sorted();
        prop_assert_eq!(both.hashes, below(&a & &b));
        let only = left.difference(&right).trimmed().sorted();
        prop_assert_eq!(only.hashes, below(&a - &b));
        prop_assert_eq!(right.intersect(&left), left.intersect(&right));
        if theta == THETA_MAX && !(a.is_empty() && b.is_empty()) {
            let similarity = (&a & &b).len() as f64 / (&a | &b).len() as f64;
            // The union itself is a sample when it has more than k.
            let near = left.jaccard(&right);
            prop_assert!((near.estimate - similarity).abs() < 0.4, "{near:?} {similarity}");
            prop_assert!(near.low <= near.estimate && near.estimate <= near.high);
        }
    }

    #[test]
    fn bytes_survive(a in sketch(), changes: Vec<(usize, u8)>, header in 0..24_usize, bits: u8) {
        laws::survives::<Small>(&a.to_bytes(), &changes)?;
        laws::survives::<Small>(&a.to_bytes(), &[(header, bits)])?;
        let compressed = a.library_compressed();
        laws::survives::<Small>(&compressed, &changes)?;
        laws::survives::<Small>(&compressed, &[(header, bits)])?;
        prop_assert_eq!(Small::from_bytes(&compressed).unwrap(), a);
    }
}

impl Small {
    fn library_compressed(&self) -> Vec<u8> {
        CompactThetaSketch::deserialize(&self.to_bytes())
            .unwrap()
            .serialize_compressed()
    }
}

#[test]
fn as_the_library() {
    for count in [0, 1, 2, 32, 33, 100, 5_000] {
        let ours = of_items(0..count);
        let mut library = ThetaSketchBuilder::default().lg_k(5).build().unwrap();
        (0..count).for_each(|item| library.update(item));
        assert_eq!(
            Small::from_bytes(&library.compact(false).serialize()).unwrap(),
            ours
        );
        library.trim();
        assert_eq!(library.estimate(), ours.estimate(), "count={count}");
        if count > 0 {
            assert_eq!(
                library.compact(true).serialize(),
                ours.to_bytes(),
                "count={count}"
            );
        }
        assert!(
            ours.bounds(StdDevs::Three).contains(&(count as f64)),
            "count={count}"
        );
        assert_eq!(ours.is_exact(), count <= 32);
    }
}

#[test]
fn another_k_is_read_and_trimmed() {
    let mut larger = Theta::<7>::new();
    (0..1_000_u64).for_each(|item| larger.add(&item));
    assert_eq!(Small::from_bytes(&larger.to_bytes()).unwrap(), of_items(0..1_000));
    let smaller = Theta::<7>::from_bytes(&of_items(0..1_000).to_bytes()).unwrap();
    assert_eq!(smaller.estimate(), of_items(0..1_000).estimate());
}

#[test]
fn seed_and_version_are_refused() {
    let with = |at: usize, byte: u8| {
        let mut bytes = of_items(0..100).to_bytes();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&with(6, 0), DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Small>(&with(1, 5), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Small>(&with(2, 7), DecodeErrorKind::Corrupt).unwrap();
    // θ may not exceed 2⁶³ − 1, and a hash not θ.
    laws::refuses::<Small>(&with(23, 0xff), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(31, 0x7f), DecodeErrorKind::Corrupt).unwrap();
}

#[test]
fn of_nothing_nothing_is_left() {
    let many = of_items(0..1_000);
    assert!(Small::new().intersect(&many).is_zero());
    assert!(many.intersect(&Small::new()).is_zero());
    assert!(Small::new().difference(&many).is_zero());
    assert_eq!(many.difference(&Small::new()), many);
    assert_eq!(many.intersect(&many), many);
    assert_eq!(Small::new().jaccard(&Small::new()).estimate, 1.0);
    let none = many.difference(&many);
    assert_eq!(none.estimate(), 0.0);
    assert!(
        *none.bounds(StdDevs::Two).end() > 0.0,
        "a sample without an item does not say that there is none"
    );
}
