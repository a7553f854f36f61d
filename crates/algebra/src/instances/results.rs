//! `Result`: an error absorbs what went well.

use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// `Ok(a) ⊕ Ok(b) = Ok(a ⊕ b)`, `Err(e) ⊕ Err(f) = Err(e ⊕ f)`, and of one of each the `Err`: so errors add up, and
/// with `E = First<…>` the first one is kept.
///
/// The zero is `Ok(zero)`. Not a group: an error cannot be taken back.
impl<T: Semigroup, E: Semigroup> Semigroup for Result<T, E> {
    fn plus(&mut self, right: Self) {
        match (self, right) {
            (Ok(left), Ok(right)) => left.plus(right),
            (Err(left), Err(right)) => left.plus(right),
            (left @ Ok(_), Err(right)) => *left = Err(right),
            (Err(_), Ok(_)) => {}
        }
    }
}

impl<T: Monoid, E: Semigroup> Monoid for Result<T, E> {
    fn zero() -> Self {
        Ok(T::zero())
    }

    fn is_zero(&self) -> bool {
        self.as_ref().is_ok_and(T::is_zero)
    }
}

impl<T: Commutative, E: Commutative> Commutative for Result<T, E> {}
impl<T: Idempotent, E: Idempotent> Idempotent for Result<T, E> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::{Max, Min, laws};

    proptest! {
        #[test]
        fn laws_hold(values: [Result<String, Vec<u8>>; 3], numbers: [Result<i8, u8>; 2]) {
            let [a, b, c] = values;
            laws::associative(&a, &b, &c)?;
            laws::identity(&a)?;
            laws::round_trip(&a)?;
            let [a, b] = numbers;
            laws::commutative(&a, &b)?;
            laws::idempotent(&a.map(Max).map_err(Min))?;
        }
    }

    #[test]
    fn errors_absorb() {
        type Outcome = Result<u8, String>;
        assert_eq!(laws::sum([Outcome::Ok(1), Ok(2)]), Ok(3));
        let error = |text: &str| Outcome::Err(text.to_owned());
        assert_eq!(laws::sum([Ok(1), error("a"), Ok(2), error("b")]), error("ab"));
    }
}
