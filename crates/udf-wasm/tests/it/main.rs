//! Guests that keep the contract, and guests that do all they can against it.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod columns;
mod contract;
mod guests;
mod limits;
mod loading;
mod wasi;
