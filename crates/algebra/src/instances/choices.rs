//! `Min`, `Max`, `First`, `Last`: `⊕` picks one of the two.
//!
//! They are semigroups without a zero; `Option<Max<T>>` has one. All are idempotent: `a ⊕ a = a`.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input};
use crate::{Commutative, Idempotent, Semigroup};

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident<$t:ident $(: $bound:ident)?>, |$left:ident, $right:ident| $takes_right:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name<T>(pub T);

        impl<$t $(: $bound)?> Semigroup for $name<$t> {
            #[inline]
            fn plus(&mut self, right: Self) {
                let ($left, $right) = (&self.0, &right.0);
                if $takes_right {
                    *self = right;
                }
            }
        }

        impl<$t $(: $bound)?> Idempotent for $name<$t> {}

        /// As the value.
        impl<T: Codec> Codec for $name<T> {
            fn encode(&self, out: &mut Vec<u8>) {
                self.0.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                T::decode(input).map(Self)
            }
        }
    };
}

choice! {
    /// The smaller one: `Min(a) ⊕ Min(b) = Min(min(a, b))`; of equal ones the left. As JSON it is the value.
    Min<T: Ord>, |left, right| right < left
}
choice! {
    /// The larger one: `Max(a) ⊕ Max(b) = Max(max(a, b))`; of equal ones the left. As JSON it is the value.
    Max<T: Ord>, |left, right| right > left
}
choice! {
    /// The left one, which is the earlier: `First(a) ⊕ First(b) = First(a)`. As JSON it is the value.
    First<T>, |_left, _right| false
}
choice! {
    /// The right one, which is the later: `Last(a) ⊕ Last(b) = Last(b)`. As JSON it is the value.
    Last<T>, |_left, _right| true
}

impl<T: Ord> Commutative for Min<T> {}
impl<T: Ord> Commutative for Max<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    proptest! {
        #[test]
        fn min_and_max(a: i16, b: i16, c: i16) {
            laws::associative(&Min(a), &Min(b), &Min(c))?;
            laws::commutative(&Min(a), &Min(b))?;
            laws::associative(&Max(a), &Max(b), &Max(c))?;
            laws::commutative(&Max(a), &Max(b))?;
            laws::idempotent(&Min(a))?;
            laws::idempotent(&Max(a))?;
            laws::round_trip(&(Min(a), Max(b)))?;
            prop_assert_eq!(laws::sum([Min(a), Min(b), Min(c)]), Min(a.min(b).min(c)));
            prop_assert_eq!(laws::sum([Max(a), Max(b), Max(c)]), Max(a.max(b).max(c)));
        }

        #[test]
        fn first_and_last(a: f64, b: f64, c: f64) {
            laws::associative(&First(a), &First(b), &First(c))?;
            laws::associative(&Last(a), &Last(b), &Last(c))?;
            laws::idempotent(&First(a))?;
            laws::idempotent(&Last(a))?;
            laws::round_trip(&(First(a), Last(b)))?;
            prop_assert_eq!(laws::sum([First(a), First(b), First(c)]), First(a));
            prop_assert_eq!(laws::sum([Last(a), Last(b), Last(c)]), Last(c));
        }
    }

    #[test]
    fn as_json_it_is_the_value() {
        assert_eq!(serde_json::to_string(&(Max(3), Last("x"))).unwrap(), r#"[3,"x"]"#);
        assert_eq!(serde_json::from_str::<Min<u8>>("3").unwrap(), Min(3));
    }
}
