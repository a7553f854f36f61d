//! KLL: quantiles of anything that has an order, in bytes that Apache DataSketches reads.
//!
//! Which items survive is decided by coin flips from a generator that the thread seeds by itself: the same items give
//! other bytes on every run, and answers that differ within the error. Where a job must give the same answer twice,
//! take [`DdSketch`](super::DdSketch), which has no chance in it.

use std::fmt::Debug;

use datasketches::common::SearchCriteria::Inclusive;
use datasketches::kll::{KllFloat, KllSketch};

use super::Sketch;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length, through_bytes};
use crate::{Commutative, Monoid, Semigroup};

/// A sample of the items in levels (an item of level `i` stands for `2ⁱ`), their number, their least and greatest:
/// quantiles and ranks within a rank error.
///
/// With `K = 200` a rank is within 1.33 % of the number of items with a probability of 99 %
/// ([`rank_error`](Self::rank_error) for other `K`: about `2.3 / K^0.97`), whatever the items are and however they were
/// merged. The least and the greatest are exact, and so is all while there are fewer than `K` items.
///
/// NaN is left out, and not counted: the bytes have no place for that count, so keep a `u64` beside it. `-0.0` is taken
/// as `0.0`. A merge beyond [`COUNT_MAX`] items keeps the side that has more, the left one of equals.
///
/// Laws hold *within the bound*, identity exactly. `==` compares the samples, so it finds a copy and not a sketch that
/// was made of the same items. Source: Karnin, Lang and Liberty 2016, as in Apache DataSketches.
///
/// ```
/// use algebra::sketch::{Kll, Sketch};
///
/// let mut waits = Kll::<i64>::new();
/// (0..=100).for_each(|wait| waits.add(&wait));
/// assert_eq!(waits.quantile(0.5), Some(50));
/// assert_eq!(waits.max(), Some(100));
/// ```
///
/// | | |
/// |---|---|
/// | answers | `quantile`, `rank`, `min`, `max`, `count` |
/// | item | a push; every few hundred a sort |
/// | merge | `O(K)` |
/// | size | about `3·K` items: 5 kB for `f64` and `K = 200` |
/// | error | `rank_error()` of the rank, 99 % |
///
/// The bytes are Apache's KLL format (serial version 1, of a single item 2): in Java `KllDoublesSketch`,
/// `KllFloatsSketch`, `KllLongsSketch`, and of strings `KllItemsSketch` with UTF-8 lengths of 32 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Kll<T: KllItem, const K: u16 = 200> {
    inner: KllSketch<T::Stored>,
}

/// The most items one sketch stands for; beyond, a sketch takes no more.
pub const COUNT_MAX: u64 = 1 << 62;

/// What the bytes of a KLL sketch know: `f32`, `f64`, `i64` and `String`.
pub trait KllItem: sealed::Stored {}

impl<T: sealed::Stored> KllItem for T {}

impl<T: KllItem, const K: u16> Kll<T, K> {
    /// Of no items.
    pub fn new() -> Self {
        const { assert!(K >= 8, "K of a KLL sketch is at least 8") }
        Self {
            inner: KllSketch::new(K).expect("the constant assertion is the only condition"),
        }
    }

    /// How many items were taken.
    pub fn count(&self) -> u64 {
        self.inner.n()
    }

    /// How many of them are held.
    pub fn retained(&self) -> usize {
        self.inner.num_retained()
    }

    /// The least item; `None` when there is none.
    pub fn min(&self) -> Option<T> {
        self.inner.min_item().map(T::load)
    }

    /// The greatest item; `None` when there is none.
    pub fn max(&self) -> Option<T> {
        self.inner.max_item().map(T::load)
    }

    /// About the `⌈q·count⌉`-th smallest item, one that was taken; `None` when there is none or `q` is not in `0..=1`.
    pub fn quantile(&self, q: f64) -> Option<T> {
        let item = self.inner.quantile(q, Inclusive).ok()??;
        Some(T::load(&item))
    }

    /// [`quantile`](Self::quantile) of each, for the price of about one.
    pub fn quantiles(&self, qs: &[f64]) -> Option<Vec<T>> {
        let items = self.inner.quantiles(qs, Inclusive).ok()??;
        Some(items.iter().map(T::load).collect())
    }

    /// About the share of items that are at most this one; `None` when there is none or it is NaN.
    pub fn rank(&self, item: &T) -> Option<f64> {
        self.inner.rank(&item.store()?, Inclusive)
    }

    /// The rank error that 99 % of answers keep, as a share of the count.
    ///
    /// It grows when bytes of a sketch are taken that was merged with one of a smaller `K`.
    pub fn rank_error(&self) -> f64 {
        self.inner.normalized_rank_error()
    }
}

impl<T: KllItem, const K: u16> Default for Kll<T, K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Both samples together, thinned out where a level is full.
impl<T: KllItem, const K: u16> Semigroup for Kll<T, K> {
    fn plus(&mut self, right: Self) {
        let fits = self.count().saturating_add(right.count()) <= COUNT_MAX;
        if self.is_zero() || (!fits && self.count() < right.count()) {
            *self = right;
        } else if fits {
            self.inner
                .merge(&right.inner)
                .expect("sketches of one type have the same m, and the count fits");
        }
    }
}

impl<T: KllItem, const K: u16> Monoid for Kll<T, K> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.inner.is_empty()
    }
}

impl<T: KllItem, const K: u16> Commutative for Kll<T, K> {}

impl<T: KllItem, const K: u16> Sketch<T> for Kll<T, K> {
    #[inline]
    fn add(&mut self, item: &T) {
        if let Some(item) = item.store()
            && self.inner.n() < COUNT_MAX
        {
            self.inner.update(item);
        }
    }
}

impl<const K: u16> Sketch<str> for Kll<String, K> {
    fn add(&mut self, item: &str) {
        self.add(&item.to_owned());
    }
}

/// As a whole Apache's bytes; inside another value a length and those.
impl<T: KllItem, const K: u16> Codec for Kll<T, K> {
    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.to_bytes();
        put_length(out, bytes.len());
        out.extend_from_slice(&bytes);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        Self::from_bytes(input.take(length)?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        self.inner.serialize()
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_preamble::<K>(bytes)?;
        let inner = KllSketch::deserialize(bytes)
            .map_err(|error| Input::new(bytes).corrupt(format!("not a KLL sketch of this item: {error}")))?;
        if inner.n() > COUNT_MAX {
            return Err(Input::new(bytes).corrupt(format!(
                "more items than there can be: count={} count_max={COUNT_MAX}",
                inner.n()
            )));
        }
        // An empty sketch may come with a flag that means nothing there: there is one zero.
        Ok(if inner.is_empty() {
            Self::new()
        } else {
            Self { inner }
        })
    }
}

/// Family, version and `K`, so that each is refused for its own reason.
fn check_preamble<const K: u16>(bytes: &[u8]) -> Result<(), DecodeError> {
    const FAMILY: u8 = 15;
    let mut input = Input::new(bytes);
    let [_, version, family, _] = input.array()?;
    if family != FAMILY {
        return Err(input.corrupt(format!(
            "another family of sketch: expected={FAMILY} found={family}"
        )));
    }
    if !(1..=2).contains(&version) {
        return Err(input.error(
            DecodeErrorKind::Version,
            format!(
                "another version of the form, take the release that wrote it: expected=1|2 found={version}"
            ),
        ));
    }
    let k = u16::from_le_bytes(input.array()?);
    if k != K {
        return Err(input.error(
            DecodeErrorKind::Shape,
            format!("made with another parameter, read it as the type that has it: parameter=K expected={K} found={k}"),
        ));
    }
    Ok(())
}

through_bytes!([T: KllItem, const K: u16] Kll<T, K>);

mod sealed {
    use super::*;

    /// An item as the sketch holds it.
    pub trait Stored: Clone + Debug + PartialEq {
        type Stored: datasketches::kll::KllValue + Ord + Debug;

        /// `None` for what has no place in the order.
        fn store(&self) -> Option<Self::Stored>;

        fn load(stored: &Self::Stored) -> Self;
    }
}

macro_rules! floats {
    ($($float:ty)*) => {$(
        impl sealed::Stored for $float {
            type Stored = KllFloat<$float>;

            #[inline]
            fn store(&self) -> Option<Self::Stored> {
                // Adding 0.0 makes 0.0 of -0.0 and changes nothing else.
                KllFloat::<$float>::new(*self + 0.0).ok()
            }

            fn load(stored: &Self::Stored) -> Self {
                stored.into_inner()
            }
        }
    )*};
}

floats!(f32 f64);

macro_rules! as_they_are {
    ($($item:ty)*) => {$(
        impl sealed::Stored for $item {
            type Stored = Self;

            #[inline]
            fn store(&self) -> Option<Self> {
                Some(self.clone())
            }

            fn load(stored: &Self) -> Self {
                stored.clone()
            }
        }
    )*};
}

as_they_are!(i64 String);

#[cfg(test)]
mod tests;
