//! Semigroups, monoids and groups with their laws: the values that write-once aggregates are made of.
//!
//! Instances: the integers (they wrap), `()`, `String`, `Vec`, `Option`, tuples to 6, `BTreeMap`, `HashMap`, and the
//! types [`Min`], [`Max`], [`First`], [`Last`], [`Average`] and [`Sum`]. [`laws`] checks them, and yours.
//!
//! Not here: `bool` (its sum could be "and" or "or"), bare floats (their `+` is not associative: take
//! [`Sum`]), sketches, time, IO.
//!
//! ```
//! use std::collections::BTreeMap;
//! use algebra::{Max, Semigroup};
//!
//! let mut seen = BTreeMap::from([("ant", (1_u64, Max(7)))]);
//! seen.plus(BTreeMap::from([("ant", (2, Max(3))), ("bee", (1, Max(1)))]));
//! assert_eq!(seen, BTreeMap::from([("ant", (3, Max(7))), ("bee", (1, Max(1)))]));
//! ```

mod instances;
pub mod laws;

pub use instances::{Average, First, Last, Max, Min, Sum};

/// A value with an associative `plus`: `(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c)`.
pub trait Semigroup: Sized {
    /// `self ← self ⊕ right`. The order counts: not every semigroup is commutative.
    fn plus(&mut self, right: Self);
}

/// A semigroup with a zero: `zero ⊕ a = a = a ⊕ zero`.
pub trait Monoid: Semigroup {
    /// The value that changes nothing.
    fn zero() -> Self;

    /// Whether this is the zero.
    fn is_zero(&self) -> bool;
}

/// A monoid with inverses: `a ⊕ negate(a) = zero = negate(a) ⊕ a`.
pub trait Group: Monoid {
    /// `self ← the inverse of self`.
    fn negate(&mut self);
}

/// Law marker: `a ⊕ b = b ⊕ a`, so that a planner may reorder.
pub trait Commutative: Semigroup {}
