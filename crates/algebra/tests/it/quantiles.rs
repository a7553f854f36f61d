//! From outside: quantiles.
