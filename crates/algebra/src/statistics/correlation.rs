//! How two numbers go together.

use serde::{Deserialize, Serialize};

use super::average::between;
use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::numbers::float;
use crate::sketch::Sketch;
use crate::{Commutative, Monoid, Semigroup};

/// Of weighted pairs `(x, y)`: the sum of the weights, both means, and the weighted sums of the squares and of the product
/// of the differences from them.
///
/// Merged by differences (Pébay 2008, equations 3.6 and 3.7) from the heavier side, so that a large offset takes no
/// digits from the covariance. Commutativity and identity are exact, associativity holds up to rounding: about
/// `n·ε·(1 + |mean|/σ)` of the spread (ε = 2⁻⁵³). Infinities and NaN among the numbers make infinities and NaN; the
/// weight stops at its maximum. Not a group, for the reason that [`Moments`](super::Moments) are not.
///
/// | answers | means, variances, covariance, Pearson's r, the line of least squares |
/// |---|---|
/// | update, merge | one division and some 20 multiplications and additions |
/// | memory, bytes | 48; 50 |
///
/// Bytes: kind 0x16, version 1, six `f64` in the order of the JSON fields.
///
/// ```
/// use algebra::Correlation;
///
/// let pairs: Correlation = [(1.0, 3.0), (2.0, 5.0), (3.0, 7.0)].into_iter().collect();
/// assert!(pairs.r().unwrap() > 0.999_999);
/// let line = pairs.least_squares().unwrap();
/// assert_eq!((line.slope, line.intercept), (2.0, 1.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, remote = "Self")]
pub struct Correlation {
    #[serde(with = "float")]
    weight: f64,
    #[serde(with = "float")]
    mean_x: f64,
    #[serde(with = "float")]
    mean_y: f64,
    /// `Σw·(x − mean_x)²`.
    #[serde(with = "float")]
    squares_x: f64,
    /// `Σw·(y − mean_y)²`.
    #[serde(with = "float")]
    squares_y: f64,
    /// `Σw·(x − mean_x)·(y − mean_y)`.
    #[serde(with = "float")]
    products: f64,
}

/// The line `y = slope·x + intercept`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    /// How much `y` rises for each `x`.
    pub slope: f64,
    /// `y` at `x = 0`.
    pub intercept: f64,
}

impl Correlation {
    /// One pair with a weight. Without a finite weight above 0 it is none: the zero.
    pub fn weighted(x: f64, y: f64, weight: f64) -> Self {
        if !(weight > 0.0 && weight.is_finite()) {
            return Self::default();
        }
        Self {
            weight,
            mean_x: x,
            mean_y: y,
            ..Self::default()
        }
    }

    /// The sum of the weights: without weights, how many pairs.
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// The means of `x` and of `y`; `None` of no pairs.
    pub fn means(&self) -> Option<(f64, f64)> {
        (self.weight > 0.0).then_some((self.mean_x, self.mean_y))
    }

    /// The variances of `x` and of `y` in these pairs; `None` of no pairs.
    pub fn variances(&self) -> Option<(f64, f64)> {
        (self.weight > 0.0).then(|| (self.squares_x / self.weight, self.squares_y / self.weight))
    }

    /// The covariance of these pairs; `None` of no pairs.
    pub fn covariance(&self) -> Option<f64> {
        (self.weight > 0.0).then(|| self.products / self.weight)
    }

    /// The covariance of what these pairs are a sample of, without bias, a weight being how often a pair was seen; `None`
    /// unless the weights are more than 1.
    pub fn sample_covariance(&self) -> Option<f64> {
        (self.weight > 1.0).then(|| self.products / (self.weight - 1.0))
    }

    /// Pearson's correlation coefficient, −1 to 1; `None` when all `x` or all `y` are the same.
    pub fn r(&self) -> Option<f64> {
        let spread = self.squares_x.sqrt() * self.squares_y.sqrt();
        (spread != 0.0).then(|| (self.products / spread).clamp(-1.0, 1.0))
    }

    /// The line from which the squares of the vertical distances sum to the least; `None` when all `x` are the same.
    pub fn least_squares(&self) -> Option<Line> {
        let slope = self.products / self.squares_x;
        (self.squares_x != 0.0).then_some(Line {
            slope,
            intercept: self.mean_y - slope * self.mean_x,
        })
    }

    fn fields(&self) -> [f64; 6] {
        [
            self.weight,
            self.mean_x,
            self.mean_y,
            self.squares_x,
            self.squares_y,
            self.products,
        ]
    }
}

/// One pair, with the weight 1.
impl From<(f64, f64)> for Correlation {
    fn from((x, y): (f64, f64)) -> Self {
        Self::weighted(x, y, 1.0)
    }
}

impl FromIterator<(f64, f64)> for Correlation {
    fn from_iter<I: IntoIterator<Item = (f64, f64)>>(pairs: I) -> Self {
        let mut correlation = Self::default();
        pairs.into_iter().for_each(|pair| correlation.add(&pair));
        correlation
    }
}

impl Sketch<(f64, f64)> for Correlation {
    #[inline]
    fn add(&mut self, item: &(f64, f64)) {
        self.plus(Self::from(*item));
    }
}

/// All pairs together. Each term is the same, bit for bit, when left and right are exchanged.
impl Semigroup for Correlation {
    #[inline]
    fn plus(&mut self, right: Self) {
        let (most, rest) = if self.weight >= right.weight {
            (*self, right)
        } else {
            (right, *self)
        };
        if rest.weight == 0.0 {
            *self = most;
            return;
        }
        let weight = most.weight + rest.weight;
        // Where the whole is beyond the largest float, the share is that of the halves.
        let share = if weight.is_finite() {
            rest.weight / weight
        } else {
            rest.weight * 0.5 / (most.weight * 0.5 + rest.weight * 0.5)
        };
        let (x, y) = (rest.mean_x - most.mean_x, rest.mean_y - most.mean_y);
        let factor = most.weight * share;
        *self = Self {
            weight: weight.min(f64::MAX),
            mean_x: between(most.mean_x, rest.mean_x, share),
            mean_y: between(most.mean_y, rest.mean_y, share),
            squares_x: (most.squares_x + rest.squares_x) + x * x * factor,
            squares_y: (most.squares_y + rest.squares_y) + y * y * factor,
            products: (most.products + rest.products) + x * y * factor,
        };
    }
}

impl Monoid for Correlation {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.weight == 0.0
    }
}

impl Commutative for Correlation {}

impl Codec for Correlation {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::CORRELATION, 1);
        self.fields().into_iter().for_each(|value| float::put(out, value));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::CORRELATION, 1)?;
        let correlation = Self {
            weight: float::take(input)?,
            mean_x: float::take(input)?,
            mean_y: float::take(input)?,
            squares_x: float::take(input)?,
            squares_y: float::take(input)?,
            products: float::take(input)?,
        };
        match correlation.flaw() {
            None => Ok(correlation),
            Some(flaw) => Err(input.corrupt(flaw)),
        }
    }
}

impl Correlation {
    /// Why no pairs can have made this.
    fn flaw(&self) -> Option<&'static str> {
        if !(self.weight >= 0.0 && self.weight.is_finite()) || self.squares_x < 0.0 || self.squares_y < 0.0 {
            Some("a weight or a sum of squares is negative, or the weight not finite")
        } else if self.weight == 0.0 && *self != Self::default() {
            Some("the moments of no pairs are not 0")
        } else {
            None
        }
    }
}

refuse_flaws!(Correlation);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    type Weighted = (f64, f64, f64);

    fn correlation(pairs: &[Weighted]) -> Correlation {
        pairs
            .iter()
            .map(|(x, y, weight)| Correlation::weighted(*x, *y, *weight))
            .fold(Correlation::zero(), |a, b| laws::sum([a, b]))
    }

    fn pairs() -> impl Strategy<Value = Vec<Weighted>> {
        prop::collection::vec((-1e6..1e6, -1e6..1e6, 0.0..10.0), 0..20)
    }

    fn close(x: &Correlation, y: &Correlation) -> bool {
        let weight = x.weight.max(1.0);
        let scales = [1.0, 2e6, 2e6, 4e12, 4e12, 4e12];
        x.fields()
            .iter()
            .zip(y.fields())
            .zip(scales)
            .all(|((a, b), scale)| (a - b).abs() <= 1e3 * weight * f64::EPSILON * scale)
    }

    /// In two passes.
    fn naive(pairs: &[Weighted]) -> Correlation {
        let weight = pairs.iter().map(|(_, _, w)| w).sum::<f64>();
        let mean_x = pairs.iter().map(|(x, _, w)| x * w).sum::<f64>() / weight;
        let mean_y = pairs.iter().map(|(_, y, w)| y * w).sum::<f64>() / weight;
        let sum = |of: &dyn Fn(f64, f64) -> f64| {
            pairs
                .iter()
                .map(|(x, y, w)| w * of(x - mean_x, y - mean_y))
                .sum::<f64>()
        };
        Correlation {
            weight,
            mean_x,
            mean_y,
            squares_x: sum(&|x, _| x * x),
            squares_y: sum(&|_, y| y * y),
            products: sum(&|x, y| x * y),
        }
    }

    proptest! {
        #[test]
        fn laws_hold(a in pairs(), b in pairs(), c in pairs(), pair in (-1e6..1e6, -1e6..1e6)) {
            let [a, b, c] = [a, b, c].map(|pairs| correlation(&pairs));
            laws::associative_within(&a, &b, &c, close)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::adds(&a, &pair, Correlation::eq)?;
            laws::bulk_equals_repeated(&[a, b, c])?;
        }

        /// Weights that are the same show whether left and right do.
        #[test]
        fn commutes_with_equal_weights(a in prop::collection::vec((-1e6..1e6, -1e6..1e6), 2)) {
            let [a, b] = [a[0], a[1]].map(Correlation::from);
            laws::commutative(&a, &b)?;
            laws::commutative(&laws::sum([a, b]), &laws::sum([a, a]))?;
        }

        #[test]
        fn like_the_naive_twin(pairs in pairs(), cuts in prop::collection::vec(any::<usize>(), 0..5)) {
            prop_assume!(pairs.iter().any(|(_, _, weight)| *weight > 0.01));
            let (found, naive) = (correlation(&pairs), naive(&pairs));
            prop_assert!(close(&found, &naive), "{found:?} {naive:?}");
            laws::merge_equals_whole_within(&pairs, &cuts, correlation, close)?;
        }

        /// A weight is how often a pair is there.
        #[test]
        fn a_weight_is_a_count(x in -1e3..1e3, y in -1e3..1e3, times in 1..20_usize) {
            let often: Correlation = std::iter::repeat_n((x, y), times).chain([(1.0, 2.0)]).collect();
            let weighted = correlation(&[(x, y, times as f64), (1.0, 2.0, 1.0)]);
            prop_assert!(close(&often, &weighted));
        }

        #[test]
        fn an_offset_takes_nothing(eighths in prop::collection::vec((-800..800_i32, -800..800_i32), 10..200)) {
            let small: Vec<Weighted> =
                eighths.iter().map(|(x, y)| (f64::from(*x) / 8.0, f64::from(*y) / 8.0, 1.0)).collect();
            let large: Vec<Weighted> = small.iter().map(|(x, y, w)| (x + 1e9, y - 1e9, *w)).collect();
            let (found, truth) = (correlation(&large), naive(&small));
            prop_assume!(truth.squares_x > 1e3 && truth.squares_y > 1e3);
            prop_assert!((found.r().unwrap() - truth.r().unwrap()).abs() <= 1e-6);
        }

        #[test]
        fn bytes_last(a in pairs(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            let a = correlation(&a);
            laws::round_trip(&a)?;
            laws::survives::<Correlation>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Correlation>(&text).unwrap(), a);
        }
    }

    #[test]
    fn of_a_known_sample() {
        // r and the line as Python's `statistics.correlation` and `statistics.linear_regression` give them.
        let known: Correlation = [(1.0, 2.0), (2.0, 1.0), (3.0, 4.0), (4.0, 3.0), (5.0, 7.0)]
            .into_iter()
            .collect();
        assert_eq!(known.means(), Some((3.0, 3.4)));
        assert_eq!(known.covariance(), Some(2.4));
        assert_eq!(known.sample_covariance(), Some(3.0));
        assert!((known.variances().unwrap().1 - 4.24).abs() < 1e-14);
        assert!((known.r().unwrap() - 0.824_163_383_692_134_2).abs() < 1e-15);
        let line = known.least_squares().unwrap();
        assert!(
            (line.slope - 1.2).abs() < 1e-15 && (line.intercept + 0.2).abs() < 1e-15,
            "{line:?}"
        );
    }

    #[test]
    fn what_is_not_defined_is_none() {
        let none = Correlation::zero();
        assert_eq!(
            (none.means(), none.variances(), none.covariance()),
            (None, None, None)
        );
        let one = Correlation::from((1.0, 2.0));
        assert_eq!(
            (one.r(), one.least_squares(), one.sample_covariance()),
            (None, None, None)
        );
        assert_eq!((one.covariance(), one.weight()), (Some(0.0), 1.0));
        for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(Correlation::weighted(1.0, 2.0, weight).is_zero());
        }
    }

    #[test]
    fn impossible_ones_are_refused() {
        for (field, value) in [(0, -1.0), (0, 0.0), (0, f64::INFINITY), (3, -1.0), (4, -1.0)] {
            let mut bytes = Correlation::from((1.0, 2.0)).to_bytes();
            bytes[2 + 8 * field..][..8].copy_from_slice(&f64::to_le_bytes(value));
            laws::refuses::<Correlation>(&bytes, DecodeErrorKind::Corrupt).unwrap();
        }
        let text = serde_json::to_string(&Correlation::from((1.0, 2.0))).unwrap();
        let impossible = text.replace("\"squares_y\":0.0", "\"squares_y\":-1.0");
        assert_ne!(text, impossible);
        let refused = serde_json::from_str::<Correlation>(&impossible).unwrap_err();
        assert!(refused.to_string().contains("is negative"), "{refused}");
    }

    /// Half of a weight that is beyond the largest float is still half.
    #[test]
    fn the_heaviest_commute() {
        let [a, b] = [(1.0, -7.0), (3.0, 5.0)].map(|(x, y)| Correlation::weighted(x, y, 1e308));
        laws::commutative(&a, &b).unwrap();
        let both = laws::sum([a, b]);
        assert_eq!((both.weight(), both.means()), (f64::MAX, Some((2.0, -1.0))));
        laws::commutative(&both, &a).unwrap();
        laws::round_trip(&both).unwrap();
        let least = Correlation::weighted(1.0, 1.0, 5e-324);
        assert_eq!(laws::sum([least, least]).means(), Some((1.0, 1.0)));
    }
}
