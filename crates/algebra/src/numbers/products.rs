//! The product of integers of every width: `⊗` is multiplication modulo 2ⁿ, so with `⊕` they are rings.

use crate::{Semiring, Times};

macro_rules! integers {
    ($($int:ty)*) => {$(
        /// Multiplication; wraps.
        impl Times for $int {
            #[inline]
            fn times(&mut self, right: Self) {
                *self = self.wrapping_mul(right);
            }
        }

        impl Semiring for $int {
            #[inline]
            fn one() -> Self {
                1
            }
        }
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
                    laws::distributive(&a, &b, &c)?;
                    laws::unit(&a)?;
                    let mut product = a;
                    product.times(b);
                    prop_assert_eq!(product, a.wrapping_mul(b));
                }
            }
        )*};
    }

    lawful!(i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize);
}
