//! What the structures promise: `⊕`, its zero, its inverse; `⊗` and its one.

use std::fmt::Debug;

use super::{Broken, Result, agree, plus, times};
use crate::{Commutative, Group, Idempotent, Monoid, Semigroup, Semiring, Times};

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

/// `a ⊕ a = a`.
///
/// # Errors
/// When it is not so.
pub fn idempotent<T: Idempotent + Clone + PartialEq + Debug>(a: &T) -> Result {
    agree("a ⊕ a = a", &plus(a.clone(), a.clone()), a, T::eq)
}

/// `⊗` is associative and distributes over `⊕` from both sides.
///
/// # Errors
/// When it is not so.
pub fn distributive<T: Times + Clone + PartialEq + Debug>(a: &T, b: &T, c: &T) -> Result {
    distributive_within(a, b, c, T::eq)
}

/// `⊗` is associative and distributes over `⊕` from both sides, up to an equivalence.
///
/// # Errors
/// When it is not so.
pub fn distributive_within<T: Times + Clone + Debug>(
    a: &T,
    b: &T,
    c: &T,
    same: impl Fn(&T, &T) -> bool,
) -> Result {
    let [a, b, c] = [a, b, c].map(|x| || x.clone());
    agree(
        "(a ⊗ b) ⊗ c = a ⊗ (b ⊗ c)",
        &times(times(a(), b()), c()),
        &times(a(), times(b(), c())),
        &same,
    )?;
    agree(
        "a ⊗ (b ⊕ c) = (a ⊗ b) ⊕ (a ⊗ c)",
        &times(a(), plus(b(), c())),
        &plus(times(a(), b()), times(a(), c())),
        &same,
    )?;
    agree(
        "(a ⊕ b) ⊗ c = (a ⊗ c) ⊕ (b ⊗ c)",
        &times(plus(a(), b()), c()),
        &plus(times(a(), c()), times(b(), c())),
        &same,
    )
}

/// `one ⊗ a = a = a ⊗ one`, and `zero ⊗ a = zero = a ⊗ zero`.
///
/// # Errors
/// When it is not so.
pub fn unit<T: Semiring + Clone + PartialEq + Debug>(a: &T) -> Result {
    agree("one ⊗ a = a", &times(T::one(), a.clone()), a, T::eq)?;
    agree("a ⊗ one = a", &times(a.clone(), T::one()), a, T::eq)?;
    agree("zero ⊗ a = zero", &times(T::zero(), a.clone()), &T::zero(), T::eq)?;
    agree("a ⊗ zero = zero", &times(a.clone(), T::zero()), &T::zero(), T::eq)
}
