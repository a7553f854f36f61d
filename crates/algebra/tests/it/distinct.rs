//! From outside: distinct.
