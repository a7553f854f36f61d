//! What is said of many numbers in few: means, moments, correlation, decaying sums, windows, intervals, bounds.

mod approximate;
mod approximate_bool;
mod average;
mod correlation;
mod decay;
mod interval;
mod moments;
mod sessions;

pub use approximate::Approximate;
pub use approximate_bool::{ApproximateAll, ApproximateAny, ApproximateBool};
pub use average::Average;
pub use correlation::{Correlation, Line};
pub use decay::*;
pub use interval::Interval;
pub use moments::Moments;
pub use sessions::{Session, Sessions};
