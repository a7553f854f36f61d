//! Numbers whose sum is what a user means by it: compensated and exact floats, checked and saturating integers, big
//! ones, and the semirings and transformations of numbers.

mod adjoined_unit;
mod affine;
#[cfg(feature = "num-bigint")]
mod big;
mod exact_sum;
pub(crate) mod float;
mod min_plus;
mod narrow;
mod probability;
mod products;
mod sum;
mod whole;

pub use adjoined_unit::AdjoinedUnit;
pub use affine::Affine;
pub use exact_sum::ExactSum;
pub use min_plus::{Cost, MinPlus};
pub use narrow::{Checked, Narrow, Overflow, Saturating};
pub use probability::Probability;
pub use sum::Sum;
