//! DDSketch: quantiles within a relative error, the same on every machine and in every order of merges.

mod bytes;
mod counts;
mod mapping;

use counts::Counts;

use super::Sketch;
use crate::{Commutative, Monoid, Semigroup};

/// Counts of numbers in buckets whose width is a share of their value, for each sign; how many are zero; the least and
/// the greatest: quantiles within `PERMYRIAD / 10 000` of their value.
///
/// `quantile(q)` differs from the `⌈q·count⌉`-th smallest number by at most `PERMYRIAD / 10 000` of that number,
/// without exception and whatever the distribution, as long as no bucket was folded. There is no chance and no
/// logarithm in it: the bucket is whole-number arithmetic on the float's bits (see the table of bytes), so it is the
/// same everywhere.
///
/// Each sign keeps the `BUCKETS_MAX` non-empty buckets of the greatest magnitude and folds what is nearer to zero into
/// the last of these. What was folded keeps its place in the order, and is then off by at most the magnitude of that
/// bucket ([`folded`](Self::folded)). 1 % and 2048 buckets hold 53 binary orders of magnitude (16 decimal ones) of
/// either sign, gaps not counted.
///
/// Laws hold *exactly* (`==`, and equal bytes): the state is a function of the multiset of numbers. For let `t` be the
/// `BUCKETS_MAX`-th highest of the distinct buckets of all numbers of a sign: each counts in `max(bucket, t)`. A part
/// has a `t′ ≤ t` and counted it in `max(bucket, t′)`, its highest buckets include those of the whole that it has, and
/// `max(max(bucket, t′), t) = max(bucket, t)`. Folding the lowest *span* would be a function of the multiset too, but
/// one outlier would fold all the rest. Counts stop at their maximum, which keeps the laws. No [`Group`](crate::Group):
/// what is folded, and the extremes, cannot be taken out again.
///
/// `±∞` count as the outermost buckets; `-0.0` and magnitudes below 2⁻¹⁰²² count as zero; NaN is left out and counted
/// ([`not_numbers`](Self::not_numbers)). For an
/// exact sum keep a [`Sum`](crate::Sum) beside it.
///
/// Source: Masson, Rim and Lee 2019, with quadratic interpolation of the logarithm; folding by number of buckets as
/// argued above.
///
/// ```
/// use algebra::sketch::{DdSketch, Sketch};
///
/// let mut waits = DdSketch::<100>::new(); // 1 %
/// (1..=1000).for_each(|wait| waits.add(&f64::from(wait)));
/// let p99 = waits.quantile(0.99).unwrap();
/// assert!((p99 - 990.0).abs() <= 0.01 * 990.0);
/// ```
///
/// | | |
/// |---|---|
/// | answers | `quantile`, `rank`, `min`, `max`, `count`, `sum`, `buckets` |
/// | number | a binary search among the buckets |
/// | merge | linear in the buckets |
/// | size | 12 bytes a non-empty bucket, 38 buckets a binary order of magnitude at 1 %; as bytes 2 to 4 each |
/// | error | `PERMYRIAD / 10 000` of the value, always |
#[derive(Clone, Debug, PartialEq)]
pub struct DdSketch<const PERMYRIAD: u32 = 100, const BUCKETS_MAX: usize = 2048> {
    /// Of numbers above zero, by bucket.
    positive: Counts<BUCKETS_MAX>,
    /// Of numbers below zero, by the bucket of their magnitude.
    negative: Counts<BUCKETS_MAX>,
    zeros: u64,
    not_numbers: u64,
    /// The least and the greatest; `None` when there is no number.
    extremes: Option<(f64, f64)>,
}

/// What a part of the numbers is: `lower ≤ x < upper`, or both mirrored for `x < 0`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// The end towards −∞.
    pub lower: f64,
    /// The end towards +∞. Equal to `lower` for the bucket of zero, and `±∞` for those of the infinities.
    pub upper: f64,
    /// How many numbers.
    pub count: u64,
}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> DdSketch<PERMYRIAD, BUCKETS_MAX> {
    /// Of no numbers.
    pub fn new() -> Self {
        const {
            assert!(
                PERMYRIAD >= 1 && PERMYRIAD <= mapping::PERMYRIAD_MAX,
                "the relative error of a DdSketch is 1 to 5000 in 10 000"
            );
            assert!(
                BUCKETS_MAX >= 1 && BUCKETS_MAX <= 1 << 20,
                "a DdSketch has 1 to 2^20 buckets for each sign"
            );
        }
        Self {
            positive: Counts::default(),
            negative: Counts::default(),
            zeros: 0,
            not_numbers: 0,
            extremes: None,
        }
    }

    /// Takes a number `count` times.
    #[inline]
    pub fn add_count(&mut self, number: f64, count: u64) {
        if count == 0 {
            return;
        }
        if number.is_nan() {
            self.not_numbers = self.not_numbers.saturating_add(count);
            return;
        }
        // Adding 0.0 makes 0.0 of -0.0 and changes nothing else.
        let number = number + 0.0;
        let magnitude = number.abs();
        if magnitude < f64::MIN_POSITIVE {
            self.zeros = self.zeros.saturating_add(count);
        } else if number > 0.0 {
            self.positive.add(mapping::index::<PERMYRIAD>(magnitude), count);
        } else {
            self.negative.add(mapping::index::<PERMYRIAD>(magnitude), count);
        }
        self.extend(number, number);
    }

    fn extend(&mut self, least: f64, greatest: f64) {
        let (min, max) = self.extremes.get_or_insert((least, greatest));
        if least < *min {
            *min = least;
        }
        if greatest > *max {
            *max = greatest;
        }
    }

    /// How many numbers were taken, without NaN; stops at its maximum.
    pub fn count(&self) -> u64 {
        u64::try_from(self.total()).unwrap_or(u64::MAX)
    }

    /// How many NaN were left out.
    pub fn not_numbers(&self) -> u64 {
        self.not_numbers
    }

    /// The least number, exactly; `None` when there is none.
    pub fn min(&self) -> Option<f64> {
        self.extremes.map(|(min, _)| min)
    }

    /// The greatest number, exactly; `None` when there is none.
    pub fn max(&self) -> Option<f64> {
        self.extremes.map(|(_, max)| max)
    }

    /// Within `PERMYRIAD / 10 000` of the `⌈q·count⌉`-th smallest number; `None` when there is none or `q` is not in
    /// `0..=1`. The ends, `q = 0` and `q = 1`, are exact.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (min, max) = self.extremes?;
        if !(0.0..=1.0).contains(&q) {
            return None;
        }
        let total = self.total();
        let place = ((q * total as f64).ceil() as u128).clamp(1, total);
        if place == 1 || place == total {
            return Some(if place == 1 { min } else { max });
        }
        let mut below = 0_u128;
        let value = self.parts().find_map(|(part, count)| {
            below += u128::from(count);
            (below >= place).then(|| part.value::<PERMYRIAD>())
        })?;
        Some(value.clamp(min, max))
    }

    /// The share of numbers that are at most `y`, for a `y` that is `x` or differs from it by less than the width of
    /// its bucket: at most `2·PERMYRIAD / (10 000 − PERMYRIAD)` of it. `None` when there is no number or `x` is NaN.
    pub fn rank(&self, x: f64) -> Option<f64> {
        let (min, max) = self.extremes?;
        if x.is_nan() {
            return None;
        } else if x < min {
            return Some(0.0);
        } else if x >= max {
            return Some(1.0);
        }
        let here = Part::of::<PERMYRIAD>(x);
        let below: u128 = self
            .parts()
            .take_while(|(part, _)| *part <= here)
            .map(|(_, count)| u128::from(count))
            .sum();
        Some(below as f64 / self.total() as f64)
    }

    /// About the sum: within `PERMYRIAD / 10 000` of the sum of the magnitudes, rounding apart. 0 when there is no
    /// number.
    pub fn sum(&self) -> f64 {
        let of_part = |(part, count): (Part, u64)| part.value::<PERMYRIAD>() * count as f64;
        self.parts().map(of_part).sum::<f64>() + 0.0
    }

    /// The non-empty buckets, rising.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> {
        self.parts().map(|(part, count)| {
            let (lower, upper) = part.ends::<PERMYRIAD>();
            Bucket { lower, upper, count }
        })
    }

    /// The ends of the buckets into which numbers nearer to zero may have been folded: one below zero, one above.
    /// Answers between them have not the relative error, but are off by at most those; `(0, 0)` when none was folded.
    pub fn folded(&self) -> (f64, f64) {
        let end = |counts: &Counts<BUCKETS_MAX>| {
            let lowest = counts.is_full().then(|| counts.lowest()).flatten();
            lowest.map_or(0.0, |index| mapping::lower_end::<PERMYRIAD>(index + 1))
        };
        (0.0 - end(&self.negative), end(&self.positive))
    }

    fn total(&self) -> u128 {
        self.negative.total() + u128::from(self.zeros) + self.positive.total()
    }

    /// What there is, in the order of the numbers.
    fn parts(&self) -> impl Iterator<Item = (Part, u64)> {
        let negative = self.negative.iter().rev();
        let zeros = (self.zeros > 0).then_some((Part::Zero, self.zeros));
        let positive = self.positive.iter();
        negative
            .map(|(index, count)| (Part::Negative(-index), count))
            .chain(zeros)
            .chain(positive.map(|(index, count)| (Part::Positive(index), count)))
    }
}

/// A part of the line, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// The index of the bucket of the magnitude, negated, so that it rises with the number.
    Negative(i32),
    Zero,
    Positive(i32),
}

impl Part {
    fn of<const PERMYRIAD: u32>(number: f64) -> Self {
        if number.abs() < f64::MIN_POSITIVE {
            Self::Zero
        } else if number > 0.0 {
            Self::Positive(mapping::index::<PERMYRIAD>(number))
        } else {
            Self::Negative(-mapping::index::<PERMYRIAD>(-number))
        }
    }

    fn value<const PERMYRIAD: u32>(self) -> f64 {
        match self {
            Self::Negative(index) => -mapping::value::<PERMYRIAD>(-index),
            Self::Zero => 0.0,
            Self::Positive(index) => mapping::value::<PERMYRIAD>(index),
        }
    }

    fn ends<const PERMYRIAD: u32>(self) -> (f64, f64) {
        let end = mapping::lower_end::<PERMYRIAD>;
        match self {
            Self::Negative(index) => (-end(1 - index), -end(-index)),
            Self::Zero => (0.0, 0.0),
            Self::Positive(index) => (end(index), end(index + 1)),
        }
    }
}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Default for DdSketch<PERMYRIAD, BUCKETS_MAX> {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts added bucket by bucket.
impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Semigroup for DdSketch<PERMYRIAD, BUCKETS_MAX> {
    fn plus(&mut self, right: Self) {
        self.positive.plus(right.positive);
        self.negative.plus(right.negative);
        self.zeros = self.zeros.saturating_add(right.zeros);
        self.not_numbers = self.not_numbers.saturating_add(right.not_numbers);
        if let Some((min, max)) = right.extremes {
            self.extend(min, max);
        }
    }
}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Monoid for DdSketch<PERMYRIAD, BUCKETS_MAX> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.extremes.is_none() && self.not_numbers == 0
    }
}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Commutative for DdSketch<PERMYRIAD, BUCKETS_MAX> {}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Sketch<f64> for DdSketch<PERMYRIAD, BUCKETS_MAX> {
    #[inline]
    fn add(&mut self, number: &f64) {
        self.add_count(*number, 1);
    }
}

#[cfg(test)]
mod tests;
