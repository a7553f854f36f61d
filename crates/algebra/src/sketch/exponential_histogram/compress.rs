//! Joining neighbours so that the bound of the error stays.
//!
//! At a moment `m`, let `across(m)` be the count of the buckets with `oldest < m ≤ newest`, and `after(m)` of those
//! with `oldest ≥ m`. The invariant is `k·across(m) ≤ after(m)` for every `m`: then the middle of the bounds is
//! within `1/(2·k)` of the truth. It holds for moments (nothing is across), and for all buckets of two sides together
//! when it holds for each. Joining keeps it: of the buckets made by joining that are across `m`, the one made last
//! has been checked with all that is across any moment of its span, those made before and those that are still to
//! come.

use std::collections::{BinaryHeap, VecDeque};

use super::Bucket;

/// Joins neighbours, from the newest to the oldest, as long as the invariant stays. `buckets` are sorted, their
/// spans different, and so is the result. `k = 0` joins all.
pub(super) fn join(buckets: &[Bucket], k: u64) -> VecDeque<Bucket> {
    let mut joined = VecDeque::new();
    let mut done = Done::default();
    let mut rest = buckets;
    while let Some((first, others)) = rest.split_last() {
        (rest, done) = (others, done.before(first.newest));
        let mut bucket = *first;
        while let Some((next, others)) = rest.split_last() {
            let wider = Bucket {
                newest: bucket.newest,
                oldest: bucket.oldest.min(next.oldest),
                count: bucket.count.saturating_add(next.count),
            };
            let room = done.after().checked_div(k).unwrap_or(u64::MAX);
            let across = wider.count.saturating_add(done.across);
            if across > room || to_come(others, wider.oldest, room - across).is_none() {
                break;
            }
            (bucket, rest) = (wider, others);
        }
        done.push(bucket);
        joined.push_front(bucket);
    }
    joined
}

/// The count of those among `rest` that are across a moment later than `oldest`; `None` when it is more than `room`.
fn to_come(rest: &[Bucket], oldest: u64, room: u64) -> Option<u64> {
    let reaching = rest.iter().rev().take_while(|bucket| bucket.newest > oldest);
    reaching
        .filter(|bucket| bucket.oldest < bucket.newest)
        .try_fold(0_u64, |sum, bucket| {
            sum.checked_add(bucket.count).filter(|sum| *sum <= room)
        })
}

/// The buckets that are finished, all of which are newer at their end than those to come.
#[derive(Default)]
struct Done {
    count: u64,
    /// The oldest moment and the count of those that may be across a moment still to come; the latest on top.
    reaching: BinaryHeap<(u64, u64)>,
    /// Their count.
    across: u64,
}

impl Done {
    /// Now that only moments up to `newest` are to come.
    fn before(mut self, newest: u64) -> Self {
        while let Some((oldest, count)) = self.reaching.peek().copied() {
            if oldest < newest {
                break;
            }
            self.across -= count;
            self.reaching.pop();
        }
        self
    }

    /// The count after every moment still to come.
    fn after(&self) -> u64 {
        self.count - self.across
    }

    fn push(&mut self, bucket: Bucket) {
        // Counts that have reached their maximum are no longer right: there the sums only must not overflow.
        let count = bucket.count.min(u64::MAX - self.count);
        self.count += count;
        self.across += count;
        self.reaching.push((bucket.oldest, count));
    }
}
