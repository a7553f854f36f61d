//! What is said of many numbers in few: means, moments, correlation, decaying sums, windows, intervals, bounds.

/// Of a type with `#[serde(remote = "Self")]` and a `flaw`: serde's traits as derived, but what has a flaw is refused.
macro_rules! refuse_flaws {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let read = Self::deserialize(deserializer)?;
                match read.flaw() {
                    None => Ok(read),
                    Some(flaw) => Err(serde::de::Error::custom(flaw)),
                }
            }
        }
    };
}

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
