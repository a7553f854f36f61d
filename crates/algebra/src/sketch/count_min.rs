//! How often an item was seen: a table of counts that never shows too few.

mod codec;
mod rows;
#[cfg(test)]
mod tests;

use std::f64::consts::E;
use std::ops::RangeInclusive;

use self::rows::{ROW_SEEDS, murmur};
use super::Sketch;
use crate::codec::through_bytes;
use crate::{Commutative, Item, Monoid, Semigroup};

/// How many cells a table may have: what Apache DataSketches takes in any language.
const CELLS_MAX: u64 = (1 << 30) - 1;

/// A Count-Min table: `DEPTH` rows of `WIDTH` counts (`u64`), and their total. An item counts in one cell of each row.
///
/// The estimate of an item is the least of its cells: never below its count, and above it by more than `ε·total` with
/// a probability of at most `δ`, with `ε = e / WIDTH` and `δ = e^−DEPTH` (Cormode and Muthukrishnan 2005, section 3).
/// [`suggest`] gives the two for an error.
///
/// Laws, exact (`==`): `⊕` adds cell by cell; associative and commutative, and `new()` is the zero. Counts stop at
/// `u64::MAX`; there is no inverse, as a count below zero would break the bound.
///
/// The bytes ([`to_bytes`](crate::codec::Codec::to_bytes)) and the cells are those of `count_min_sketch<uint64_t>` of
/// Apache DataSketches in C++ with the seed 9001, on systems with GNU's standard library. Python counts in floats:
/// [`to_python`](Self::to_python), [`from_python`](Self::from_python). Java and Rust put items into other cells, in
/// bytes that look alike, so those must not be mixed with these. And what C++ and Python call the bounds of an item
/// (`estimate..=estimate + ε·total`) is for counts that may fall; here they are [`bounds`](Self::bounds).
///
/// ```
/// use algebra::sketch::{CountMin, Sketch};
///
/// let mut clicks = CountMin::<272, 5>::new();
/// clicks.add("ant");
/// clicks.add_count("bee", 7);
/// assert_eq!(clicks.estimate("bee"), 7);
/// assert_eq!(clicks.total(), 8);
/// ```
///
/// | | |
/// |---|---|
/// | answers | how often was this item seen; how alike are two streams |
/// | error | `0 ..= ε·total` with probability `1 − δ` |
/// | update, estimate | `DEPTH` hashes and cells |
/// | merge | `WIDTH·DEPTH` additions |
/// | size | `8·WIDTH·DEPTH` bytes; nothing while empty |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountMin<const WIDTH: u32, const DEPTH: u8> {
    /// The sum of all counts.
    total: u64,
    /// Row by row; none while the total is 0. Each row sums to the total (or both have stopped at the maximum).
    cells: Vec<u64>,
}

/// The width and the depth for estimates that are above the count by at most `relative_error` of the total, with a
/// probability of `confidence`.
///
/// `suggest(0.01, 0.99)` is `(272, 5)`. What is out of range is taken as the nearest that is not: an error of 0 gives
/// the widest table.
pub fn suggest(relative_error: f64, confidence: f64) -> (u32, u8) {
    // These casts stop at the ends of their types, and take NaN as 0.
    let depth = ((-(1.0 - confidence).ln()).ceil() as u8).max(1);
    let width = (E / relative_error).ceil() as u64;
    let width_max = CELLS_MAX / u64::from(depth);
    (width.clamp(3, width_max) as u32, depth)
}

impl<const WIDTH: u32, const DEPTH: u8> CountMin<WIDTH, DEPTH> {
    const CELLS: usize = {
        assert!(WIDTH >= 3, "a table of counts has at least three cells in a row");
        assert!(DEPTH >= 1, "a table of counts has at least one row");
        assert!(
            WIDTH as u64 * DEPTH as u64 <= CELLS_MAX,
            "a table of counts has fewer than 2^30 cells"
        );
        WIDTH as usize * DEPTH as usize
    };

    /// Nothing counted.
    pub fn new() -> Self {
        const { assert!(Self::CELLS > 0) };
        Self {
            total: 0,
            cells: Vec::new(),
        }
    }

    /// Counts an item `count` times.
    #[inline]
    pub fn add_count(&mut self, item: &(impl Item + ?Sized), count: u64) {
        if count == 0 {
            return;
        }
        if self.cells.is_empty() {
            self.cells = vec![0; Self::CELLS];
        }
        self.total = self.total.saturating_add(count);
        item.with_bytes(|bytes| {
            for (row, seed) in self.cells.chunks_exact_mut(WIDTH as usize).zip(&ROW_SEEDS) {
                let cell = &mut row[Self::place(bytes, *seed)];
                *cell = cell.saturating_add(count);
            }
        });
    }

    /// How often the item was counted, or more.
    #[inline]
    pub fn estimate(&self, item: &(impl Item + ?Sized)) -> u64 {
        item.with_bytes(|bytes| {
            let rows = self.cells.chunks_exact(WIDTH as usize).zip(&ROW_SEEDS);
            rows.map(|(row, seed)| row[Self::place(bytes, *seed)])
                .min()
                .unwrap_or(0)
        })
    }

    /// Where the count of the item is: not above the upper end, and not below the lower one with probability `1 − δ`.
    pub fn bounds(&self, item: &(impl Item + ?Sized)) -> RangeInclusive<u64> {
        let estimate = self.estimate(item);
        let error = (Self::relative_error() * self.total as f64) as u64;
        estimate.saturating_sub(error)..=estimate
    }

    /// The sum of all counts, exact up to `u64::MAX`.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// `ε = e / WIDTH`: what part of the total an estimate is too large by, at most, with probability `1 − δ`.
    pub fn relative_error() -> f64 {
        E / f64::from(WIDTH)
    }

    /// `1 − δ = 1 − e^−DEPTH`: how probable it is that the error of an estimate is within its bound.
    pub fn confidence() -> f64 {
        1.0 - (-f64::from(DEPTH)).exp()
    }

    /// The sum over all items of the product of its counts in both, or more: above it by more than
    /// `ε·total·total of the other` with a probability of at most `δ` (Cormode and Muthukrishnan 2005, section 4.2).
    ///
    /// With itself it is the second moment, `Σ count²`: from `total` when all items differ to `total²` when all are
    /// one.
    pub fn inner_product(&self, other: &Self) -> u128 {
        let rows = self
            .cells
            .chunks_exact(WIDTH as usize)
            .zip(other.cells.chunks_exact(WIDTH as usize));
        rows.map(|(left, right)| {
            let products = left
                .iter()
                .zip(right)
                .map(|(left, right)| u128::from(*left) * u128::from(*right));
            products.fold(0, u128::saturating_add)
        })
        .min()
        .unwrap_or(0)
    }

    #[inline]
    fn place(bytes: &[u8], seed: u64) -> usize {
        (murmur(bytes, seed) % u64::from(WIDTH)) as usize
    }
}

impl<const WIDTH: u32, const DEPTH: u8> Default for CountMin<WIDTH, DEPTH> {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the item once.
impl<T: Item + ?Sized, const WIDTH: u32, const DEPTH: u8> Sketch<T> for CountMin<WIDTH, DEPTH> {
    #[inline]
    fn add(&mut self, item: &T) {
        self.add_count(item, 1);
    }
}

/// Cell by cell; stops at the maximum.
impl<const WIDTH: u32, const DEPTH: u8> Semigroup for CountMin<WIDTH, DEPTH> {
    fn plus(&mut self, right: Self) {
        if self.cells.is_empty() {
            *self = right;
            return;
        }
        let cells = self.cells.iter_mut().zip(&right.cells);
        if let Some(total) = self.total.checked_add(right.total) {
            // No cell is above the total, so none can pass the maximum; and this is several times faster.
            self.total = total;
            cells.for_each(|(left, right)| *left = left.wrapping_add(*right));
        } else {
            self.total = u64::MAX;
            cells.for_each(|(left, right)| *left = left.saturating_add(*right));
        }
    }
}

impl<const WIDTH: u32, const DEPTH: u8> Monoid for CountMin<WIDTH, DEPTH> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.total == 0
    }
}

impl<const WIDTH: u32, const DEPTH: u8> Commutative for CountMin<WIDTH, DEPTH> {}

through_bytes!([const WIDTH: u32, const DEPTH: u8] CountMin<WIDTH, DEPTH>);
