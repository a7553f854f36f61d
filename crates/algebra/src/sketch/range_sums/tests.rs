//! RangeSums: laws, bounds against the naive sum, integers and floats agreeing, bytes.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

type Sums<X> = RangeSums<X, u64, 8>;

fn sums<X: RangeKey, const MAX: usize>(values: &[(X, u64)]) -> RangeSums<X, u64, MAX> {
    let mut sums = RangeSums::new();
    values.iter().for_each(|value| sums.add(value));
    sums
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![-20..20_i64, -2000..2000_i64, any::<i64>()]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-20..20_i32).prop_map(f64::from),
        -20.0..20.0_f64,
        any::<f64>(),
        Just(f64::NAN),
        Just(-0.0)
    ]
}

fn values<X: std::fmt::Debug>(key: impl Strategy<Value = X>) -> impl Strategy<Value = Vec<(X, u64)>> {
    prop::collection::vec((key, 0..100_u64), 0..40)
}

fn laws_of<X: RangeKey + std::fmt::Debug>(parts: [&[(X, u64)]; 3], cuts: &[usize]) -> laws::Result
where
    RangeSums<X, u64, 8>: PartialEq,
{
    let all = parts.concat();
    let same = |left: &Sums<X>, right: &Sums<X>| left == right && left.to_bytes() == right.to_bytes();
    laws::merge_equals_whole_within(&all, cuts, sums::<X, 8>, same)?;
    let [a, b, c] = parts.map(sums::<X, 8>);
    laws::associative(&a, &b, &c)?;
    laws::commutative(&a, &b)?;
    laws::identity(&a)?;
    laws::round_trip(&a)?;
    all.iter()
        .take(1)
        .try_for_each(|value| laws::adds(&a, value, same))
}

/// The naive twin: a pass over the values.
fn check_bounds<X: RangeKey + PartialOrd + std::fmt::Debug>(
    values: &[(X, u64)],
    (from, to): (X, X),
    q: f64,
) -> Result<(), TestCaseError> {
    let sums = sums::<X, 8>(values);
    let inside: Vec<u64> = values
        .iter()
        .filter(|(x, _)| from <= *x && *x < to)
        .map(|(_, v)| *v)
        .collect();
    let (truth, count) = (inside.iter().sum::<u64>(), inside.len() as u64);
    let (lower, upper) = sums.sum_in(from..to);
    prop_assert!(
        lower <= truth && truth <= upper,
        "lower={lower} truth={truth} upper={upper}"
    );
    let (fewest, most) = sums.count_in(from..to);
    prop_assert!(
        fewest <= count && count <= most,
        "fewest={fewest} count={count} most={most}"
    );

    let mut keys: Vec<X> = values
        .iter()
        .map(|(x, _)| *x)
        .filter(|x| x.to_ordered().is_some())
        .collect();
    keys.sort_by_key(|x| x.to_ordered());
    prop_assert_eq!(sums.count() + sums.not_numbers(), values.len() as u64);
    match sums.quantile(q) {
        None => prop_assert!(keys.is_empty()),
        Some((lower, upper)) => {
            let truth = keys[((q * keys.len() as f64).ceil() as usize).max(1) - 1];
            prop_assert!(lower <= truth && truth <= upper, "{lower:?} {truth:?} {upper:?}");
            let width = upper.to_ordered().unwrap() - lower.to_ordered().unwrap();
            // A float cell that ends at -0.0 shows 0.0, the next key.
            prop_assert!(
                width < 1 << sums.level() || (sums.level() > 0 && width == 1 << sums.level()),
                "wider than a cell: {lower:?} {upper:?}"
            );
        }
    }
    // No coarser than it must be.
    let mut cells: Vec<u64> = keys.iter().filter_map(|x| x.to_ordered()).collect();
    if sums.level() > 0 {
        cells.iter_mut().for_each(|cell| *cell >>= sums.level() - 1);
        cells.dedup();
        prop_assert!(cells.len() > 8);
    }
    Ok(())
}

proptest! {
    #[test]
    fn laws_are_exact(
        i in [values(integer()), values(integer()), values(integer())],
        x in [values(float()), values(float()), values(float())],
        cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        laws_of(i.each_ref().map(Vec::as_slice), &cuts)?;
        laws_of(x.each_ref().map(Vec::as_slice), &cuts)?;
    }

    #[test]
    fn bounds_hold(
        i in values(integer()), i_range in (integer(), integer()),
        x in values(float()), x_range in (float(), float()), q in 0.0..=1.0_f64,
    ) {
        check_bounds(&i, i_range, q)?;
        check_bounds(&x, x_range, q)?;
    }

    /// Algebird issue 517: its integer and float quantiles disagree.
    #[test]
    fn integers_and_floats_agree(
        values in prop::collection::vec((-1000..1000_i64, 0..100_u64), 1..60),
        range in (-1000..1000_i64, -1000..1000_i64), q in 0.0..=1.0_f64,
    ) {
        let whole = sums::<i64, 64>(&values);
        let float: Vec<(f64, u64)> = values.iter().map(|(x, value)| (*x as f64, *value)).collect();
        let float = sums::<f64, 64>(&float);
        prop_assert_eq!((whole.level(), float.level()), (0, 0));
        let (lower, upper) = whole.quantile(q).unwrap();
        prop_assert_eq!(lower, upper);
        prop_assert_eq!(float.quantile(q), Some((lower as f64, upper as f64)));
        let of_whole = whole.sum_in(range.0..=range.1);
        prop_assert_eq!(of_whole.0, of_whole.1);
        prop_assert_eq!(float.sum_in(range.0 as f64..=range.1 as f64), of_whole);
    }

    #[test]
    fn bytes_are_survived(
        values in values(float()), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6),
        content in prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..80),
    ) {
        let bytes = sums::<f64, 8>(&values).to_bytes();
        laws::survives::<Sums<f64>>(&bytes, &changes)?;
        laws::survives::<Sums<f64>>(&[&bytes[..18], &content].concat(), &[])?;
    }

    #[test]
    fn compressed_bounds_hold(values in values(integer()), range in (integer(), integer()), cells in 0..9_usize) {
        let mut sums = sums::<i64, 64>(&values);
        sums.compress(cells);
        let truth = values.iter().filter(|(x, _)| (range.0..range.1).contains(x)).map(|(_, v)| *v).sum::<u64>();
        let (lower, upper) = sums.sum_in(range.0..range.1);
        prop_assert!(lower <= truth && truth <= upper);
        laws::round_trip(&sums)?;
    }
}

/// Algebird: `QTree` of the longs 1 and 2 gives `(2, 3)` for the median, of the doubles `(1.0, 1.0…)`.
#[test]
fn the_median_of_one_and_two_is_one() {
    assert_eq!(sums::<i64, 8>(&[(1, 1), (2, 1)]).quantile(0.5), Some((1, 1)));
    assert_eq!(
        sums::<f64, 8>(&[(1.0, 1), (2.0, 1)]).quantile(0.5),
        Some((1.0, 1.0))
    );
    assert_eq!(sums::<u64, 8>(&[(1, 1), (2, 1)]).quantile(0.5), Some((1, 1)));
}

#[test]
fn ends_of_ranges() {
    let sums = sums::<f64, 8>(&[
        (1.0, 1),
        (f64::INFINITY, 10),
        (f64::NAN, 100),
        (-f64::INFINITY, 1000),
    ]);
    assert_eq!(sums.sum_in(..), (1011, 1011));
    assert_eq!(sums.sum_in(..f64::INFINITY), (1001, 1001));
    assert_eq!(sums.sum_in(1.0..=1.0), (1, 1));
    assert_eq!(sums.sum_in(1.0..1.0), (0, 0));
    assert_eq!(sums.sum_in(f64::NAN..), (0, 0));
    assert_eq!((sums.not_numbers(), sums.max()), (1, Some(f64::INFINITY)));
    assert_eq!([-0.1, 1.1, f64::NAN].map(|q| sums.quantile(q)), [None; 3]);
    assert_eq!(Sums::<u64>::of(&(u64::MAX, 5)).sum_in(u64::MAX..), (5, 5));
    assert_eq!(Sums::<u64>::of(&(0, 5)).sum_in(..0), (0, 0));
}

#[test]
fn refuses_what_it_is_not() {
    let bytes = sums::<i64, 8>(&[(1, 1), (2, 1)]).to_bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Sums<i64>>(&changed(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Sums<i64>>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<Sums<i64>>(&changed(18, 64), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Sums<f64>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<RangeSums<i64, u64, 9>>(&bytes, DecodeErrorKind::Shape).unwrap();
}

#[test]
fn json_is_base64() {
    let sums = sums::<i64, 8>(&[(1, 1), (2, 1)]);
    let text = serde_json::to_string(&sums).unwrap();
    assert_eq!(serde_json::from_str::<Sums<i64>>(&text).unwrap(), sums);
}
