//! The instances, by kind.

mod average;
mod choices;
mod float;
mod integers;
mod maps;
mod options;
mod sequences;
mod sum;
mod tuples;

pub use average::Average;
pub use choices::{First, Last, Max, Min};
pub use sum::Sum;
