//! Bloom filter: which items were seen, perhaps.

mod bytes;
mod shape;
#[cfg(test)]
mod tests;

use std::fmt;

use twox_hash::XxHash64;

pub use self::shape::BloomShape;
use super::Sketch;
use crate::codec::through_bytes;
use crate::{Commutative, Idempotent, Item, Monoid, Semigroup};

/// A set of items that answers "surely not" or "perhaps": `BITS` bits, of which each item sets `HASHES`.
///
/// An item that was added is always found; another is found with a probability that grows with the number of items:
/// about (1 − e^(−`HASHES`·n/`BITS`))^`HASHES` after n of them. [`BloomShape::suggest`] gives the shape for a number of items and a
/// probability. `⊕` is the union, bit by bit.
///
/// Laws, *exact* (`==`): associative, commutative, idempotent, `a.add(x) = a ⊕ of(x)`; equality and bytes are a function
/// of the bits.
///
/// ```
/// use algebra::sketch::{Bloom, BloomShape, Sketch};
///
/// let shape = BloomShape::suggest(1_000, 0.01);
/// assert_eq!((shape.bits, shape.hashes), (9_600, 7));
/// let mut seen = Bloom::<9_600, 7>::new();
/// seen.add("ant");
/// assert!(seen.contains("ant") && !seen.contains("bee"));
/// ```
///
/// | | |
/// |---|---|
/// | answers | whether an item was seen; how many distinct ones |
/// | `BITS`, `HASHES` | a multiple of 64 to 2³⁶; 1 to 64 |
/// | error | none of what was seen; else [`false_positive_probability`](Self::false_positive_probability) |
/// | update, query | O(`HASHES`), two hashes |
/// | merge | O(`BITS` / 64) |
/// | size | `BITS` / 8 bytes; 24 when empty |
///
/// Sources: Bloom 1970; two hashes for many, Kirsch and Mitzenmacher 2006; bytes and hash are those of Apache
/// DataSketches with the seed 9001.
#[derive(Clone, PartialEq, Eq)]
pub struct Bloom<const BITS: u64, const HASHES: u16> {
    /// None when no bit is set, else `BITS` / 64.
    words: Vec<u64>,
}

/// The seed that takes part in the hash; filters of another do not merge.
const SEED: u64 = 9001;

impl<const BITS: u64, const HASHES: u16> Bloom<BITS, HASHES> {
    const CHECKED: () = {
        assert!(
            BITS > 0 && BITS.is_multiple_of(64) && BITS <= 1 << 36,
            "BITS must be a multiple of 64 within 64..=2^36"
        );
        assert!(HASHES > 0 && HASHES <= 64, "HASHES must be within 1..=64");
    };

    /// No items.
    pub fn new() -> Self {
        let () = Self::CHECKED;
        Self { words: Vec::new() }
    }

    /// Whether the item was added; true by chance with [`false_positive_probability`](Self::false_positive_probability).
    #[inline]
    pub fn contains(&self, item: &(impl Item + ?Sized)) -> bool {
        if self.words.is_empty() {
            return false;
        }
        places::<BITS, HASHES>(item).all(|(word, bit)| self.words[word] & bit != 0)
    }

    /// The probability that an item that was not added is found now: the fraction of bits that are set, to the power of
    /// `HASHES`.
    pub fn false_positive_probability(&self) -> f64 {
        (self.bits_set() as f64 / BITS as f64).powi(HASHES.into())
    }

    /// How many distinct items: −`BITS`/`HASHES` · ln(1 − fraction of bits set) (Swamidass and Baldi 2007); infinite
    /// once all bits are set.
    ///
    /// Standard error of n items, with t = n·`HASHES`/`BITS`: √(`BITS`·(eᵗ − t − 1)) / `HASHES` items.
    pub fn distinct_estimate(&self) -> f64 {
        let free = 1.0 - self.bits_set() as f64 / BITS as f64;
        -(BITS as f64) / f64::from(HASHES) * free.ln() + 0.0
    }

    /// How many bits are set. O(`BITS` / 64).
    pub fn bits_set(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The items that may be in both: at least those that are. Found by chance more often than in a filter of the
    /// intersection itself.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        Self::from_words(
            self.words
                .iter()
                .zip(&other.words)
                .map(|(left, right)| left & right)
                .collect(),
        )
    }

    /// Of no words, or `BITS` / 64.
    fn from_words(words: Vec<u64>) -> Self {
        if words.iter().all(|word| *word == 0) {
            return Self::new();
        }
        Self { words }
    }
}

/// The item's bits, each as its word and the bit in that. The second hash has the first one as its seed.
#[inline]
fn places<const BITS: u64, const HASHES: u16>(
    item: &(impl Item + ?Sized),
) -> impl Iterator<Item = (usize, u64)> {
    let (first, second) = item.with_bytes(|bytes| {
        let first = XxHash64::oneshot(SEED, bytes);
        (first, XxHash64::oneshot(first, bytes))
    });
    (1..=u64::from(HASHES)).map(move |turn| {
        let place = (first.wrapping_add(turn.wrapping_mul(second)) >> 1) % BITS;
        ((place / 64) as usize, 1 << (place % 64))
    })
}

impl<T: Item + ?Sized, const BITS: u64, const HASHES: u16> Sketch<T> for Bloom<BITS, HASHES> {
    #[inline]
    fn add(&mut self, item: &T) {
        if self.words.is_empty() {
            self.words = vec![0; (BITS / 64) as usize];
        }
        places::<BITS, HASHES>(item).for_each(|(word, bit)| self.words[word] |= bit);
    }
}

/// The items of both.
impl<const BITS: u64, const HASHES: u16> Semigroup for Bloom<BITS, HASHES> {
    fn plus(&mut self, right: Self) {
        if self.words.is_empty() {
            *self = right;
            return;
        }
        for (left, right) in self.words.iter_mut().zip(right.words) {
            *left |= right;
        }
    }
}

impl<const BITS: u64, const HASHES: u16> Monoid for Bloom<BITS, HASHES> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.words.is_empty()
    }
}

impl<const BITS: u64, const HASHES: u16> Commutative for Bloom<BITS, HASHES> {}
impl<const BITS: u64, const HASHES: u16> Idempotent for Bloom<BITS, HASHES> {}

impl<const BITS: u64, const HASHES: u16> Default for Bloom<BITS, HASHES> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BITS: u64, const HASHES: u16> fmt::Debug for Bloom<BITS, HASHES> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bloom")
            .field("bits", &BITS)
            .field("hashes", &HASHES)
            .field("bits_set", &self.bits_set())
            .finish()
    }
}

through_bytes!([const BITS: u64, const HASHES: u16] Bloom<BITS, HASHES>);
