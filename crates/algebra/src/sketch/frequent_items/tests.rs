//! Frequent items beside exact counts, and their laws.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

/// Room for six items.
type Small = FrequentItems<u64, 3>;

fn built(items: &[(u64, u64)]) -> Small {
    let mut sketch = Small::new();
    items
        .iter()
        .for_each(|(item, count)| sketch.add_count(item, *count));
    sketch
}

fn items(length: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    // The squared draw makes some items frequent.
    let item = (0..5_u64, 0..8_u64).prop_map(|(a, b)| a * b);
    prop::collection::vec((item, 0..9_u64), 0..length)
}

fn truth(items: &[(u64, u64)]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    items
        .iter()
        .for_each(|(item, count)| *counts.entry(*item).or_default() += count);
    counts
}

/// The bounds of every item hold, and the error is within that of the invariant of the counters.
fn holds(sketch: &Small, truth: &BTreeMap<u64, u64>) -> bool {
    let total: u64 = truth.values().sum();
    let room = Small::CAPACITY as u64 / 2 + 1;
    let counted: u64 = sketch.counters.counts.values().sum();
    sketch.total() == total
        && sketch.max_error() * room + counted <= total
        && sketch.max_error() as f64 <= Small::relative_error() * total as f64
        && sketch.counters.counts.len() <= Small::CAPACITY
        && (0..50).all(|item| sketch.bounds(&item).contains(truth.get(&item).unwrap_or(&0)))
}

proptest! {
    #[test]
    fn laws_hold(a in items(30), b in items(30), c in items(30), x in 0..40_u64) {
        let all = truth(&[a.clone(), b.clone(), c.clone()].concat());
        let with_x = truth(&[a.clone(), vec![(x, 1)]].concat());
        let [a, b, c] = [a, b, c].map(|items| built(&items));
        laws::commutative(&a, &b)?;
        laws::identity(&a)?;
        laws::associative_within(&a, &b, &c, |left, right| holds(left, &all) && holds(right, &all))?;
        laws::adds(&a, &x, |left, right| holds(left, &with_x) && holds(right, &with_x))?;
        laws::round_trip(&a)?;
        laws::round_trip(&(a, b))?;
    }

    #[test]
    fn bounds_hold_in_any_grouping(items in items(120), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
        let truth = truth(&items);
        laws::merge_equals_whole_within(&items, &cuts, built, |a, b| holds(a, &truth) && holds(b, &truth))?;
    }

    #[test]
    fn exact_while_there_is_room(items in items(12), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
        let items: Vec<_> = items.into_iter().map(|(item, count)| (item % 6, count)).collect();
        laws::merge_equals_whole_within(&items, &cuts, built, Small::eq)?;
        prop_assert_eq!(built(&items).max_error(), 0);
    }

    #[test]
    fn lists_are_as_they_say(items in items(120), at_least in 1..90_u64, n in 0..9_usize) {
        let (sketch, truth) = (built(&items), truth(&items));
        let sure = sketch.frequent(at_least, Without::FalsePositives);
        prop_assert!(sure.iter().all(|row| truth[&row.item] >= at_least));
        let all = sketch.frequent(at_least, Without::FalseNegatives);
        let raised = at_least.max(sketch.max_error() + 1);
        for (item, _) in truth.iter().filter(|(_, count)| **count >= raised) {
            prop_assert!(all.iter().any(|row| row.item == *item), "item={item}");
        }
        let top = sketch.top(n);
        prop_assert!(top.len() == n.min(sketch.counters.counts.len()));
        prop_assert!(top.windows(2).all(|pair| pair[0].lower_bound >= pair[1].lower_bound));
        for certain in top.iter().filter(|row| row.certain) {
            let listed = |item: &u64| top.iter().any(|row| row.item == *item);
            prop_assert!(truth.iter().all(|(item, count)| listed(item) || *count <= truth[&certain.item]));
        }
    }

    #[test]
    fn bytes_survive(a in items(30), any in prop::collection::vec(any::<u8>(), 0..99), changes: [(usize, u8); 2]) {
        laws::survives::<Small>(&built(&a).to_bytes(), &changes)?;
        laws::survives::<Small>(&any, &[])?;
        let mut words = FrequentItems::<String, 3>::new();
        a.iter().for_each(|(item, count)| words.add_count(&item.to_string(), *count));
        laws::round_trip(&words)?;
        laws::survives::<FrequentItems<String, 3>>(&words.to_bytes(), &changes)?;
    }
}

/// Algebird's sketch of one item gave other bounds than that of many.
#[test]
fn one_item_is_exact() {
    let one = built(&[(7, 5)]);
    assert_eq!((one.bounds(&7), one.estimate(&7)), (5..=5, 5));
    assert_eq!((one.bounds(&8), one.estimate(&8)), (0..=0, 0));
    let two = built(&[(7, 5), (8, 0), (9, 1)]);
    assert_eq!((two.bounds(&7), two.bounds(&8)), (5..=5, 0..=0));
}

/// Algebird wrote the counters in the order of a hash map.
#[test]
fn equal_values_have_equal_bytes() {
    let mut items: Vec<(u64, u64)> = (0..500).map(|n| (n * n * n, 1 + n % 7)).collect();
    let build = |items: &[(u64, u64)]| {
        let mut sketch = FrequentItems::<u64, 10>::new();
        items
            .iter()
            .for_each(|(item, count)| sketch.add_count(item, *count));
        sketch
    };
    let there = build(&items);
    items.reverse();
    let back = build(&items);
    assert_eq!(there, back);
    assert_eq!(there.to_bytes(), back.to_bytes());
    assert_eq!(there.to_bytes()[4], 10, "500 items need 2^10 places");
}

#[test]
fn counts_stop_at_the_maximum() {
    let mut sketch = built(&[(1, u64::MAX), (1, 7), (2, 3)]);
    sketch.plus(built(&(0..40).map(|item| (item, u64::MAX)).collect::<Vec<_>>()));
    assert_eq!(sketch.total(), u64::MAX);
    assert_eq!(sketch.upper_bound(&1), u64::MAX);
    laws::round_trip(&sketch).unwrap();
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
    laws::refuses::<Small>(&with(2, 18), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<FrequentItems<u64, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Small>(&with(16, 4), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(32, 0), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(48, 9), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Small>(&with(8, 7), DecodeErrorKind::Corrupt).unwrap();
}
