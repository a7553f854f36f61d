//! The items that come most often, with certain bounds on how often.

mod codec;
pub(crate) mod counters;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::hash::Hash;
use std::ops::RangeInclusive;

use self::counters::Counters;
use super::Sketch;
use crate::codec::{Codec, through_bytes};
use crate::{Commutative, Monoid, Semigroup};

/// At most `0.75 · 2^LG_MAX` items with a count each (`u64`), the total, and the error that all counts share.
///
/// Of every item, counted or not, the bounds are certain: `lower_bound ≤ true count ≤ upper_bound`, and
/// `upper_bound − lower_bound = max_error() ≤ 3.5 / 2^LG_MAX · total` (here even `2.67 / 2^LG_MAX · total`). Up to as
/// many items as there is room for, the counts are exact. When there are more, a number is taken from all counts, and
/// those that reach 0 go: Misra and Gries 1982; by about the median, in constant time on average, Anderson et al.
/// 2017; when merging by as little as there must be, Agarwal et al. 2012.
///
/// Laws: `⊕` is commutative and has `new()` as its zero, exactly (`==`). Grouping is *within the bound*: any grouping
/// gives bounds that hold, with an error within `3.5 / 2^LG_MAX · total`, but not the same counts. As long as
/// `max_error()` is 0 it is exact too. Sums stop at `u64::MAX`; an upper bound of `u64::MAX` means "or more".
///
/// The bytes ([`to_bytes`](Codec::to_bytes)) are, for `String`, `i64` and `u64`, those of the frequent items sketch of
/// Apache DataSketches in Java (`ItemsSketch`), C++ and Python, with the items in rising order: equal values have
/// equal bytes. Other items are written as they are with [`Codec`].
///
/// ```
/// use algebra::sketch::{FrequentItems, Sketch};
///
/// let mut words = FrequentItems::<String, 10>::new();
/// for word in ["ant", "bee", "ant", "cat", "ant", "bee"] {
///     words.add(word);
/// }
/// let top = words.top(2);
/// assert_eq!((top[0].item.as_str(), top[0].lower_bound, top[0].certain), ("ant", 3, true));
/// assert_eq!((top[1].item.as_str(), top[1].upper_bound, top[1].certain), ("bee", 2, true));
/// ```
///
/// | | |
/// |---|---|
/// | answers | the `n` most frequent items; all above a count; how often was this item seen |
/// | error | `max_error() ≤ 3.5 / 2^LG_MAX · total`, certain |
/// | update | one look into a hash map, on average |
/// | merge | that for each item of the smaller one |
/// | size | at most `0.75 · 2^LG_MAX` items and as many counts |
#[derive(Clone, Debug, PartialEq)]
pub struct FrequentItems<T: Eq + Hash, const LG_MAX: u8> {
    total: u64,
    counters: Counters<T>,
}

/// An item and where its count is, both ends included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<T> {
    /// The item.
    pub item: T,
    /// It was counted so often, at least.
    pub lower_bound: u64,
    /// It was counted so often, at most.
    pub upper_bound: u64,
}

/// One of the most frequent items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked<T> {
    /// The item.
    pub item: T,
    /// It was counted so often, at least.
    pub lower_bound: u64,
    /// It was counted so often, at most.
    pub upper_bound: u64,
    /// Whether it certainly belongs here: no item that is not listed was counted more often.
    pub certain: bool,
}

/// What a list of frequent items must not have: the counts of some are not known well enough to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// Every item listed is frequent (some frequent ones may be missing).
    FalsePositives,
    /// Every frequent item is listed (some that are not frequent may be listed too).
    FalseNegatives,
}

impl<T: Eq + Hash, const LG_MAX: u8> FrequentItems<T, LG_MAX> {
    /// How many items have room.
    pub const CAPACITY: usize = {
        assert!(
            3 <= LG_MAX && LG_MAX <= 30,
            "LG_MAX is 3 to 30: from 8 to 2^30 places"
        );
        (1 << LG_MAX) / 4 * 3
    };

    /// Nothing counted.
    pub fn new() -> Self {
        const { assert!(Self::CAPACITY > 0) };
        Self {
            total: 0,
            counters: Counters::default(),
        }
    }

    /// How many bytes of memory it takes, without what its items own.
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.counters.counts.capacity() * (size_of::<(T, u64)>() + 1)
    }

    /// Counts an item `count` times.
    #[inline]
    pub fn add_count<Q>(&mut self, item: &Q, count: u64)
    where
        T: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        self.total = self.total.saturating_add(count);
        self.counters.add(item, count, Self::CAPACITY);
    }

    /// The upper bound of an item that has a counter, 0 for another: the middle way of Apache DataSketches.
    pub fn estimate<Q: Eq + Hash + ?Sized>(&self, item: &Q) -> u64
    where
        T: Borrow<Q>,
    {
        match self.counters.count(item) {
            0 => 0,
            count => count.saturating_add(self.max_error()),
        }
    }

    /// The item was counted so often, at least.
    pub fn lower_bound<Q: Eq + Hash + ?Sized>(&self, item: &Q) -> u64
    where
        T: Borrow<Q>,
    {
        self.counters.count(item)
    }

    /// The item was counted so often, at most.
    pub fn upper_bound<Q: Eq + Hash + ?Sized>(&self, item: &Q) -> u64
    where
        T: Borrow<Q>,
    {
        self.counters.count(item).saturating_add(self.max_error())
    }

    /// From the lower to the upper bound.
    pub fn bounds<Q: Eq + Hash + ?Sized>(&self, item: &Q) -> RangeInclusive<u64>
    where
        T: Borrow<Q>,
    {
        self.lower_bound(item)..=self.upper_bound(item)
    }

    /// How far apart the bounds are, now.
    pub fn max_error(&self) -> u64 {
        self.counters.error
    }

    /// `ε = 3.5 / 2^LG_MAX`: the part of the total that the error stays within.
    pub fn relative_error() -> f64 {
        3.5 / (1_u64 << LG_MAX) as f64
    }

    /// The sum of all counts, exact up to `u64::MAX`.
    pub fn total(&self) -> u64 {
        self.total
    }
}

impl<T: Ord + Hash + Clone, const LG_MAX: u8> FrequentItems<T, LG_MAX> {
    /// The items that were counted at least so often, the most frequent first.
    ///
    /// `at_least` is raised to `max_error() + 1` when it is less: an item without a counter may have come as often.
    pub fn frequent(&self, at_least: u64, without: Without) -> Vec<Row<T>> {
        let at_least = at_least.max(self.max_error().saturating_add(1));
        let rows = self.counters.by_count().into_iter().map(|(item, count)| Row {
            item: item.clone(),
            lower_bound: count,
            upper_bound: count.saturating_add(self.max_error()),
        });
        rows.take_while(|row| match without {
            Without::FalsePositives => row.lower_bound >= at_least,
            Without::FalseNegatives => row.upper_bound >= at_least,
        })
        .collect()
    }

    /// The `n` items with the largest counts, largest first, of equal counts the lesser item; fewer when fewer have a
    /// counter.
    pub fn top(&self, n: usize) -> Vec<Ranked<T>> {
        let rows = self.counters.by_count();
        let not_listed = rows
            .get(n)
            .map_or(0, |(_, count)| *count)
            .saturating_add(self.max_error());
        let ranked = rows.into_iter().take(n).map(|(item, count)| Ranked {
            item: item.clone(),
            lower_bound: count,
            upper_bound: count.saturating_add(self.max_error()),
            certain: count >= not_listed,
        });
        ranked.collect()
    }
}

impl<T: Eq + Hash, const LG_MAX: u8> Default for FrequentItems<T, LG_MAX> {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the item once.
impl<T, Q, const LG_MAX: u8> Sketch<Q> for FrequentItems<T, LG_MAX>
where
    T: Eq + Hash + Borrow<Q>,
    Q: Eq + Hash + ToOwned<Owned = T> + ?Sized,
{
    #[inline]
    fn add(&mut self, item: &Q) {
        self.add_count(item, 1);
    }
}

impl<T: Eq + Hash, const LG_MAX: u8> Semigroup for FrequentItems<T, LG_MAX> {
    fn plus(&mut self, right: Self) {
        self.total = self.total.saturating_add(right.total);
        self.counters.plus(right.counters, Self::CAPACITY);
    }
}

impl<T: Eq + Hash, const LG_MAX: u8> Monoid for FrequentItems<T, LG_MAX> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.total == 0
    }
}

impl<T: Eq + Hash, const LG_MAX: u8> Commutative for FrequentItems<T, LG_MAX> {}

through_bytes!([T: Ord + Hash + Codec, const LG_MAX: u8] FrequentItems<T, LG_MAX>);
