//! min_hash.
