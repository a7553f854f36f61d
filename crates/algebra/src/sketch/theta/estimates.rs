//! What a theta sketch answers.

use std::ops::RangeInclusive;

use datasketches::theta::{CompactThetaSketch, ThetaJaccardSimilarity};

use super::{THETA_MAX, Theta};
use crate::codec::Codec;
use crate::sketch::StdDevs;

/// How similar two sets are: |A ∩ B| / |A ∪ B|, within 0 and 1, and between which numbers it is with 95.4 %.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jaccard {
    /// The bound from below.
    pub low: f64,
    /// The estimate.
    pub estimate: f64,
    /// The bound from above.
    pub high: f64,
}

impl<const LG_K: u8> Theta<LG_K> {
    /// How many distinct items: the hashes over the fraction of all hashes that is below θ. Exact while
    /// [`is_exact`](Self::is_exact). O(2^`LG_K`).
    pub fn estimate(&self) -> f64 {
        let trimmed = self.trimmed();
        trimmed.hashes.len() as f64 / (trimmed.theta as f64 / THETA_MAX as f64)
    }

    /// Whether every item is in the sample, so that the answers are exact (but for collisions of 63 bits).
    pub fn is_exact(&self) -> bool {
        self.trimmed().theta == THETA_MAX
    }

    /// Between which numbers the truth is, with the probability that `std_devs` names: binomial bounds, which hold for
    /// small samples too.
    pub fn bounds(&self, std_devs: StdDevs) -> RangeInclusive<f64> {
        let (library, std_devs) = (self.library(), std_devs.of_library());
        library.lower_bound(std_devs)..=library.upper_bound(std_devs)
    }

    /// How similar the sets are; 1 when both are empty.
    pub fn jaccard(&self, other: &Self) -> Jaccard {
        let similarity = ThetaJaccardSimilarity::default()
            .compute(&self.library(), &other.library())
            .expect("both have the seed of all");
        Jaccard {
            low: similarity.lower_bound(),
            estimate: similarity.estimate(),
            high: similarity.upper_bound(),
        }
    }

    fn library(&self) -> CompactThetaSketch {
        CompactThetaSketch::deserialize(&self.to_bytes()).expect("the library reads what has its own form")
    }
}
