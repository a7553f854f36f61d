//! Sketches: answers within a stated error from a bounded number of bytes, that merge.

pub mod bloom;
pub mod count_min;
pub mod dd_sketch;
pub mod decaying_count_min;
pub mod exponential_histogram;
pub mod frequent_items;
pub mod heavy_hitters;
pub mod histogram;
pub mod hll;
pub mod hll_series;
pub mod kll;
pub mod min_hash;
mod murmur;
pub mod range_sums;
pub mod sample;
pub mod sketch_map;
mod std_devs;
pub mod t_digest;
pub mod theta;
pub mod top_k;

pub use bloom::{Bloom, BloomShape};
pub use count_min::CountMin;
pub use dd_sketch::DdSketch;
pub use decaying_count_min::DecayingCountMin;
pub use exponential_histogram::ExponentialHistogram;
pub use frequent_items::FrequentItems;
pub use heavy_hitters::HeavyHitters;
pub use histogram::Histogram;
pub use hll::HyperLogLog;
pub use hll_series::HyperLogLogSeries;
pub use kll::Kll;
pub use min_hash::MinHash;
pub use range_sums::RangeSums;
pub use sample::Sample;
pub use sketch_map::SketchMap;
pub use std_devs::StdDevs;
pub use t_digest::TDigest;
pub use theta::{Jaccard, Theta};
pub use top_k::{Largest, Smallest};

use crate::Monoid;

/// A monoid that takes items: `add(x)` is `⊕ (zero with x)`, only cheaper.
///
/// Law: [`laws::adds`](crate::laws::adds).
#[diagnostic::on_unimplemented(message = "`{Self}` does not take a `{T}`: it is not a `Sketch<{T}>`")]
pub trait Sketch<T: ?Sized>: Monoid {
    /// Takes an item.
    fn add(&mut self, item: &T);

    /// A sketch of one item.
    fn of(item: &T) -> Self {
        let mut sketch = Self::zero();
        sketch.add(item);
        sketch
    }
}

/// Law marker of a sketch of pairs: of a key's values it takes their sum, `of((k, v ⊕ w)) = of((k, v)) ⊕ of((k, w))`.
///
/// So a map may go into it whole ([`Condense`](crate::Condense)). Not so a sketch that counts the pairs too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not take sums for values: it is not `SumsByKey<{K}, {V}>`",
    note = "a sketch that counts pairs, or keeps the larger value, sees a sum and its parts differently"
)]
pub trait SumsByKey<K, V>: Sketch<(K, V)> {}
