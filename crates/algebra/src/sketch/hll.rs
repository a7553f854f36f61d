//! hll.
