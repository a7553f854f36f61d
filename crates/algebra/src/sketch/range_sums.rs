//! range_sums.
