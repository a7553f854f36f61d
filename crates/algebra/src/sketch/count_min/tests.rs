//! Count-Min beside exact counts, C++'s bytes and its laws.

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

type Small = CountMin<7, 3>;

fn built(items: &[(u8, u64)]) -> Small {
    let mut sketch = Small::new();
    items
        .iter()
        .for_each(|(item, count)| sketch.add_count(item, *count));
    sketch
}

/// Small counts, and some next to the maximum.
fn sketch() -> impl Strategy<Value = Small> {
    let count = prop_oneof![4 => 0..9_u64, 1 => u64::MAX - 9..];
    prop::collection::vec((any::<u8>(), count), 0..12).prop_map(|items| built(&items))
}

proptest! {
    #[test]
    fn laws_hold(a in sketch(), b in sketch(), c in sketch(), x: u8) {
        laws::associative(&a, &b, &c)?;
        laws::commutative(&a, &b)?;
        laws::identity(&a)?;
        laws::adds(&a, &x, Small::eq)?;
        laws::round_trip(&a)?;
        laws::round_trip(&(a, b))?;
    }

    #[test]
    fn merging_is_counting(
        items in prop::collection::vec((any::<u8>(), 0..9_u64), 0..60),
        cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        laws::merge_equals_whole_within(&items, &cuts, built, Small::eq)?;
        let sketch = built(&items);
        let count = |item| items.iter().filter(|(other, _)| *other == item).map(|(_, count)| count).sum::<u64>();
        prop_assert_eq!(sketch.total(), items.iter().map(|(_, count)| count).sum::<u64>());
        for item in 0..=u8::MAX {
            prop_assert!(count(item) <= sketch.estimate(&item));
            prop_assert_eq!(*sketch.bounds(&item).end(), sketch.estimate(&item));
        }
        let squares = (0..=u8::MAX).map(|item| u128::from(count(item)).pow(2)).sum::<u128>();
        prop_assert!(squares <= sketch.inner_product(&sketch));
    }

    #[test]
    fn bytes_survive(a in sketch(), any in prop::collection::vec(any::<u8>(), 0..200), changes: [(usize, u8); 2]) {
        laws::survives::<Small>(&a.to_bytes(), &changes)?;
        laws::survives::<Small>(&any, &[])?;
        laws::survives::<(Small, Small)>(&(a.clone(), a).to_bytes(), &changes)?;
    }
}

#[test]
fn rows_have_the_seeds_of_the_c_plus_plus_library() {
    assert_eq!(
        ROW_SEEDS[..3],
        [
            0x3e2f_341a_a14f_c70c,
            0x5c06_9e43_fce8_13ce,
            0x9d86_35c1_3650_1eb7
        ]
    );
    assert_eq!(ROW_SEEDS[254], 0x6aaf_83f9_2746_69cf);
    let all = ROW_SEEDS
        .iter()
        .fold(0_u64, |all, seed| all.wrapping_mul(31).wrapping_add(*seed));
    assert_eq!(all, 0x4e50_c616_8fc4_ea09);
}

/// Algebird hashed 32-bit integers to even cells only.
#[test]
fn integers_reach_every_cell() {
    type Table = CountMin<1024, 5>;
    fn reaches_all<T: Item>(what: &str, item: impl Fn(u64) -> T) {
        let mut table = Table::new();
        (0..100_000).for_each(|n| table.add(&item(n)));
        for (row, cells) in table.cells.chunks_exact(1024).enumerate() {
            let hit = cells.iter().filter(|cell| **cell > 0).count();
            assert!(hit * 100 >= 99 * 1024, "{what}: row={row} hit={hit}");
            let fullest = cells.iter().max().unwrap();
            assert!(*fullest < 200, "{what}: row={row} fullest={fullest}");
        }
    }
    reaches_all("u64", |n| n);
    reaches_all("u32", |n| n as u32);
    reaches_all("i32, even", |n| n as i32 * 2);
    reaches_all("u32, multiples of 2^15", |n| n as u32 * (1 << 15));
    reaches_all("u64, multiples of 2^16", |n| n << 16);
    reaches_all("u64, multiples of 2^47", |n| n << 47);
    reaches_all("i64, negative", |n| -1 - n as i64);
    reaches_all("f64", |n| n as f64);
    reaches_all("text", |n| n.to_string());
}

#[test]
fn counts_stop_at_the_maximum() {
    let mut sketch = built(&[(1, u64::MAX), (1, 1), (2, 7)]);
    sketch.plus(built(&[(1, u64::MAX)]));
    assert_eq!((sketch.total(), sketch.estimate(&1)), (u64::MAX, u64::MAX));
    laws::round_trip(&sketch).unwrap();
    assert!(sketch.inner_product(&sketch) >= u128::from(u64::MAX).pow(2));
}

#[test]
fn suggestions() {
    assert_eq!(suggest(0.01, 0.99), (272, 5));
    assert_eq!(suggest(0.001, 0.999), (2719, 7));
    assert_eq!(suggest(0.0, 1.0), (4_210_752, 255));
    assert_eq!(suggest(f64::INFINITY, 0.0), (3, 1));
    assert_eq!(suggest(-1.0, -1.0), (3, 1));
    assert_eq!(suggest(f64::NAN, f64::NAN), (3, 1));
}

#[test]
fn other_bytes_are_refused() {
    let bytes = built(&[(1, 2), (9, 3)]).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Small>(&with(2, 10), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(13, 0), DecodeErrorKind::Shape).unwrap();
    laws::refuses::<CountMin<8, 3>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<CountMin<7, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Small>(&with(24, 77), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&built(&[(1, 2), (9, 3)]).to_python(), DecodeErrorKind::Corrupt).unwrap();
}
