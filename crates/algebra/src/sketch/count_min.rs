//! count_min.
