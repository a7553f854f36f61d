//! However a sum is made it is the same: in bulk, of parts, item by item, exactly or condensed.

use std::fmt::Debug;

use super::{Broken, Result, agree, plus};
use crate::sketch::Sketch;
use crate::{Condense, Monoid, Semigroup};

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

/// Condensing keeps sums, `condense(a ⊕ b) ≈ condense(a) ⊕ condense(b)`, into a sketch that is there already as well,
/// `condense_into(a, s) ≈ s ⊕ condense(a)`, and zero, `condense(zero) ≈ zero`; and no sum is smaller than what it is made of, `size(a ⊕ b) ≥ size(a)` and
/// `≥ size(b)`.
///
/// # Errors
/// When it is not so.
pub fn condenses_within<E: Condense<S> + Clone + Debug, S: Monoid + Clone + Debug>(
    a: &E,
    b: &E,
    same: impl Fn(&S, &S) -> bool,
) -> Result {
    let both = plus(a.clone(), b.clone());
    let apart = plus(a.clone().condense(), b.clone().condense());
    agree(
        "condense(a ⊕ b) = condense(a) ⊕ condense(b)",
        &both.clone().condense(),
        &apart,
        &same,
    )?;
    let mut onto = a.clone().condense();
    b.clone().condense_into(&mut onto);
    agree("condense_into(b, s) = s ⊕ condense(b)", &onto, &apart, &same)?;
    agree("condense(zero) = zero", &E::zero().condense(), &S::zero(), &same)?;
    if both.size() >= a.size().max(b.size()) {
        return Ok(());
    }
    Err(Broken(format!(
        "size(a ⊕ b) ≥ size(a), size(b) does not hold: a={a:?} b={b:?}"
    )))
}
