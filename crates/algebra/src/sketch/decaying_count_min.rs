//! decaying_count_min.
