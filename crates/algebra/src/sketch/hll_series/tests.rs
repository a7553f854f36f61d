//! Laws and bytes of the HyperLogLog over time.

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

/// Sixteen registers from the eighth coupon on, and 256 from the 25th on.
type Tiny = HyperLogLogSeries<4>;
type Small = HyperLogLogSeries<8>;

fn of_items<const LG_K: u8>(items: &[(u8, u64)]) -> HyperLogLogSeries<LG_K> {
    let mut series = HyperLogLogSeries::new();
    items.iter().for_each(|(item, time)| series.add_at(*time, item));
    series
}

fn naive<const LG_K: u8>(items: &[(u8, u64)], since: u64) -> HyperLogLog<LG_K> {
    let mut sketch = HyperLogLog::new();
    items
        .iter()
        .filter(|(_, time)| *time >= since)
        .for_each(|(item, _)| sketch.add(item));
    sketch
}

/// Items that come again, at times with ties.
fn items() -> impl Strategy<Value = Vec<(u8, u64)>> {
    prop::collection::vec((0..120_u8, 0..40_u64), 0..90)
}

fn since_is_the_sketch<const LG_K: u8>(items: &[(u8, u64)], cut: usize) -> Result<(), TestCaseError> {
    let (left, right) = items.split_at(cut % (items.len() + 1));
    let mut merged = of_items::<LG_K>(left);
    merged.plus(of_items(right));
    prop_assert_eq!(&merged, &of_items(items));
    for time in [0, 1, 10, 20, 30, 35, 38, 39, 40, u64::MAX] {
        let expected = naive(items, time);
        prop_assert_eq!(merged.since(time), expected.clone(), "time={}", time);
        prop_assert_eq!(of_items(items).since(time), expected, "time={}", time);
    }
    Ok(())
}

fn forgetting_is_never_having_seen<const LG_K: u8>(
    items: &[(u8, u64)],
    time: u64,
) -> Result<(), TestCaseError> {
    let mut series = of_items::<LG_K>(items);
    series.forget_before(time);
    let later: Vec<(u8, u64)> = items.iter().copied().filter(|(_, seen)| *seen >= time).collect();
    prop_assert_eq!(&series, &of_items(&later));
    series.add_at(50, &200_u8);
    prop_assert_eq!(series.since(0), naive(&[&later[..], &[(200, 50)]].concat(), 0));
    Ok(())
}

proptest! {
    #[test]
    fn since_like_the_naive_twin(items in items(), cut: usize) {
        since_is_the_sketch::<4>(&items, cut)?;
        since_is_the_sketch::<8>(&items, cut)?;
    }

    #[test]
    fn forgets(items in items(), time in 0..45_u64) {
        forgetting_is_never_having_seen::<4>(&items, time)?;
        forgetting_is_never_having_seen::<8>(&items, time)?;
    }

    #[test]
    fn laws_hold(a in items(), b in items(), c in items(), item in (0..120_u8, 0..40_u64)) {
        let [a, b, c] = [a, b, c].map(|items| of_items::<8>(&items));
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::adds(&a, &(item.1, item.0), Small::eq)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn laws_hold_of_few_registers(a in items(), b in items(), c in items()) {
        let [a, b, c] = [a, b, c].map(|items| of_items::<4>(&items));
        laws::associative(&a, &b, &c)?;
        laws::commutative(&a, &b)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn bytes_survive(items in items(), changes: Vec<(usize, u8)>) {
        laws::survives::<Tiny>(&of_items::<4>(&items).to_bytes(), &changes)?;
    }
}

#[test]
fn stays_small() {
    let mut series = Tiny::new();
    for time in 0..20_000_u64 {
        series.add_at(time, &time);
    }
    let entries = series.registers.iter().map(Frontier::len).sum::<usize>();
    assert!(series.recent.len() <= 14 && entries < 16 * 20, "{series:?}");
    let recent = series.since(19_000).estimate();
    assert!((recent / 1_000.0 - 1.0).abs() < 0.8, "recent={recent}");
}

#[test]
fn shape_version_and_kind_are_refused() {
    let items: Vec<(u8, u64)> = (0..100).map(|item| (item, item.into())).collect();
    let bytes = of_items::<4>(&items).to_bytes();
    laws::refuses::<Small>(&bytes, DecodeErrorKind::Shape).unwrap();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Tiny>(&with(0, 0x61), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Tiny>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    // A horizon after the recent coupons.
    laws::refuses::<Tiny>(&with(12, 1), DecodeErrorKind::Corrupt).unwrap();
}
