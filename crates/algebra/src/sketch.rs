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
pub mod range_sums;
pub mod sample;
pub mod sketch_map;
pub mod t_digest;
pub mod theta;
pub mod top_k;
