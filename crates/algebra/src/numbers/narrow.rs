//! Sums of integers that do not wrap at the type's width: refused or clamped when they are read.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::whole;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup};

/// An integer type of at most 64 bits.
pub trait Narrow: Copy + fmt::Debug + private::Sealed {
    /// The least value.
    const LEAST: i128;
    /// The greatest value.
    const GREATEST: i128;

    /// The value.
    fn widen(self) -> i128;

    /// The value, if it is one of this type.
    fn narrow(value: i128) -> Option<Self>;
}

mod private {
    pub trait Sealed {}
}

macro_rules! narrow {
    ($($int:ty)*) => {$(
        impl private::Sealed for $int {}

        impl Narrow for $int {
            const LEAST: i128 = <$int>::MIN as i128;
            const GREATEST: i128 = <$int>::MAX as i128;

            fn widen(self) -> i128 {
                self as i128
            }

            fn narrow(value: i128) -> Option<Self> {
                Self::try_from(value).ok()
            }
        }
    )*};
}

narrow!(i8 i16 i32 i64 isize u8 u16 u32 u64 usize);

/// A sum does not fit the type it is to be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The sum.
    pub total: i128,
    /// The least value of the type.
    pub least: i128,
    /// The greatest value of the type.
    pub greatest: i128,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sum does not fit its type, read it as a wider one: total={} least={} greatest={}",
            self.total, self.least, self.greatest
        )
    }
}

impl std::error::Error for Overflow {}

macro_rules! wide_sum {
    ($(#[$doc:meta])* $name:ident, $kind:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(bound = "", deny_unknown_fields)]
        pub struct $name<T> {
            #[serde(with = "whole")]
            total: i128,
            #[serde(skip)]
            narrow: PhantomData<T>,
        }

        impl<T: Narrow> $name<T> {
            /// The sum as it is.
            pub fn total(&self) -> i128 {
                self.total
            }
        }

        impl<T> Default for $name<T> {
            fn default() -> Self {
                Self { total: 0, narrow: PhantomData }
            }
        }

        /// One number.
        impl<T: Narrow> From<T> for $name<T> {
            fn from(value: T) -> Self {
                Self { total: value.widen(), narrow: PhantomData }
            }
        }

        impl<T: Narrow> Sketch<T> for $name<T> {
            #[inline]
            fn add(&mut self, item: &T) {
                self.total = self.total.wrapping_add(item.widen());
            }
        }

        /// Addition in 128 bits.
        impl<T: Narrow> Semigroup for $name<T> {
            #[inline]
            fn plus(&mut self, right: Self) {
                self.total = self.total.wrapping_add(right.total);
            }
        }

        impl<T: Narrow> Monoid for $name<T> {
            fn zero() -> Self {
                Self::default()
            }

            fn is_zero(&self) -> bool {
                self.total == 0
            }
        }

        impl<T: Narrow> Group for $name<T> {
            fn negate(&mut self) {
                self.total = self.total.wrapping_neg();
            }
        }

        impl<T: Narrow> Commutative for $name<T> {}

        impl<T: Narrow> Codec for $name<T> {
            fn encode(&self, out: &mut Vec<u8>) {
                put_header(out, kind::$kind, 1);
                put_shape(out, T::GREATEST as u64);
                self.total.encode(out);
            }

            fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                input.header(kind::$kind, 1)?;
                input.shape("greatest", T::GREATEST as u64)?;
                Ok(Self { total: i128::decode(input)?, narrow: PhantomData })
            }
        }
    };
}

wide_sum! {
    /// A sum of integers `T` in 128 bits, refused when it is read and does not fit `T`.
    ///
    /// The laws hold exactly: only [`value`](Self::value) checks. Checking at each step would not be associative, since
    /// in `i8` `(100 ⊕ 100) ⊕ −100` would be refused and `100 ⊕ (100 ⊕ −100)` not. It wraps only past 2⁶³ times the
    /// greatest `u64`.
    ///
    /// | answers | the sum, or that it does not fit |
    /// |---|---|
    /// | update, merge | one addition of 128 bits |
    /// | memory, bytes | 16; 26 |
    ///
    /// Bytes: kind 0x12, version 1, the greatest `T` (`u64`: the shape), the sum (`i128`).
    ///
    /// ```
    /// use algebra::{Checked, Semigroup};
    ///
    /// let mut sum = Checked::from(100_i8);
    /// sum.plus(Checked::from(100));
    /// assert_eq!(sum.value().unwrap_err().total, 200);
    /// sum.plus(Checked::from(-100));
    /// assert_eq!(sum.value(), Ok(100));
    /// ```
    Checked, CHECKED
}

impl<T: Narrow> Checked<T> {
    /// The sum.
    ///
    /// # Errors
    /// When it does not fit.
    pub fn value(&self) -> Result<T, Overflow> {
        T::narrow(self.total).ok_or(Overflow {
            total: self.total,
            least: T::LEAST,
            greatest: T::GREATEST,
        })
    }
}

wide_sum! {
    /// A sum of integers `T` in 128 bits, clamped to the least or greatest `T` when it is read.
    ///
    /// The laws hold exactly: only [`value`](Self::value) clamps. Clamping at each step is not associative. It wraps only
    /// past 2⁶³ times the greatest `u64`.
    ///
    /// | answers | the sum, or the nearest value of the type |
    /// |---|---|
    /// | update, merge | one addition of 128 bits |
    /// | memory, bytes | 16; 26 |
    ///
    /// Bytes: kind 0x13, version 1, the greatest `T` (`u64`: the shape), the sum (`i128`).
    ///
    /// ```
    /// use algebra::{Saturating, Semigroup};
    ///
    /// // Clamped step by step, the grouping shows:
    /// assert_eq!(100_i8.saturating_add(100).saturating_add(-100), 27);
    /// assert_eq!(100_i8.saturating_add(100_i8.saturating_add(-100)), 100);
    /// let sum = Saturating::sum([100_i8, 100, -100].map(Saturating::from));
    /// assert_eq!(sum.map(|sum| sum.value()), Some(100));
    /// ```
    Saturating, SATURATING
}

impl<T: Narrow> Saturating<T> {
    /// The sum, or what of `T` is nearest to it.
    pub fn value(&self) -> T {
        T::narrow(self.total.clamp(T::LEAST, T::GREATEST)).expect("what is clamped to the type fits it")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::laws;

    /// Clamps at each step, as one would do first.
    #[derive(Clone, Debug, PartialEq)]
    struct Naive(i8);

    impl Semigroup for Naive {
        fn plus(&mut self, right: Self) {
            self.0 = self.0.saturating_add(right.0);
        }
    }

    #[test]
    fn clamping_step_by_step_breaks_the_law() {
        laws::associative(&Naive(100), &Naive(100), &Naive(-100)).unwrap_err();
        let [a, b, c] = [100_i8, 100, -100].map(Saturating::from);
        laws::associative(&a, &b, &c).unwrap();
    }

    macro_rules! lawful {
        ($($name:ident $int:ty;)*) => {
            proptest! {$(
                #[test]
                fn $name(
                    items in prop::collection::vec(any::<$int>(), 3..20),
                    changes in prop::collection::vec(any::<(usize, u8)>(), 0..4),
                ) {
                    let checked: Vec<_> = items.iter().copied().map(Checked::from).collect();
                    laws::associative(&checked[0], &checked[1], &checked[2])?;
                    laws::identity(&checked[0])?;
                    laws::inverse(&checked[0])?;
                    laws::commutative(&checked[0], &checked[1])?;
                    laws::bulk_equals_repeated(&checked)?;
                    laws::adds(&checked[0], &items[1], Checked::eq)?;
                    laws::round_trip(&checked[0])?;
                    laws::survives::<Checked<$int>>(&checked[0].to_bytes(), &changes)?;
                    let saturating: Vec<_> = items.iter().copied().map(Saturating::from).collect();
                    laws::associative(&saturating[0], &saturating[1], &saturating[2])?;
                    laws::identity(&saturating[0])?;
                    laws::inverse(&saturating[0])?;
                    laws::commutative(&saturating[0], &saturating[1])?;
                    laws::bulk_equals_repeated(&saturating)?;
                    laws::adds(&saturating[0], &items[1], Saturating::eq)?;
                    laws::round_trip(&saturating[0])?;
                    laws::survives::<Saturating<$int>>(&saturating[0].to_bytes(), &changes)?;

                    let truth: i128 = items.iter().map(|item| *item as i128).sum();
                    let checked = laws::sum(checked);
                    prop_assert_eq!(checked.value().ok(), <$int>::try_from(truth).ok());
                    prop_assert_eq!(checked.total(), truth);
                    let clamped = truth.clamp(<$int>::MIN as i128, <$int>::MAX as i128);
                    prop_assert_eq!(laws::sum(saturating).value() as i128, clamped);
                }
            )*}
        };
    }

    lawful! {
        of_i8 i8;
        of_i16 i16;
        of_i32 i32;
        of_i64 i64;
        of_u8 u8;
        of_u16 u16;
        of_u32 u32;
        of_u64 u64;
        of_usize usize;
    }

    #[test]
    fn says_what_does_not_fit() {
        let overflow = laws::sum([200_u8, 100].map(Checked::from)).value().unwrap_err();
        assert_eq!(
            overflow.to_string(),
            "sum does not fit its type, read it as a wider one: total=300 least=0 greatest=255"
        );
    }

    #[test]
    fn another_type_is_another_shape() {
        laws::refuses::<Checked<i32>>(&Checked::from(1_u32).to_bytes(), DecodeErrorKind::Shape).unwrap();
        laws::refuses::<Checked<u8>>(&Saturating::from(1_u8).to_bytes(), DecodeErrorKind::Corrupt).unwrap();
    }

    #[test]
    fn survives_json() {
        let small = Checked::from(-7_i8);
        assert_eq!(serde_json::to_string(&small).unwrap(), r#"{"total":-7}"#);
        let large = laws::sum([u64::MAX; 3].map(Saturating::from));
        let text = serde_json::to_string(&large).unwrap();
        assert_eq!(text, r#"{"total":"55340232221128654845"}"#);
        assert_eq!(serde_json::from_str::<Saturating<u64>>(&text).unwrap(), large);
        assert_eq!(
            serde_json::from_str::<Checked<i8>>(r#"{"total":-7}"#).unwrap(),
            small
        );
        serde_json::from_str::<Checked<i8>>(r#"{"total":"much"}"#).unwrap_err();
    }
}
