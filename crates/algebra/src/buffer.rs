//! Buffers that sum before they pass on: what is summed in comes out, in fewer pieces.
//!
//! ```
//! use algebra::buffer::{Bound, Buffer, SummingCache};
//!
//! let mut cache = SummingCache::new(Bound::keys(2));
//! let mut out = Vec::new();
//! for word in ["ant", "bee", "ant", "cat"] {
//!     cache.add(word, 1_u64, &mut |key, sum| out.push((key, sum)));
//! }
//! assert_eq!(out, [("bee", 1)]);
//! cache.flush(&mut |key, sum| out.push((key, sum)));
//! assert_eq!(out, [("bee", 1), ("ant", 2), ("cat", 1)]);
//! ```
//!
//! Not here: time and threads. Whoever owns a buffer says when it is flushed.

mod adaptive;
mod bound;
mod ext;
mod frequency;
mod heavy_hitters;
pub mod laws;
mod queue;
mod recent;
mod summing_cache;
mod unbuffered;

pub use adaptive::{AdaptiveCache, Observed, next_capacity};
pub use bound::{Bound, Unweighed, Weigh};
pub use ext::{BufferExt, Through};
pub use heavy_hitters::HeavyHitterCache;
pub use queue::SummingQueue;
pub use summing_cache::SummingCache;
pub use unbuffered::Unbuffered;

/// Sums by key, of which at most so many are held: what no longer fits goes out as `(key, sum)`.
///
/// Laws ([`laws::passes_sums`]): for each key, the sum of what came out, in order, is the sum of what was added, in
/// order, whether or not `⊕` is commutative; after [`flush`](Self::flush) nothing is held; never is more held than the
/// bound allows. What comes out when depends on what was added, and on nothing else: no clock, no chance.
///
/// | buffer | holds | passes on | good for |
/// |---|---|---|---|
/// | [`Unbuffered`] | nothing | each value | keys that never come twice |
/// | [`SummingQueue`] | the keys since it was last full | all, when another key comes | batches |
/// | [`SummingCache`] | the keys used last | the one not used for longest | keys that come in bursts |
/// | [`HeavyHitterCache`] | keys seen often | every other key at once | few hot keys among very many |
/// | [`AdaptiveCache`] | as `SummingCache`, but as many as pay | the one not used for longest | what is not known beforehand |
pub trait Buffer<K, V> {
    /// Sums `value` in; what no longer fits goes to `out`.
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V));

    /// All that is held goes to `out`.
    fn flush(&mut self, out: &mut dyn FnMut(K, V));

    /// How many keys are held.
    fn len(&self) -> usize;

    /// Whether nothing is held.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The hasher of the tables. Its seed differs by process, and does not show: their order is that of insertion.
type TableHasher = foldhash::fast::RandomState;

#[cfg(test)]
mod tests;
