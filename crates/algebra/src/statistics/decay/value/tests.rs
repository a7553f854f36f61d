//! Laws, the naive twin, long times.

use proptest::prelude::*;

use super::*;
use crate::codec::DecodeErrorKind;
use crate::laws;

type Value = DecayedValue<1_000>;

/// Far enough apart that old parts all but vanish.
fn parts() -> impl Strategy<Value = Vec<(u64, f64)>> {
    prop::collection::vec((0..100_000_u64, -1e6..1e6), 0..40)
}

fn build(parts: &[(u64, f64)]) -> Value {
    laws::sum(
        [Value::new()]
            .into_iter()
            .chain(parts.iter().copied().map(Value::from)),
    )
}

fn naive(parts: &[(u64, f64)], time: u64) -> f64 {
    let fade = |at: u64| (-(time as f64 - at as f64) / 1_000.0).exp2();
    parts.iter().map(|(at, value)| value * fade(*at)).sum()
}

/// The stated bound for two sums of these parts, at the time of the latest.
fn close(parts: &[&[(u64, f64)]]) -> impl Fn(&Value, &Value) -> bool + use<> {
    let parts = parts.concat();
    let latest = parts.iter().map(|part| part.0).max().unwrap_or(0);
    let sizes: Vec<_> = parts.iter().map(|(time, value)| (*time, value.abs())).collect();
    let bound = (parts.len() + 5) as f64 * f64::EPSILON * naive(&sizes, latest);
    move |left, right| {
        [0, 1, 999, 5_000]
            .iter()
            .all(|later| (left.at(latest + later) - right.at(latest + later)).abs() <= bound)
    }
}

proptest! {
    #[test]
    fn laws_hold(a in parts(), b in parts(), c in parts(), cuts: [usize; 3]) {
        let within = close(&[&a, &b, &c]);
        let all = [a.clone(), b.clone(), c.clone()].concat();
        laws::merge_equals_whole_within(&all, &cuts, build, &within)?;
        let [a, b, c] = [a, b, c].map(|parts| build(&parts));
        laws::associative_within(&a, &b, &c, within)?;
        laws::identity(&a)?;
        laws::inverse(&a)?;
        laws::commutative(&a, &b)?;
        laws::adds(&a, &(500, 1.5), Value::eq)?;
        laws::round_trip(&a)?;
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), a);
    }

    #[test]
    fn like_the_naive_twin(parts in parts(), later in 0..20_000_u64) {
        let time = parts.iter().map(|part| part.0).max().unwrap_or(0) + later;
        let sizes: Vec<_> = parts.iter().map(|(time, value)| (*time, value.abs())).collect();
        let (found, truth) = (build(&parts).at(time), naive(&parts, time));
        // The twin rounds too: a hundred half-lives are two hundred ulps in its exponent.
        let bound = (parts.len() + 205) as f64 * f64::EPSILON * naive(&sizes, time);
        prop_assert!((found - truth).abs() <= bound, "found={found} truth={truth} bound={bound}");
    }

    /// Whole half-lives and small whole numbers: nothing rounds, so nothing may differ.
    #[test]
    fn exact_where_floats_are(
        parts in prop::collection::vec((0..40_u64, 1..1_000_u32), 1..30),
        cuts: [usize; 4],
    ) {
        let parts: Vec<_> = parts.iter().map(|(time, value)| (time * 1_000, f64::from(*value))).collect();
        laws::merge_equals_whole_within(&parts, &cuts, build, Value::eq)?;
        let mut backwards = parts.clone();
        backwards.reverse();
        prop_assert_eq!(build(&backwards), build(&parts));
        prop_assert_eq!(build(&parts).at(40_000), naive(&parts, 40_000));
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, part: (u64, f64), changes: Vec<(usize, u8)>) {
        laws::survives::<Value>(&bytes, &[])?;
        laws::survives::<Value>(&Value::from(part).to_bytes(), &changes)?;
    }

    /// The whole range of time and of values, at once.
    #[test]
    fn nothing_is_too_far(parts: Vec<(u64, f64)>, time: u64) {
        let mut sum = DecayedValue::<1>::new();
        for (time, value) in parts {
            sum.add_at(time, if value.is_finite() { value / 1e20 } else { 1.0 });
        }
        prop_assert!(sum.at(u64::MAX).is_finite(), "sum={sum:?}");
        prop_assert!(!sum.at(time).is_nan());
    }
}

#[test]
fn over_a_long_time() {
    let mut sum = DecayedValue::<1>::from((0, 1e300));
    assert_eq!(sum.at(u64::MAX), 0.0);
    sum.add_at(u64::MAX, 3.0);
    assert_eq!((sum.at(u64::MAX), sum.at(u64::MAX - 1)), (3.0, 6.0));
    assert_eq!(sum.at(0), f64::INFINITY);

    // As long as a value is above 0 it fades by exactly a half.
    let part = DecayedValue::<1>::from((0, 1.0));
    assert_eq!(part.at(1_074), f64::from_bits(1));
    assert_eq!(part.at(1_080), 0.0);

    // A count every tick stays at its limit of 2 and does not drift.
    let mut steady = DecayedValue::<1>::new();
    (0..100_000).for_each(|time| steady.add_at(time, 1.0));
    assert_eq!(steady.at(99_999), 2.0);
}

#[test]
fn zero_is_exact() {
    assert!(Value::from((77, 0.0)).is_zero());
    assert_eq!(Value::from((77, -0.0)).to_bytes(), Value::new().to_bytes());
    let mut undone = Value::from((77, 1.1));
    undone.add_at(77, -1.1);
    assert_eq!(undone, Value::new());
    assert_eq!(undone.at(0), 0.0);
}

#[test]
fn not_finite_stays() {
    let mut sum = Value::from((0, f64::INFINITY));
    sum.add_at(u64::MAX, 1.0);
    assert_eq!(sum.at(u64::MAX), f64::INFINITY);
    sum.add_at(u64::MAX, f64::NEG_INFINITY);
    assert!(sum.at(0).is_nan());
    assert_eq!(
        Value::from((0, -f64::NAN)).to_bytes(),
        Value::from((0, f64::NAN)).to_bytes()
    );
}

#[test]
fn averages_of_a_steady_signal() {
    let mut sum = DecayedValue::<100>::new();
    for time in 1..=200 {
        sum.add_at(time, 7.0);
    }
    // Two half-lives have three quarters of the weight; a part at the end of its tick adds half a tick's.
    assert!((sum.tick_mean_at(200) - 0.75 * 7.0).abs() < 1e-9);
    assert!((sum.rate_at(200) / (0.75 * 7.0) - 1.0).abs() < 0.004);
    assert!((sum.rate_since(0, 200).unwrap() / 7.0 - 1.0).abs() < 0.004);
    assert_eq!(sum.rate_since(200, 200), None);
    for time in 201..=10_000 {
        sum.add_at(time, 7.0);
    }
    assert!((sum.tick_mean_at(10_000) - 7.0).abs() < 1e-9);
    assert!((sum.rate_at(10_000) / 7.0 - 1.0).abs() < 0.004);
}

#[test]
fn other_shapes_are_refused() {
    let bytes = Value::from((5_000, 1.0)).to_bytes();
    laws::refuses::<DecayedValue<999>>(&bytes, DecodeErrorKind::Shape).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Value>(&changed(0, 0), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<Value>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
    // A zero with a sign, and one with a time.
    for (half_lives, value) in [(0_u64, -0.0_f64), (5, 0.0)] {
        let zero = [&bytes[..10], &half_lives.to_le_bytes(), &value.to_le_bytes()].concat();
        laws::refuses::<Value>(&zero, DecodeErrorKind::Corrupt).unwrap();
    }

    let text = serde_json::to_string(&Value::from((5_000, 1.0))).unwrap();
    assert_eq!(text, r#"{"half_life":1000,"half_lives":5,"value":1.0}"#);
    let error = serde_json::from_str::<DecayedValue<999>>(&text)
        .unwrap_err()
        .to_string();
    assert!(error.contains("expected=999 found=1000"), "{error}");
}
