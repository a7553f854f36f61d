//! Counts by bucket: at most so many non-empty ones, the highest.

/// Indices of non-empty buckets, rising, and the count of each; at most `MAX`, of which the lowest holds all that would
/// be lower.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts<const MAX: usize> {
    indices: Vec<i32>,
    counts: Vec<u64>,
}

impl<const MAX: usize> Counts<MAX> {
    /// From entries that rise, are at most `MAX`, and not empty.
    pub(super) fn from_entries(entries: Vec<(i32, u64)>) -> Self {
        debug_assert!(entries.len() <= MAX && entries.is_sorted_by(|a, b| a.0 < b.0));
        let (indices, counts) = entries.into_iter().unzip();
        Self { indices, counts }
    }

    #[inline]
    pub(super) fn add(&mut self, index: i32, count: u64) {
        let at = self.indices.partition_point(|other| *other < index);
        match self.counts.get_mut(at) {
            Some(held) if self.indices[at] == index => *held = held.saturating_add(count),
            _ => self.insert(at, index, count),
        }
    }

    #[cold]
    fn insert(&mut self, at: usize, index: i32, count: u64) {
        if self.is_full() && at == 0 {
            self.counts[0] = self.counts[0].saturating_add(count);
            return;
        }
        self.indices.insert(at, index);
        self.counts.insert(at, count);
        self.fold();
    }

    pub(super) fn plus(&mut self, right: Self) {
        if self.indices == right.indices {
            for (held, count) in self.counts.iter_mut().zip(right.counts) {
                *held = held.saturating_add(count);
            }
            return;
        }
        let left = std::mem::take(self);
        let mut left = left.iter().peekable();
        let mut right = right.iter().peekable();
        loop {
            let next = match (left.peek(), right.peek()) {
                (Some(&(a, more)), Some(&(b, count))) if a == b => {
                    left.next();
                    right.next();
                    Some((a, more.saturating_add(count)))
                }
                (Some(&(a, _)), Some(&(b, _))) if b < a => right.next(),
                (Some(_), _) => left.next(),
                (None, _) => right.next(),
            };
            let Some((index, count)) = next else { break };
            self.indices.push(index);
            self.counts.push(count);
        }
        self.fold();
    }

    /// What is too many goes into the lowest that stays.
    fn fold(&mut self) {
        let excess = self.indices.len().saturating_sub(MAX);
        if excess > 0 {
            self.indices.drain(..excess);
            let folded = self.counts.drain(..excess).fold(0, u64::saturating_add);
            self.counts[0] = self.counts[0].saturating_add(folded);
        }
    }

    /// Whether there may be some that were folded.
    pub(super) fn is_full(&self) -> bool {
        self.indices.len() == MAX
    }

    pub(super) fn lowest(&self) -> Option<i32> {
        self.indices.first().copied()
    }

    pub(super) fn len(&self) -> usize {
        self.indices.len()
    }

    pub(super) fn total(&self) -> u128 {
        self.counts.iter().map(|count| u128::from(*count)).sum()
    }

    /// Rising.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, u64)> {
        self.indices.iter().copied().zip(self.counts.iter().copied())
    }
}
