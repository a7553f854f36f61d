//! t-digest: laws, bytes, limits. Its error is tested from outside.

use proptest::prelude::*;

use super::*;
use crate::laws;

type Small = TDigest<50>;

fn digest(numbers: &[f64]) -> Small {
    let mut digest = Small::new();
    numbers.iter().for_each(|number| digest.add(number));
    digest
}

/// Same numbers: count and extremes equal, ranks within one centroid each.
fn alike(left: &Small, right: &Small) -> bool {
    left.count() == right.count()
        && left.min() == right.min()
        && left.max() == right.max()
        && (-10..=10).all(|x| match (left.rank(f64::from(x)), right.rank(f64::from(x))) {
            (Some(left_rank), Some(right_rank)) => {
                (left_rank - right_rank).abs() <= 2.0 * left.rank_error(left_rank)
            }
            (left_rank, right_rank) => left_rank == right_rank,
        })
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-10.0..10.0_f64, 0..900)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn laws_hold_within_the_error(
        a in numbers(), b in numbers(), c in numbers(), cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        let all = [a.clone(), b.clone(), c.clone()].concat();
        laws::merge_equals_whole_within(&all, &cuts, digest, alike)?;
        let [a, b, c] = [a, b, c].map(|numbers| digest(&numbers));
        laws::associative_within(&a, &b, &c, alike)?;
        laws::commutative_within(&a, &b, alike)?;
        laws::identity(&a)?;
        laws::adds(&a, &0.5, alike)?;
    }

    #[test]
    fn the_same_again_is_the_same(a in numbers(), b in numbers()) {
        let merged = || laws::sum([digest(&a), digest(&b)]);
        prop_assert_eq!(merged().to_bytes(), merged().to_bytes());
        prop_assert_eq!(merged(), merged());
    }

    #[test]
    fn bytes_last(numbers in numbers(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let digest = digest(&numbers);
        laws::round_trip(&digest)?;
        laws::survives::<Small>(&digest.to_bytes(), &changes)?;
        laws::survives::<(Small, u8)>(&(digest, 7).to_bytes(), &changes)?;
    }

    /// What was read answers every question: weights and means are the bytes' own.
    #[test]
    fn any_content_answers(
        flags in 0..8_u8, buffered in 0..3_u32,
        centroids in prop::collection::vec((-9.0..9.0_f64, any::<u64>(), 0..64_u32), 0..5),
    ) {
        let mut bytes = vec![2, 1, 20, 50, 0, flags & 4, 0, 0];
        (centroids.len() as u32, buffered).encode(&mut bytes);
        (-9.0_f64, 9.0_f64).encode(&mut bytes);
        let mut sorted = centroids.clone();
        sorted.sort_by(|left, right| left.0.total_cmp(&right.0));
        for (mean, weight, shift) in sorted {
            (mean, weight >> shift).encode(&mut bytes);
        }
        (0..buffered).for_each(|number| f64::from(number).encode(&mut bytes));
        if let Ok(digest) = Small::from_bytes(&bytes) {
            for step in 0..=20 {
                let step = f64::from(step);
                prop_assert!(digest.quantile(step / 20.0).is_some_and(f64::is_finite));
                prop_assert!(digest.rank(step - 10.0).is_some_and(|rank| (0.0..=1.0).contains(&rank)));
            }
            let mut more = digest.clone();
            more.plus(digest);
            more.add(&1.0);
            laws::round_trip(&more)?;
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        laws::survives::<Small>(&bytes, &[])?;
        laws::survives::<Small>(&[&[2, 1, 20, 50, 0, 0, 0, 0][..], &bytes].concat(), &[])?;
    }
}

#[test]
fn what_is_not_finite_is_left_out() {
    let digest = digest(&[f64::NAN, f64::INFINITY, -f64::INFINITY, -0.0]);
    assert_eq!(digest.count(), 1);
    assert_eq!(digest.min().map(f64::to_bits), Some(0));
    assert_eq!([-0.1, 1.1, f64::NAN].map(|q| digest.quantile(q)), [None; 3]);
    assert_eq!(digest.rank(f64::NAN), None);
    assert_eq!(Small::new().quantile(0.5), None);
    assert_eq!(digest.quantiles(&[0.0, 1.0]), Some(vec![0.0, 0.0]));
}

#[test]
fn doubling_ends_at_the_limit() {
    let mut digest = Small::of(&7.0);
    digest.add(&8.0);
    for _ in 0..62 {
        digest.plus(digest.clone());
    }
    assert_eq!(digest.count(), 1 << 63);
    laws::round_trip(&digest).unwrap();

    let full = digest.clone();
    digest.plus(full.clone());
    assert_eq!(digest, full);
}

#[test]
fn refuses_what_it_is_not() {
    let bytes = digest(&[1.0, 2.0]).to_bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Small>(&changed(1, 9), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Small>(&changed(2, 7), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<TDigest<51>>(&bytes, DecodeErrorKind::Shape).unwrap();
    // The reference implementation's form, with two thousand million centroids announced.
    let reference = [&[0, 0, 0, 1][..], &[0; 24], &[0x7f, 0xff, 0xff, 0xff]].concat();
    laws::refuses::<Small>(&reference, DecodeErrorKind::Corrupt).unwrap();
}

#[test]
fn json_is_base64() {
    let digest = digest(&[1.0, 2.0, 3.0]);
    let text = serde_json::to_string(&digest).unwrap();
    assert_eq!(serde_json::from_str::<Small>(&text).unwrap(), digest);
}
