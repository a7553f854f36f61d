//! `All`, `Any`: the two sums of `bool`.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input};
use crate::{Commutative, Idempotent, Monoid, Semigroup};

macro_rules! truth {
    ($(#[$doc:meta])* $name:ident, $op:tt, $zero:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub bool);

        impl Semigroup for $name {
            #[inline]
            fn plus(&mut self, right: Self) {
                self.0 $op right.0;
            }
        }

        impl Monoid for $name {
            #[inline]
            fn zero() -> Self {
                Self($zero)
            }

            #[inline]
            fn is_zero(&self) -> bool {
                self.0 == $zero
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::zero()
            }
        }

        impl Commutative for $name {}
        impl Idempotent for $name {}

        impl From<bool> for $name {
            fn from(value: bool) -> Self {
                Self(value)
            }
        }

        /// As the `bool`.
        impl Codec for $name {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                bool::decode(input).map(Self)
            }
        }
    };
}

truth! {
    /// Whether all were true: `All(a) ⊕ All(b) = All(a ∧ b)`; of none, `true`. As JSON it is the `bool`.
    All, &=, true
}
truth! {
    /// Whether any was true: `Any(a) ⊕ Any(b) = Any(a ∨ b)`; of none, `false`. As JSON it is the `bool`.
    Any, |=, false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    proptest! {
        #[test]
        fn laws_hold(a: bool, b: bool, c: bool) {
            laws::associative(&All(a), &All(b), &All(c))?;
            laws::identity(&All(a))?;
            laws::commutative(&All(a), &All(b))?;
            laws::idempotent(&All(a))?;
            laws::round_trip(&All(a))?;
            laws::associative(&Any(a), &Any(b), &Any(c))?;
            laws::identity(&Any(a))?;
            laws::commutative(&Any(a), &Any(b))?;
            laws::idempotent(&Any(a))?;
            laws::round_trip(&Any(a))?;
        }

        #[test]
        fn like_the_naive_twin(items: Vec<bool>) {
            let all = items.iter().copied().map(All);
            prop_assert_eq!(All::sum(all).unwrap_or_default(), All(items.iter().all(|item| *item)));
            let any = items.iter().copied().map(Any);
            prop_assert_eq!(Any::sum(any).unwrap_or_default(), Any(items.iter().any(|item| *item)));
        }
    }

    #[test]
    fn as_json_it_is_the_bool() {
        assert_eq!(
            serde_json::to_string(&(All(true), Any(false))).unwrap(),
            "[true,false]"
        );
        assert_eq!(serde_json::from_str::<Any>("true").unwrap(), Any(true));
    }
}
