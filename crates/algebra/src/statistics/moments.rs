//! The moments of floats to the fourth.

use serde::{Deserialize, Serialize};

use super::Average;
use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::numbers::float;
use crate::sketch::Sketch;
use crate::{Commutative, Monoid, Semigroup};

/// How many numbers, their mean, and the sums of the 2nd, 3rd and 4th powers of their differences from it.
///
/// Merged by the update formulas of Pébay 2008 ("Formulas for robust, one-pass parallel computation of covariances and
/// arbitrary-order statistical moments", equations 2.1 and 2.9), so a large offset common to all numbers takes no digits
/// from the variance, as it does from `Σx² − (Σx)²/n`. Commutativity and identity are exact, associativity holds up to
/// rounding: relative to the spread σ, about `n·ε·(1 + |mean|/σ)` (ε = 2⁻⁵³). Powers overflow past 10⁷⁷ times each
/// other's size: then, and with infinities or NaN, moments are infinite or NaN. The count stops at its maximum.
///
/// Not a group: `{x} ⊖ {y}` would have the count 0 and no mean, from which nothing could be put back; with it the laws
/// break (Algebird withdrew its group of moments for that: pull request 844).
///
/// | answers | count, mean, variance, skewness, kurtosis |
/// |---|---|
/// | update, merge | two divisions and some 40 multiplications and additions |
/// | memory, bytes | 40; 42 |
///
/// Bytes: kind 0x15, version 1, the count (`u64`), the mean and the three sums (`f64`).
///
/// ```
/// use algebra::Moments;
///
/// let moments: Moments = [1.0, 3.0, 5.0, 7.0].into_iter().collect();
/// assert_eq!(moments.mean(), Some(4.0));
/// assert_eq!(moments.variance(), Some(5.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Moments {
    count: u64,
    #[serde(with = "float")]
    mean: f64,
    /// `Σ(x − mean)²`.
    #[serde(with = "float")]
    squares: f64,
    /// `Σ(x − mean)³`.
    #[serde(with = "float")]
    cubes: f64,
    /// `Σ(x − mean)⁴`.
    #[serde(with = "float")]
    fourths: f64,
}

impl Moments {
    /// How many numbers.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The mean; `None` of no numbers.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The variance of these numbers, `Σ(x − mean)²/n`; `None` of no numbers.
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }

    /// The variance of what these numbers are a sample of, without bias: `Σ(x − mean)²/(n − 1)`; `None` of fewer than two.
    pub fn sample_variance(&self) -> Option<f64> {
        (self.count > 1).then(|| self.squares / (self.count - 1) as f64)
    }

    /// The square root of [`variance`](Self::variance).
    pub fn standard_deviation(&self) -> Option<f64> {
        self.variance().map(f64::sqrt)
    }

    /// The square root of [`sample_variance`](Self::sample_variance).
    pub fn sample_standard_deviation(&self) -> Option<f64> {
        self.sample_variance().map(f64::sqrt)
    }

    /// The skewness of these numbers, `Σ(x − mean)³/n / variance^(3/2)`: 0 when symmetric, above when the long tail is
    /// to the right; `None` when all are the same.
    pub fn skewness(&self) -> Option<f64> {
        let deviation = self.spread()?;
        Some(self.cubes / self.count as f64 / deviation / deviation / deviation)
    }

    /// The excess kurtosis of these numbers, `Σ(x − mean)⁴/n / variance² − 3`: 0 for the normal distribution, above for
    /// heavier tails; `None` when all are the same.
    pub fn excess_kurtosis(&self) -> Option<f64> {
        let variance = self.spread()?.powi(2);
        Some(self.fourths / self.count as f64 / variance / variance - 3.0)
    }

    fn spread(&self) -> Option<f64> {
        self.standard_deviation().filter(|deviation| *deviation != 0.0)
    }

    fn average(&self) -> Average {
        Average {
            count: self.count,
            mean: self.mean,
        }
    }
}

/// One number.
impl From<f64> for Moments {
    fn from(value: f64) -> Self {
        Self {
            count: 1,
            mean: value,
            ..Self::default()
        }
    }
}

impl FromIterator<f64> for Moments {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut moments = Self::default();
        values.into_iter().for_each(|value| moments.add(&value));
        moments
    }
}

impl Sketch<f64> for Moments {
    #[inline]
    fn add(&mut self, item: &f64) {
        self.plus(Self::from(*item));
    }
}

/// The moments of both together. Each term is the same, bit for bit, when left and right are exchanged.
impl Semigroup for Moments {
    #[inline]
    fn plus(&mut self, right: Self) {
        if right.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = right;
            return;
        }
        let left = *self;
        let (n, m) = (left.count as f64, right.count as f64);
        let product = n * m;
        let difference = right.mean - left.mean;
        let step = difference / (n + m);
        self.squares = (left.squares + right.squares) + difference * step * product;
        self.cubes = (left.cubes + right.cubes)
            + difference * step * step * product * (n - m)
            + 3.0 * step * (n * right.squares - m * left.squares);
        self.fourths = (left.fourths + right.fourths)
            + difference * step * step * step * product * ((n * n + m * m) - product)
            + 6.0 * step * step * (n * n * right.squares + m * m * left.squares)
            + 4.0 * step * (n * right.cubes - m * left.cubes);
        let mut average = left.average();
        average.plus(right.average());
        (self.count, self.mean) = (average.count, average.mean);
    }
}

impl Monoid for Moments {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.count == 0
    }
}

impl Commutative for Moments {}

impl Codec for Moments {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::MOMENTS, 1);
        self.count.encode(out);
        for value in [self.mean, self.squares, self.cubes, self.fourths] {
            float::put(out, value);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::MOMENTS, 1)?;
        let moments = Self {
            count: u64::decode(input)?,
            mean: float::take(input)?,
            squares: float::take(input)?,
            cubes: float::take(input)?,
            fourths: float::take(input)?,
        };
        match moments.flaw() {
            None => Ok(moments),
            Some(flaw) => Err(input.corrupt(flaw)),
        }
    }
}

impl Moments {
    /// Why no numbers can have made this.
    fn flaw(&self) -> Option<&'static str> {
        if self.squares < 0.0 {
            Some("a sum of squares is negative")
        } else if self.count == 0 && *self != Self::default() {
            Some("the moments of no numbers are not 0")
        } else {
            None
        }
    }
}

refuse_flaws!(Moments);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    fn moments(values: &[f64]) -> Moments {
        values.iter().copied().collect()
    }

    fn values() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(-1e6..1e6, 0..20)
    }

    /// As close as rounding leaves moments of numbers of this size.
    fn close(size: f64) -> impl Fn(&Moments, &Moments) -> bool {
        move |x, y| {
            let near = |a: f64, b: f64, power: i32| {
                let n = x.count.max(1) as f64;
                (a - b).abs() <= 64.0 * n * n * f64::EPSILON * size.powi(power)
            };
            x.count == y.count
                && near(x.mean, y.mean, 1)
                && near(x.squares, y.squares, 2)
                && near(x.cubes, y.cubes, 3)
                && near(x.fourths, y.fourths, 4)
        }
    }

    /// In two passes.
    fn naive(values: &[f64]) -> Moments {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let power = |power: i32| values.iter().map(|x| (x - mean).powi(power)).sum();
        Moments {
            count: values.len() as u64,
            mean,
            squares: power(2),
            cubes: power(3),
            fourths: power(4),
        }
    }

    proptest! {
        #[test]
        fn laws_hold(a in values(), b in values(), c in values(), x in -1e6..1e6) {
            let [a, b, c] = [a, b, c].map(|values| moments(&values));
            laws::associative_within(&a, &b, &c, close(2e6))?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::adds(&a, &x, Moments::eq)?;
            laws::bulk_equals_repeated(&[a, b, c])?;
        }

        #[test]
        fn like_the_naive_twin(
            values in prop::collection::vec(-1e6..1e6, 1..60),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
        ) {
            let (found, naive) = (moments(&values), naive(&values));
            prop_assert!(close(2e6)(&found, &naive), "{found:?} {naive:?}");
            laws::merge_equals_whole_within(&values, &cuts, moments, close(2e6))?;
        }

        /// The same numbers with and without a large offset: exact eighths, so that nothing is lost by shifting.
        #[test]
        fn an_offset_takes_nothing(
            eighths in prop::collection::vec(-800..800_i32, 10..300),
            split in 0..10_usize,
        ) {
            let small: Vec<f64> = eighths.iter().map(|x| f64::from(*x) / 8.0).collect();
            let large: Vec<f64> = small.iter().map(|x| x + 1e9).collect();
            let truth = naive(&small);
            prop_assume!(truth.standard_deviation().unwrap() > 20.0);
            let found = laws::sum([moments(&large[..split]), moments(&large[split..])]);
            let deviation = truth.standard_deviation().unwrap();
            prop_assert!((found.mean - 1e9 - truth.mean).abs() <= 1e-5);
            prop_assert!((found.standard_deviation().unwrap() / deviation - 1.0).abs() <= 1e-7);
            prop_assert!((found.skewness().unwrap() - truth.skewness().unwrap()).abs() <= 1e-6);
            prop_assert!((found.excess_kurtosis().unwrap() - truth.excess_kurtosis().unwrap()).abs() <= 1e-6);
        }

        #[test]
        fn bytes_last(a in values(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            let a = moments(&a);
            laws::round_trip(&a)?;
            laws::survives::<Moments>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Moments>(&text).unwrap(), a);
        }
    }

    #[test]
    fn the_textbook_formula_loses_what_this_keeps() {
        let values = [1e9 + 4.0, 1e9 + 7.0, 1e9 + 13.0, 1e9 + 16.0];
        let textbook = values.iter().map(|x| x * x).sum::<f64>() - values.iter().sum::<f64>().powi(2) / 4.0;
        assert!((textbook / 3.0 - 30.0).abs() > 1.0, "textbook={textbook}");
        assert_eq!(moments(&values).sample_variance(), Some(30.0));
    }

    #[test]
    fn of_a_known_sample() {
        let known = moments(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(known.count(), 8);
        assert!((known.standard_deviation().unwrap() - 2.0).abs() < 1e-15);
        assert!((known.sample_variance().unwrap() - 32.0 / 7.0).abs() < 1e-15);
        assert!((known.sample_standard_deviation().unwrap() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-15);
        assert!((known.skewness().unwrap() - 0.65625).abs() < 1e-15);
        assert!((known.excess_kurtosis().unwrap() + 0.21875).abs() < 1e-15);
    }

    #[test]
    fn what_is_not_defined_is_none() {
        let none = Moments::zero();
        assert_eq!(
            (none.mean(), none.variance(), none.sample_variance()),
            (None, None, None)
        );
        assert_eq!((none.skewness(), none.excess_kurtosis()), (None, None));
        let one = Moments::from(3.0);
        assert_eq!(
            (one.mean(), one.variance(), one.sample_variance()),
            (Some(3.0), Some(0.0), None)
        );
        assert_eq!((one.skewness(), one.excess_kurtosis()), (None, None));
    }

    #[test]
    fn impossible_moments_are_refused() {
        let negative = Moments {
            squares: -1.0,
            ..Moments::from(1.0)
        };
        laws::refuses::<Moments>(&negative.to_bytes(), DecodeErrorKind::Corrupt).unwrap();
        let of_none = Moments {
            mean: 1.0,
            ..Moments::zero()
        };
        laws::refuses::<Moments>(&of_none.to_bytes(), DecodeErrorKind::Corrupt).unwrap();
        for impossible in [negative, of_none] {
            let text = serde_json::to_string(&impossible).unwrap();
            assert!(serde_json::from_str::<Moments>(&text).is_err(), "{text}");
        }
        let mut later = Moments::zero().to_bytes();
        later[1] = 2;
        laws::refuses::<Moments>(&later, DecodeErrorKind::Version).unwrap();
    }
}
