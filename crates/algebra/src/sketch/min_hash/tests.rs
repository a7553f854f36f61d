//! Laws and bytes of MinHash.

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

/// Not a multiple of eight, so that the bits of the last byte count.
type Small = MinHash<21>;

fn of_items(items: impl IntoIterator<Item = u64>) -> Small {
    let mut sketch = Small::new();
    items.into_iter().for_each(|item| sketch.add(&item));
    sketch
}

fn sketch() -> impl Strategy<Value = Small> {
    (0..50_u64, 0..80_u64).prop_map(|(first, count)| of_items(first..first + count))
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
    fn merged_is_whole(items: Vec<u64>, cut: usize) {
        let (left, right) = items.split_at(cut % (items.len() + 1));
        let mut merged = of_items(left.iter().copied());
        merged.plus(of_items(right.iter().copied()));
        prop_assert_eq!(&merged, &of_items(items.iter().copied()));
        prop_assert_eq!(merged.similarity(&of_items(items.into_iter().rev())), 1.0);
    }

    #[test]
    fn similarity_is_symmetric_and_within(a in sketch(), b in sketch()) {
        let similarity = a.similarity(&b);
        prop_assert!((0.0..=1.0).contains(&similarity));
        prop_assert_eq!(similarity, b.similarity(&a));
    }

    #[test]
    fn bytes_survive(a in sketch(), changes: Vec<(usize, u8)>) {
        laws::survives::<Small>(&a.to_bytes(), &changes)?;
    }
}

#[test]
fn small_sets_are_nearly_exact() {
    let (a, b) = ([1_u64, 2, 3], [2_u64, 3, 4]);
    let sketch = |items: [u64; 3]| {
        let mut sketch = MinHash::<4096>::new();
        items.iter().for_each(|item| sketch.add(item));
        sketch
    };
    assert_eq!(sketch(a).similarity(&sketch(b)), 0.5);
    assert_eq!(sketch(a).similarity(&MinHash::new()), 0.0);
    assert_eq!(MinHash::<4096>::new().similarity(&MinHash::new()), 1.0);
}

#[test]
fn bands_are_shared_by_similar_sets() {
    let shared = |left: &Small, right: &Small| {
        let (left, right) = (left.band_keys(7), right.band_keys(7));
        assert_eq!(left.len(), 7);
        left.iter()
            .zip(&right)
            .filter(|(left, right)| left == right)
            .count()
    };
    let some = of_items(0..200);
    assert_eq!(shared(&some, &of_items(0..200)), 7);
    assert_eq!(shared(&some, &of_items(1_000..1_200)), 0);
    // One item only: every bin borrows from its one.
    assert_eq!(shared(&of_items([7]), &of_items([7])), 7);
    assert_eq!(shared(&of_items([7]), &of_items([8])), 0);
    for bands in [0, 22, usize::MAX] {
        assert!(some.band_keys(bands).is_empty());
    }
    assert!(Small::new().band_keys(7).is_empty());
    assert_eq!(some.band_keys(4).len(), 4);
}

/// Nearly every bin is empty, and its keys still tell two items apart.
#[test]
fn one_item_in_many_bins_has_its_keys() {
    let keys = |item: u64| MinHash::<2_048>::of(&item).band_keys(256);
    let (seven, eight) = (keys(7), keys(8));
    assert_eq!(seven.len(), 256);
    assert!(seven.iter().zip(eight).all(|(left, right)| *left != right));
}

#[test]
fn shape_version_and_kind_are_refused() {
    let bytes = of_items(0..10).to_bytes();
    laws::refuses::<MinHash<22>>(&bytes, DecodeErrorKind::Shape).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&with(0, 0x60), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    // Bits of bins that there are not; no bin held.
    laws::refuses::<Small>(&with(13, 0xff), DecodeErrorKind::Corrupt).unwrap();
    let none = [&bytes[..11], &[0; 3]].concat();
    laws::refuses::<Small>(&none, DecodeErrorKind::Corrupt).unwrap();
}
