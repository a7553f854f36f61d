//! The laws as plain functions over values, for property tests.
//!
//! ```
//! algebra::laws::associative(&1_u8, &200, &100)?;
//! algebra::laws::identity(&"ant".to_owned())?;
//! # Ok::<(), algebra::laws::Broken>(())
//! ```
//!
//! Each comes as equality (`==`) and, for floats and sketches, `…_within` an equivalence of yours.

use std::fmt::{self, Debug};

use crate::{Commutative, Group, Monoid, Semigroup};

/// A law does not hold; the text names it and shows both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// This module's result.
pub type Result = std::result::Result<(), Broken>;

/// `(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c)`.
///
/// # Errors
/// When it is not so.
pub fn associative<T: Semigroup + Clone + PartialEq + Debug>(a: &T, b: &T, c: &T) -> Result {
    associative_within(a, b, c, T::eq)
}

/// `(a ⊕ b) ⊕ c ≈ a ⊕ (b ⊕ c)`.
///
/// # Errors
/// When it is not so.
pub fn associative_within<T: Semigroup + Clone + Debug>(
    a: &T,
    b: &T,
    c: &T,
    same: impl Fn(&T, &T) -> bool,
) -> Result {
    let left = plus(plus(a.clone(), b.clone()), c.clone());
    let right = plus(a.clone(), plus(b.clone(), c.clone()));
    agree("(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c)", &left, &right, same)
}

/// `zero ⊕ a = a = a ⊕ zero`, and `is_zero(zero)`; when `is_zero(a)`, `a = zero`.
///
/// # Errors
/// When it is not so.
pub fn identity<T: Monoid + Clone + PartialEq + Debug>(a: &T) -> Result {
    identity_within(a, T::eq)
}

/// `zero ⊕ a ≈ a ≈ a ⊕ zero`, and `is_zero(zero)`; when `is_zero(a)`, `a ≈ zero`.
///
/// # Errors
/// When it is not so.
pub fn identity_within<T: Monoid + Clone + Debug>(a: &T, same: impl Fn(&T, &T) -> bool) -> Result {
    agree("zero ⊕ a = a", &plus(T::zero(), a.clone()), a, &same)?;
    agree("a ⊕ zero = a", &plus(a.clone(), T::zero()), a, &same)?;
    if !T::zero().is_zero() {
        return Err(Broken(format!(
            "is_zero(zero) does not hold: zero={:?}",
            T::zero()
        )));
    }
    if a.is_zero() {
        agree("is_zero(a) ⇒ a = zero", a, &T::zero(), &same)
    } else {
        Ok(())
    }
}

/// `a ⊕ negate(a) = zero = negate(a) ⊕ a`, and both are `is_zero`.
///
/// # Errors
/// When it is not so.
pub fn inverse<T: Group + Clone + PartialEq + Debug>(a: &T) -> Result {
    inverse_within(a, T::eq)?;
    let mut negated = a.clone();
    negated.negate();
    if plus(a.clone(), negated).is_zero() {
        Ok(())
    } else {
        Err(Broken(format!("is_zero(a ⊕ negate(a)) does not hold: a={a:?}")))
    }
}

/// `a ⊕ negate(a) ≈ zero ≈ negate(a) ⊕ a`.
///
/// # Errors
/// When it is not so.
pub fn inverse_within<T: Group + Clone + Debug>(a: &T, same: impl Fn(&T, &T) -> bool) -> Result {
    let mut negated = a.clone();
    negated.negate();
    agree(
        "a ⊕ negate(a) = zero",
        &plus(a.clone(), negated.clone()),
        &T::zero(),
        &same,
    )?;
    agree(
        "negate(a) ⊕ a = zero",
        &plus(negated, a.clone()),
        &T::zero(),
        &same,
    )
}

/// `a ⊕ b = b ⊕ a`.
///
/// # Errors
/// When it is not so.
pub fn commutative<T: Commutative + Clone + PartialEq + Debug>(a: &T, b: &T) -> Result {
    commutative_within(a, b, T::eq)
}

/// `a ⊕ b ≈ b ⊕ a`.
///
/// # Errors
/// When it is not so.
pub fn commutative_within<T: Commutative + Clone + Debug>(
    a: &T,
    b: &T,
    same: impl Fn(&T, &T) -> bool,
) -> Result {
    agree(
        "a ⊕ b = b ⊕ a",
        &plus(a.clone(), b.clone()),
        &plus(b.clone(), a.clone()),
        same,
    )
}

fn agree<T: Debug>(law: &str, left: &T, right: &T, same: impl Fn(&T, &T) -> bool) -> Result {
    if same(left, right) {
        return Ok(());
    }
    Err(Broken(format!(
        "{law} does not hold: left={left:?} right={right:?}"
    )))
}

fn plus<T: Semigroup>(mut left: T, right: T) -> T {
    left.plus(right);
    left
}

/// The sum of at least one item, from the left.
#[cfg(test)]
pub(crate) fn sum<T: Semigroup>(items: impl IntoIterator<Item = T>) -> T {
    items
        .into_iter()
        .reduce(plus)
        .expect("tests give at least one item")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Subtraction: breaks every law.
    #[derive(Clone, Debug, PartialEq)]
    struct Minus(i64);

    impl Semigroup for Minus {
        fn plus(&mut self, right: Self) {
            self.0 -= right.0;
        }
    }

    impl Monoid for Minus {
        fn zero() -> Self {
            Self(0)
        }

        fn is_zero(&self) -> bool {
            self.0 == 0
        }
    }

    impl Group for Minus {
        fn negate(&mut self) {
            self.0 = -self.0;
        }
    }

    impl Commutative for Minus {}

    #[test]
    fn what_is_broken_is_found() {
        let (a, b, c) = (Minus(1), Minus(2), Minus(3));
        let broken = associative(&a, &b, &c).unwrap_err();
        assert_eq!(
            broken.to_string(),
            "(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c) does not hold: left=Minus(-4) right=Minus(2)"
        );
        identity(&a).unwrap_err();
        inverse(&a).unwrap_err();
        commutative(&a, &b).unwrap_err();
        commutative_within(&a, &b, |x, y| x.0 == -y.0).unwrap();
    }
}
