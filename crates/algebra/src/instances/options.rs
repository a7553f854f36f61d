//! `Option`: gives a semigroup a zero.

use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// `None` is the zero; `Some(a) ⊕ Some(b) = Some(a ⊕ b)`.
///
/// Not a group, also when `T` is one: `Some(1) ⊕ Some(-1)` is `Some(0)`, which is not `None`.
impl<T: Semigroup> Semigroup for Option<T> {
    fn plus(&mut self, right: Self) {
        match (self.as_mut(), right) {
            (Some(left), Some(right)) => left.plus(right),
            (None, right) => *self = right,
            (Some(_), None) => {}
        }
    }
}

impl<T: Semigroup> Monoid for Option<T> {
    fn zero() -> Self {
        None
    }

    fn is_zero(&self) -> bool {
        self.is_none()
    }
}

impl<T: Commutative> Commutative for Option<T> {}
impl<T: Idempotent> Idempotent for Option<T> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Max, laws};

    proptest! {
        #[test]
        fn option(a: Option<i8>, b: Option<i8>, c: Option<i8>, s: [Option<String>; 3]) {
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::commutative(&a, &b)?;
            laws::associative(&s[0], &s[1], &s[2])?;
            let [a, b, c] = [a, b, c].map(|x| x.map(Max));
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::idempotent(&a)?;
        }
    }
}
