//! Sketch maps beside exact sums, and their laws.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::{Max, laws};

/// From a tenth on.
type Sums = SketchMap<u64, u64, 10, 128, 5>;
type Largest = SketchMap<String, Option<Max<u32>>, 1, 64, 3>;
type Tiny = SketchMap<u64, u64, 2, 3, 1>;

fn built<const P: u32, const W: u32, const D: u8>(items: &[(u64, u64)]) -> SketchMap<u64, u64, P, W, D> {
    let mut sketch = SketchMap::new();
    items.iter().for_each(|item| sketch.add(item));
    sketch
}

fn items() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let key = (0..60_u64, 0..60_u64, 0..60_u64).prop_map(|(a, b, c)| a * b * c / 3_600);
    prop::collection::vec((key, 0..90_u64), 0..90)
}

fn truth(items: &[(u64, u64)]) -> BTreeMap<u64, u64> {
    let mut sums = BTreeMap::new();
    items
        .iter()
        .for_each(|(key, value)| *sums.entry(*key).or_default() += value);
    sums
}

/// No estimate is too small, and every heavy key is listed.
fn holds(sketch: &Sums, truth: &BTreeMap<u64, u64>) -> bool {
    let total: u64 = truth.values().sum();
    let heavy = sketch.heavy();
    *sketch.total() == total
        && sketch.keys.len() <= 40
        && truth.iter().all(|(key, sum)| {
            let listed = heavy.iter().any(|(other, _)| other == key);
            sketch.estimate(key) >= *sum && (*sum == 0 || sum * 10 < total || listed)
        })
}

proptest! {
    #[test]
    fn laws_hold(a in items(), b in items(), c in items(), x in (any::<u64>(), 0..90_u64)) {
        let all = truth(&[a.clone(), b.clone(), c.clone()].concat());
        let [a, b, c] = [a, b, c].map(|items| built::<10, 128, 5>(&items));
        laws::commutative(&a, &b)?;
        laws::identity(&a)?;
        laws::associative_within(&a, &b, &c, |left, right| {
            left.cells == right.cells && holds(left, &all) && holds(right, &all)
        })?;
        laws::adds(&a, &x, Sums::eq)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn any_order_holds_what_is_heavy(items in items(), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let truth = truth(&items);
        laws::merge_equals_whole_within(&items, &cuts, built, |a: &Sums, b: &Sums| {
            a.cells == b.cells && holds(a, &truth) && holds(b, &truth)
        })?;
    }

    #[test]
    fn reaches_is_a_product(value in 0..1_000_u64, times in 1..5_000_u32, total in 0..1_000_000_u64) {
        prop_assert_eq!(reaches(&value, times, &total), value * u64::from(times) >= total);
        let near_max = u64::MAX / 2 - total;
        prop_assert!(reaches(&(near_max / 2 + 1), times.max(2), &near_max));
        prop_assert!(!reaches(&0, times, &near_max));
    }

    #[test]
    fn bytes_survive(a in items(), any in prop::collection::vec(any::<u8>(), 0..99), changes: [(usize, u8); 2]) {
        let sketch: Tiny = built(&a);
        laws::round_trip(&sketch)?;
        laws::survives::<Tiny>(&sketch.to_bytes(), &changes)?;
        laws::survives::<Tiny>(&any, &[])?;
    }
}

/// The places of 4 000 keys in any two rows are the same one time in 16, within six standard deviations.
#[test]
fn rows_are_independent() {
    let keys: Vec<Vec<usize>> = (0..4_000_u64)
        .map(|key| places(&key, 16).take(9).collect())
        .collect();
    for row in 0..9 {
        let hit = keys.iter().map(|places| places[row]).collect::<BTreeSet<_>>();
        assert_eq!(hit, (0..16).collect(), "row={row}");
        for other in row + 1..9 {
            let same = keys.iter().filter(|places| places[row] == places[other]).count();
            assert!((158..=342).contains(&same), "row={row} other={other} same={same}");
        }
    }
}

#[test]
fn the_largest_by_key() {
    let mut sketch = Largest::new();
    for (key, value) in [("ant", 7), ("bee", 9), ("ant", 8), ("cat", 3)] {
        sketch.add_value(key, Some(Max(value)));
    }
    assert_eq!(sketch.estimate("ant"), Some(Max(8)));
    assert_eq!(sketch.heavy(), [("bee".to_owned(), Some(Max(9)))]);
    assert_eq!(*sketch.total(), Some(Max(9)));
}

#[test]
fn keys_are_bounded() {
    let mut sketch = Tiny::new();
    for key in 0..10_000 {
        sketch.add_value(&key, 1);
        assert!(sketch.keys.len() <= 8);
    }
    assert!(sketch.heavy().len() <= 4);
}

#[test]
fn other_bytes_are_refused() {
    let bytes = built::<2, 3, 1>(&[(1, 2), (9, 3)]).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Tiny>(&with(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Tiny>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<SketchMap<u64, u64, 3, 3, 1>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<SketchMap<u64, u64, 2, 4, 1>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<SketchMap<u64, u64, 2, 3, 2>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Tiny>(&with(34, 2), DecodeErrorKind::Corrupt).unwrap();
}
