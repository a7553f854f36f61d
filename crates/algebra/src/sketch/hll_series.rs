//! hll_series.
