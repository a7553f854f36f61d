//! `MinBy`, `MaxBy`, `Earliest`, `Latest`: a value beside what decides; `⊕` picks one of the two.
//!
//! They are semigroups without a zero (`Option<MaxBy<…>>` has one) and idempotent. They are not `Commutative`: of equal
//! keys with different values the order decides. Where the choice must not depend on the order, let the value decide
//! too: `Min<(K, V)>` and `Max<(K, V)>` are commutative.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input};
use crate::{Idempotent, Semigroup};

macro_rules! keyed_choice {
    ($(#[$doc:meta])* $name:ident { $key:ident: $k:ident }, $key_doc:literal, |$left:ident, $right:ident| $takes_right:expr) => {
        $(#[$doc])*
        ///
        /// As JSON it is its fields; bytes: the key, the value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub struct $name<$k, V> {
            #[doc = $key_doc]
            pub $key: $k,
            /// What comes with it.
            pub value: V,
        }

        impl<$k, V> $name<$k, V> {
            #[doc = concat!("A value and its ", stringify!($key), ".")]
            pub fn new($key: $k, value: V) -> Self {
                Self { $key, value }
            }
        }

        impl<$k: Ord, V> Semigroup for $name<$k, V> {
            #[inline]
            fn plus(&mut self, right: Self) {
                let ($left, $right) = (&self.$key, &right.$key);
                if $takes_right {
                    *self = right;
                }
            }
        }

        impl<$k: Ord, V> Idempotent for $name<$k, V> {}

        impl<$k: Codec, V: Codec> Codec for $name<$k, V> {
            fn encode(&self, out: &mut Vec<u8>) {
                self.$key.encode(out);
                self.value.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Ok(Self {
                    $key: <$k>::decode(input)?,
                    value: V::decode(input)?,
                })
            }
        }
    };
}

keyed_choice! {
    /// The value with the smallest key; of equal keys the left.
    MinBy { key: K }, "What decides: the smallest.", |left, right| right < left
}
keyed_choice! {
    /// The value with the largest key; of equal keys the left.
    MaxBy { key: K }, "What decides: the largest.", |left, right| right > left
}
keyed_choice! {
    /// The value of the earliest time; of equal times the left, which came first.
    ///
    /// By the time within the data, where [`First`](crate::First) goes by the order of `⊕`.
    Earliest { time: Time }, "What decides: the earliest.", |left, right| right < left
}
keyed_choice! {
    /// The value of the latest time; of equal times the right, which came last.
    ///
    /// By the time within the data, where [`Last`](crate::Last) goes by the order of `⊕`.
    ///
    /// ```
    /// use algebra::{Latest, Semigroup};
    ///
    /// let mut state = Latest::new(2, "on");
    /// state.plus(Latest::new(1, "late and old"));
    /// state.plus(Latest::new(2, "off"));
    /// assert_eq!(state, Latest::new(2, "off"));
    /// ```
    Latest { time: Time }, "What decides: the latest.", |left, right| right >= left
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Max, Min, laws};

    macro_rules! lawful {
        ($($test:ident $name:ident $pick:expr;)*) => {
            proptest! {$(
                #[test]
                fn $test(entries in prop::collection::vec((0..4_u8, any::<char>()), 3..9)) {
                    let all: Vec<_> = entries.iter().map(|(key, value)| $name::new(*key, *value)).collect();
                    laws::associative(&all[0], &all[1], &all[2])?;
                    laws::idempotent(&all[0])?;
                    laws::round_trip(&all[0])?;
                    let pick: fn(&[(u8, char)]) -> (u8, char) = $pick;
                    let (key, value) = pick(&entries);
                    prop_assert_eq!(laws::sum(all), $name::new(key, value));
                }
            )*}
        };
    }

    /// The first, and the last, of the entries with this key.
    fn first(entries: &[(u8, char)], key: Option<u8>) -> (u8, char) {
        *entries.iter().find(|entry| Some(entry.0) == key).unwrap()
    }

    fn last(entries: &[(u8, char)], key: Option<u8>) -> (u8, char) {
        *entries.iter().rfind(|entry| Some(entry.0) == key).unwrap()
    }

    lawful! {
        min_by MinBy |entries| first(entries, entries.iter().map(|entry| entry.0).min());
        max_by MaxBy |entries| first(entries, entries.iter().map(|entry| entry.0).max());
        earliest Earliest |entries| first(entries, entries.iter().map(|entry| entry.0).min());
        latest Latest |entries| last(entries, entries.iter().map(|entry| entry.0).max());
    }

    #[test]
    fn of_equal_keys_the_order_decides_unless_the_value_does() {
        let (a, b) = (MinBy::new(1, 'a'), MinBy::new(1, 'b'));
        assert_ne!(laws::sum([a, b]), laws::sum([b, a]));
        laws::commutative(&Min((1, 'a')), &Min((1, 'b'))).unwrap();
        laws::commutative(&Max((1, 'a')), &Max((1, 'b'))).unwrap();
    }

    #[test]
    fn as_json_it_is_its_fields() {
        let text = serde_json::to_string(&Earliest::new(3, "x")).unwrap();
        assert_eq!(text, r#"{"time":3,"value":"x"}"#);
        assert_eq!(
            serde_json::from_str::<MaxBy<u8, char>>(r#"{"key":3,"value":"x"}"#).unwrap(),
            MaxBy::new(3, 'x')
        );
    }
}
