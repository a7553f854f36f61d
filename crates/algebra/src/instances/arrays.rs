//! Arrays: element by element. What the elements are, the array is.

use crate::{Commutative, Group, Idempotent, Monoid, Semigroup};

/// Element by element: `(a ⊕ b)[i] = a[i] ⊕ b[i]`.
impl<T: Semigroup, const N: usize> Semigroup for [T; N] {
    #[inline]
    fn plus(&mut self, right: Self) {
        for (left, right) in self.iter_mut().zip(right) {
            left.plus(right);
        }
    }
}

impl<T: Monoid, const N: usize> Monoid for [T; N] {
    fn zero() -> Self {
        std::array::from_fn(|_| T::zero())
    }

    fn is_zero(&self) -> bool {
        self.iter().all(T::is_zero)
    }
}

impl<T: Group, const N: usize> Group for [T; N] {
    fn negate(&mut self) {
        self.iter_mut().for_each(T::negate);
    }
}

impl<T: Commutative, const N: usize> Commutative for [T; N] {}
impl<T: Idempotent, const N: usize> Idempotent for [T; N] {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Max, laws};

    proptest! {
        #[test]
        fn laws_hold(a: [i8; 3], b: [i8; 3], c: [i8; 3], s: [[String; 2]; 3]) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::inverse(&a)?;
            laws::commutative(&a, &b)?;
            laws::associative(&s[0], &s[1], &s[2])?;
            laws::identity(&s[0])?;
            laws::idempotent(&a.map(Max))?;
        }
    }

    #[test]
    fn element_by_element() {
        assert_eq!(laws::sum([[1_u8, 2, 3], [10, 20, 30]]), [11, 22, 33]);
        laws::identity::<[u8; 0]>(&[]).unwrap();
    }
}
