//! Samples: the same whatever the order, and uniform.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

type Five = Sample<i8, 5, 7>;

fn built(items: &[(u8, i8)]) -> Five {
    let mut sample = Five::new();
    items.iter().for_each(|item| sample.add(item));
    sample
}

/// Ids come again, also with other values.
fn items() -> impl Strategy<Value = Vec<(u8, i8)>> {
    prop::collection::vec((0..20_u8, -2..2_i8), 0..15)
}

proptest! {
    #[test]
    fn laws_hold(a in items(), b in items(), c in items(), x in (0..20_u8, -2..2_i8)) {
        let [a, b, c] = [a, b, c].map(|items| built(&items));
        laws::associative(&a, &b, &c)?;
        laws::commutative(&a, &b)?;
        laws::idempotent(&a)?;
        laws::identity(&a)?;
        laws::adds(&a, &x, Five::eq)?;
        laws::round_trip(&a)?;
    }

    #[test]
    fn like_sorting_by_hash(items in items(), cuts in prop::collection::vec(any::<usize>(), 0..4)) {
        let mut ids: Vec<u8> = items.iter().map(|(id, _)| *id).collect();
        ids.sort_by_key(|id| hash128(id, 7));
        ids.dedup();
        let expected: Vec<u128> = ids.iter().take(5).map(|id| hash128(id, 7)).collect();
        prop_assert_eq!(built(&items).values.into_keys().collect::<Vec<_>>(), expected);
        laws::merge_equals_whole_within(&items, &cuts, built, Five::eq)?;
        let replayed: Vec<_> = items.iter().chain(items.iter().rev()).copied().collect();
        prop_assert_eq!(built(&replayed), built(&items));
    }

    #[test]
    fn bytes_survive(a in items(), any in prop::collection::vec(any::<u8>(), 0..99), changes: [(usize, u8); 2]) {
        laws::survives::<Five>(&built(&a).to_bytes(), &changes)?;
        laws::survives::<Five>(&any, &[])?;
    }

    #[test]
    fn larger_bernoulli_samples_have_the_smaller_ones(id: u64, p in 0.0..1.0, more in 0.0..1.0) {
        prop_assert!(!bernoulli::<1>(&id, p) || bernoulli::<1>(&id, p + more));
        prop_assert!(bernoulli::<1>(&id, 1.0) && bernoulli::<1>(&id, f64::INFINITY));
        prop_assert!(!bernoulli::<1>(&id, 0.0) && !bernoulli::<1>(&id, -1.0) && !bernoulli::<1>(&id, f64::NAN));
    }
}

#[test]
fn exact_below_its_room() {
    let sample = built(&[(1, 5), (2, -3), (1, 5), (9, 0), (7, 1)]);
    assert_eq!(sample.distinct_estimate(), 4.0);
    assert_eq!(sample.sum_estimate(|value| f64::from(*value)), 3.0);
    assert_eq!(Five::new().distinct_estimate(), 0.0);
}

#[test]
fn other_bytes_are_refused() {
    let bytes = built(&[(1, 2), (9, 3)]).to_bytes();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Five>(&with(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Five>(&with(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Sample<i8, 6, 7>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Sample<i8, 5, 8>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<Five>(&with(18, 3), DecodeErrorKind::Corrupt).unwrap();
}
