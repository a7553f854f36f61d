//! A sum of floats that does not depend on how it is grouped.

use serde::{Deserialize, Serialize};

use super::float;
use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup, Semiring, Times};

/// A sum of `f64` in two: the rounded sum and what rounding has lost. [`value`](Self::value) is their sum.
///
/// Compensated addition (Neumaier 1974; the error of one addition by Knuth's TwoSum, TAOCP 2, 4.2.2): of `n`
/// numbers `x` in any grouping and order, the value is within `ε·|Σx| + 2·n²·ε²·Σ|x|` of the true sum (ε = 2⁻⁵³),
/// where plain addition is within `n·ε·Σ|x|`. The laws hold up to that; identity, inverse and commutativity hold
/// exactly. A partial sum that is infinite or NaN stays so.
///
/// So sums of the same numbers in another order or grouping may differ in their last bit, and so may a live one and one
/// made again in batch: where they must not, take [`ExactSum`](crate::ExactSum), which is exact and dearer.
///
/// | answers | the sum, within the bound above |
/// |---|---|
/// | update, merge | 7 additions of floats |
/// | memory, bytes | 16; 18 |
///
/// Bytes: kind 0x10, version 1, the rounded sum and what it has lost (two `f64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sum {
    /// The sum, rounded at each addition.
    #[serde(with = "float")]
    sum: f64,
    /// The sum of what the roundings have lost.
    #[serde(with = "float")]
    lost: f64,
}

impl Sum {
    /// The sum as one number.
    pub fn value(&self) -> f64 {
        self.sum + self.lost
    }

    /// The rounded sum and what rounding has lost, for bytes.
    pub(crate) fn parts(&self) -> [f64; 2] {
        [self.sum, self.lost]
    }

    /// Of what [`parts`](Self::parts) gives.
    pub(crate) fn from_parts([sum, lost]: [f64; 2]) -> Self {
        Self { sum, lost }
    }
}

/// One number.
impl From<f64> for Sum {
    fn from(value: f64) -> Self {
        Self {
            sum: value,
            lost: 0.0,
        }
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(&value));
        sum
    }
}

/// Compensated addition.
impl Semigroup for Sum {
    #[inline]
    fn plus(&mut self, right: Self) {
        let sum = self.sum + right.sum;
        self.lost += right.lost;
        if sum.is_finite() {
            let right_part = sum - self.sum;
            let left_part = sum - right_part;
            let lost = (self.sum - left_part) + (right.sum - right_part);
            // TwoSum itself may overflow next to the maximum, though the sum does not.
            if lost.is_finite() {
                self.lost += lost;
            }
        }
        self.sum = sum;
    }
}

impl Monoid for Sum {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.sum == 0.0 && self.lost == 0.0
    }
}

impl Group for Sum {
    fn negate(&mut self) {
        (self.sum, self.lost) = (-self.sum, -self.lost);
    }
}

impl Commutative for Sum {}

impl Sketch<f64> for Sum {
    #[inline]
    fn add(&mut self, item: &f64) {
        self.plus(Self::from(*item));
    }
}

/// Multiplication: within about `4·ε²` of the product, unless it overflows or is below 10⁻²⁹⁰. The laws hold up to that,
/// those of the one and of the zero exactly, of finite numbers.
impl Times for Sum {
    #[inline]
    fn times(&mut self, right: Self) {
        let product = self.sum * right.sum;
        self.lost = if product.is_finite() {
            let lost = self.sum.mul_add(right.sum, -product);
            lost + (self.sum * right.lost + self.lost * right.sum)
        } else {
            0.0
        };
        self.sum = product;
    }
}

impl Semiring for Sum {
    fn one() -> Self {
        Self::from(1.0)
    }
}

impl Codec for Sum {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::SUM, 1);
        float::put(out, self.sum);
        float::put(out, self.lost);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::SUM, 1)?;
        Ok(Self {
            sum: float::take(input)?,
            lost: float::take(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    /// Integers of up to 2¹²⁰ in magnitude, exact as f64: their true sum can be had in `i128`.
    fn exact() -> impl Strategy<Value = f64> {
        (-(1_i64 << 53)..=1 << 53, 0..60_i32)
            .prop_map(|(mantissa, shift)| mantissa as f64 * 2_f64.powi(shift))
    }

    /// Grouped as a tree that `splits` chooses.
    fn grouped(items: &[f64], splits: &mut impl Iterator<Item = usize>) -> Sum {
        match items {
            [] => Sum::zero(),
            [item] => Sum::from(*item),
            _ => {
                let (left, right) = items.split_at(1 + splits.next().unwrap_or(0) % (items.len() - 1));
                let mut sum = grouped(left, splits);
                sum.plus(grouped(right, splits));
                sum
            }
        }
    }

    proptest! {
        #[test]
        fn laws_hold(a in exact(), b in exact(), c in exact()) {
            let [a, b, c] = [a, b, c].map(Sum::from);
            let scale = [a, b, c].iter().map(|x| x.value().abs()).sum::<f64>();
            let close = |x: &Sum, y: &Sum| {
                (x.value() - y.value()).abs() <= f64::EPSILON * x.value().abs() + scale * 1e-30
            };
            laws::associative_within(&a, &b, &c, close)?;
            laws::identity(&a)?;
            laws::inverse(&laws::sum([a, b, c]))?;
            laws::commutative(&a, &b)?;
            laws::commutative(&laws::sum([a, b]), &c)?;
        }

        #[test]
        fn any_grouping_is_the_true_sum(
            items in prop::collection::vec(exact(), 0..60),
            splits in prop::collection::vec(any::<usize>(), 60),
        ) {
            let truth = items.iter().map(|item| *item as i128).sum::<i128>() as f64;
            let magnitude = items.iter().map(|item| item.abs()).sum::<f64>();
            let n = items.len() as f64;
            let bound = f64::EPSILON * truth.abs() + 2.0 * n * n * (f64::EPSILON / 2.0).powi(2) * magnitude;
            let value = grouped(&items, &mut splits.into_iter()).value();
            prop_assert!((value - truth).abs() <= bound, "value={value} truth={truth} bound={bound}");
        }

        /// Of any doubles: a bulk sum that compensates where `plus` does not would differ.
        #[test]
        fn bulk_equals_repeated(items in prop::collection::vec(any::<f64>(), 0..40)) {
            let collected: Sum = items.iter().copied().collect();
            let items: Vec<Sum> = items.into_iter().map(Sum::from).collect();
            prop_assert_eq!(collected.parts(), Sum::sum(items.clone()).unwrap_or_default().parts());
            laws::bulk_equals_repeated(&items)?;
        }

        #[test]
        fn bytes_last(a: f64, b: f64, changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            let sum = laws::sum([a, b].map(Sum::from));
            laws::round_trip(&sum)?;
            laws::survives::<Sum>(&sum.to_bytes(), &changes)?;
        }

        /// Of numbers with a part that is lost, whose true product is had in `i128`.
        #[test]
        fn products_are_the_true_ones(a: [i32; 2], b: [i32; 2], c: [i32; 2]) {
            let number = |[high, low]: [i32; 2]| {
                laws::sum([Sum::from(f64::from(high) * 2_f64.powi(29)), Sum::from(f64::from(low))])
            };
            let exact = |[high, low]: [i32; 2]| (i128::from(high) << 29) + i128::from(low);
            let mut product = number(a);
            product.times(number(b));
            let truth = exact(a) * exact(b);
            let error = (product.sum as i128 + product.lost as i128 - truth).unsigned_abs() as f64;
            prop_assert!(error <= 1.0 + 4.0 * (f64::EPSILON / 2.0).powi(2) * truth.abs() as f64, "error={error}");
            let close = |x: &Sum, y: &Sum| (x.value() - y.value()).abs() <= 4.0 * f64::EPSILON * x.value().abs() + 1e8;
            let [a, b, c] = [a, b, c].map(number);
            laws::distributive_within(&a, &b, &c, close)?;
            laws::unit(&a)?;
            laws::adds(&a, &0.1, Sum::eq)?;
        }

        #[test]
        fn negation_undoes(a: f64) {
            laws::inverse(&Sum::from(a))?;
        }
    }

    #[test]
    fn keeps_what_plain_addition_loses() {
        let items = [1e100, 1.0, -1e100, 1e-20];
        assert_eq!(items.iter().sum::<f64>(), 1e-20);
        assert_eq!(laws::sum(items.map(Sum::from)).value(), 1.0);

        let mut tenths = Sum::zero();
        (0..1_000_000).for_each(|_| tenths.plus(Sum::from(0.1)));
        assert_eq!(tenths.value(), 100_000.0);
    }

    /// None of these is a float of 32 bits.
    #[test]
    fn doubles_stay_doubles() {
        let items = [16_777_217.0, 1e9 + 0.25, 1e300, -1e300, 0.1];
        let exact = 1_016_777_217.25 + 0.1;
        assert_eq!(laws::sum(items.map(Sum::from)).value(), exact);
        assert_eq!(laws::sum(items.map(crate::ExactSum::from)).value(), exact);
    }

    #[test]
    fn equal_sums_have_equal_bytes() {
        assert_eq!(Sum::from(-0.0).to_bytes(), Sum::zero().to_bytes());
        let mut bytes = Sum::zero().to_bytes();
        bytes[9] = 0x80;
        laws::refuses::<Sum>(&bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
    }

    #[test]
    fn not_finite_stays() {
        let sum = |items: [f64; 2]| laws::sum(items.map(Sum::from)).value();
        assert_eq!(sum([f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(sum([f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum([f64::MAX, -f64::MAX]), 0.0);
        assert!(sum([f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum([f64::NAN, 1.0]).is_nan());
    }
}
