//! A sum of floats that does not depend on how it is grouped.

use serde::{Deserialize, Serialize};

use super::float;
use crate::{Commutative, Group, Monoid, Semigroup};

/// A sum of `f64` in two: the rounded sum and what rounding has lost. [`value`](Self::value) is their sum.
///
/// Compensated addition (Neumaier 1974; the error of one addition by Knuth's TwoSum, TAOCP 2, 4.2.2): of `n`
/// numbers `x` in any grouping and order, the value is within `ε·|Σx| + 2·n²·ε²·Σ|x|` of the true sum (ε = 2⁻⁵³),
/// where plain addition is within `n·ε·Σ|x|`. The laws hold up to that; identity, inverse and commutativity hold
/// exactly. A partial sum that is infinite or NaN stays so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
