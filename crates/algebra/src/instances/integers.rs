//! Integers of every width: `⊕` is addition modulo 2ⁿ.
//!
//! It wraps, signed and unsigned, in every build: so the laws hold without exception and each integer type is a
//! group (`negate(1u8) = 255`). Take a wider type where a sum may pass the maximum.

use crate::{Commutative, Group, Monoid, Semigroup};

macro_rules! integers {
    ($($int:ty)*) => {$(
        /// Addition; wraps.
        impl Semigroup for $int {
            #[inline]
            fn plus(&mut self, right: Self) {
                *self = self.wrapping_add(right);
            }
        }

        impl Monoid for $int {
            #[inline]
            fn zero() -> Self {
                0
            }

            #[inline]
            fn is_zero(&self) -> bool {
                *self == 0
            }
        }

        impl Group for $int {
            #[inline]
            fn negate(&mut self) {
                *self = self.wrapping_neg();
            }
        }

        impl Commutative for $int {}
    )*};
}

integers!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    macro_rules! lawful {
        ($($int:ident)*) => {$(
            proptest! {
                #[test]
                fn $int(a: $int, b: $int, c: $int) {
                    laws::associative(&a, &b, &c)?;
                    laws::identity(&a)?;
                    laws::inverse(&a)?;
                    laws::commutative(&a, &b)?;
                }
            }
        )*};
    }

    lawful!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);

    #[test]
    fn wraps() {
        let mut sum = 250_u8;
        sum.plus(10);
        assert_eq!(sum, 4);
        let mut least = i64::MIN;
        least.negate();
        assert_eq!(least, i64::MIN);
        laws::inverse(&i64::MIN).unwrap();
    }
}
