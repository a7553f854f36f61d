//! The laws of the exact sum, beside a naive twin, Python's `math.fsum` and the bounds of its range.

use proptest::prelude::*;

use super::*;
use crate::laws;

/// The twin: 2240 bits in two's complement, in units of 2⁻¹⁰⁷⁴, added digit by digit.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wide([u32; chunks::CHUNKS]);

impl Wide {
    fn of(value: f64) -> Self {
        let bits = value.abs().to_bits();
        let (exponent, fraction) = ((bits >> 52) as usize, bits & ((1 << 52) - 1));
        let mantissa = if exponent == 0 {
            fraction
        } else {
            fraction + (1 << 52)
        };
        let mut wide = Self([0; chunks::CHUNKS]);
        for bit in (0..53).filter(|bit| mantissa >> bit & 1 == 1) {
            let at = exponent.max(1) - 1 + bit;
            wide.0[at / 32] |= 1 << (at % 32);
        }
        if value < 0.0 { wide.negated() } else { wide }
    }

    fn plus(mut self, right: Self) -> Self {
        let mut carry = 0;
        for (left, right) in self.0.iter_mut().zip(right.0) {
            let sum = u64::from(*left) + u64::from(right) + carry;
            *left = sum as u32;
            carry = sum >> 32;
        }
        self
    }

    fn negated(self) -> Self {
        let mut one = Self([0; chunks::CHUNKS]);
        one.0[0] = 1;
        Self(self.0.map(|digit| !digit)).plus(one)
    }

    fn sum(values: impl IntoIterator<Item = f64>) -> Self {
        let zero = Self([0; chunks::CHUNKS]);
        values
            .into_iter()
            .fold(zero, |sum, value| sum.plus(Self::of(value)))
    }

    fn is_negative(&self) -> bool {
        self.0[chunks::CHUNKS - 1] >> 31 == 1
    }

    fn is_below(self, right: Self) -> bool {
        self.plus(right.negated()).is_negative()
    }
}

/// `value` is nearest to the true sum, and even if its neighbour is as near. Says nothing of how it was rounded.
fn is_correctly_rounded(value: f64, truth: Wide) -> bool {
    let twice = truth.plus(truth);
    let middle = |neighbour: f64| Wide::of(value).plus(Wide::of(neighbour));
    let (below, above) = (middle(value.next_down()), middle(value.next_up()));
    let is_even = value.to_bits() & 1 == 0;
    let inside = below.is_below(twice) && twice.is_below(above);
    inside || is_even && (twice == below || twice == above)
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        4 => -1e6..1e6,
        2 => (-1_000_000..1_000_000_i32).prop_map(f64::from),
        1 => (0..64_u64).prop_map(f64::from_bits),
        1 => Just(f64::MIN_POSITIVE),
        1 => (any::<bool>(), 0..2_000_i32).prop_map(|(up, power)| {
            2_f64.powi(if up { power / 2 } else { -power / 2 })
        }),
    ]
    .prop_filter("finite and far from overflow", |value| value.abs() < 1e300)
}

/// Any double.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        9 => finite(),
        1 => prop::sample::select(vec![
            f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN, -0.0,
        ]),
    ]
}

fn exact_sum() -> impl Strategy<Value = ExactSum> {
    prop::collection::vec((double(), any::<bool>()), 0..6).prop_map(|parts| {
        let mut sum = ExactSum::zero();
        for (value, is_taken_back) in parts {
            let mut part = ExactSum::from(value);
            if is_taken_back {
                part.negate();
            }
            sum.plus(part);
        }
        sum
    })
}

proptest! {
    #[test]
    fn laws_hold(a in exact_sum(), b in exact_sum(), c in exact_sum()) {
        laws::associative(&a, &b, &c)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::inverse(&a)?;
        laws::inverse(&laws::sum([a.clone(), b.clone()]))?;
        laws::bulk_equals_repeated(&[a, b, c])?;
    }

    #[test]
    fn adding_is_summing(a in exact_sum(), value in double()) {
        laws::adds(&a, &value, ExactSum::eq)?;
        prop_assert_eq!(laws::sum([a.clone(), ExactSum::from(value)]), laws::sum([ExactSum::from(value), a]));
    }

    #[test]
    fn negation_negates_the_value(a in exact_sum()) {
        let mut negated = a.clone();
        negated.negate();
        let (value, negated) = (a.value(), negated.value());
        prop_assert!(negated == -value || negated.is_nan() && value.is_nan());
    }

    #[test]
    fn like_the_naive_twin(values in prop::collection::vec(finite(), 0..40)) {
        let sum: ExactSum = values.iter().copied().collect();
        let truth = Wide::sum(values.iter().copied());
        prop_assert!(is_correctly_rounded(sum.value(), truth), "value={}", sum.value());
        let halves = [&values[..values.len() / 2], &values[values.len() / 2..]];
        let merged = laws::sum(halves.map(|half| half.iter().copied().collect::<ExactSum>()));
        prop_assert_eq!(&merged, &sum);
        prop_assert_eq!(merged.to_bytes(), sum.to_bytes());
        prop_assert_eq!(sum.is_zero(), truth == Wide::of(0.0));
    }

    #[test]
    fn parts_are_the_whole(
        values in prop::collection::vec(double(), 0..40),
        cuts in prop::collection::vec(any::<usize>(), 0..6),
    ) {
        let build = |part: &[f64]| part.iter().copied().collect::<ExactSum>();
        laws::merge_equals_whole_within(&values, &cuts, build, |a, b| a == b && a.to_bytes() == b.to_bytes())?;
        let backwards: ExactSum = values.iter().rev().copied().collect();
        prop_assert_eq!(build(&values).value().to_bits(), backwards.value().to_bits());
    }

    /// The order is that of the true sums.
    #[test]
    fn is_ordered(
        a in prop::collection::vec(finite(), 0..5),
        b in prop::collection::vec(finite(), 0..5),
    ) {
        let sum = |values: &[f64]| values.iter().copied().collect::<ExactSum>();
        let (left, right) = (Wide::sum(a.iter().copied()), Wide::sum(b.iter().copied()));
        prop_assert_eq!(sum(&a) < sum(&b), left.is_below(right));
        prop_assert_eq!(sum(&a) == sum(&b), left == right);
        prop_assert_eq!(sum(&a).partial_cmp(&sum(&b)), sum(&b).partial_cmp(&sum(&a)).map(Ordering::reverse));
    }

    #[test]
    fn bytes_last(a in exact_sum(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
        laws::round_trip(&a)?;
        laws::survives::<ExactSum>(&a.to_bytes(), &changes)?;
    }

    /// IEEE 754 addition of the terms one by one, in whatever order, gives the same where it is not finite.
    #[test]
    fn not_finite_like_plain_addition(
        values in prop::collection::vec(prop::sample::select(vec![1.5, -2.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]), 0..4),
    ) {
        let plain: f64 = values.iter().sum();
        let value = values.iter().copied().collect::<ExactSum>().value();
        prop_assert!(value == plain || value.is_nan() && plain.is_nan(), "value={} plain={}", value, plain);
    }
}

#[test]
fn as_python_sums() {
    // `math.fsum` of Python 3.
    let cases: [(&[f64], f64); 13] = [
        (&[0.1; 10], 1.0),
        (&[1e100, 1.0, -1e100, 1e-20], 1.0),
        (
            &[9007199254740992.0, 1.0, 8.673617379884035e-19],
            9007199254740994.0,
        ),
        (&[9007199254740992.0, 1.0], 9007199254740992.0),
        (
            &[9007199254740992.0, -0.5, -9.094947017729282e-13, 1.5],
            9007199254740992.0,
        ),
        (
            &[5e-324, 5e-324, 2.2250738585072014e-308, -5e-324],
            2.225073858507202e-308,
        ),
        (&[1e308, -1e308, 7e307, 1e-308, 3e-308], 7e307),
        (
            &[
                -3.523e-147,
                -2.104e-252,
                -8.551e247,
                -8.117e295,
                -8.84e218,
                -5.706e-213,
                -5.187e263,
            ],
            -8.117e295,
        ),
        (
            &[
                -4.96525324974e-08,
                0.000208801506046,
                -1.0495968739e-10,
                -8312493457.83,
                -6.68873114962e-05,
                -4.75225332357e-12,
                -4105.0684841,
                -4.44301798197e-08,
            ],
            -8312497562.898342,
        ),
        (
            &[1.0000000000000002, 1.1102230246251565e-16, 1e-300],
            1.0000000000000004,
        ),
        (&[1.0000000000000002, 1.1102230246251565e-16], 1.0000000000000004),
        (&[-1.0, -1.1102230246251565e-16], -1.0),
        (&[-1.0, -1.1102230246251565e-16, -5e-324], -1.0000000000000002),
    ];
    for (values, expected) in cases {
        let value = values.iter().copied().collect::<ExactSum>().value();
        assert_eq!(value.to_bits(), expected.to_bits(), "values={values:?}");
    }
    let tenths: ExactSum = (0..1000).map(|i| 0.1 * f64::from(i)).collect();
    assert_eq!(tenths.value(), 49950.0);
    let leibniz: ExactSum = (0..1000)
        .map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } / f64::from(2 * i + 1))
        .collect();
    assert_eq!(leibniz.value(), 0.7851481634599483);
}

#[test]
fn finite_terms_do_not_overflow_on_the_way() {
    let sum: ExactSum = [f64::MAX, f64::MAX, -f64::MAX, -1.0].into_iter().collect();
    assert_eq!(sum.value(), f64::MAX);
    let half_a_unit = 2_f64.powi(970);
    let value = |last: f64| [f64::MAX, last].into_iter().collect::<ExactSum>().value();
    assert_eq!(value(half_a_unit), f64::INFINITY);
    assert_eq!(value(half_a_unit.next_down()), f64::MAX);
    assert_eq!(value(f64::MAX), f64::INFINITY);
}

#[test]
fn what_is_not_finite_can_be_taken_back() {
    let mut sum: ExactSum = [1.5, f64::INFINITY, f64::NAN].into_iter().collect();
    assert!(sum.value().is_nan());
    for taken in [f64::NAN, f64::INFINITY] {
        let mut taken = ExactSum::from(taken);
        taken.negate();
        sum.plus(taken);
    }
    assert_eq!(sum, ExactSum::from(1.5));
    assert_eq!(sum.value(), 1.5);
    let infinite: ExactSum = [f64::INFINITY; 2].into_iter().collect();
    assert_eq!(infinite.partial_cmp(&ExactSum::from(f64::INFINITY)), None);
    assert!(ExactSum::from(1.0) < infinite);
}

#[test]
fn a_double_takes_16_bytes() {
    assert_eq!(size_of::<ExactSum>(), 16);
    let is_one = |sum: &ExactSum| matches!(sum.0, State::One(_));
    let cents: ExactSum = (0..1000).map(|i| f64::from(i) * 0.25).collect();
    assert!(is_one(&cents));
    let tenths: ExactSum = [0.1, 0.2, -0.1].into_iter().collect();
    assert!(!is_one(&tenths));
    assert!(is_one(&ExactSum::from_bytes(&tenths.to_bytes()).unwrap()));
}

#[test]
fn a_zero_has_no_sign() {
    for sum in [ExactSum::from(-0.0), [-0.0, -0.0].into_iter().collect()] {
        assert_eq!(sum.value().to_bits(), 0);
        assert_eq!(sum.to_bytes(), ExactSum::zero().to_bytes());
    }
}

/// More additions of one sign than fit between carries, at both ends of the range, and doubled until it wraps.
#[test]
fn carries_and_wraps() {
    // The largest that is added to one chunk: its bits reach to the end.
    let full = 4.0_f64.next_down();
    for value in [0.1, -0.1, full, -full, f64::MAX, f64::MIN, 5e-324] {
        let mut sum = ExactSum::from(1e-3);
        (0..5_000).for_each(|_| sum.add(&value));
        sum.add(&-1e-3);
        let truth = Wide::sum(std::iter::repeat_n(value, 5_000));
        if value.abs() == f64::MAX {
            assert_eq!(sum.value(), value * 2.0);
        } else {
            assert!(is_correctly_rounded(sum.value(), truth), "value={value}");
        }
        laws::round_trip(&sum).unwrap();
    }
    let mut power = ExactSum::from(2_f64.powi(1023));
    for _ in 0..142 {
        assert!(power.value() > 0.0);
        power.plus(power.clone());
    }
    assert_eq!(power.value(), f64::NEG_INFINITY, "2^1165 is the sign");
    laws::round_trip(&power).unwrap();
    laws::inverse(&power).unwrap();
    for _ in 0..100 {
        power.plus(power.clone());
        assert!(power.is_zero());
    }
}

#[test]
fn bytes_that_are_not_canonical_are_refused() {
    let bytes = ExactSum::from(1.0).to_bytes();
    assert_eq!(bytes, [0x11, 1, 0, 33, 1, 0, 0, 4, 0]);
    let corrupt =
        |bytes: &[u8]| laws::refuses::<ExactSum>(bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
    corrupt(&[0x11, 1, 1, 0, 0]); // minus zero
    corrupt(&[0x11, 1, 0, 5, 0]); // a zero with a place
    corrupt(&[0x11, 1, 0, 5, 1, 0, 0, 0, 0]); // a digit that is 0
    corrupt(&[0x11, 1, 0, 69, 1, 0, 0, 0, 0x80]); // the sign's bit
    corrupt(&[0x11, 1, 0, 70, 1, 1, 0, 0, 0]); // too far up
    corrupt(&[0x11, 1, 4, 0, 0]); // a flag of none
    corrupt(&[&[0x11, 1, 2, 0, 0][..], &[0; 24]].concat()); // counts of nothing
    laws::refuses::<ExactSum>(&[0x11, 2, 0, 0, 0], crate::codec::DecodeErrorKind::Version).unwrap();
    corrupt(&[0x10, 1, 0, 0, 0]);
}
