//! Theta sketch: how many distinct items, with set operations.

mod bytes;
mod estimates;
mod hashes;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::estimates::Jaccard;
use self::hashes::Hashes;
use super::Sketch;
use super::murmur::{SEED, murmur128};
use crate::codec::through_bytes;
use crate::{Commutative, Idempotent, Item, Monoid, Semigroup};

/// A sample of distinct items: a threshold θ and the 63-bit hashes below it that were seen, at most k = 2^`LG_K` of
/// them; θ starts at 2⁶³ − 1, and the sample is all there is until more than k hashes are known.
///
/// `⊕` is the union: θ is the smallest of both sides' and, when more than k hashes are below that, the (k+1)-th smallest
/// hash; what is not below θ goes. [`intersect`](Self::intersect) and [`difference`](Self::difference) give sketches
/// again, of the same θ but a smaller sample, so their relative error is larger.
///
/// Laws, *exact* (`==`): associative, commutative, idempotent, `a.add(x) = a ⊕ of(x)`; equality and bytes are a function
/// of θ and the hashes. For with θᵢ and Sᵢ the parts of the summands, any grouping ends at
/// θ = min(θ₁, …, θₙ, q), q the (k+1)-th smallest of S₁ ∪ … ∪ Sₙ, and at the hashes below it. By induction: a partial
/// sum has dropped only hashes at or above its θ′. If q < θ′, the k+1 smallest hashes are all below θ′, none of them was
/// dropped, and the next merge finds q. If q ≥ θ′, then q adds nothing to the minimum, and neither does what was
/// dropped.
///
/// ```
/// use algebra::sketch::{Sketch, Theta};
///
/// let (mut monday, mut tuesday) = (Theta::<12>::new(), Theta::<12>::new());
/// ["ant", "bee"].iter().for_each(|item| monday.add(item));
/// ["bee", "cat"].iter().for_each(|item| tuesday.add(item));
/// assert_eq!(monday.intersect(&tuesday).estimate(), 1.0);
/// assert_eq!(monday.difference(&tuesday).estimate(), 1.0);
/// assert_eq!(monday.jaccard(&tuesday).estimate, 1.0 / 3.0);
/// ```
///
/// | | |
/// |---|---|
/// | answers | distinct items of unions, intersections, differences; Jaccard similarity |
/// | `LG_K` | 5 to 26 |
/// | standard error | 1 / √(2^`LG_K` − 1) of the estimate (12: 1.6 %); of an intersection or difference 1 / √(hashes left); none up to k items |
/// | update | O(1), one hash; amortised, as now and then θ is lowered |
/// | merge | O(2^`LG_K`) |
/// | size | to 8·2^`LG_K` bytes as bytes, twice that in memory |
///
/// Sources: Dasgupta, Lang, Rhodes and Thaler, ICDT 2016; bytes, hash and bounds are those of Apache DataSketches.
#[derive(Clone)]
pub struct Theta<const LG_K: u8 = 12> {
    theta: u64,
    /// Below `theta`, at most [`HASHES_MAX`](Self::HASHES_MAX): they are trimmed to k when more come, and in what
    /// compares, encodes or estimates.
    hashes: Hashes,
}

/// All hashes are below it.
const THETA_MAX: u64 = i64::MAX as u64;

impl<const LG_K: u8> Theta<LG_K> {
    const K: usize = {
        assert!(LG_K >= 5 && LG_K <= 26, "LG_K must be within 5..=26");
        1 << LG_K
    };
    /// At seven eighths of a table of 2k places the hashes are trimmed to k.
    const HASHES_MAX: usize = Self::K / 4 * 7;

    /// No items.
    pub fn new() -> Self {
        let _ = Self::K;
        Self::with_theta(THETA_MAX)
    }

    fn with_theta(theta: u64) -> Self {
        Self {
            theta,
            hashes: Hashes::default(),
        }
    }

    /// How many bytes of memory it takes.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.hashes.memory_bytes()
    }

    /// The items that both have: θ the smaller one, the hashes in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let (smaller, larger) = if self.hashes.len() <= other.hashes.len() {
            (self, other)
        } else {
            (other, self)
        };
        if other.is_zero() {
            return Self::new();
        }
        self.select(
            other,
            smaller.hashes.iter().filter(|hash| larger.hashes.contains(*hash)),
        )
    }

    /// The items that this one has and `other` has not: θ the smaller one, the hashes only here.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        self.select(
            other,
            self.hashes.iter().filter(|hash| !other.hashes.contains(*hash)),
        )
    }

    /// `chosen` from among both, at the smaller θ of the two as they are when trimmed.
    fn select(&self, other: &Self, chosen: impl Iterator<Item = u64>) -> Self {
        if self.is_zero() {
            // Nothing at all, so nothing is known exactly, whatever the other's θ.
            return Self::new();
        }
        let mut selected = Self::with_theta(self.trimmed().theta.min(other.trimmed().theta));
        chosen.for_each(|hash| selected.add_hash(hash));
        selected
    }

    #[inline]
    fn add_hash(&mut self, hash: u64) {
        if hash < self.theta && self.hashes.insert(hash, Self::K * 2) && self.hashes.len() > Self::HASHES_MAX
        {
            self.trim();
        }
    }

    /// To at most k hashes; changes nothing that can be seen.
    #[cold]
    fn trim(&mut self) {
        let trimmed = self.trimmed();
        self.theta = trimmed.theta;
        self.hashes = Hashes::default();
        self.hashes.reserve(Self::K * 2, Self::K * 2);
        for hash in trimmed.hashes {
            self.hashes.insert(hash, Self::K * 2);
        }
    }

    /// What this is, whatever its history.
    fn trimmed(&self) -> Trimmed {
        let mut hashes: Vec<u64> = self.hashes.iter().collect();
        let mut theta = self.theta;
        if hashes.len() > Self::K {
            theta = *hashes.select_nth_unstable(Self::K).1;
            hashes.truncate(Self::K);
        }
        Trimmed { theta, hashes }
    }
}

/// θ, and at most k hashes below it, in no order.
struct Trimmed {
    theta: u64,
    hashes: Vec<u64>,
}

impl Trimmed {
    fn sorted(mut self) -> Self {
        self.hashes.sort_unstable();
        self
    }
}

impl<T: Item + ?Sized, const LG_K: u8> Sketch<T> for Theta<LG_K> {
    #[inline]
    fn add(&mut self, item: &T) {
        let hash = item.with_bytes(|bytes| murmur128(bytes, SEED).0 >> 1);
        // 0 is a free place in the table, here and in the bytes.
        if hash != 0 {
            self.add_hash(hash);
        }
    }
}

/// The items of both.
impl<const LG_K: u8> Semigroup for Theta<LG_K> {
    fn plus(&mut self, mut right: Self) {
        if self.hashes.len() < right.hashes.len() {
            std::mem::swap(self, &mut right);
        }
        if right.theta < self.theta {
            self.theta = right.theta;
            self.hashes.keep_below(right.theta);
        }
        self.hashes
            .reserve(self.hashes.len() + right.hashes.len(), Self::K * 2);
        right.hashes.iter().for_each(|hash| self.add_hash(hash));
    }
}

impl<const LG_K: u8> Monoid for Theta<LG_K> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.theta == THETA_MAX && self.hashes.len() == 0
    }
}

impl<const LG_K: u8> Commutative for Theta<LG_K> {}
impl<const LG_K: u8> Idempotent for Theta<LG_K> {}

impl<const LG_K: u8> Default for Theta<LG_K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LG_K: u8> PartialEq for Theta<LG_K> {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.trimmed(), other.trimmed());
        left.theta == right.theta
            && left.hashes.len() == right.hashes.len()
            && left.sorted().hashes == right.sorted().hashes
    }
}

impl<const LG_K: u8> Eq for Theta<LG_K> {}

impl<const LG_K: u8> fmt::Debug for Theta<LG_K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trimmed = self.trimmed();
        f.debug_struct("Theta")
            .field("lg_k", &LG_K)
            .field("theta", &trimmed.theta)
            .field("hashes", &trimmed.hashes.len())
            .field("estimate", &self.estimate())
            .finish()
    }
}

through_bytes!([const LG_K: u8] Theta<LG_K>);
