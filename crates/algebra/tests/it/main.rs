//! The crate from outside: golden bytes, other languages' bytes, statistics with a seed.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod aggregates;
mod counts;
mod decay;
mod distinct;
mod kit;
mod numbers;
mod quantiles;
mod structures;
