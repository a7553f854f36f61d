//! Semigroups, monoids and groups with their laws: the values that write-once aggregates are made of.
mod instances;
pub mod laws;

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
