//! The laws as plain functions over values, for property tests.
//!
//! ```
//! algebra::laws::associative(&1_u8, &200, &100)?;
//! algebra::laws::identity(&"ant".to_owned())?;
//! # Ok::<(), algebra::laws::Broken>(())
//! ```
//!
//! Each comes as equality (`==`) and, for floats and sketches, `…_within` an equivalence of yours. What is random or
//! approximate is tried many times with a seed, and [`fails_at_most`] judges the tries.

use std::fmt::{self, Debug};

use crate::codec::{Codec, DecodeErrorKind};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Idempotent, Monoid, Semigroup, Semiring, Times};

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

/// `sum(a₁, a₂, …) = a₁ ⊕ a₂ ⊕ …`, bit for bit, floats too.
///
/// # Errors
/// When it is not so.
pub fn bulk_equals_repeated<T: Semigroup + Clone + PartialEq + Debug>(items: &[T]) -> Result {
    let repeated = items.iter().cloned().reduce(plus);
    agree(
        "sum(a₁, a₂, …) = a₁ ⊕ a₂ ⊕ …",
        &T::sum(items.iter().cloned()),
        &repeated,
        |left, right| left == right,
    )
}

/// What is built of parts and merged is what is built of the whole: `build(xs ++ ys) ≈ build(xs) ⊕ build(ys)`, for the
/// parts between `cuts` (each taken modulo what is left), merged from the left, from the right, and as a tree.
///
/// # Errors
/// When it is not so.
pub fn merge_equals_whole_within<X, T: Semigroup + Clone + Debug>(
    items: &[X],
    cuts: &[usize],
    build: impl Fn(&[X]) -> T,
    same: impl Fn(&T, &T) -> bool,
) -> Result {
    let mut parts = Vec::new();
    let mut rest = items;
    for cut in cuts {
        let (part, others) = rest.split_at(cut % (rest.len() + 1));
        parts.push(build(part));
        rest = others;
    }
    parts.push(build(rest));
    let whole = build(items);
    let from_left = parts.iter().cloned().reduce(plus).expect("there is a last part");
    let from_right = parts
        .iter()
        .cloned()
        .rev()
        .reduce(|right, left| plus(left, right))
        .expect("there is a last part");
    agree(
        "build(xs ++ ys) = build(xs) ⊕ build(ys), from the left",
        &from_left,
        &whole,
        &same,
    )?;
    agree(
        "build(xs ++ ys) = build(xs) ⊕ build(ys), from the right",
        &from_right,
        &whole,
        &same,
    )?;
    while parts.len() > 1 {
        parts = parts
            .chunks(2)
            .map(|pair| {
                pair.iter()
                    .cloned()
                    .reduce(plus)
                    .expect("a chunk has at least one")
            })
            .collect();
    }
    agree(
        "build(xs ++ ys) = build(xs) ⊕ build(ys), as a tree",
        &parts[0],
        &whole,
        &same,
    )
}

/// `a.add(x) = a ⊕ of(x)`, up to an equivalence.
///
/// # Errors
/// When it is not so.
pub fn adds<X: ?Sized, T: Sketch<X> + Clone + Debug>(a: &T, x: &X, same: impl Fn(&T, &T) -> bool) -> Result {
    let mut added = a.clone();
    added.add(x);
    agree("a.add(x) = a ⊕ of(x)", &added, &plus(a.clone(), T::of(x)), same)
}

/// `from_bytes(to_bytes(a)) = a`, and what was read is written alike.
///
/// # Errors
/// When it is not so.
pub fn round_trip<T: Codec + PartialEq + Debug>(a: &T) -> Result {
    let bytes = a.to_bytes();
    let read = T::from_bytes(&bytes)
        .map_err(|error| Broken(format!("from_bytes(to_bytes(a)) fails: {error}; a={a:?}")))?;
    agree("from_bytes(to_bytes(a)) = a", &read, a, T::eq)?;
    agree(
        "to_bytes(from_bytes(to_bytes(a))) = to_bytes(a)",
        &read.to_bytes(),
        &bytes,
        Vec::eq,
    )
}

/// Bytes that were cut short, lengthened or changed, or are anything at all, are refused or read; nothing panics, and
/// what is read can be written, read again and summed.
///
/// # Errors
/// When bytes cut short or lengthened are taken, or what was read from changed ones cannot be read again.
pub fn survives<T: Codec + Semigroup>(bytes: &[u8], changes: &[(usize, u8)]) -> Result {
    let mut changed = bytes.to_vec();
    for (at, byte) in changes {
        if !changed.is_empty() {
            let at = at % changed.len();
            changed[at] = *byte;
        }
    }
    if let Ok(value) = T::from_bytes(&changed) {
        let again = T::from_bytes(&value.to_bytes()).map_err(|error| {
            Broken(format!(
                "what was read cannot be read again: {error}; bytes={changed:02x?}"
            ))
        })?;
        let _ = plus(value, again).to_bytes();
    }
    if T::from_bytes(bytes).is_ok() {
        if !bytes.is_empty() && T::from_bytes(&bytes[..bytes.len() - 1]).is_ok() {
            return Err(Broken(format!(
                "bytes without their last one are taken: bytes={bytes:02x?}"
            )));
        }
        let longer = [bytes, &[0]].concat();
        if T::from_bytes(&longer).is_ok() {
            return Err(Broken(format!(
                "bytes with one more are taken: bytes={longer:02x?}"
            )));
        }
    }
    Ok(())
}

/// The bytes are refused for this reason.
///
/// # Errors
/// When they are taken, or refused for another.
pub fn refuses<T: Codec>(bytes: &[u8], kind: DecodeErrorKind) -> Result {
    match T::from_bytes(bytes).err().map(|error| error.kind()) {
        Some(found) if found == kind => Ok(()),
        found => Err(Broken(format!(
            "bytes should be refused as {kind:?}: found={found:?}"
        ))),
    }
}

/// Of independent tries, each of which may fail with probability at most `failure_probability`, no more have failed
/// than chance explains: a sound structure is found broken with a probability below 10⁻⁹ (Hoeffding's bound in the
/// form of Chernoff, 1952: `P(X ≥ qn) ≤ exp(−n·KL(q‖p))`).
///
/// # Errors
/// When more have.
pub fn fails_at_most(failure_probability: f64, held: impl IntoIterator<Item = bool>) -> Result {
    let (mut tries, mut failures) = (0.0, 0.0);
    for held in held {
        tries += 1.0;
        failures += if held { 0.0 } else { 1.0 };
    }
    let (p, q): (f64, f64) = (
        failure_probability,
        if tries == 0.0 { 0.0 } else { failures / tries },
    );
    if q <= p {
        return Ok(());
    }
    let divergence = q * (q / p).ln()
        + if q < 1.0 {
            (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln()
        } else {
            0.0
        };
    if -tries * divergence < 1e-9_f64.ln() {
        return Err(Broken(format!(
            "fails more often than its bound: tries={tries} failures={failures} allowed={p}"
        )));
    }
    Ok(())
}

pub(crate) fn agree<T: Debug>(law: &str, left: &T, right: &T, same: impl Fn(&T, &T) -> bool) -> Result {
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

fn times<T: Times>(mut left: T, right: T) -> T {
    left.times(right);
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
