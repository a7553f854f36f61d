//! One register over time.

/// A rank, and the latest time it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) time: u64,
    pub(super) rank: u8,
}

/// The ranks that are the highest since some time: ranks falling, times rising, so that the latest is last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frontier {
    seen: Vec<Seen>,
}

impl Frontier {
    pub(super) fn len(&self) -> usize {
        self.seen.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Seen> {
        self.seen.iter().copied()
    }

    /// The highest rank at or after `time`; 0 of none.
    pub(super) fn rank_since(&self, time: u64) -> u8 {
        let first = self.seen.partition_point(|seen| seen.time < time);
        self.seen.get(first).map_or(0, |seen| seen.rank)
    }

    /// Whether that changes anything.
    pub(super) fn see(&mut self, rank: u8, time: u64) -> bool {
        if self.rank_since(time) >= rank {
            return false;
        }
        // What it puts into the shade stands together: ranks not above its own, times not after.
        let start = self.seen.partition_point(|seen| seen.rank > rank);
        let end = self.seen.partition_point(|seen| seen.time <= time);
        self.seen.splice(start..end, [Seen { time, rank }]);
        true
    }

    pub(super) fn see_all(&mut self, other: &Self) {
        for seen in &other.seen {
            self.see(seen.rank, seen.time);
        }
    }

    pub(super) fn forget_before(&mut self, time: u64) {
        let first = self.seen.partition_point(|seen| seen.time < time);
        self.seen.drain(..first);
    }

    /// The next one, in order; `false` when it is not.
    pub(super) fn push(&mut self, seen: Seen) -> bool {
        let ordered = self
            .seen
            .last()
            .is_none_or(|last| last.rank > seen.rank && last.time < seen.time);
        if ordered {
            self.seen.push(seen);
        }
        ordered
    }
}
