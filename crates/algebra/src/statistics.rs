//! What is said of many numbers in few: means, moments, correlation, decaying sums, windows, intervals, bounds.

mod average;
mod correlation;
mod decay;
mod moments;

pub use average::Average;
pub use correlation::{Correlation, Line};
pub use decay::*;
pub use moments::Moments;
