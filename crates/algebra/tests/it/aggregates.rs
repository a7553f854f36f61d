//! From outside: aggregates.
