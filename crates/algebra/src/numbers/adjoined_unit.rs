//! A one for a ring that has none.

use serde::{Deserialize, Serialize};

use super::whole;
use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Group, Monoid, Semigroup, Semiring, Times};

/// `ones · 1 ⊕ value`: a ring `T` without a one, with a one put to it (Dorroh 1932).
///
/// `(n, a) ⊕ (m, b) = (n + m, a ⊕ b)` and `(n, a) ⊗ (m, b) = (n·m, n·b ⊕ m·a ⊕ a ⊗ b)`, where `n·b` is `b` summed `n`
/// times. The zero is `(0, zero)`, the one `(1, zero)`. `ones` wraps at 128 bits; the laws hold exactly if it never does,
/// or if 2¹²⁸ times any `T` is zero, as with the integers.
///
/// | answers | sums and products with a one |
/// |---|---|
/// | update, merge | a sum |
/// | product | one of `T`, and up to 512 sums of `T` |
/// | memory, bytes | 16 and `T`; 18 and `T` |
///
/// Bytes: kind 0x20, version 1, `ones` (`i128`), the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdjoinedUnit<T> {
    /// How many ones.
    #[serde(with = "whole")]
    pub ones: i128,
    /// What is added to them.
    pub value: T,
}

/// Without ones.
impl<T> From<T> for AdjoinedUnit<T> {
    fn from(value: T) -> Self {
        Self { ones: 0, value }
    }
}

/// Part by part.
impl<T: Semigroup> Semigroup for AdjoinedUnit<T> {
    fn plus(&mut self, right: Self) {
        self.ones = self.ones.wrapping_add(right.ones);
        self.value.plus(right.value);
    }
}

impl<T: Monoid> Monoid for AdjoinedUnit<T> {
    fn zero() -> Self {
        Self::from(T::zero())
    }

    fn is_zero(&self) -> bool {
        self.ones == 0 && self.value.is_zero()
    }
}

impl<T: Group> Group for AdjoinedUnit<T> {
    fn negate(&mut self) {
        self.ones = self.ones.wrapping_neg();
        self.value.negate();
    }
}

impl<T: Commutative> Commutative for AdjoinedUnit<T> {}

/// Each part with each.
impl<T: Times + Group + Commutative + Clone> Times for AdjoinedUnit<T> {
    fn times(&mut self, right: Self) {
        let with_left = multiple(self.ones, right.value.clone());
        let with_right = multiple(right.ones, self.value.clone());
        self.ones = self.ones.wrapping_mul(right.ones);
        self.value.times(right.value);
        self.value.plus(with_left);
        self.value.plus(with_right);
    }
}

impl<T: Times + Group + Commutative + Clone> Semiring for AdjoinedUnit<T> {
    fn one() -> Self {
        Self {
            ones: 1,
            value: T::zero(),
        }
    }
}

/// The value summed `count` times, by doubling.
fn multiple<T: Group + Clone>(count: i128, mut value: T) -> T {
    if count < 0 {
        value.negate();
    }
    let mut rest = count.unsigned_abs();
    let mut sum = T::zero();
    while rest != 0 {
        if rest & 1 == 1 {
            sum.plus(value.clone());
        }
        rest >>= 1;
        if rest != 0 {
            value.plus(value.clone());
        }
    }
    sum
}

impl<T: Codec> Codec for AdjoinedUnit<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::ADJOINED_UNIT, 1);
        self.ones.encode(out);
        self.value.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::ADJOINED_UNIT, 1)?;
        Ok(Self {
            ones: i128::decode(input)?,
            value: T::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    /// The even integers modulo 2⁶⁴: no one among them.
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Even(i64);

    impl Semigroup for Even {
        fn plus(&mut self, right: Self) {
            self.0.plus(right.0);
        }
    }

    impl Monoid for Even {
        fn zero() -> Self {
            Self(0)
        }

        fn is_zero(&self) -> bool {
            self.0 == 0
        }
    }

    impl Group for Even {
        fn negate(&mut self) {
            self.0.negate();
        }
    }

    impl Commutative for Even {}

    impl Times for Even {
        fn times(&mut self, right: Self) {
            self.0.times(right.0);
        }
    }

    fn adjoined() -> impl Strategy<Value = AdjoinedUnit<Even>> {
        let ones = prop_oneof![any::<i128>(), -4..4_i128];
        (ones, any::<i64>()).prop_map(|(ones, half)| AdjoinedUnit {
            ones,
            value: Even(half << 1),
        })
    }

    proptest! {
        #[test]
        fn laws_hold(a in adjoined(), b in adjoined(), c in adjoined()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::distributive(&a, &b, &c)?;
            laws::unit(&a)?;
        }

        /// The pair is the number `ones + value`, and sums and products are those of numbers.
        #[test]
        fn like_the_numbers(a in adjoined(), b in adjoined()) {
            let number = |it: &AdjoinedUnit<Even>| (it.ones as i64).wrapping_add(it.value.0);
            let mut product = a;
            product.times(b);
            prop_assert_eq!(number(&product), number(&a).wrapping_mul(number(&b)));
            prop_assert_eq!(number(&laws::sum([a, b])), number(&a).wrapping_add(number(&b)));
        }

        #[test]
        fn bytes_last(ones: i128, value: i16, changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            let a = AdjoinedUnit { ones, value };
            laws::round_trip(&a)?;
            laws::survives::<AdjoinedUnit<i16>>(&a.to_bytes(), &changes)?;
            let text = serde_json::to_string(&a).unwrap();
            prop_assert_eq!(serde_json::from_str::<AdjoinedUnit<i16>>(&text).unwrap(), a);
        }
    }

    #[test]
    fn another_kind_or_version_is_refused() {
        let mut bytes = AdjoinedUnit::from(1_u8).to_bytes();
        bytes[1] = 2;
        laws::refuses::<AdjoinedUnit<u8>>(&bytes, DecodeErrorKind::Version).unwrap();
        bytes[0] = 0;
        laws::refuses::<AdjoinedUnit<u8>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
    }
}
