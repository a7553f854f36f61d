//! MinHash: how similar two sets are.

mod bytes;
#[cfg(test)]
mod tests;

use std::fmt;

use super::Sketch;
use crate::codec::through_bytes;
use crate::{Commutative, Idempotent, Item, Monoid, Semigroup, hash128};

/// `HASHES` bins, each with the smallest 64-bit hash among the items that fall to it, or empty.
///
/// One hash puts an item into one bin (one permutation hashing), so that an update does not cost `HASHES` hashes as the
/// textbook's form does, and the similarity of two sets is the fraction of bins that agree, among those that are not
/// empty in both. `⊕` is the union, the smaller hash of each bin.
///
/// Laws, *exact* (`==`): associative, commutative, idempotent, `a.add(x) = a ⊕ of(x)`; equality and bytes are a function
/// of the set of items.
///
/// ```
/// use algebra::sketch::{MinHash, Sketch};
///
/// let (mut left, mut right) = (MinHash::<256>::new(), MinHash::<256>::new());
/// (0..1_000_u32).for_each(|item| left.add(&item));
/// (500..1_500_u32).for_each(|item| right.add(&item));
/// assert!((left.similarity(&right) - 1.0 / 3.0).abs() < 0.1);
/// ```
///
/// | | |
/// |---|---|
/// | answers | Jaccard similarity; keys of which similar sets share some |
/// | `HASHES` | 1 to 65 536 |
/// | standard error | at most √(J·(1 − J) / `HASHES`), so at most 0.5 / √`HASHES`; near 0 for sets much smaller than `HASHES` |
/// | update | O(1), one hash |
/// | merge | O(`HASHES`) |
/// | size | 8·`HASHES` bytes; as bytes 8 for each bin that is not empty |
///
/// Sources: Broder 1997; Li, Owen and Zhang, NIPS 2012 (estimator and variance).
#[derive(Clone)]
pub struct MinHash<const HASHES: usize> {
    /// None while there are no items, else one for each bin; [`EMPTY`] in an empty one.
    least: Vec<u64>,
}

/// Larger than every hash: one that is the same is taken for one less.
const EMPTY: u64 = u64::MAX;
/// Frozen: what is stored depends on it.
const SEED: u64 = 0x6d69_6e68_6173_6831;

/// How many bins an empty one asks: without a limit, `HASHES` bins of which one is held would cost `HASHES²` hashes.
/// Frozen: keys depend on it.
const BORROW_STEPS_MAX: u64 = 128;

impl<const HASHES: usize> MinHash<HASHES> {
    const CHECKED: () = assert!(HASHES >= 1 && HASHES <= 65_536, "HASHES must be within 1..=65536");

    /// No items.
    pub fn new() -> Self {
        let () = Self::CHECKED;
        Self { least: Vec::new() }
    }

    /// How similar the sets are, |A ∩ B| / |A ∪ B|, without bias; 1 when both are empty.
    pub fn similarity(&self, other: &Self) -> f64 {
        if self.is_zero() || other.is_zero() {
            return if self.is_zero() == other.is_zero() {
                1.0
            } else {
                0.0
            };
        }
        let (mut agree, mut held) = (0_u32, 0_u32);
        for (left, right) in self.least.iter().zip(&other.least) {
            let both_empty = *left == EMPTY && *right == EMPTY;
            held += u32::from(!both_empty);
            agree += u32::from(left == right && !both_empty);
        }
        f64::from(agree) / f64::from(held)
    }

    /// `bands` keys for finding similar sets without comparing all: sets of similarity J share at least one with
    /// probability about 1 − (1 − J^r)^`bands`, r = `HASHES` / `bands` hashes in each. None when there are no items,
    /// or no hash for each band.
    ///
    /// An empty bin takes the hash of another one, the same one in every sketch in which that is not empty
    /// (Shrivastava 2017, optimal densification). The keys are as lasting as the bytes. At most 128 hashes for each
    /// empty bin.
    pub fn band_keys(&self, bands: usize) -> Vec<u64> {
        if self.is_zero() || bands == 0 || bands > HASHES {
            return Vec::new();
        }
        let full: Vec<u64> = (0..HASHES).map(|bin| self.borrowed(bin)).collect();
        full.chunks_exact(HASHES / bands)
            .take(bands)
            .enumerate()
            .map(|(band, rows)| {
                let bytes: Vec<u8> = rows.iter().flat_map(|hash| hash.to_le_bytes()).collect();
                hash128(&bytes, band as u64) as u64
            })
            .collect()
    }

    /// The bin's hash, or that of the first bin not empty of a sequence that only the bin chooses.
    fn borrowed(&self, bin: usize) -> u64 {
        let mut at = bin;
        for step in 0..BORROW_STEPS_MAX {
            if self.least[at] != EMPTY {
                return self.least[at];
            }
            at = bin_of::<HASHES>((hash128(&step, bin as u64) >> 64) as u64);
        }
        // The sequence missed the few that are held: take the next in turn (Shrivastava and Li 2014).
        (0..HASHES)
            .map(|step| self.least[(bin + step) % HASHES])
            .find(|hash| *hash != EMPTY)
            .expect("a sketch with an item has a bin with a hash")
    }
}

/// Uniform over the bins (Lemire 2019): the upper half of the product.
#[inline]
fn bin_of<const HASHES: usize>(hash: u64) -> usize {
    ((u128::from(hash) * HASHES as u128) >> 64) as usize
}

impl<T: Item + ?Sized, const HASHES: usize> Sketch<T> for MinHash<HASHES> {
    #[inline]
    fn add(&mut self, item: &T) {
        if self.least.is_empty() {
            self.least = vec![EMPTY; HASHES];
        }
        let hash = hash128(item, SEED);
        let least = &mut self.least[bin_of::<HASHES>((hash >> 64) as u64)];
        *least = (*least).min((hash as u64).min(EMPTY - 1));
    }
}

/// The items of both.
impl<const HASHES: usize> Semigroup for MinHash<HASHES> {
    fn plus(&mut self, right: Self) {
        if self.least.is_empty() {
            *self = right;
            return;
        }
        for (left, right) in self.least.iter_mut().zip(right.least) {
            *left = (*left).min(right);
        }
    }
}

impl<const HASHES: usize> Monoid for MinHash<HASHES> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.least.is_empty()
    }
}

impl<const HASHES: usize> Commutative for MinHash<HASHES> {}
impl<const HASHES: usize> Idempotent for MinHash<HASHES> {}

impl<const HASHES: usize> Default for MinHash<HASHES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const HASHES: usize> PartialEq for MinHash<HASHES> {
    fn eq(&self, other: &Self) -> bool {
        self.least == other.least
    }
}

impl<const HASHES: usize> Eq for MinHash<HASHES> {}

impl<const HASHES: usize> fmt::Debug for MinHash<HASHES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MinHash")
            .field("hashes", &HASHES)
            .field("held", &self.least.iter().filter(|hash| **hash != EMPTY).count())
            .finish()
    }
}

through_bytes!([const HASHES: usize] MinHash<HASHES>);
