//! Integers without a maximum, of the crate `num-bigint` (feature `num-bigint`): `⊕` is addition, `⊗` multiplication.
//!
//! All laws hold exactly and nothing wraps: a sum of `n` numbers of `b` bits has `b + log₂ n`, a product the bits of
//! both, so it is products that grow. `BigInt` is a ring; `BigUint` has no inverses. Reading bytes takes time and memory
//! in proportion to them.
//!
//! Bytes of `BigUint`: a length and the magnitude, lowest byte first, the last byte not 0. Of `BigInt`: before it a byte,
//! 1 when negative, else 0. As plain elements they have no header.

use num_bigint::{BigInt, BigUint, Sign};

use crate::codec::{Codec, DecodeError, Input, put_length};
use crate::{Commutative, Group, Monoid, Semigroup, Semiring, Times};

macro_rules! integers {
    ($($int:ident)*) => {$(
        /// Addition.
        impl Semigroup for $int {
            fn plus(&mut self, right: Self) {
                *self += right;
            }
        }

        impl Monoid for $int {
            fn zero() -> Self {
                Self::ZERO
            }

            fn is_zero(&self) -> bool {
                *self == Self::ZERO
            }
        }

        impl Commutative for $int {}

        /// Multiplication.
        impl Times for $int {
            fn times(&mut self, right: Self) {
                *self *= right;
            }
        }

        impl Semiring for $int {
            fn one() -> Self {
                1_u8.into()
            }
        }
    )*};
}

integers!(BigInt BigUint);

impl Group for BigInt {
    fn negate(&mut self) {
        *self = -std::mem::take(self);
    }
}

/// A length and the magnitude, lowest byte first.
impl Codec for BigUint {
    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = if self.is_zero() {
            Vec::new()
        } else {
            self.to_bytes_le()
        };
        put_length(out, bytes.len());
        out.extend(bytes);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        let bytes = input.take(length)?;
        if bytes.last() == Some(&0) {
            return Err(input.corrupt("the highest byte of a number is 0"));
        }
        Ok(Self::from_bytes_le(bytes))
    }
}

/// A byte, 1 when negative, and the magnitude.
impl Codec for BigInt {
    fn encode(&self, out: &mut Vec<u8>) {
        (self.sign() == Sign::Minus).encode(out);
        self.magnitude().encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let is_negative = bool::decode(input)?;
        let magnitude = BigUint::decode(input)?;
        if is_negative && magnitude.is_zero() {
            return Err(input.corrupt("zero has no sign"));
        }
        Ok(Self::from_biguint(
            if is_negative { Sign::Minus } else { Sign::Plus },
            magnitude,
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    fn big() -> impl Strategy<Value = BigInt> {
        (any::<bool>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(is_negative, bytes)| {
            let sign = if is_negative { Sign::Minus } else { Sign::Plus };
            BigInt::from_bytes_le(sign, &bytes)
        })
    }

    proptest! {
        #[test]
        fn laws_hold(a in big(), b in big(), c in big()) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::distributive(&a, &b, &c)?;
            laws::unit(&a)?;
            let [a, b, c] = [a, b, c].map(|x| x.magnitude().clone());
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::distributive(&a, &b, &c)?;
            laws::unit(&a)?;
        }

        #[test]
        fn like_the_small_ones(a: i64, b: i64) {
            let sum = laws::sum([a, b].map(BigInt::from));
            prop_assert_eq!(sum, BigInt::from(i128::from(a) + i128::from(b)));
        }

        #[test]
        fn bytes_last(a in big(), changes in prop::collection::vec(any::<(usize, u8)>(), 0..4)) {
            laws::round_trip(&a)?;
            laws::survives::<BigInt>(&a.to_bytes(), &changes)?;
            laws::round_trip(a.magnitude())?;
            laws::survives::<BigUint>(&a.magnitude().to_bytes(), &changes)?;
        }
    }

    #[test]
    fn one_form_only() {
        assert_eq!(BigUint::from(258_u16).to_bytes(), [2, 0, 0, 0, 2, 1]);
        assert_eq!(BigInt::from(-1).to_bytes(), [1, 1, 0, 0, 0, 1]);
        laws::refuses::<BigUint>(&[1, 0, 0, 0, 0], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<BigUint>(&[255, 255, 255, 255, 1], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<BigInt>(&[1, 0, 0, 0, 0], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<BigInt>(&[2, 1, 0, 0, 0, 1], DecodeErrorKind::Corrupt).unwrap();
    }
}
