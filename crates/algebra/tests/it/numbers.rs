//! From outside: numbers.
