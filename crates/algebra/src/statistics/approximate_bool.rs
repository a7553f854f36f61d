//! A yes or no that may be wrong.

use std::ops::{BitAnd, BitOr, Not};

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Monoid, Probability, Semigroup};

/// An answer, and a bound of the probability that it is wrong.
///
/// The bounds of `&` and `|` hold whether or not the errors depend on each other. `a & b` is wrong, when both say true,
/// only if one is: at most the sum. When one says false, only if that one is; when both do, only if both are: at most
/// the lesser. `|` is its mirror, `!(!a & !b)`; `!` keeps the bound. `&` and `|` are associative and commutative, exactly,
/// but neither distributes over the other, and `a & a` does not know that both are the same answer.
///
/// As sums: [`ApproximateAll`] and [`ApproximateAny`].
///
/// | answers | a condition of answers that may be wrong |
/// |---|---|
/// | merge | one comparison or addition of integers |
/// | memory, bytes | 16; 11 |
///
/// Bytes: kind 0x21, version 1, the answer (0 or 1), the probability (`u64`, in units of 2⁻⁶³).
///
/// ```
/// use algebra::{ApproximateBool, Probability};
///
/// // A Bloom filter's "no" is certain, its "yes" wrong at most once in 128.
/// let filter = |value| ApproximateBool { value, wrong: Probability::at_most(if value { 1.0 / 128.0 } else { 0.0 }) };
/// assert_eq!((filter(true) & filter(true)).confidence(), 1.0 - 2.0 / 128.0);
/// assert_eq!((filter(true) & filter(false)).confidence(), 1.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproximateBool {
    /// The answer.
    pub value: bool,
    /// With at most what probability it is wrong.
    pub wrong: Probability,
}

impl ApproximateBool {
    /// With at least what probability the answer is right.
    pub fn confidence(self) -> f64 {
        self.wrong.confidence()
    }
}

/// An answer that is known.
impl From<bool> for ApproximateBool {
    fn from(value: bool) -> Self {
        Self {
            value,
            wrong: Probability::ZERO,
        }
    }
}

impl BitAnd for ApproximateBool {
    type Output = Self;

    fn bitand(self, right: Self) -> Self {
        match (self.value, right.value) {
            (true, true) => {
                let mut wrong = self.wrong;
                wrong.plus(right.wrong);
                Self { value: true, wrong }
            }
            (true, false) => right,
            (false, true) => self,
            (false, false) => Self {
                value: false,
                wrong: self.wrong.min(right.wrong),
            },
        }
    }
}

impl BitOr for ApproximateBool {
    type Output = Self;

    fn bitor(self, right: Self) -> Self {
        !(!self & !right)
    }
}

impl Not for ApproximateBool {
    type Output = Self;

    fn not(self) -> Self {
        Self {
            value: !self.value,
            ..self
        }
    }
}

impl Codec for ApproximateBool {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::APPROXIMATE_BOOL, 1);
        self.value.encode(out);
        self.wrong.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::APPROXIMATE_BOOL, 1)?;
        Ok(Self {
            value: bool::decode(input)?,
            wrong: Probability::decode(input)?,
        })
    }
}

macro_rules! sum {
    ($(#[$doc:meta])* $name:ident, $zero:literal, $operator:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub ApproximateBool);

        impl Semigroup for $name {
            #[inline]
            fn plus(&mut self, right: Self) {
                self.0 = self.0 $operator right.0;
            }
        }

        impl Monoid for $name {
            fn zero() -> Self {
                Self($zero.into())
            }

            fn is_zero(&self) -> bool {
                *self == Self::zero()
            }
        }

        impl Commutative for $name {}

        /// As the answer.
        impl Codec for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                ApproximateBool::decode(input).map(Self)
            }
        }
    };
}

sum! {
    /// Whether all say yes: `⊕` is `&`, the zero a certain yes. Exact; not idempotent, since errors add up.
    ///
    /// Bytes and JSON as the answer.
    ApproximateAll, true, &
}

sum! {
    /// Whether any says yes: `⊕` is `|`, the zero a certain no. Exact; not idempotent, since errors add up.
    ///
    /// Bytes and JSON as the answer.
    ApproximateAny, false, |
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    fn answer() -> impl Strategy<Value = ApproximateBool> {
        (any::<bool>(), 0.0..=1.0).prop_map(|(value, wrong)| ApproximateBool {
            value,
            wrong: Probability::at_most(wrong),
        })
    }

    proptest! {
        #[test]
        fn laws_hold(a in answer(), b in answer(), c in answer()) {
            let all = [a, b, c].map(ApproximateAll);
            laws::associative(&all[0], &all[1], &all[2])?;
            laws::identity(&all[0])?;
            laws::commutative(&all[0], &all[1])?;
            let any = [a, b, c].map(ApproximateAny);
            laws::associative(&any[0], &any[1], &any[2])?;
            laws::identity(&any[0])?;
            laws::commutative(&any[0], &any[1])?;
            prop_assert_eq!(!(a & b), !a | !b);
            prop_assert_eq!(!!a, a);
            prop_assert_eq!((a & b).value, a.value && b.value);
            prop_assert_eq!((a | b).value, a.value || b.value);
        }

        /// Of worlds in which two answers are wrong together, alone or not at all, in any proportion, those in which the
        /// result is wrong are no more than it says.
        #[test]
        fn the_bound_holds_however_errors_depend(values: (bool, bool), worlds: [u16; 4]) {
            let all: f64 = worlds.iter().map(|share| f64::from(*share)).sum();
            prop_assume!(all > 0.0);
            let share = |is: &dyn Fn(bool, bool) -> bool| {
                let chosen = (0..4).filter(|world| is(world & 1 == 1, world & 2 == 2));
                chosen.map(|world| f64::from(worlds[world])).sum::<f64>() / all
            };
            let answer = |value, wrong| ApproximateBool { value, wrong: Probability::at_most(wrong) };
            let (a, b) = (answer(values.0, share(&|a, _| a)), answer(values.1, share(&|_, b| b)));
            for (result, operation) in [
                (a & b, &(|x, y| x && y) as &dyn Fn(bool, bool) -> bool),
                (a | b, &|x, y| x || y),
            ] {
                // An answer that is wrong is the opposite of the truth.
                let wrong = share(&|is_a_wrong, is_b_wrong| {
                    operation(values.0 ^ is_a_wrong, values.1 ^ is_b_wrong) != result.value
                });
                prop_assert!(wrong <= result.wrong.bound() + 1e-12, "wrong={wrong} {result:?}");
            }
        }

        #[test]
        fn bytes_last(a in answer(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<ApproximateAll>(&a.to_bytes(), &changes)?;
            laws::survives::<ApproximateAny>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&ApproximateAny(a)).unwrap();
            prop_assert_eq!(serde_json::from_str::<ApproximateBool>(&text).unwrap(), a);
        }
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        let mut bytes = ApproximateBool::from(true).to_bytes();
        bytes[2] = 2;
        laws::refuses::<ApproximateBool>(&bytes, DecodeErrorKind::Corrupt).unwrap();
        bytes[1] = 2;
        laws::refuses::<ApproximateBool>(&bytes, DecodeErrorKind::Version).unwrap();
    }
}
