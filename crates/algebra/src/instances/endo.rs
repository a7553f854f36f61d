//! `Endo`: functions from a type to itself, under composition.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use crate::{Monoid, Semigroup};

type Step<T> = Arc<dyn Fn(T) -> T + Send + Sync>;

/// A function from `T` to `T`, kept as the list of the functions it is composed of, the one to be applied first at the
/// front: `(f ⊕ g)(x) = g(f(x))`, the left one first, as what comes earlier is on the left everywhere here.
///
/// The zero is the identity, the empty list. Not commutative. Associative in what it does, and in the list too. A list
/// and not a nest: a million composed functions apply, and are dropped, without a deep stack.
///
/// ```
/// use algebra::{Endo, Semigroup};
///
/// let mut both = Endo::new(|x: u64| x + 1);
/// both.plus(Endo::new(|x| x * 10));
/// assert_eq!(both.apply(2), 30);
/// ```
///
/// `plus` costs the length of the shorter list; [`apply`](Self::apply) one call per function; 16 bytes per function and
/// what each holds, shared between clones. No bytes: code cannot be kept. For functions that can, see `Affine`.
pub struct Endo<T>(VecDeque<Step<T>>);

impl<T> Endo<T> {
    /// One function.
    pub fn new(function: impl Fn(T) -> T + Send + Sync + 'static) -> Self {
        Self(VecDeque::from([Arc::new(function) as Step<T>]))
    }

    /// What all of them, one after another, make of `value`.
    pub fn apply(&self, value: T) -> T {
        self.0.iter().fold(value, |value, step| step(value))
    }

    /// Of how many functions it is composed.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the identity for being composed of none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<T> Clone for Endo<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Endo<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> fmt::Debug for Endo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endo({} functions)", self.0.len())
    }
}

/// Composition, the left one first.
impl<T> Semigroup for Endo<T> {
    fn plus(&mut self, right: Self) {
        self.0.plus(right.0);
    }
}

impl<T> Monoid for Endo<T> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::laws;

    fn affine(factor: i64, term: i64) -> Endo<i64> {
        Endo::new(move |x: i64| x.wrapping_mul(factor).wrapping_add(term))
    }

    proptest! {
        #[test]
        fn laws_hold(a: (i64, i64), b: (i64, i64), c: (i64, i64), x: i64) {
            let [a, b, c] = [a, b, c].map(|(factor, term)| affine(factor, term));
            let same = |f: &Endo<i64>, g: &Endo<i64>| f.apply(x) == g.apply(x);
            laws::associative_within(&a, &b, &c, same)?;
            laws::identity_within(&a, same)?;
            prop_assert_eq!(laws::sum([a.clone(), b.clone()]).apply(x), b.apply(a.apply(x)));
        }
    }

    #[test]
    fn a_million_from_either_side() {
        let one = || Endo::new(|x: u64| x + 1);
        let mut behind = Endo::zero();
        let mut front = Endo::zero();
        for _ in 0..1_000_000 {
            behind.plus(one());
            let rest = std::mem::replace(&mut front, one());
            front.plus(rest);
        }
        assert_eq!((behind.len(), behind.apply(0)), (1_000_000, 1_000_000));
        assert_eq!((front.len(), front.apply(0)), (1_000_000, 1_000_000));
    }
}
