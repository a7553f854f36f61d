//! `Eventually`: exact while that is small, then a sketch.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::sketch::{Sketch, SumsByKey};
use crate::{Commutative, Idempotent, Monoid, Semigroup};

/// An exact value that can go into a sketch `S`.
///
/// Laws ([`laws::condenses_within`](crate::laws::condenses_within)):
/// * `size(a ⊕ b) ≥ size(a)` and `≥ size(b)`: what is too large stays too large;
/// * `condense(a ⊕ b) = condense(a) ⊕ condense(b)` and `condense(zero) = zero`;
/// * `condense_into(a, s) = s ⊕ condense(a)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot go into the sketch `{S}`: it does not implement `Condense<{S}>`",
    note = "sets of `T` go into a commutative and idempotent `Sketch<T>`, `Vec<T>` into any; maps into a commutative \
            `SumsByKey<K, V>`"
)]
pub trait Condense<S: Monoid>: Monoid {
    /// How much it holds: what `LIMIT` is compared with.
    fn size(&self) -> usize;

    /// `sketch ← sketch ⊕ condense(self)`.
    fn condense_into(self, sketch: &mut S);

    /// The sketch of it.
    fn condense(self) -> S {
        let mut sketch = S::zero();
        self.condense_into(&mut sketch);
        sketch
    }
}

/// Size: how many elements. The sketch must not tell what came twice, or in another order, as the set does not.
impl<T: Ord, S: Sketch<T> + Commutative + Idempotent> Condense<S> for BTreeSet<T> {
    fn size(&self) -> usize {
        self.len()
    }

    fn condense_into(self, sketch: &mut S) {
        self.iter().for_each(|item| sketch.add(item));
    }
}

/// As the ordered set.
impl<T, H, S> Condense<S> for HashSet<T, H>
where
    T: Eq + Hash,
    H: BuildHasher + Default,
    S: Sketch<T> + Commutative + Idempotent,
{
    fn size(&self) -> usize {
        self.len()
    }

    fn condense_into(self, sketch: &mut S) {
        self.iter().for_each(|item| sketch.add(item));
    }
}

/// Size: how many elements. For sketches of values that may come twice.
impl<T, S: Sketch<T>> Condense<S> for Vec<T> {
    fn size(&self) -> usize {
        self.len()
    }

    fn condense_into(self, sketch: &mut S) {
        self.iter().for_each(|item| sketch.add(item));
    }
}

/// Size: how many keys. For sketches that take the sum of a key's values as they take the values one by one, such as
/// a [`SketchMap`](crate::sketch::SketchMap); the order must not count.
impl<K: Ord, V: Semigroup, S: SumsByKey<K, V> + Commutative> Condense<S> for BTreeMap<K, V> {
    fn size(&self) -> usize {
        self.len()
    }

    fn condense_into(self, sketch: &mut S) {
        self.into_iter().for_each(|entry| sketch.add(&entry));
    }
}

/// As the ordered map.
impl<K: Eq + Hash, V: Semigroup, H: BuildHasher + Default, S: SumsByKey<K, V> + Commutative> Condense<S>
    for HashMap<K, V, H>
{
    fn size(&self) -> usize {
        self.len()
    }

    fn condense_into(self, sketch: &mut S) {
        self.into_iter().for_each(|entry| sketch.add(&entry));
    }
}

/// Either an exact value of size at most `LIMIT`, or the sketch of a larger one.
///
/// Its value is a function of the exact sum `e` of all that went in: `e` itself when `size(e) ≤ LIMIT`, else
/// `condense(e)`. That is why `⊕` is associative: `size` never falls, so a part that is too large makes the whole too
/// large, in whatever order the parts meet; and `condense` keeps sums, so it does not matter when it is done. The laws
/// hold as exactly as those of the sketch. Not a group: in a group sizes fall.
///
/// ```
/// use std::collections::BTreeSet;
/// use algebra::{Any, Eventually, sketch::Sketch};
/// # use algebra::{Commutative, Idempotent, Monoid, Semigroup};
/// # #[derive(Semigroup, Monoid, Commutative, Idempotent)] struct Even(Any);
/// # impl Sketch<u32> for Even { fn add(&mut self, item: &u32) { self.0.0 |= item % 2 == 0 } }
///
/// let mut distinct = Eventually::<BTreeSet<u32>, Even, 2>::default();
/// distinct.add(&7);
/// distinct.add(&8);
/// assert_eq!(distinct.exact(), Some(&BTreeSet::from([7, 8])));
/// distinct.add(&9);
/// assert!(distinct.exact().is_none() && distinct.sketch().is_some());
/// ```
///
/// Bytes: kind, version 1, `LIMIT` (`u64`), then 0 and the exact value, or 1 and the sketch. Update and merge cost what
/// those of the part in use cost; once, condensing costs the size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Eventually<E, S, const LIMIT: usize>(State<E, S>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum State<E, S> {
    Exact(E),
    Sketch(S),
}

use State::{Exact, Sketch as Condensed};

impl<E: Condense<S>, S: Monoid, const LIMIT: usize> Eventually<E, S, LIMIT> {
    /// Nothing yet, exactly.
    pub fn new() -> Self {
        Self(Exact(E::zero()))
    }

    /// The exact value, while it is one.
    pub fn exact(&self) -> Option<&E> {
        match &self.0 {
            Exact(exact) => Some(exact),
            Condensed(_) => None,
        }
    }

    /// The sketch, once it is one.
    pub fn sketch(&self) -> Option<&S> {
        match &self.0 {
            Exact(_) => None,
            Condensed(sketch) => Some(sketch),
        }
    }

    /// An answer from whichever it is.
    pub fn answer<R>(&self, of_exact: impl FnOnce(&E) -> R, of_sketch: impl FnOnce(&S) -> R) -> R {
        match &self.0 {
            Exact(exact) => of_exact(exact),
            Condensed(sketch) => of_sketch(sketch),
        }
    }

    /// A sketch in any case.
    pub fn into_sketch(self) -> S {
        match self.0 {
            Exact(exact) => exact.condense(),
            Condensed(sketch) => sketch,
        }
    }

    /// Condenses what has grown beyond the limit.
    fn settle(&mut self) {
        if let Exact(exact) = &mut self.0
            && exact.size() > LIMIT
        {
            let exact = std::mem::replace(exact, E::zero());
            self.0 = Condensed(exact.condense());
        }
    }
}

impl<E: Condense<S>, S: Monoid, const LIMIT: usize> Default for Eventually<E, S, LIMIT> {
    fn default() -> Self {
        Self::new()
    }
}

/// Condensed at once when it is too large.
impl<E: Condense<S>, S: Monoid, const LIMIT: usize> From<E> for Eventually<E, S, LIMIT> {
    fn from(exact: E) -> Self {
        let mut value = Self(Exact(exact));
        value.settle();
        value
    }
}

/// Exact and exact is exact unless too large; with a sketch it is a sketch.
impl<E: Condense<S>, S: Monoid, const LIMIT: usize> Semigroup for Eventually<E, S, LIMIT> {
    fn plus(&mut self, right: Self) {
        match (&mut self.0, right.0) {
            (Exact(left), Exact(right)) => {
                left.plus(right);
                self.settle();
            }
            (Condensed(left), Exact(right)) => right.condense_into(left),
            (Condensed(left), Condensed(right)) => left.plus(right),
            (Exact(left), Condensed(right)) if left.is_zero() => self.0 = Condensed(right),
            (Exact(left), Condensed(right)) => {
                let mut sketch = std::mem::replace(left, E::zero()).condense();
                sketch.plus(right);
                self.0 = Condensed(sketch);
            }
        }
    }
}

impl<E: Condense<S>, S: Monoid, const LIMIT: usize> Monoid for Eventually<E, S, LIMIT> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.exact().is_some_and(E::is_zero)
    }
}

impl<E, S, const LIMIT: usize> Commutative for Eventually<E, S, LIMIT>
where
    E: Condense<S> + Commutative,
    S: Monoid + Commutative,
{
}

impl<E, S, const LIMIT: usize> Idempotent for Eventually<E, S, LIMIT>
where
    E: Condense<S> + Idempotent,
    S: Monoid + Idempotent,
{
}

/// Takes what both the exact value and the sketch take.
impl<T, E, S, const LIMIT: usize> Sketch<T> for Eventually<E, S, LIMIT>
where
    T: ?Sized,
    E: Condense<S> + Sketch<T>,
    S: Sketch<T>,
{
    fn add(&mut self, item: &T) {
        match &mut self.0 {
            Exact(exact) => {
                exact.add(item);
                self.settle();
            }
            Condensed(sketch) => sketch.add(item),
        }
    }
}

impl<E: Condense<S> + Codec, S: Monoid + Codec, const LIMIT: usize> Codec for Eventually<E, S, LIMIT> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::EVENTUALLY, 1);
        put_shape(out, LIMIT as u64);
        match &self.0 {
            Exact(exact) => {
                false.encode(out);
                exact.encode(out);
            }
            Condensed(sketch) => {
                true.encode(out);
                sketch.encode(out);
            }
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::EVENTUALLY, 1)?;
        input.shape("LIMIT", LIMIT as u64)?;
        if bool::decode(input)? {
            return Ok(Self(Condensed(S::decode(input)?)));
        }
        let exact = E::decode(input)?;
        match exact.size() {
            size if size > LIMIT => Err(input.corrupt(format!(
                "an exact value beyond its limit: size={size} limit={LIMIT}"
            ))),
            _ => Ok(Self(Exact(exact))),
        }
    }
}

through_bytes!([E: Condense<K> + Codec, K: Monoid + Codec, const LIMIT: usize] Eventually<E, K, LIMIT>);

#[cfg(test)]
mod tests;
