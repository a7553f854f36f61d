//! What is said of many numbers in few: means, moments, correlation, decaying sums, windows, intervals, bounds.

mod average;
mod decay;
mod sessions;

pub use average::Average;
pub use decay::*;
pub use sessions::{Session, Sessions};
