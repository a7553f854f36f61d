//! What is said of many numbers in few: means, moments, correlation, decaying sums, windows, intervals, bounds.

mod average;
mod decay;

pub use average::Average;
pub use decay::*;
