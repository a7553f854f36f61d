//! From outside: decay.
