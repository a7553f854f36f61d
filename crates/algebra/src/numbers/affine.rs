//! Functions `x → a·x + b` under composition.

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Monoid, Semigroup, Semiring};

/// The function `x → scale ⊗ x ⊕ offset`. The sum is composition, the left one first: `(f ⊕ g)(x) = g(f(x))`, so
/// `(a, b) ⊕ (c, d) = (c ⊗ a, c ⊗ b ⊕ d)`. The zero is `x → x`.
///
/// So what is done to a number step by step (deposits, interest, resets with scale 0) can be summed before the number
/// is known. Not commutative; the laws hold as exactly as those of `T`: exactly with integers (which wrap: each product
/// may need more bits), up to rounding with [`Sum`](crate::Sum), which is the choice for floats.
///
/// | answers | what a series of steps does to a number |
/// |---|---|
/// | update, merge | two products and a sum |
/// | memory, bytes | two `T`; 2 and two `T` |
///
/// Bytes: kind 0x1f, version 1, the scale, the offset.
///
/// ```
/// use algebra::{Affine, Semigroup};
///
/// let mut steps = Affine { scale: 1, offset: 5 };
/// steps.plus(Affine { scale: 2, offset: 0 });
/// assert_eq!(steps.apply(10), 30);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine<T> {
    /// What the argument is multiplied by, from the left.
    pub scale: T,
    /// What is added then.
    pub offset: T,
}

impl<T: Semiring> Affine<T> {
    /// `scale ⊗ x ⊕ offset`.
    pub fn apply(self, x: T) -> T {
        let mut value = self.scale;
        value.times(x);
        value.plus(self.offset);
        value
    }
}

/// Composition, the left one first.
impl<T: Semiring + Clone> Semigroup for Affine<T> {
    fn plus(&mut self, right: Self) {
        let mut scale = right.scale.clone();
        scale.times(self.scale.clone());
        let offset = right.apply(self.offset.clone());
        *self = Self { scale, offset };
    }
}

impl<T: Semiring + Clone + PartialEq> Monoid for Affine<T> {
    fn zero() -> Self {
        Self {
            scale: T::one(),
            offset: T::zero(),
        }
    }

    fn is_zero(&self) -> bool {
        self.offset.is_zero() && self.scale == T::one()
    }
}

impl<T: Codec> Codec for Affine<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::AFFINE, 1);
        self.scale.encode(out);
        self.offset.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::AFFINE, 1)?;
        Ok(Self {
            scale: T::decode(input)?,
            offset: T::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::DecodeErrorKind;
    use crate::{MinPlus, Sum, laws};

    fn affine((scale, offset): (i32, i32)) -> Affine<i32> {
        Affine { scale, offset }
    }

    proptest! {
        #[test]
        fn laws_hold(
            a: (i32, i32), b: (i32, i32), c: (i32, i32),
            changes in prop::collection::vec(any::<(usize, u8)>(), 0..4),
        ) {
            let [a, b, c] = [a, b, c].map(affine);
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::round_trip(&a)?;
            laws::survives::<Affine<i32>>(&a.to_bytes(), &changes)?;
            let costs = |it: Affine<i32>| Affine {
                scale: MinPlus::from(it.scale as u32),
                offset: MinPlus::from(it.offset as u32),
            };
            laws::associative(&costs(a), &costs(b), &costs(c))?;
            laws::identity(&costs(a))?;
        }

        #[test]
        fn like_step_by_step(steps in prop::collection::vec(any::<(i32, i32)>(), 0..10), x: i32) {
            let naive = steps.iter().fold(x, |x, (scale, offset)| scale.wrapping_mul(x).wrapping_add(*offset));
            let whole = steps.into_iter().map(affine).fold(Affine::zero(), |f, g| laws::sum([f, g]));
            prop_assert_eq!(whole.apply(x), naive);
        }
    }

    /// Interest of a tenth, and a deposit, for three years.
    #[test]
    fn of_floats() {
        let year = Affine {
            scale: Sum::from(1.1),
            offset: Sum::from(100.0),
        };
        let after = laws::sum([year; 3]).apply(Sum::from(1000.0)).value();
        assert!((after - 1662.0).abs() < 1e-12 * 1662.0, "after={after}");
    }

    #[test]
    fn the_order_counts() {
        let (add, double) = (affine((1, 5)), affine((2, 0)));
        assert_ne!(laws::sum([add, double]), laws::sum([double, add]));
        let text = serde_json::to_string(&add).unwrap();
        assert_eq!(text, r#"{"scale":1,"offset":5}"#);
        assert_eq!(serde_json::from_str::<Affine<i32>>(&text).unwrap(), add);
        laws::refuses::<Affine<u8>>(&[0x1e, 1, 0, 0], DecodeErrorKind::Corrupt).unwrap();
        laws::refuses::<Affine<u8>>(&[0x1f, 2, 0, 0], DecodeErrorKind::Version).unwrap();
    }
}
