//! A number known within bounds, with a confidence.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Group, Monoid, Probability, Semigroup};

/// An estimate with the least and the greatest that the true value may be, and a bound of the probability that it is
/// neither of them nor between: `⊕` adds all four.
///
/// The sum's confidence is honest: that of `n` values is at least `1 − Σ(1 − confidence)` (Boole's union bound), whether
/// or not their errors depend on each other. A product of the confidences would claim more and hold for independent
/// ones only. The laws hold as exactly as those of `T`: exactly with integers, [`ExactSum`](crate::ExactSum) or
/// [`Saturating`](crate::Saturating). `T`'s sum must keep the order, so it must not wrap. Not a group: taking something
/// back widens the bounds ([`minus`](Self::minus)); and without a product that would distribute.
///
/// | answers | a sum of estimates, its bounds and their confidence |
/// |---|---|
/// | update, merge | three sums of `T` and one of integers |
/// | memory, bytes | three `T` and 8; three `T` and 10 |
///
/// Bytes: kind 0x1d, version 1, min, estimate, max, the probability (`u64`, in units of 2⁻⁶³).
///
/// ```
/// use algebra::{Approximate, Semigroup};
///
/// let mut visitors = Approximate::new(90_u64, 100, 110, 0.875).unwrap();
/// visitors.plus(Approximate::new(10, 12, 15, 0.875).unwrap());
/// assert_eq!((visitors.min(), visitors.estimate(), visitors.max()), (&100, &112, &125));
/// assert_eq!(visitors.confidence(), 0.75);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approximate<T> {
    min: T,
    estimate: T,
    max: T,
    /// That the true value is out of bounds.
    wrong: Probability,
}

impl<T> Approximate<T> {
    /// A value that is known.
    pub fn exact(value: T) -> Self
    where
        T: Clone,
    {
        Self {
            min: value.clone(),
            estimate: value.clone(),
            max: value,
            wrong: Probability::ZERO,
        }
    }

    /// A value that is within the bounds with at least this probability (NaN and what is below 0 are 0); `None` unless
    /// `min ≤ estimate ≤ max`.
    pub fn new(min: T, estimate: T, max: T, confidence: f64) -> Option<Self>
    where
        T: PartialOrd,
    {
        (min <= estimate && estimate <= max).then(|| Self {
            min,
            estimate,
            max,
            wrong: Probability::of_failing(confidence),
        })
    }

    /// The least that the true value may be.
    pub fn min(&self) -> &T {
        &self.min
    }

    /// The likeliest value.
    pub fn estimate(&self) -> &T {
        &self.estimate
    }

    /// The greatest that the true value may be.
    pub fn max(&self) -> &T {
        &self.max
    }

    /// With at least what probability the true value is within the bounds.
    pub fn confidence(&self) -> f64 {
        self.wrong.confidence()
    }

    /// With at most what probability the true value is out of bounds.
    pub fn wrong(&self) -> Probability {
        self.wrong
    }

    /// Whether the value is within the bounds.
    pub fn contains(&self, value: &T) -> bool
    where
        T: PartialOrd,
    {
        self.min <= *value && *value <= self.max
    }

    /// The difference, its bounds as wide as both together: `a.minus(a)` is not the zero.
    #[must_use]
    pub fn minus(mut self, right: Self) -> Self
    where
        T: Group,
    {
        let Self {
            mut min,
            mut estimate,
            mut max,
            wrong,
        } = right;
        min.negate();
        estimate.negate();
        max.negate();
        self.plus(Self {
            min: max,
            estimate,
            max: min,
            wrong,
        });
        self
    }
}

/// Of each part.
impl<T: Semigroup> Semigroup for Approximate<T> {
    fn plus(&mut self, right: Self) {
        self.min.plus(right.min);
        self.estimate.plus(right.estimate);
        self.max.plus(right.max);
        self.wrong.plus(right.wrong);
    }
}

impl<T: Monoid> Monoid for Approximate<T> {
    fn zero() -> Self {
        Self {
            min: T::zero(),
            estimate: T::zero(),
            max: T::zero(),
            wrong: Probability::ZERO,
        }
    }

    fn is_zero(&self) -> bool {
        let parts = [&self.min, &self.estimate, &self.max];
        parts.into_iter().all(Monoid::is_zero) && self.wrong.is_zero()
    }
}

impl<T: Commutative> Commutative for Approximate<T> {}

/// Does not ask for an order: a sum that has wrapped has none, and comes back as it was.
impl<T: Codec> Codec for Approximate<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::APPROXIMATE, 1);
        self.min.encode(out);
        self.estimate.encode(out);
        self.max.encode(out);
        self.wrong.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::APPROXIMATE, 1)?;
        Ok(Self {
            min: T::decode(input)?,
            estimate: T::decode(input)?,
            max: T::decode(input)?,
            wrong: Probability::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::{ExactSum, laws};

    fn approximate() -> impl Strategy<Value = Approximate<i64>> {
        (prop::array::uniform3(-1000..1000_i64), 0.0..=1.0).prop_map(|(mut bounds, confidence)| {
            bounds.sort_unstable();
            Approximate::new(bounds[0], bounds[1], bounds[2], confidence).unwrap()
        })
    }

    proptest! {
        #[test]
        fn laws_hold(a in approximate(), b in approximate(), c in approximate()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::bulk_equals_repeated(&[a, b, c])?;
        }

        /// Also of floats, since all parts are exact.
        #[test]
        fn laws_hold_of_floats(a: [f64; 3], b: [f64; 3], c: [f64; 3], confidence in 0.9..=1.0) {
            let [a, b, c] = [a, b, c].map(|mut bounds| {
                bounds.sort_by(f64::total_cmp);
                let [min, estimate, max] = bounds.map(ExactSum::from);
                Approximate::new(min, estimate, max, confidence)
            });
            prop_assume!(a.is_some() && b.is_some() && c.is_some());
            let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
            laws::associative(&a, &b, &c)?;
            laws::commutative(&a, &b)?;
        }

        /// What is within each one's bounds is, summed or subtracted, within those of the result.
        #[test]
        fn bounds_hold(a in approximate(), b in approximate(), at in (0.0..=1.0, 0.0..=1.0)) {
            let inside = |it: &Approximate<i64>, at: f64| it.min + ((it.max - it.min) as f64 * at) as i64;
            let (x, y) = (inside(&a, at.0), inside(&b, at.1));
            prop_assert!(laws::sum([a, b]).contains(&(x + y)));
            prop_assert!(a.minus(b).contains(&(x - y)));
            prop_assert!(!a.contains(&(a.max + 1)) && !a.contains(&(a.min - 1)));
            prop_assert!(a.minus(b).confidence() <= a.confidence().min(b.confidence()));
        }

        #[test]
        fn bytes_last(a in approximate(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<Approximate<i64>>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Approximate<i64>>(&text).unwrap(), a);
        }
    }

    /// Two that are each wrong in a quarter of the cases, but never both: at least one is in half of them. A product
    /// of confidences would claim nine sixteenths.
    #[test]
    fn the_confidence_holds_when_errors_depend_on_each_other() {
        let part = Approximate::new(0, 0, 0, 0.75).unwrap();
        let held = (0..4).filter(|case| {
            let truth = [i32::from(case % 4 == 0), i32::from(case % 4 == 1)];
            laws::sum([part, part]).contains(&truth.iter().sum())
        });
        let share = held.count() as f64 / 4.0;
        assert_eq!(laws::sum([part, part]).confidence(), share);
        assert!(share < 0.75 * 0.75);
    }

    #[test]
    fn what_is_no_estimate_is_refused() {
        assert_eq!(Approximate::new(2, 1, 3, 0.5), None);
        assert_eq!(Approximate::new(1, 4, 3, 0.5), None);
        assert_eq!(Approximate::new(0.0, f64::NAN, 1.0, 0.5), None);
        assert_eq!(Approximate::exact(7).confidence(), 1.0);
        let mut bytes = Approximate::exact(7_u8).to_bytes();
        bytes[5..].fill(0xff);
        laws::refuses::<Approximate<u8>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
        bytes[1] = 2;
        laws::refuses::<Approximate<u8>>(&bytes, DecodeErrorKind::Version).unwrap();
    }
}
