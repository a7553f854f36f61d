//! `String` and `Vec`: `⊕` is concatenation, the zero is empty. Not commutative.

use crate::{Monoid, Semigroup};

/// Concatenation.
impl Semigroup for String {
    fn plus(&mut self, right: Self) {
        if self.is_empty() {
            *self = right;
        } else {
            self.push_str(&right);
        }
    }
}

impl Monoid for String {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

/// Concatenation.
impl<T> Semigroup for Vec<T> {
    fn plus(&mut self, right: Self) {
        if self.is_empty() {
            *self = right;
        } else {
            self.extend(right);
        }
    }
}

impl<T> Monoid for Vec<T> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::laws;

    proptest! {
        #[test]
        fn string(a: String, b: String, c: String) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
        }

        #[test]
        fn vec(a: Vec<u8>, b: Vec<u8>, c: Vec<u8>) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]), [a, b].concat());
        }
    }
}
