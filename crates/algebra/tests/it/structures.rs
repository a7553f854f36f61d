//! From outside: structures.
