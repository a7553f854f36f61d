//! Counts between fixed bounds.

use std::cmp::Ordering;

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::{Commutative, Group, Monoid, Semigroup};

use super::Aggregator;

/// `N + 1` counts: of the items up to each of `N` rising bounds and above the one before, and of those above the last.
///
/// The bounds are the aggregator's ([`histogram`]), not the value's: two histograms with other bounds, but as many, are
/// the same type, and their sum says nothing. Change the bounds and keep the values under another name. Exact; a
/// commutative group; counts wrap.
///
/// Bytes: the header (kind `0x6a`, version 1), `N` (`u64`), the `N` counts and the one above (`u64` each).
///
/// | update | merge | bytes |
/// |---|---|---|
/// | `N` comparisons | `N + 1` additions | `8·N + 18` |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Histogram<const N: usize> {
    counts: [u64; N],
    above: u64,
}

impl<const N: usize> Histogram<N> {
    /// For each bound, how many items were at most that, and above the bound before.
    pub fn counts(&self) -> &[u64; N] {
        &self.counts
    }

    /// How many items were above the last bound, or could not be compared (NaN).
    pub fn above(&self) -> u64 {
        self.above
    }

    /// How many items.
    pub fn count(&self) -> u64 {
        self.counts
            .iter()
            .fold(self.above, |sum, count| sum.wrapping_add(*count))
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut u64> {
        self.counts.iter_mut().chain([&mut self.above])
    }
}

/// Nothing counted.
impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self {
            counts: [0; N],
            above: 0,
        }
    }
}

/// Count by count.
impl<const N: usize> Semigroup for Histogram<N> {
    fn plus(&mut self, mut right: Self) {
        for (left, right) in self.all_mut().zip(right.all_mut()) {
            left.plus(*right);
        }
    }
}

impl<const N: usize> Monoid for Histogram<N> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl<const N: usize> Group for Histogram<N> {
    fn negate(&mut self) {
        self.all_mut().for_each(Group::negate);
    }
}

impl<const N: usize> Commutative for Histogram<N> {}

impl<const N: usize> Codec for Histogram<N> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::HISTOGRAM, 1);
        put_shape(out, N as u64);
        self.counts.encode(out);
        self.above.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::HISTOGRAM, 1)?;
        input.shape("buckets", N as u64)?;
        let counts = Codec::decode(input)?;
        Ok(Self {
            counts,
            above: u64::decode(input)?,
        })
    }
}

through_bytes!([const N: usize] Histogram<N>);

/// [`histogram`]: into which bucket an item falls.
#[derive(Clone, Copy, Debug)]
pub struct IntoBuckets<T, const N: usize> {
    bounds: [T; N],
}

/// How many items fall up to each of these bounds, which rise, and above the last.
///
/// ```
/// use algebra::aggregate::{AggregatorExt, histogram};
///
/// let sizes = histogram([10, 100]).total(&[3, 10, 11, 5_000]);
/// assert_eq!((sizes.counts(), sizes.above()), (&[2, 1], 1));
/// ```
pub fn histogram<T: PartialOrd, const N: usize>(bounds: [T; N]) -> IntoBuckets<T, N> {
    IntoBuckets { bounds }
}

impl<T: PartialOrd, const N: usize> Aggregator<T> for IntoBuckets<T, N> {
    type State = Histogram<N>;
    type Output = Histogram<N>;

    fn prepare(&self, item: &T) -> Histogram<N> {
        let mut state = Histogram::default();
        self.add(&mut state, item);
        state
    }

    #[inline]
    fn add(&self, state: &mut Histogram<N>, item: &T) {
        // How many bounds it passes: in which order the bounds are does not show, and NaN passes all.
        let passes = |bound: &&T| item.partial_cmp(bound).is_none_or(Ordering::is_gt);
        let passed = self.bounds.iter().filter(passes).count();
        state.counts.get_mut(passed).unwrap_or(&mut state.above).plus(1);
    }

    #[inline]
    fn present(&self, state: Histogram<N>) -> Histogram<N> {
        state
    }
}
