//! How many in the last stretch of time, from a few buckets.

mod bytes;
mod compress;

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::sketch::Sketch;
use crate::{Commutative, Monoid, Semigroup};

/// The count of events in a sliding window of time: buckets `(oldest, newest, count)`, few and large for old events,
/// one a moment for the latest. Times and `WINDOW` are in one unit, the caller's.
///
/// ```
/// use algebra::Semigroup;
/// use algebra::sketch::ExponentialHistogram;
///
/// let mut clicks = ExponentialHistogram::<50, 60_000>::new();
/// (0..100_000).for_each(|time| clicks.add_at(time, 1));
/// let count = clicks.count_at(99_999);
/// assert!(count.abs_diff(60_000) <= 600, "{count}");
/// assert_eq!(clicks.count_at(300_000), 0);
/// ```
///
/// **Error.** [`bounds_at`](Self::bounds_at) always hold, whatever was added and merged in whatever order.
/// [`count_at`](Self::count_at) is the middle of them, within `1/(2·K)` of the true count as long as what is kept
/// fits in [`BUCKETS_MAX`](Self::BUCKETS_MAX) buckets:
///
/// * Parts that follow one another in time always fit, up to 2²¹·K events in a window; so they may be merged as often
///   as one likes. Late events do not hurt either: in the tests a tenth of them is late by up to the whole window.
/// * Parts that overlap in time have their cuts in different places, and not all of them can be joined. When they do
///   not fit, the bounds widen: in the tests, of 64 parts that all span the window, at `K = 50`, the count is within
///   3 % instead of 1 %. (Replaying each bucket as two halves, Papapetrou, Garofalakis and Deligiannakis 2012, adds
///   `1/(2·K)` for each merge on a path instead, and then has no certain bounds.)
///
/// **Laws.** Identity and commutativity exact. Associative within its bounds: those of any grouping hold the true
/// count.
///
/// The buckets are those of Datar, Gionis, Indyk and Motwani (2002), with sums in place of powers of two: neighbours
/// are joined when together they count no more than `1/K` of what is newer. Overlaps are counted in, so that all that
/// may lie on either side of any moment is at most `1/K` of what lies after it; that is what merging and joining
/// keep.
///
/// | | |
/// |---|---|
/// | answers | counts since any moment of the window |
/// | update | O(1); a late one O(buckets) |
/// | merge | O(buckets) |
/// | size | at most `40·(K + 1)` buckets of 24 bytes; about `K·ln(n/K)` once joined |
/// | error | `1/(2·K)`, see above |
///
/// Bytes: kind, version; `K` u64, `WINDOW` u64; u32 count; the buckets by newest, then oldest, rising, each newest less
/// that of the one before, newest less oldest, and count, in LEB128.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExponentialHistogram<const K: u32, const WINDOW: u64> {
    /// Sorted; no two have the same span, none is empty or expired; at most `BUCKETS_MAX`.
    buckets: VecDeque<Bucket>,
}

/// Events, and when the first and the last of them were. The order of the fields is that of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bucket {
    newest: u64,
    oldest: u64,
    /// Stops at its maximum.
    count: u64,
}

impl<const K: u32, const WINDOW: u64> ExponentialHistogram<K, WINDOW> {
    /// The most buckets it holds.
    pub const BUCKETS_MAX: usize = {
        assert!(
            K >= 1 && K <= 1_000_000,
            "the error is 1/(2·K), K from 1 to 1,000,000"
        );
        assert!(WINDOW >= 1, "a window is at least 1 long");
        40 * (K as usize + 1)
    };

    /// No events.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds events. Those that have left the window that ends with the latest one are dropped.
    pub fn add_at(&mut self, time: u64, count: u64) {
        let latest = self.latest().unwrap_or(0).max(time);
        if count == 0 || has_left::<WINDOW>(time, latest) {
            return;
        }
        // Mostly they come in order.
        let place = match self.buckets.back() {
            Some(last) if last.span() >= (time, time) => self
                .buckets
                .partition_point(|bucket| bucket.span() < (time, time)),
            _ => self.buckets.len(),
        };
        match self.buckets.get_mut(place) {
            Some(bucket) if bucket.span() == (time, time) => {
                bucket.count = bucket.count.saturating_add(count);
            }
            _ => self.buckets.insert(place, Bucket::moment(time, count)),
        }
        self.settle();
    }

    /// How many in the window `(time − WINDOW, time]`: the middle of [`bounds_at`](Self::bounds_at).
    pub fn count_at(&self, time: u64) -> u64 {
        middle(self.bounds_at(time))
    }

    /// The least and the most that the count in the window `(time − WINDOW, time]` can be.
    ///
    /// Before the latest event the answer is for the window that ends there: what has left it is no longer known.
    pub fn bounds_at(&self, time: u64) -> RangeInclusive<u64> {
        let time = time.max(self.latest().unwrap_or(0));
        match time.checked_sub(WINDOW) {
            Some(left) => self.bounds_since(left.saturating_add(1)),
            None => self.bounds_since(0),
        }
    }

    /// How many at `start` or later, in the window that ends with the latest event: the middle of
    /// [`bounds_since`](Self::bounds_since), as near as [`count_at`](Self::count_at).
    pub fn count_since(&self, start: u64) -> u64 {
        middle(self.bounds_since(start))
    }

    /// The least and the most that the count at `start` or later can be, in the window that ends with the latest event.
    pub fn bounds_since(&self, start: u64) -> RangeInclusive<u64> {
        let (mut least, mut most) = (0_u64, 0_u64);
        for bucket in self
            .buckets
            .iter()
            .rev()
            .take_while(|bucket| bucket.newest >= start)
        {
            let inside = bucket.oldest >= start;
            // Of what lies across, at least the newest event is inside and the oldest is not.
            least = least.saturating_add(if inside { bucket.count } else { 1 });
            most = most.saturating_add(bucket.count - u64::from(!inside));
        }
        least..=most
    }

    /// The time of the latest event.
    pub fn latest(&self) -> Option<u64> {
        self.buckets.back().map(|bucket| bucket.newest)
    }

    /// Drops what has left the window, and makes room when there is none.
    fn settle(&mut self) {
        let Some(latest) = self.latest() else { return };
        while self
            .buckets
            .front()
            .is_some_and(|bucket| has_left::<WINDOW>(bucket.newest, latest))
        {
            self.buckets.pop_front();
        }
        // Down to three quarters, so that the next time is a while away; at half the accuracy, and half of that, when
        // it takes that.
        let mut k = u64::from(K);
        while self.buckets.len() > Self::BUCKETS_MAX {
            let mut joined = compress::join(self.buckets.make_contiguous(), k);
            while joined.len() > Self::BUCKETS_MAX / 4 * 3 {
                k -= k.div_ceil(4);
                joined = compress::join(joined.make_contiguous(), k);
            }
            self.buckets = joined;
        }
    }
}

impl Bucket {
    fn moment(time: u64, count: u64) -> Self {
        Self {
            newest: time,
            oldest: time,
            count,
        }
    }

    fn span(&self) -> (u64, u64) {
        (self.newest, self.oldest)
    }
}

fn has_left<const WINDOW: u64>(time: u64, latest: u64) -> bool {
    time.checked_add(WINDOW).is_some_and(|end| end <= latest)
}

/// Sorted, those of the same span as one.
fn gathered(mut buckets: Vec<Bucket>) -> Vec<Bucket> {
    // Of two sorted runs, the sort is their merge.
    buckets.sort();
    buckets.dedup_by(|next, kept| {
        let same = next.span() == kept.span();
        if same {
            kept.count = kept.count.saturating_add(next.count);
        }
        same
    });
    buckets
}

fn middle(bounds: RangeInclusive<u64>) -> u64 {
    bounds.start() + (bounds.end() - bounds.start()) / 2
}

/// All buckets of both.
impl<const K: u32, const WINDOW: u64> Semigroup for ExponentialHistogram<K, WINDOW> {
    fn plus(&mut self, right: Self) {
        let mut all: Vec<Bucket> = std::mem::take(&mut self.buckets).into();
        all.extend(right.buckets);
        self.buckets = gathered(all).into();
        self.settle();
    }
}

impl<const K: u32, const WINDOW: u64> Monoid for ExponentialHistogram<K, WINDOW> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.buckets.is_empty()
    }
}

impl<const K: u32, const WINDOW: u64> Commutative for ExponentialHistogram<K, WINDOW> {}

/// Takes a time and a count.
impl<const K: u32, const WINDOW: u64> Sketch<(u64, u64)> for ExponentialHistogram<K, WINDOW> {
    fn add(&mut self, (time, count): &(u64, u64)) {
        self.add_at(*time, *count);
    }
}

#[cfg(test)]
mod tests;
