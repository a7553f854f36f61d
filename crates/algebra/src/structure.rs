//! The structures: what `plus` promises, trait by trait.

/// A value with an associative `plus`: `(a ⊕ b) ⊕ c = a ⊕ (b ⊕ c)`.
///
/// A struct sums field by field:
///
/// ```
/// use algebra::{Commutative, Max, Monoid, Semigroup};
///
/// #[derive(Debug, PartialEq, Semigroup, Monoid, Commutative)]
/// struct Usage {
///     requests: u64,
///     slowest: Option<Max<u32>>,
/// }
/// let mut usage = Usage { requests: 1, slowest: Some(Max(40)) };
/// usage.plus(Usage { requests: 2, slowest: Some(Max(7)) });
/// assert_eq!(usage, Usage { requests: 3, slowest: Some(Max(40)) });
/// ```
///
/// All these traits and markers can be derived, and [`Codec`](crate::codec::Codec) too. Where the crate is not at
/// `::algebra`, add `#[algebra(crate = path::of::algebra)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no associative sum: it is not a `Semigroup`",
    label = "cannot be summed",
    note = "instead of a float take `Sum` (or `ExactSum`, `Average`): the `+` of floats is not associative",
    note = "instead of a `bool` take `All` (and) or `Any` (or)",
    note = "to keep one of the values take `Min`, `Max`, `First` or `Last` of it",
    note = "a struct whose fields are all semigroups can `#[derive(Semigroup)]`"
)]
pub trait Semigroup: Sized {
    /// `self ← self ⊕ right`. The order counts: not every semigroup is commutative.
    fn plus(&mut self, right: Self);

    /// `a₁ ⊕ a₂ ⊕ …`; `None` when there are none.
    ///
    /// May be faster than `plus` item by item, and is equal to it: [`laws::bulk_equals_repeated`](crate::laws::bulk_equals_repeated).
    fn sum(items: impl IntoIterator<Item = Self>) -> Option<Self> {
        items.into_iter().reduce(|mut left, right| {
            left.plus(right);
            left
        })
    }
}

/// A semigroup with a zero: `zero ⊕ a = a = a ⊕ zero`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no zero: it is not a `Monoid`",
    label = "has no value that changes nothing",
    note = "instead of a semigroup `T` without a zero (`Min`, `Max`, `First`, `Last`) take `Option<T>`: its zero is `None`",
    note = "instead of a float take `Sum`, instead of a `bool` take `All` or `Any`",
    note = "a struct whose fields are all monoids can `#[derive(Semigroup, Monoid)]`"
)]
pub trait Monoid: Semigroup {
    /// The value that changes nothing.
    fn zero() -> Self;

    /// Whether this is the zero.
    fn is_zero(&self) -> bool;
}

/// A monoid with inverses: `a ⊕ negate(a) = zero = negate(a) ⊕ a`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be taken back out of a sum: it is not a `Group`",
    label = "has no inverse",
    note = "instead of a map take `SparseMap`, instead of a vector `AdaptiveVector`: they drop what has come to zero",
    note = "instead of a float take `Sum`",
    note = "a struct whose fields are all groups can `#[derive(Semigroup, Monoid, Group)]`"
)]
pub trait Group: Monoid {
    /// `self ← the inverse of self`.
    fn negate(&mut self);
}

/// A second operation that distributes: `a ⊗ (b ⊕ c) = (a ⊗ b) ⊕ (a ⊗ c)`, and from the right; `⊗` is associative.
#[diagnostic::on_unimplemented(message = "`{Self}` has no product: it does not implement `Times`")]
pub trait Times: Semigroup {
    /// `self ← self ⊗ right`. The order counts.
    fn times(&mut self, right: Self);
}

/// Both operations with what changes nothing: `one ⊗ a = a = a ⊗ one`, and `zero ⊗ a = zero = a ⊗ zero`.
///
/// With [`Group`] it is a ring.
#[diagnostic::on_unimplemented(message = "`{Self}` has no one: it is not a `Semiring`")]
pub trait Semiring: Times + Monoid {
    /// The value that changes nothing when multiplied.
    fn one() -> Self;
}

/// Law marker: `a ⊕ b = b ⊕ a`, so that a planner may reorder.
///
/// Exactly, or for a sketch whose laws hold within its bound (its doc says so: `Kll`, `TDigest`, `FrequentItems`) up to
/// that bound: either order is as good an answer.
#[diagnostic::on_unimplemented(
    message = "the sum of `{Self}` depends on its order: it is not `Commutative`",
    label = "cannot be reordered",
    note = "`String`, `Vec`, `First` and `Last` are of this kind; instead take a set, `Min` or `Max`",
    note = "a struct whose fields are all commutative can `#[derive(Semigroup, Commutative)]`"
)]
pub trait Commutative: Semigroup {}

/// Law marker: `a ⊕ a = a`, so that what is delivered twice counts once.
#[diagnostic::on_unimplemented(
    message = "`{Self}` counts twice what comes twice: it is not `Idempotent`",
    label = "must come once",
    note = "`Min`, `Max`, `First`, `Last`, `All`, `Any` and sets are idempotent, and maps and options of them",
    note = "a struct whose fields are all idempotent can `#[derive(Semigroup, Idempotent)]`"
)]
pub trait Idempotent: Semigroup {}
