//! The mean of floats.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::numbers::float;
use crate::sketch::Sketch;
use crate::{Commutative, Monoid, Semigroup};

/// How many numbers, and their mean: `(n, x̄) ⊕ (m, ȳ) = (n + m, x̄ + (ȳ − x̄)·m / (n + m))`.
///
/// The form by difference (Chan, Golub and LeVeque 1979) with the larger count as the base: the sum itself, which
/// may overflow or lose the small ones, is never made. The zero is `(0, 0)`. Associative up to about ε for each
/// merge on a path; identity and commutativity are exact. The count stops at its maximum.
///
/// | answers | the mean |
/// |---|---|
/// | update, merge | one division |
/// | memory, bytes | 16; 18 |
/// | error | about `2ε·max(|x|)` for each merge on a path (ε = 2⁻⁵³) |
///
/// Bytes: kind 0x14, version 1, the count (`u64`), the mean (`f64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

impl FromIterator<f64> for Average {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut average = Self::default();
        values.into_iter().for_each(|value| average.add(&value));
        average
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
        let weights = (most.count as f64, rest.count as f64);
        let mean = between(most.mean, rest.mean, weights.1 / (weights.0 + weights.1));
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

impl Sketch<f64> for Average {
    #[inline]
    fn add(&mut self, item: &f64) {
        self.plus(Self::from(*item));
    }
}

impl Codec for Average {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::AVERAGE, 1);
        self.count.encode(out);
        float::put(out, self.mean);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::AVERAGE, 1)?;
        let average = Self {
            count: u64::decode(input)?,
            mean: float::take(input)?,
        };
        if average.count == 0 && average.mean != 0.0 {
            return Err(input.corrupt("the mean of no numbers is not 0"));
        }
        Ok(average)
    }
}

/// The mean of two means, of which the rest has at most half of the weight: this share.
#[inline]
pub(super) fn between(most: f64, rest: f64, share: f64) -> f64 {
    let difference = rest - most;
    if share == 0.5 {
        // Symmetric, so that the order of equals does not show.
        most * 0.5 + rest * 0.5
    } else if difference.is_finite() {
        most + difference * share
    } else {
        most * (1.0 - share) + rest * share
    }
}

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
            laws::adds(&a, &b.mean, Average::eq)?;
            laws::bulk_equals_repeated(&[a, b, c])?;
        }

        #[test]
        fn bytes_last(a in average(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<Average>(&a.to_bytes(), &changes)?;
        }

        #[test]
        fn like_the_naive_twin(items in prop::collection::vec(-1_000_000..1_000_000_i64, 1..200)) {
            let truth = items.iter().sum::<i64>() as f64 / items.len() as f64;
            let average: Average = items.iter().map(|item| *item as f64).collect();
            prop_assert_eq!(average, laws::sum(items.iter().map(|item| Average::from(*item as f64))));
            prop_assert_eq!(average.count, items.len() as u64);
            prop_assert!((average.mean - truth).abs() <= 1e-9, "mean={} truth={truth}", average.mean);
        }
    }

    #[test]
    fn the_mean_of_none_is_0() {
        let bytes = Average { count: 0, mean: 1.0 }.to_bytes();
        laws::refuses::<Average>(&bytes, crate::codec::DecodeErrorKind::Corrupt).unwrap();
    }

    #[test]
    fn the_count_stops_and_the_mean_stays_right() {
        let many = |mean| Average {
            count: u64::MAX,
            mean,
        };
        assert_eq!(laws::sum([many(1.0), many(3.0)]), many(2.0));
        assert_eq!(
            laws::sum([
                many(1.0),
                Average {
                    count: 1 << 63,
                    mean: 4.0
                }
            ]),
            many(2.0)
        );
    }

    #[test]
    fn does_not_overflow_and_does_not_drift() {
        let mean = |items: &[f64]| laws::sum(items.iter().copied().map(Average::from)).mean;
        assert_eq!(mean(&[f64::MAX, f64::MAX, f64::MAX]), f64::MAX);
        assert_eq!(mean(&[f64::MAX, -f64::MAX]), 0.0);
        assert!(mean(&[f64::MAX, -f64::MAX, f64::MAX, -f64::MAX, f64::MAX]).is_finite());
        assert_eq!(mean(&vec![0.1; 100_000]), 0.1);
        // Not a float of 32 bits.
        assert_eq!(mean(&[16_777_216.0, 16_777_218.0]), 16_777_217.0);
    }
}
