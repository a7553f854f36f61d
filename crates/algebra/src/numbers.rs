//! Numbers whose sum is what a user means by it: compensated and exact floats, checked and saturating integers, big
//! ones, and the semirings and transformations of numbers.

pub(crate) mod float;
mod sum;

pub use sum::Sum;
