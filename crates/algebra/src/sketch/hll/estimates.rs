//! What a HyperLogLog answers.

use std::ops::RangeInclusive;

use datasketches::hll::HllSketch;

use super::{HyperLogLog, State};
use crate::Semigroup;
use crate::codec::Codec;
use crate::sketch::StdDevs;

/// How many sketches an intersection is estimated from; of n there are 2ⁿ − 1 unions.
const INTERSECTED_MAX: usize = 8;

impl<const LG_K: u8> HyperLogLog<LG_K> {
    /// How many distinct items; a function of the registers alone. O(2^`LG_K`), some microseconds at 12.
    ///
    /// Of coupons it is their number, corrected for collisions of 32 bits. Of registers it is the composite estimator
    /// of Apache DataSketches: linear counting while many registers are free, above it the harmonic mean with its bias
    /// taken out.
    pub fn estimate(&self) -> f64 {
        self.library().composite_estimate()
    }

    /// Between which numbers the truth is, with the probability that `std_devs` names.
    ///
    /// Up to `LG_K` 12 the widths are measured quantiles of the error, above it 1.04 / √2^`LG_K` for each deviation.
    pub fn bounds(&self, std_devs: StdDevs) -> RangeInclusive<f64> {
        let (library, std_devs) = (self.library(), std_devs.of_library());
        library.lower_bound(std_devs)..=library.upper_bound(std_devs)
    }

    /// How many distinct items both have together: the estimate of `a ⊕ b`, with its error.
    pub fn union_estimate(&self, other: &Self) -> f64 {
        self.union([other]).estimate()
    }

    /// How many distinct items all of them have: never negative, never more than the least of them has; 0 of none.
    ///
    /// Exact up to collisions while all hold coupons. Else by inclusion and exclusion, and then clamped: the standard
    /// error is about 1.04 / √2^`LG_K` times the size of the *union* of the sets for two, and about √(2ⁿ − 1) times
    /// that for n, so a small intersection of large sets is not seen: [`Theta`](crate::sketch::Theta) sees it better.
    /// Of more than eight sketches the eight smallest are taken, which estimates a bound from above.
    ///
    /// Cost: 2ⁿ − 1 estimates.
    pub fn intersection_estimate(sketches: &[&Self]) -> f64 {
        let mut sketches: Vec<(f64, &Self)> = sketches
            .iter()
            .map(|sketch| (sketch.estimate(), *sketch))
            .collect();
        sketches.sort_by(|left, right| left.0.total_cmp(&right.0));
        sketches.truncate(INTERSECTED_MAX);
        let Some(((least, smallest), rest)) = sketches.split_first() else {
            return 0.0;
        };
        if let Some(common) = common_coupons(smallest, rest) {
            return common.estimate().min(*least);
        }
        let mut sum = 0.0;
        for chosen in 1_usize..1 << sketches.len() {
            let mut members = (0..sketches.len())
                .filter(|member| chosen >> member & 1 == 1)
                .map(|member| sketches[member]);
            let (first_estimate, first) = members.next().expect("a subset that is not empty has a first");
            let sign = if chosen.count_ones() % 2 == 1 { 1.0 } else { -1.0 };
            sum += sign
                * if chosen.count_ones() == 1 {
                    first_estimate
                } else {
                    first.union(members.map(|(_, member)| member)).estimate()
                };
        }
        sum.clamp(0.0, *least)
    }

    fn union<'a>(&self, others: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut union = self.clone();
        others.into_iter().for_each(|other| union.plus(other.clone()));
        union
    }

    /// As the bare library's sketch, by way of the bytes: these say that items came out of order, so that it takes the
    /// composite estimator.
    fn library(&self) -> HllSketch {
        HllSketch::deserialize(&self.to_bytes()).expect("the library reads what has its own form")
    }
}

/// The coupons that all have; `None` when one holds registers.
fn common_coupons<const LG_K: u8>(
    smallest: &HyperLogLog<LG_K>,
    rest: &[(f64, &HyperLogLog<LG_K>)],
) -> Option<HyperLogLog<LG_K>> {
    let mut sets = Vec::new();
    for (_, sketch) in rest {
        let State::Coupons(coupons) = &sketch.state else {
            return None;
        };
        sets.push(coupons);
    }
    let State::Coupons(candidates) = &smallest.state else {
        return None;
    };
    let mut common = HyperLogLog::new();
    candidates
        .iter()
        .filter(|coupon| sets.iter().all(|set| set.contains(*coupon)))
        .for_each(|coupon| common.add_coupon(coupon));
    Some(common)
}
