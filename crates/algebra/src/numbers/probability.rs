//! A probability that adds without rounding.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, DecodeError, Input};
use crate::{Commutative, Monoid, Semigroup};

/// An upper bound of a probability, 0 to 1 in units of 2⁻⁶³: `a ⊕ b = min(a + b, 1)`.
///
/// That is the union bound (Boole): with what probability at most one thing or the other happens, whether or not they
/// depend on each other. In fixed point, so the laws hold exactly, where a sum of floats would depend on its grouping.
/// What is converted from and to a float is rounded to the safe side.
///
/// Memory and bytes: 8 (a `u64`). As JSON it is that integer; as text a decimal fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Probability(u64);

const ONE: u64 = 1 << 63;

impl Probability {
    /// Impossible.
    pub const ZERO: Self = Self(0);
    /// Certain, or unknown.
    pub const ONE: Self = Self(ONE);

    /// The least one that is not below this; what is below 0 is 0, above 1 or NaN 1.
    pub fn at_most(bound: f64) -> Self {
        if bound.is_nan() {
            return Self::ONE;
        }
        // Scaling by a power of two is exact, and what has a fraction then is far below 2⁵³.
        let units = (bound * ONE as f64).ceil();
        Self((units as u64).min(ONE))
    }

    /// Of what happens with at least this probability, that it does not happen; NaN counts as 0.
    pub fn of_failing(confidence: f64) -> Self {
        let units = (confidence * ONE as f64).floor();
        Self(ONE - (units as u64).min(ONE))
    }

    /// The least float that is not below it.
    pub fn bound(self) -> f64 {
        let nearest = self.0 as f64;
        let above = if (nearest as u64) < self.0 {
            nearest.next_up()
        } else {
            nearest
        };
        above / ONE as f64
    }

    /// The greatest float that is not above the probability of the opposite.
    pub fn confidence(self) -> f64 {
        let units = ONE - self.0;
        let nearest = units as f64;
        let below = if nearest as u64 > units {
            nearest.next_down()
        } else {
            nearest
        };
        below / ONE as f64
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bound().fmt(f)
    }
}

/// At most one or the other.
impl Semigroup for Probability {
    #[inline]
    fn plus(&mut self, right: Self) {
        // Both are at most 2⁶³, so the sum is at most 2⁶⁴: saturating is enough.
        self.0 = self.0.saturating_add(right.0).min(ONE);
    }
}

impl Monoid for Probability {
    fn zero() -> Self {
        Self::ZERO
    }

    fn is_zero(&self) -> bool {
        self.0 == 0
    }
}

impl Commutative for Probability {}

/// The units (`u64`), without a header.
impl Codec for Probability {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let units = u64::decode(input)?;
        if units > ONE {
            return Err(input.corrupt(format!("a probability is above 1: units={units}")));
        }
        Ok(Self(units))
    }
}

impl Serialize for Probability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Probability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let units = u64::deserialize(deserializer)?;
        if units > ONE {
            return Err(serde::de::Error::custom(format!(
                "a probability is above 1: units={units}"
            )));
        }
        Ok(Self(units))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    fn probability() -> impl Strategy<Value = Probability> {
        prop_oneof![
            (0..=ONE).prop_map(Probability),
            (0..1_000_u64).prop_map(Probability),
            Just(Probability::ONE),
            (0.0..=1.0).prop_map(Probability::at_most),
        ]
    }

    proptest! {
        #[test]
        fn laws_hold(a in probability(), b in probability(), c in probability()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            let sum = u128::from(a.0) + u128::from(b.0);
            prop_assert_eq!(u128::from(laws::sum([a, b]).0), sum.min(u128::from(ONE)));
        }

        #[test]
        fn rounds_to_the_safe_side(a in probability(), float in 0.0..=1.0) {
            prop_assert!(Probability::at_most(a.bound()) >= a);
            prop_assert!(((a.bound().next_down() * ONE as f64).floor() as u64) < a.0 || a.0 == 0);
            prop_assert!(Probability::of_failing(a.confidence()) >= a);
            prop_assert!((a.confidence().next_up() * ONE as f64).ceil() as u64 > ONE - a.0);
            prop_assert!(Probability::at_most(float).bound() >= float);
            prop_assert!(Probability::of_failing(float).confidence() <= float);
        }

        #[test]
        fn bytes_last(a in probability(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<Probability>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<Probability>(&text).unwrap(), a);
        }
    }

    #[test]
    fn what_is_no_probability_is_the_safe_one() {
        assert_eq!(Probability::at_most(f64::NAN), Probability::ONE);
        assert_eq!(Probability::at_most(f64::INFINITY), Probability::ONE);
        assert_eq!(Probability::at_most(-1.0), Probability::ZERO);
        assert_eq!(Probability::at_most(5e-324), Probability(1));
        assert_eq!(Probability::of_failing(f64::NAN), Probability::ONE);
        assert_eq!(Probability::of_failing(-1.0), Probability::ONE);
        assert_eq!(Probability::of_failing(2.0), Probability::ZERO);
        assert_eq!(Probability::of_failing(0.99).confidence(), 0.99);
        assert_eq!(Probability::at_most(0.25).to_string(), "0.25");
        laws::refuses::<Probability>(&(ONE + 1).to_bytes(), DecodeErrorKind::Corrupt).unwrap();
        serde_json::from_str::<Probability>("9223372036854775809").unwrap_err();
    }
}
