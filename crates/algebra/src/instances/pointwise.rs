//! `Pointwise`: a vector summed element by element.

use std::mem::{replace, swap};

use serde::{Deserialize, Serialize};

use crate::codec::{Codec, DecodeError, Input, kind, put_header};
use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// A vector that sums element by element: `(a ⊕ b)[i] = a[i] ⊕ b[i]`, and where one has ended, the other's element.
/// (A bare `Vec` is concatenated.)
///
/// The zero is the empty vector, so the elements need none. Not a group, also when the elements are one: `[1] ⊕ [-1]`
/// is `[0]`, which is not `[]`; take [`AdaptiveVector`](crate::AdaptiveVector) there. Laws are exact where those of the
/// elements are.
///
/// ```
/// use algebra::{Pointwise, Semigroup};
///
/// let mut hours = Pointwise(vec![1_u64, 2]);
/// hours.plus(Pointwise(vec![10, 20, 30]));
/// assert_eq!(hours.0, [11, 22, 30]);
/// ```
///
/// `plus` walks the shorter of the two. As JSON it is the array. Bytes: kind, version 1, a length (`u32`), the elements.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pointwise<T>(pub Vec<T>);

/// Element by element.
impl<T: Semigroup> Semigroup for Pointwise<T> {
    fn plus(&mut self, mut right: Self) {
        if self.0.len() >= right.0.len() {
            for (left, right) in self.0.iter_mut().zip(right.0) {
                left.plus(right);
            }
        } else {
            swap(self, &mut right);
            // `right` holds what was on the left, and must stay on the left of each `⊕`.
            for (element, left) in self.0.iter_mut().zip(right.0) {
                let right = replace(element, left);
                element.plus(right);
            }
        }
    }
}

impl<T: Semigroup> Monoid for Pointwise<T> {
    fn zero() -> Self {
        Self(Vec::new())
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T: Commutative> Commutative for Pointwise<T> {}
impl<T: Idempotent> Idempotent for Pointwise<T> {}

impl<T: Codec> Codec for Pointwise<T> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::POINTWISE, 1);
        self.0.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::POINTWISE, 1)?;
        Vec::decode(input).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Max, laws};

    fn vector() -> impl Strategy<Value = Vec<i8>> {
        prop::collection::vec(any::<i8>(), 0..9)
    }

    proptest! {
        #[test]
        fn laws_hold(a in vector(), b in vector(), c in vector(), s in prop::collection::vec(prop::collection::vec("[a-z]?", 0..9), 3)) {
            let maxima = Pointwise(a.iter().copied().map(Max).collect());
            let [a, b, c] = [a, b, c].map(Pointwise);
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::idempotent(&maxima)?;
            laws::round_trip(&a)?;
            let [a, b, c] = [0, 1, 2].map(|i: usize| Pointwise(s[i].clone()));
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
        }

        #[test]
        fn any_bytes(bytes: Vec<u8>, changes: Vec<(usize, u8)>, value: Vec<u16>) {
            laws::survives::<Pointwise<u16>>(&bytes, &changes)?;
            laws::survives::<Pointwise<u16>>(&Pointwise(value).to_bytes(), &changes)?;
        }
    }
}
