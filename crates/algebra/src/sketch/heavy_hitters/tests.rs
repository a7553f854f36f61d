//! Heavy hitters in every order of merging.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

/// From a tenth on: 40 candidates; the error is a hundredth.
type Tenth = HeavyHitters<u64, 100_000, 272, 5>;
/// From a third on, with hardly any room: 12 candidates in a table where everything collides.
type Narrow = HeavyHitters<u64, 333_333, 9, 2>;

fn built<const PPM: u32, const W: u32, const D: u8>(items: &[(u64, u64)]) -> HeavyHitters<u64, PPM, W, D> {
    let mut sketch = HeavyHitters::new();
    items
        .iter()
        .for_each(|(item, count)| sketch.add_count(item, *count));
    sketch
}

fn truth(items: &[(u64, u64)]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    items
        .iter()
        .for_each(|(item, count)| *counts.entry(*item).or_default() += count);
    counts
}

/// Up to 200 counts of 120 items, of which some are frequent.
fn items() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let item = (0..120_u64, 0..120_u64, 0..120_u64).prop_map(|(a, b, c)| a * b * c / 14_400);
    prop::collection::vec((item, 0..40_u64), 0..200)
}

/// Guarantees 1 and 3 and the certain bounds.
fn holds<const PPM: u32, const W: u32, const D: u8>(
    sketch: &HeavyHitters<u64, PPM, W, D>,
    truth: &BTreeMap<u64, u64>,
) -> bool {
    let total: u64 = truth.values().sum();
    let heavy = sketch.heavy();
    let share = f64::from(PPM) / 1e6;
    let listed = |item| heavy.iter().any(|(other, _)| *other == item);
    sketch.total() == total
        && sketch.candidates.counts.len() <= HeavyHitters::<u64, PPM, W, D>::CAPACITY
        && (total == 0 || (sketch.candidates.error as f64) < share / 2.0 * total as f64)
        && truth.iter().all(|(item, count)| {
            sketch.bounds(item).contains(count)
                && (*count == 0
                    || u128::from(*count) * 1_000_000 < u128::from(total) * u128::from(PPM)
                    || listed(*item))
        })
}

proptest! {
    #[test]
    fn laws_hold(a in items(), b in items(), c in items(), x: u64) {
        let all = truth(&[a.clone(), b.clone(), c.clone()].concat());
        let with_x = truth(&[a.clone(), vec![(x, 1)]].concat());
        let [a, b, c] = [a, b, c].map(|items| built::<100_000, 272, 5>(&items));
        laws::commutative(&a, &b)?;
        laws::identity(&a)?;
        laws::associative_within(&a, &b, &c, |left, right| {
            left.table == right.table && left.heavy() == right.heavy() && holds(left, &all) && holds(right, &all)
        })?;
        laws::adds(&a, &x, |left, right| left.heavy() == right.heavy() && holds(left, &with_x))?;
        laws::round_trip(&a)?;
    }

    /// Algebird's TopNCMS gives other items when it is merged in another order.
    #[test]
    fn any_order_gives_the_same_list(items in items(), cuts in prop::collection::vec(any::<usize>(), 0..6)) {
        let (truth, reversed) = (truth(&items), items.iter().rev().copied().collect::<Vec<_>>());
        let same = |a: &Tenth, b: &Tenth| {
            a.table == b.table && a.heavy() == b.heavy() && holds(a, &truth) && holds(b, &truth)
        };
        laws::merge_equals_whole_within(&items, &cuts, built, same)?;
        prop_assert!(same(&built(&items), &built(&reversed)));
    }

    #[test]
    fn guarantees_hold_where_everything_collides(
        items in items(),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let truth = truth(&items);
        let same = |a: &Narrow, b: &Narrow| a.table == b.table && holds(a, &truth) && holds(b, &truth);
        laws::merge_equals_whole_within(&items, &cuts, built, same)?;
    }

    #[test]
    fn bytes_survive(a in items(), any in prop::collection::vec(any::<u8>(), 0..99), changes: [(usize, u8); 2]) {
        let small: Narrow = built(&a);
        laws::round_trip(&small)?;
        laws::survives::<Narrow>(&small.to_bytes(), &changes)?;
        laws::survives::<Narrow>(&any, &[])?;
    }
}

/// In each part four other items come more often, and are light in the union: a list of the first four would lose the
/// one that is heavy.
#[test]
fn what_comes_fifth_everywhere_is_found_in_every_order() {
    let parts: Vec<Vec<(u64, u64)>> = (0..6_u64)
        .map(|part| {
            let leaders = (0..4).map(|n| (100 * part + 1_000 + n, 400));
            let crowd = (0..200).map(|n| (1_000 * part + 10_000 + n, 1));
            leaders.chain(crowd).chain([(7, 300)]).collect()
        })
        .collect();
    let all: Vec<(u64, u64)> = parts.concat();
    let expected = vec![(7, built::<100_000, 272, 5>(&all).estimate(&7))];
    let sketches: Vec<Tenth> = parts.iter().map(|items| built(items)).collect();
    let mut order: Vec<usize> = (0..6).collect();
    let mut orders = 0;
    permutations(&mut order, 0, &mut |order| {
        let from_left = laws::sum(order.iter().map(|at| sketches[*at].clone()));
        let pairs = order
            .chunks(2)
            .map(|pair| laws::sum(pair.iter().map(|at| sketches[*at].clone())));
        let tree = laws::sum(pairs);
        assert_eq!(from_left.heavy(), expected, "order={order:?}");
        assert_eq!(tree.heavy(), expected, "order={order:?}");
        orders += 1;
    });
    assert_eq!(orders, 720);
}

fn permutations(order: &mut Vec<usize>, at: usize, visit: &mut impl FnMut(&[usize])) {
    if at == order.len() {
        return visit(order);
    }
    for other in at..order.len() {
        order.swap(at, other);
        permutations(order, at + 1, visit);
        order.swap(at, other);
    }
}

/// Items that fall into the same cells as a heavy one cannot be told from it; they must not take all the room.
#[test]
fn a_crowd_in_the_cells_of_a_heavy_item_is_bounded() {
    let mut sketch = Narrow::new();
    sketch.add_count(&0, 2_000);
    (1..3_000).for_each(|item| sketch.add(&item));
    let twins = (1..3_000).filter(|item| sketch.estimate(item) >= 2_000).count();
    assert!(twins > Narrow::CAPACITY, "twins={twins}");
    assert!(sketch.heavy().len() <= Narrow::CAPACITY);
    assert!(sketch.heavy().iter().any(|(item, _)| *item == 0));
}

#[test]
fn other_bytes_are_refused() {
    let bytes = built::<333_333, 9, 2>(&[(1, 2), (9, 3)]).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Narrow>(&with(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Narrow>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<HeavyHitters<u64, 333_332, 9, 2>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<HeavyHitters<u64, 333_333, 10, 2>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Narrow>(&with(bytes.len() - 32, 77), DecodeErrorKind::Corrupt).unwrap();
}
