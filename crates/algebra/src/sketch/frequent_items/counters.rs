//! A bounded number of counters: the part that `FrequentItems` and `HeavyHitters` share.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use crate::codec::{Codec, DecodeError, Input};

/// Counts of some items, and how much any count may be short of the truth: `count ≤ true count ≤ count + error`.
///
/// When there are more than `capacity` counters, the same number is taken from all and those at 0 go (Misra and Gries
/// 1982). It is taken from at least `capacity / 2 + 1` of them at once, so `error · (capacity / 2 + 1) + Σ counts`
/// never exceeds the sum of all that was counted, under adding and merging alike (Agarwal et al. 2012). What is left
/// does not depend on the order of the map: equal counters stay equal.
#[derive(Clone, Debug)]
pub(crate) struct Counters<T> {
    pub(crate) counts: HashMap<T, u64, foldhash::fast::RandomState>,
    pub(crate) error: u64,
}

impl<T> Default for Counters<T> {
    fn default() -> Self {
        Self {
            counts: HashMap::default(),
            error: 0,
        }
    }
}

impl<T: Eq + Hash> PartialEq for Counters<T> {
    fn eq(&self, other: &Self) -> bool {
        self.error == other.error && self.counts == other.counts
    }
}

impl<T: Eq + Hash> Counters<T> {
    /// Counts an item `count` times.
    #[inline]
    pub(crate) fn add<Q>(&mut self, item: &Q, count: u64, capacity: usize)
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        if let Some(counted) = self.counts.get_mut(item) {
            *counted = counted.saturating_add(count);
        } else if count > 0 {
            self.counts.insert(item.to_owned(), count);
            if self.counts.len() > capacity {
                // So many that the next half of a capacity of new items passes before this is done again.
                self.keep(capacity / 2);
            }
        }
    }

    /// Commutative: the counts are added first, and then cut to as many as have room.
    pub(crate) fn plus(&mut self, mut right: Self, capacity: usize) {
        if self.counts.len() < right.counts.len() {
            std::mem::swap(&mut self.counts, &mut right.counts);
        }
        for (item, count) in right.counts {
            let counted = self.counts.entry(item).or_default();
            *counted = counted.saturating_add(count);
        }
        self.error = self.error.saturating_add(right.error);
        self.keep(capacity);
    }

    /// The count that is there; 0 for an item without one.
    #[inline]
    pub(crate) fn count<Q>(&self, item: &Q) -> u64
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.counts.get(item).copied().unwrap_or(0)
    }

    /// Takes the largest count that has no room from all.
    fn keep(&mut self, room: usize) {
        if self.counts.len() <= room {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, cut, _) = counts.select_nth_unstable_by(room, |left, right| right.cmp(left));
        let cut = *cut;
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(cut);
            *count > 0
        });
        self.error = self.error.saturating_add(cut);
    }
}

impl<T: Ord> Counters<T> {
    /// The items and their counts, items rising.
    pub(crate) fn by_item(&self) -> Vec<(&T, u64)> {
        let mut rows: Vec<_> = self.counts.iter().map(|(item, count)| (item, *count)).collect();
        rows.sort_unstable();
        rows
    }

    /// The items and their counts, counts falling, of equal counts the items rising.
    pub(crate) fn by_count(&self) -> Vec<(&T, u64)> {
        let mut rows: Vec<_> = self.counts.iter().map(|(item, count)| (item, *count)).collect();
        rows.sort_unstable_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        rows
    }
}

impl<T: Eq + Hash + Ord + Codec> Counters<T> {
    /// Appends the counts, and then the items; items rising.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let rows = self.by_item();
        rows.iter().for_each(|(_, count)| count.encode(out));
        rows.iter().for_each(|(item, _)| item.encode(out));
    }

    /// Takes so many counts and then items, in any order, of a `total` that was counted.
    pub(crate) fn decode(
        input: &mut Input<'_>,
        length: usize,
        error: u64,
        total: u64,
    ) -> Result<Self, DecodeError> {
        let mut weights = Input::new(input.take(length.saturating_mul(8))?);
        let mut counters = Self {
            error,
            ..Self::default()
        };
        let mut counted = u128::from(error);
        for _ in 0..length {
            let count = u64::decode(&mut weights)?;
            counted += u128::from(count);
            if count == 0 || counters.counts.insert(T::decode(input)?, count).is_some() {
                return Err(input.corrupt("an item is counted twice, or not at all"));
            }
        }
        // A total that has stopped at the maximum says nothing about its parts.
        if total < u64::MAX && counted > u128::from(total) {
            return Err(input.corrupt(format!(
                "counts exceed their total: counts={counted} total={total}"
            )));
        }
        Ok(counters)
    }
}
