//! Laws, the naive twin, long times.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::{DecayedVector, laws};

/// Small, so that items share cells.
type Small = DecayingCountMin<100, 4, 3>;
type Part = (u64, u8, f64);

fn parts() -> impl Strategy<Value = Vec<Part>> {
    prop::collection::vec((0..20_000_u64, 0..12_u8, 0.0..1e3), 0..40)
}

fn build(parts: &[Part]) -> Small {
    let mut counts = Small::new();
    parts.iter().for_each(|part| counts.add(part));
    counts
}

fn naive(parts: &[Part]) -> DecayedVector<u8, 100> {
    let mut exact = DecayedVector::new();
    parts.iter().for_each(|part| exact.add(part));
    exact
}

/// To the rounding of a hundred additions.
fn near(left: f64, right: f64) -> bool {
    (left - right).abs() <= 100.0 * f64::EPSILON * left.max(right)
}

fn close(left: &Small, right: &Small) -> bool {
    near(left.total_at(20_050), right.total_at(20_050))
        && (0..12_u8).all(|item| near(left.at(20_050, &item), right.at(20_050, &item)))
}

proptest! {
    #[test]
    fn laws_hold(a in parts(), b in parts(), c in parts(), cuts: [usize; 3], event in (0..20_000_u64, 0..12_u8)) {
        laws::merge_equals_whole_within(&[a.clone(), b.clone(), c.clone()].concat(), &cuts, build, close)?;
        let [a, b, c] = [a, b, c].map(|parts| build(&parts));
        laws::associative_within(&a, &b, &c, close)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::adds(&a, &event, Small::eq)?;
        laws::round_trip(&a)?;
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Small>(&text).unwrap(), a);
    }

    /// The total is exact, each count is between its own and the total.
    #[test]
    fn like_the_naive_twin(parts in parts(), later in 0..500_u64) {
        let (counts, exact, now) = (build(&parts), naive(&parts), 20_000 + later);
        let total: f64 = exact.entries_at(now).map(|entry| entry.1).sum();
        prop_assert!(near(counts.total_at(now), total));
        for item in 0..12_u8 {
            let (least, most) = counts.bounds_at(now, &item).into_inner();
            prop_assert!(most >= exact.at(now, &item) * (1.0 - 1e-13));
            prop_assert!(most <= total * (1.0 + 1e-13));
            prop_assert!(0.0 <= least && least <= most);
        }
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, parts in parts(), changes: Vec<(usize, u8)>) {
        laws::survives::<Small>(&bytes, &[])?;
        laws::survives::<Small>(&build(&parts).to_bytes(), &changes)?;
    }

    /// All of time, any count: no NaN, nothing below 0.
    #[test]
    fn nothing_is_too_far(parts: Vec<(u64, u8, f64)>, time: u64) {
        let mut counts = DecayingCountMin::<1, 4, 3>::new();
        for (time, item, count) in parts {
            counts.add_at(time, &item, count);
        }
        for item in 0..12_u8 {
            let (least, most) = counts.bounds_at(time, &item).into_inner();
            prop_assert!(0.0 <= least && least <= most, "least={least} most={most}");
        }
        laws::round_trip(&counts)?;
    }
}

#[test]
fn over_a_long_time() {
    let mut counts = DecayingCountMin::<1, 64, 4>::new();
    counts.add_at(0, "ant", 1e300);
    assert_eq!(counts.at(u64::MAX, "ant"), 0.0);
    counts.add_at(u64::MAX, "bee", 2.0);
    assert_eq!(counts.total_at(u64::MAX), 2.0);
    assert_eq!(counts.bounds_at(u64::MAX, "ant"), 0.0..=0.0);
    // Too late to be seen.
    let before = counts.clone();
    counts.add_at(0, "ant", 1e300);
    assert_eq!(counts, before);

    let mut steady = DecayingCountMin::<10, 64, 4>::new();
    (0..30_000).for_each(|time| steady.add_at(time * 10, "ant", 1.0));
    assert_eq!(steady.at(299_990, "ant"), 2.0);
}

#[test]
fn what_is_no_count_is_not_added() {
    let mut counts = Small::new();
    for count in [0.0, -0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        counts.add_at(5, "ant", count);
    }
    assert!(counts.is_zero());
    assert_eq!(counts.to_bytes(), Small::new().to_bytes());
}

#[test]
fn the_cells_are_frozen() {
    assert!(DecayingCountMin::<1, 1_000, 4>::places(hash128("sanderling", 0)).eq(FROZEN));
}

/// As computed in Python from the hash.
const FROZEN: [usize; 4] = [329, 1_222, 2_635, 3_812];

#[test]
fn what_is_no_count_min_is_refused() {
    let bytes = build(&[(500, 1, 1.0)]).to_bytes();
    laws::refuses::<DecayingCountMin<99, 4, 3>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<DecayingCountMin<100, 3, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<DecayingCountMin<100, 4, 4>>(&bytes, DecodeErrorKind::Shape).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
    // Header 2, shape 24, half-lives 8: the total's sign and exponent are at 41, the cells begin at 46.
    for (at, byte) in [(0, 0), (41, 0xbf), (42, 11), (53, 0x80)] {
        laws::refuses::<Small>(&changed(at, byte), DecodeErrorKind::Corrupt).unwrap();
    }
}
