//! From outside: counts.
