//! Sums and quantiles over ranges of a key: a dyadic tree cut at one height.

mod key;

use std::collections::BTreeMap;
use std::ops::RangeBounds;

pub use key::RangeKey;

use super::Sketch;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape, through_bytes};
use crate::{Commutative, Monoid, Semigroup};

/// By key (an integer or a float), how many values and their sum, for cells of `2^level` neighbouring keys: bounds on
/// the sum over any range, and on any quantile of the keys, that always hold.
///
/// Keys are mapped to `u64` in their order. While there are at most `CELLS_MAX` distinct keys, `level` is 0, each has a
/// cell of its own and every answer is exact. Beyond, `level` is the least at which no more than `CELLS_MAX` cells are
/// not empty. Only the (at most two) cells that a range cuts are in doubt; a quantile is in doubt by the width of its
/// cell: `2^level` for integers, and for (normal) floats, whose neighbours lie as dense as their magnitude has it, the
/// share `2^(level − 52)` of the key. For integers of many magnitudes that share is the better measure: take them as
/// `f64`.
///
/// An integer key and the same number as a float give the same answers while `level` is 0.
///
/// Laws hold *exactly* (`==`, and equal bytes) where those of `V` do: the state is a function of the multiset. For the
/// non-empty cells at a level only become fewer as the level rises and only become more as keys are added; so the level
/// of the whole is at least that of each part, and what a part has summed is a sum of whole cells at that level.
/// Pruning by weight, as q-digests do, bounds ranks too, but what is kept then depends on the order of merges.
///
/// NaN is left out and counted ([`not_numbers`](Self::not_numbers)); `-0.0` is the key `0.0`. Counts stop at their
/// maximum. Source: the dyadic tree of Shrivastava, Buragohain, Agrawal and Suri 2004 (q-digest), with a cut by height.
///
/// ```
/// use algebra::sketch::{RangeSums, Sketch};
///
/// let mut bytes_by_second = RangeSums::<i64, u64>::new();
/// for second in 0..60_i64 {
///     bytes_by_second.add(&(second, 100_u64));
/// }
/// assert_eq!(bytes_by_second.sum_in(10..20), (1000, 1000));
/// assert_eq!(bytes_by_second.quantile(0.5), Some((29, 29)));
/// ```
///
/// | | |
/// |---|---|
/// | answers | `sum_in`, `count_in`, `quantile`, `min`, `max`, `count` |
/// | value | an ordered-map insertion; a rise of the level, at most 63 times, a pass over all cells |
/// | merge | linear in the cells, times the logarithm |
/// | size | `CELLS_MAX · (16 bytes + V)` |
/// | error | what the two cut cells hold; keys within a cell's width |
///
/// | bytes | what |
/// |---|---|
/// | 2 | kind `0x64`, version 1 |
/// | 8, 8 | shape: `CELLS_MAX`; the key: 0 `u64`, 1 `i64`, 2 `f64` |
/// | 1 | level |
/// | 8 | how many NaN |
/// | 1 or 17 | 0, or 1 and the least and the greatest key, as `u64` |
/// | 4, … | the number of cells, and of each, rising: `key >> level`, count, sum |
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSums<X: RangeKey, V = u64, const CELLS_MAX: usize = 1024> {
    level: u8,
    /// By `key >> level`.
    cells: BTreeMap<u64, (u64, V)>,
    not_numbers: u64,
    /// The least and the greatest key.
    extremes: Option<(u64, u64)>,
    key: std::marker::PhantomData<fn() -> X>,
}

impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> RangeSums<X, V, CELLS_MAX> {
    /// Of no values.
    pub fn new() -> Self {
        const { assert!(CELLS_MAX >= 2, "RangeSums have at least 2 cells") }
        Self {
            level: 0,
            cells: BTreeMap::new(),
            not_numbers: 0,
            extremes: None,
            key: std::marker::PhantomData,
        }
    }

    /// How many values were taken, without those at NaN; stops at its maximum.
    pub fn count(&self) -> u64 {
        u64::try_from(self.total()).unwrap_or(u64::MAX)
    }

    /// How many values at NaN were left out.
    pub fn not_numbers(&self) -> u64 {
        self.not_numbers
    }

    /// The least key, exactly; `None` when there is none.
    pub fn min(&self) -> Option<X> {
        self.extremes.map(|(min, _)| X::from_ordered(min))
    }

    /// The greatest key, exactly; `None` when there is none.
    pub fn max(&self) -> Option<X> {
        self.extremes.map(|(_, max)| X::from_ordered(max))
    }

    /// The logarithm of how many neighbouring keys share a cell; 0 while all is exact.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Coarser, to at most this many cells (at least 2): what `CELLS_MAX` does, for one answer or to send less.
    ///
    /// The sums of coarsened values are coarse too.
    pub fn compress(&mut self, cells_max: usize) {
        let cells_max = cells_max.max(2);
        if self.cells.len() <= cells_max {
            return;
        }
        // By the step at which neighbours become one cell: how many do.
        let mut joined = [0; 65];
        for (left, right) in self.cells.keys().zip(self.cells.keys().skip(1)) {
            joined[64 - (left ^ right).leading_zeros() as usize] += 1;
        }
        let mut cells = self.cells.len();
        let mut step = 0;
        while cells > cells_max {
            step += 1;
            cells -= joined[usize::from(step)];
        }
        self.coarsen(self.level + step);
    }

    /// The sum over the cells that lie wholly in the range, and over those that touch it: where sums only grow, the
    /// true sum is between. Of both there is nothing in a range with a NaN.
    pub fn sum_in(&self, range: impl RangeBounds<X>) -> (V, V) {
        let (mut inside, mut cut) = (V::zero(), V::zero());
        for (whole, (_, value)) in self.touching(range) {
            if whole { &mut inside } else { &mut cut }.plus(value.clone());
        }
        cut.plus(inside.clone());
        (inside, cut)
    }

    /// The least and the most values there can be in the range.
    pub fn count_in(&self, range: impl RangeBounds<X>) -> (u64, u64) {
        let (mut inside, mut touching) = (0_u64, 0_u64);
        for (whole, (count, _)) in self.touching(range) {
            inside = inside.saturating_add(if whole { *count } else { 0 });
            touching = touching.saturating_add(*count);
        }
        (inside, touching)
    }

    /// The keys between which the `⌈q·count⌉`-th smallest is, both included; `None` when there is none or `q` is not in
    /// `0..=1`.
    pub fn quantile(&self, q: f64) -> Option<(X, X)> {
        let (min, max) = self.extremes?;
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let total = self.total();
        let place = ((q * total as f64).ceil() as u128).clamp(1, total);
        if place == 1 {
            return Some((X::from_ordered(min), X::from_ordered(min)));
        }
        if place == total {
            return Some((X::from_ordered(max), X::from_ordered(max)));
        }
        let mut below = 0_u128;
        let (cell, _) = self.cells.iter().find(|(_, (count, _))| {
            below += u128::from(*count);
            below >= place
        })?;
        let (lower, upper) = self.ends(*cell);
        Some((X::from_ordered(lower), X::from_ordered(upper)))
    }

    fn total(&self) -> u128 {
        self.cells.values().map(|(count, _)| u128::from(*count)).sum()
    }

    /// The first and the last key that the cell can hold.
    fn ends(&self, cell: u64) -> (u64, u64) {
        let first = cell << self.level;
        let (min, max) = self.extremes.unwrap_or((0, u64::MAX));
        (first.max(min), (first | ((1 << self.level) - 1)).min(max))
    }

    /// The cells that touch the range, and whether they lie wholly in it.
    fn touching(&self, range: impl RangeBounds<X>) -> impl Iterator<Item = (bool, &(u64, V))> {
        let (first, last) = key::closed(&range).unwrap_or((1, 0));
        let cells = (first <= last).then(|| self.cells.range(first >> self.level..=last >> self.level));
        cells.into_iter().flatten().filter_map(move |(cell, held)| {
            let (lower, upper) = self.ends(*cell);
            (lower <= last && first <= upper).then_some((first <= lower && upper <= last, held))
        })
    }

    fn coarsen(&mut self, level: u8) {
        let step = level - self.level;
        if step == 0 {
            return;
        }
        self.level = level;
        for (cell, (count, value)) in std::mem::take(&mut self.cells) {
            self.put(cell >> step, count, value);
        }
    }

    fn put(&mut self, cell: u64, count: u64, value: V) {
        let held = self.cells.entry(cell).or_insert_with(|| (0, V::zero()));
        held.0 = held.0.saturating_add(count);
        held.1.plus(value);
    }

    fn extend(&mut self, least: u64, greatest: u64) {
        let (min, max) = self.extremes.get_or_insert((least, greatest));
        (*min, *max) = (least.min(*min), greatest.max(*max));
    }
}

impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> Default
    for RangeSums<X, V, CELLS_MAX>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Cells added, at a level where they are not too many.
impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> Semigroup
    for RangeSums<X, V, CELLS_MAX>
{
    fn plus(&mut self, mut right: Self) {
        let level = self.level.max(right.level);
        self.coarsen(level);
        right.coarsen(level);
        for (cell, (count, value)) in right.cells {
            self.put(cell, count, value);
        }
        self.not_numbers = self.not_numbers.saturating_add(right.not_numbers);
        if let Some((min, max)) = right.extremes {
            self.extend(min, max);
        }
        self.compress(CELLS_MAX);
    }
}

impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> Monoid
    for RangeSums<X, V, CELLS_MAX>
{
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.cells.is_empty() && self.not_numbers == 0
    }
}

impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> Commutative
    for RangeSums<X, V, CELLS_MAX>
{
}

/// A key and what is summed there.
impl<X: RangeKey, V: Monoid + Commutative + Clone, const CELLS_MAX: usize> Sketch<(X, V)>
    for RangeSums<X, V, CELLS_MAX>
{
    fn add(&mut self, (key, value): &(X, V)) {
        let Some(key) = key.to_ordered() else {
            self.not_numbers = self.not_numbers.saturating_add(1);
            return;
        };
        self.put(key >> self.level, 1, value.clone());
        self.extend(key, key);
        self.compress(CELLS_MAX);
    }
}

impl<X: RangeKey, V: Monoid + Commutative + Clone + Codec, const CELLS_MAX: usize> Codec
    for RangeSums<X, V, CELLS_MAX>
{
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::RANGE_SUMS, 1);
        put_shape(out, CELLS_MAX as u64);
        put_shape(out, X::NUMBER);
        self.level.encode(out);
        self.not_numbers.encode(out);
        self.extremes.encode(out);
        self.cells.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::RANGE_SUMS, 1)?;
        input.shape("CELLS_MAX", CELLS_MAX as u64)?;
        input.shape("key", X::NUMBER)?;
        let mut sums = Self::new();
        sums.level = u8::decode(input)?;
        sums.not_numbers = u64::decode(input)?;
        sums.extremes = Option::decode(input)?;
        sums.cells = BTreeMap::decode(input)?;
        match sums.flaw() {
            None => Ok(sums),
            Some(flaw) => Err(input.corrupt(flaw)),
        }
    }
}

impl<X: RangeKey, V, const CELLS_MAX: usize> RangeSums<X, V, CELLS_MAX> {
    /// Why no values can have made this.
    fn flaw(&self) -> Option<&'static str> {
        let cells = [self.cells.first_key_value(), self.cells.last_key_value()];
        let [Some((first, _)), Some((last, _))] = cells else {
            return (self.extremes.is_some() || self.level > 0).then_some("there are no cells");
        };
        let Some((min, max)) = self.extremes else {
            return Some("there is no least and no greatest key");
        };
        if self.level > 63 || self.cells.len() > CELLS_MAX {
            Some("there are more levels or cells than there can be")
        } else if min > max || min >> self.level != *first || max >> self.level != *last {
            Some("the least and the greatest key are not in the outermost cells")
        } else if !X::is_key(min) || !X::is_key(max) {
            Some("the least or the greatest key is no number")
        } else if self.cells.values().any(|(count, _)| *count == 0) {
            Some("a cell is empty")
        } else {
            None
        }
    }
}

through_bytes!(
    [X: RangeKey, V: Monoid + Commutative + Clone + Codec, const CELLS_MAX: usize] RangeSums<X, V, CELLS_MAX>
);

#[cfg(test)]
mod tests;
