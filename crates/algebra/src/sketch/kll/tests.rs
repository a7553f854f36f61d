//! KLL: laws, bytes, limits. The rank error is tested from outside.

use proptest::prelude::*;

use super::*;
use crate::laws;

type Small = Kll<f64, 32>;

fn sketch(items: &[f64]) -> Small {
    let mut sketch = Small::new();
    items.iter().for_each(|item| sketch.add(item));
    sketch
}

/// The share of items that are at most `x`.
fn true_rank(items: &[f64], x: f64) -> f64 {
    items.iter().filter(|item| **item <= x).count() as f64 / items.len() as f64
}

/// Same items: count and extremes equal, ranks within four times the 99 % error (beyond 10 standard deviations).
fn alike(left: &Small, right: &Small) -> bool {
    left.count() == right.count()
        && left.min() == right.min()
        && left.max() == right.max()
        && (-10..=10).all(|x| match (left.rank(&f64::from(x)), right.rank(&f64::from(x))) {
            (Some(left_rank), Some(right_rank)) => (left_rank - right_rank).abs() <= 4.0 * left.rank_error(),
            (left_rank, right_rank) => left_rank == right_rank,
        })
}

fn items() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-10.0..10.0_f64, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn laws_hold_within_the_bound(
        a in items(), b in items(), c in items(), cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let all = [a.clone(), b.clone(), c.clone()].concat();
        laws::merge_equals_whole_within(&all, &cuts, sketch, alike)?;
        let [a, b, c] = [a, b, c].map(|items| sketch(&items));
        laws::associative_within(&a, &b, &c, alike)?;
        laws::commutative_within(&a, &b, alike)?;
        laws::identity(&a)?;
        laws::adds(&a, &0.5, alike)?;
    }

    #[test]
    fn few_items_are_exact(items in prop::collection::vec(-10.0..10.0_f64, 1..32), q in 0.0..=1.0_f64) {
        let sketch = sketch(&items);
        let mut sorted = items.clone();
        sorted.sort_by(f64::total_cmp);
        let place = ((q * items.len() as f64).ceil() as usize).max(1);
        prop_assert_eq!(sketch.quantile(q), Some(sorted[place - 1]));
        prop_assert_eq!(sketch.rank(&sorted[place - 1]), Some(true_rank(&items, sorted[place - 1])));
    }

    #[test]
    fn bytes_last(items in items(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let sketch = sketch(&items);
        laws::round_trip(&sketch)?;
        laws::survives::<Small>(&sketch.to_bytes(), &changes)?;
        laws::survives::<(Small, u8)>(&(sketch, 7).to_bytes(), &changes)?;
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        laws::survives::<Kll<String>>(&bytes, &[])?;
        let opened = [&[5, 1, 15, 0, 8, 0, 8, 0][..], &bytes].concat();
        laws::survives::<Kll<i64, 8>>(&opened, &[])?;
    }

    #[test]
    fn strings_round_trip(items in prop::collection::vec("[a-zé]{0,6}", 0..60)) {
        let mut sketch = Kll::<String, 8>::new();
        items.iter().for_each(|item| sketch.add(item.as_str()));
        laws::round_trip(&sketch)?;
        prop_assert_eq!(sketch.max(), items.iter().max().cloned());
    }
}

#[test]
fn what_has_no_order_is_left_out() {
    let mut sketch = sketch(&[f64::NAN, -0.0, f64::NAN]);
    assert_eq!((sketch.count(), sketch.rank(&f64::NAN)), (1, None));
    assert_eq!(sketch.min().map(f64::to_bits), Some(0));
    sketch.add(&f64::INFINITY);
    assert_eq!(sketch.max(), Some(f64::INFINITY));
    assert_eq!([-0.1, 1.1, f64::NAN].map(|q| sketch.quantile(q)), [None; 3]);
    assert_eq!(Small::new().quantile(0.5), None);
}

/// 8 is the least K: its levels are the most.
#[test]
fn doubling_ends_at_the_limit() {
    let mut sketch = Kll::<i64, 8>::of(&7);
    for _ in 0..62 {
        sketch.plus(sketch.clone());
    }
    assert_eq!(sketch.count(), COUNT_MAX);
    laws::round_trip(&sketch).unwrap();

    let full = sketch.clone();
    sketch.plus(full.clone());
    sketch.add(&9);
    assert_eq!(sketch, full);
    let mut one = Kll::of(&9);
    one.plus(full.clone());
    assert_eq!(one, full);
}

#[test]
fn refuses_what_it_is_not() {
    let bytes = sketch(&[1.0, 2.0]).to_bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&changed(1, 9), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Small>(&changed(2, 7), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Kll<f64, 33>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Kll<f32, 32>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
    let n = Kll::<f64, 32>::from_bytes(&changed(15, 0x7f)).unwrap_err();
    assert_eq!(n.kind(), DecodeErrorKind::Corrupt);
}

#[test]
fn json_is_base64() {
    let sketch = sketch(&[1.0, 2.0, 3.0]);
    let text = serde_json::to_string(&sketch).unwrap();
    assert_eq!(serde_json::from_str::<Small>(&text).unwrap(), sketch);
}
