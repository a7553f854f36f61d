//! The mean of floats.

use serde::{Deserialize, Serialize};

use crate::numbers::float;
use crate::{Commutative, Monoid, Semigroup};

/// How many numbers, and their mean: `(n, x̄) ⊕ (m, ȳ) = (n + m, x̄ + (ȳ − x̄)·m / (n + m))`.
///
/// The form by difference (Chan, Golub and LeVeque 1979) with the larger count as the base: the sum itself, which
/// may overflow or lose the small ones, is never made. The zero is `(0, 0)`. Associative up to about ε for each
/// merge on a path; identity and commutativity are exact. The count stops at its maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// How many numbers.
    pub count: u64,
    /// Their mean; 0 when there are none.
    #[serde(with = "float")]
    pub mean: f64,
}

/// One number.
impl From<f64> for Average {
    fn from(value: f64) -> Self {
        Self {
            count: 1,
            mean: value,
        }
    }
}

/// The mean of both together.
impl Semigroup for Average {
    #[inline]
    fn plus(&mut self, right: Self) {
        let (most, rest) = if self.count >= right.count {
            (*self, right)
        } else {
            (right, *self)
        };
        if rest.count == 0 {
            *self = most;
            return;
        }
        let count = most.count.saturating_add(rest.count);
        let weight = rest.count as f64 / count as f64;
        let difference = rest.mean - most.mean;
        let mean = if most.count == rest.count {
            // Symmetric, so that the order of equals does not show.
            most.mean * 0.5 + rest.mean * 0.5
        } else if difference.is_finite() {
            most.mean + difference * weight
        } else {
            most.mean * (1.0 - weight) + rest.mean * weight
        };
        *self = Self { count, mean };
    }
}

impl Monoid for Average {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

impl Commutative for Average {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    fn average() -> impl Strategy<Value = Average> {
        (0..10_000_u64, -1e9..1e9).prop_map(|(count, mean)| Average {
            count,
            mean: if count == 0 { 0.0 } else { mean },
        })
    }

    proptest! {
        #[test]
        fn laws_hold(a in average(), b in average(), c in average()) {
            let scale = a.mean.abs() + b.mean.abs() + c.mean.abs();
            let close = |x: &Average, y: &Average| {
                x.count == y.count && (x.mean - y.mean).abs() <= 8.0 * f64::EPSILON * scale
            };
            laws::associative_within(&a, &b, &c, close)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
        }

        #[test]
        fn like_the_naive_twin(items in prop::collection::vec(-1_000_000..1_000_000_i64, 1..200)) {
            let truth = items.iter().sum::<i64>() as f64 / items.len() as f64;
            let average = laws::sum(items.iter().map(|item| Average::from(*item as f64)));
            prop_assert_eq!(average.count, items.len() as u64);
            prop_assert!((average.mean - truth).abs() <= 1e-9, "mean={} truth={truth}", average.mean);
        }
    }

    #[test]
    fn does_not_overflow_and_does_not_drift() {
        let mean = |items: &[f64]| laws::sum(items.iter().copied().map(Average::from)).mean;
        assert_eq!(mean(&[f64::MAX, f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[f64::MAX, -f64::MAX]), 0.0);
        assert!(mean(&[f64::MAX, -f64::MAX, f64::MAX, -f64::MAX, f64::MAX]).is_finite());
        assert_eq!(mean(&vec![0.1; 100_000]), 0.1);
    }
}
