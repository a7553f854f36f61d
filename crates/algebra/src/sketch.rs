//! Sketches: answers within a stated error from a bounded number of bytes, that merge.

pub mod bloom;
pub mod count_min;
pub mod dd_sketch;
pub mod decaying_count_min;
pub mod exponential_histogram;
pub mod frequent_items;
pub mod heavy_hitters;
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
pub use hll::HyperLogLog;
pub use hll_series::HyperLogLogSeries;
pub use min_hash::MinHash;
pub use std_devs::StdDevs;
pub use theta::{Jaccard, Theta};

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
