//! Laws and bytes of HyperLogLog.

use datasketches::hll::{HllSketch, HllType};
use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;
use crate::sketch::StdDevs;

/// Of `count` numbers from `first` on.
fn range<const LG_K: u8>(first: u64, count: u64) -> HyperLogLog<LG_K> {
    let mut sketch = HyperLogLog::new();
    (first..first + count).for_each(|item| sketch.add(&item));
    sketch
}

/// From empty through coupons (to 24) to registers, overlapping.
fn sketch() -> impl Strategy<Value = HyperLogLog<8>> {
    (0..50_u64, 0..60_u64).prop_map(|(first, count)| range(first, count))
}

proptest! {
    #[test]
    fn laws_hold(a in sketch(), b in sketch(), c in sketch(), item: u64) {
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::adds(&a, &item, HyperLogLog::eq)?;
        laws::round_trip(&a)?;
        laws::round_trip(&range::<4>(item, 9))?;
    }

    #[test]
    fn like_registers_by_hand(items in prop::collection::vec(any::<u64>(), 0..80), cut: usize) {
        let (left, right) = items.split_at(cut % (items.len() + 1));
        let [mut merged, rest] = [left, right].map(|part| {
            part.iter().fold(HyperLogLog::<8>::new(), |mut sketch, item| {
                sketch.add(item);
                sketch
            })
        });
        merged.plus(rest);
        let coupons: std::collections::BTreeSet<Coupon> =
            items.iter().map(|item| item.with_bytes(Coupon::of)).collect();
        match &merged.state {
            State::Coupons(held) => {
                prop_assert!(coupons.len() <= 24);
                prop_assert_eq!(held.sorted(), coupons.into_iter().collect::<Vec<_>>());
            }
            State::Registers(ranks) => {
                prop_assert!(coupons.len() > 24);
                for (slot, rank) in ranks.iter().enumerate() {
                    let here = coupons.iter().filter(|coupon| coupon.address() % 256 == slot as u32);
                    prop_assert_eq!(*rank, here.map(|coupon| coupon.rank()).max().unwrap_or(0));
                }
            }
        }
    }

    #[test]
    fn downsizing_commutes(a in sketch(), b in sketch(), first in 0..50_u64, count in 0..60_u64) {
        let mut whole = a.clone();
        whole.plus(b.clone());
        let mut parts = a.downsize::<5>();
        parts.plus(b.downsize());
        prop_assert_eq!(whole.downsize(), parts);
        prop_assert_eq!(range::<8>(first, count).downsize::<6>(), range(first, count));
    }

    #[test]
    fn bytes_survive(a in sketch(), changes: Vec<(usize, u8)>, header in 0..8_usize, bits: u8) {
        laws::survives::<HyperLogLog<8>>(&a.to_bytes(), &changes)?;
        laws::survives::<HyperLogLog<8>>(&a.to_bytes(), &[(header, bits)])?;
    }

    #[test]
    fn other_forms_survive(count in 0..2_000_u64, four: bool, six: bool, changes: Vec<(usize, u8)>) {
        let kind = if four { HllType::Hll4 } else { if six { HllType::Hll6 } else { HllType::Hll8 } };
        let bytes = library(count, kind).serialize();
        prop_assert_eq!(HyperLogLog::<8>::from_bytes(&bytes).unwrap(), range(0, count));
        laws::survives::<HyperLogLog<8>>(&bytes, &changes)?;
    }

    #[test]
    fn intersections_never_fail(many in prop::collection::vec(sketch(), 0..12)) {
        let refs: Vec<&HyperLogLog<8>> = many.iter().collect();
        let estimate = HyperLogLog::intersection_estimate(&refs);
        prop_assert!(estimate >= 0.0);
        prop_assert!(many.iter().all(|sketch| estimate <= sketch.estimate()));
    }
}

fn library(count: u64, kind: HllType) -> HllSketch {
    let mut library = HllSketch::new(8, kind).unwrap();
    (0..count).for_each(|item| library.update(item));
    library
}

#[test]
fn estimates_as_the_library() {
    for count in [0, 1, 7, 8, 24, 25, 100, 1_000, 20_000] {
        let ours = range::<8>(0, count);
        let library = library(count, HllType::Hll8);
        assert_eq!(ours.estimate(), library.composite_estimate(), "count={count}");
        assert_eq!(
            HyperLogLog::from_bytes(&library.serialize()).unwrap(),
            ours,
            "count={count}"
        );
        let read = HllSketch::deserialize(&ours.to_bytes()).unwrap();
        assert_eq!(read.estimate(), ours.estimate(), "count={count}");
        assert!(
            ours.bounds(StdDevs::Three).contains(&(count as f64)),
            "count={count}"
        );
    }
}

/// List, set or registers: after as many items as the library, which the other languages agree with.
#[test]
fn takes_to_each_form_as_the_library() {
    fn form<const LG_K: u8>(count: u64) {
        let mut library = HllSketch::new(LG_K, HllType::Hll4).unwrap();
        (0..count).for_each(|item| library.update(item));
        let (ours, theirs) = (range::<LG_K>(0, count).to_bytes(), library.serialize());
        // The preamble as far as the size of the table, the form, and as many coupons or exceptions.
        assert_eq!(ours[..5], theirs[..5], "lg_k={LG_K} count={count}");
        assert_eq!(ours[7], theirs[7], "lg_k={LG_K} count={count}");
        assert_eq!(ours.len(), theirs.len(), "lg_k={LG_K} count={count}");
    }
    for count in 0..110 {
        form::<4>(count);
        form::<7>(count);
        form::<8>(count);
        form::<10>(count);
    }
}

#[test]
fn few_are_exact() {
    for count in 0..=384 {
        let sketch = range::<12>(0, count);
        assert!((sketch.estimate() - count as f64).abs() < 0.001, "{sketch:?}");
    }
    // Two sets that share a few: exact as well.
    let (a, b) = (range::<12>(0, 200), range::<12>(190, 150));
    assert!((HyperLogLog::intersection_estimate(&[&a, &b]) - 10.0).abs() < 0.001);
    assert!((a.union_estimate(&b) - 340.0).abs() < 0.01);
}

#[test]
fn shape_and_version_are_refused() {
    let bytes = range::<8>(0, 100).to_bytes();
    laws::refuses::<HyperLogLog<9>>(&bytes, DecodeErrorKind::Shape).unwrap();
    let text = HyperLogLog::<9>::from_bytes(&bytes).unwrap_err().to_string();
    assert!(
        text.contains("HyperLogLog<8>") && text.contains("downsize"),
        "{text}"
    );
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<HyperLogLog<8>>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<HyperLogLog<8>>(&with(2, 3), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<HyperLogLog<8>>(&with(6, 60), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<HyperLogLog<8>>(&with(40, 0xff), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<HyperLogLog<8>>(&with(7, 3), DecodeErrorKind::Corrupt).unwrap();
}

proptest! {
    /// Of ranks as no hash makes them: many exceptions, none at 0.
    #[test]
    fn any_ranks_round_trip(least in 0..64_u8, ranks in prop::collection::vec(0..64_u8, 32)) {
        let ranks: Vec<u8> = ranks.into_iter().map(|rank| rank.max(least)).collect();
        let sketch = HyperLogLog::<5>::from_ranks(ranks.clone());
        laws::round_trip(&sketch)?;
        let library = HllSketch::deserialize(&sketch.to_bytes()).unwrap();
        prop_assert_eq!(HyperLogLog::<5>::from_bytes(&library.serialize()).unwrap(), sketch.clone());
        let estimate = sketch.estimate();
        prop_assert!(estimate.is_finite() && estimate >= 0.0);
        prop_assert!(sketch.bounds(StdDevs::Three).contains(&estimate) || estimate < 32.0);
    }
}

#[test]
fn beyond_2_to_the_31() {
    // With n items a register's rank is at most r with probability (1 − 2^−r)^(n/k): its quantiles, one each.
    for lg_items in [31, 32, 33, 40, 50] {
        let each = 2_f64.powi(lg_items) / 4096.0;
        let ranks = (0..4096_u32).map(|register| {
            let quantile = (f64::from(register) + 0.5) / 4096.0;
            (1..=62_u8)
                .find(|rank| (each * (-(2_f64.powi(-i32::from(*rank)))).ln_1p()).exp() >= quantile)
                .unwrap_or(63)
        });
        let sketch = HyperLogLog::<12>::from_ranks(ranks.collect());
        let ratio = sketch.estimate() / 2_f64.powi(lg_items);
        assert!((ratio - 1.0).abs() < 0.02, "lg_items={lg_items} ratio={ratio}");
    }
    let full = HyperLogLog::<12>::from_ranks(vec![63; 4096]);
    assert!(full.estimate().is_finite() && full.estimate() > 2_f64.powi(63));
}
