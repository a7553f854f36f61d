//! A map of sums by key in bounded room: every sum a little too large, and the keys of the large ones.

mod codec;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::collections::BTreeSet;

use super::{Sketch, SumsByKey};
use crate::codec::{Codec, through_bytes};
use crate::{Commutative, Item, Monoid, Semigroup, hash128};

/// `DEPTH` rows of `WIDTH` sums of any ordered commutative monoid `V`, their total, and the keys whose sum is at least
/// one part in `PARTS` of the total: a [`CountMin`](super::CountMin) table of values, as Algebird's `SketchMap`.
///
/// Values must not be negative, and larger parts must make larger sums: `v ≤ v ⊕ w`, and `v < w` implies
/// `v ⊕ x < w ⊕ x` (as numbers do up to where they wrap, and `Max`, for which both sides may be equal). Then:
///
/// * [`estimate`](Self::estimate), the least of a key's cells, is never below its sum; for numbers it is above it by
///   more than `e / WIDTH · total` with a probability of at most `e^−DEPTH`.
/// * [`heavy`](Self::heavy) lists every key whose sum `PARTS` times is at least the total, whatever the order and the
///   grouping of the merges (what is heavy in a union is heavy in a part), as long as no more than `2 · PARTS` keys
///   look heavy by their estimates; at most `PARTS` are. Of more, those with the largest estimates stay, so that at
///   most `4 · PARTS` keys are ever kept. For counts, [`HeavyHitters`](super::HeavyHitters) has no such "as long as".
///
/// Laws: `⊕` adds cell by cell; exact for the table (if `V` is), so for all estimates. Keys that only look heavy may
/// differ with the order of merges. `==` and the bytes are those of the table and of the keys that look heavy now.
///
/// ```
/// use algebra::sketch::SketchMap;
///
/// let mut bytes_by_user = SketchMap::<String, u64, 10, 272, 5>::new();
/// (0..50).for_each(|n| bytes_by_user.add_value(&format!("user {n}"), 10));
/// bytes_by_user.add_value("ant", 700);
/// assert_eq!(bytes_by_user.heavy(), [("ant".to_owned(), 700)]);
/// ```
///
/// | | |
/// |---|---|
/// | answers | the sum of a key; which keys make up most |
/// | update | `DEPTH` hashes and sums, about `2·log₂ PARTS` more sums |
/// | merge | `WIDTH·DEPTH` sums, and an estimate for each key |
/// | size | `WIDTH·DEPTH` values, at most `4 · PARTS` keys; nothing while it is the zero |
#[derive(Clone, Debug)]
pub struct SketchMap<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> {
    total: V,
    /// Row by row; none while the total is zero.
    cells: Vec<V>,
    /// With some that have been overtaken since.
    keys: BTreeSet<K>,
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    const CELLS: usize = {
        assert!(
            PARTS >= 1 && PARTS <= 1 << 20,
            "the share is one part in 1 to 2^20"
        );
        assert!(WIDTH >= 1 && DEPTH >= 1, "a table has at least one cell");
        assert!(
            (WIDTH as u64 * DEPTH as u64) < 1 << 30,
            "a table has fewer than 2^30 cells"
        );
        WIDTH as usize * DEPTH as usize
    };

    /// Nothing added.
    pub fn new() -> Self {
        const { assert!(Self::CELLS > 0) };
        Self {
            total: V::zero(),
            cells: Vec::new(),
            keys: BTreeSet::new(),
        }
    }

    /// Adds to the sum of a key.
    pub fn add_value<Q>(&mut self, key: &Q, value: V)
    where
        K: Borrow<Q>,
        Q: Item + Ord + ToOwned<Owned = K> + ?Sized,
    {
        if value.is_zero() {
            return;
        }
        if self.cells.is_empty() {
            self.cells = vec![V::zero(); Self::CELLS];
        }
        self.total.plus(value.clone());
        let mut least = None;
        for (row, place) in self
            .cells
            .chunks_exact_mut(WIDTH as usize)
            .zip(places(key, WIDTH))
        {
            let cell = &mut row[place];
            cell.plus(value.clone());
            least = Some(least.map_or(&*cell, |least: &V| least.min(cell)));
        }
        if least.is_some_and(|least| reaches(least, PARTS, &self.total)) && !self.keys.contains(key) {
            self.keys.insert(key.to_owned());
            self.prune();
        }
    }

    /// The sum of the key, or more.
    pub fn estimate<Q: Item + ?Sized>(&self, key: &Q) -> V
    where
        K: Borrow<Q>,
    {
        self.least(key).cloned().unwrap_or_else(V::zero)
    }

    /// The sum of all, exact.
    pub fn total(&self) -> &V {
        &self.total
    }

    /// The keys that make up at least one part in `PARTS`, with their estimates, the largest first, of equal ones the
    /// lesser key.
    pub fn heavy(&self) -> Vec<(K, V)> {
        let mut heavy = self.ranked();
        heavy.truncate(2 * PARTS as usize);
        heavy
            .into_iter()
            .map(|(key, estimate)| (key.clone(), estimate.clone()))
            .collect()
    }

    /// The keys that look heavy now, the largest first.
    fn ranked(&self) -> Vec<(&K, &V)> {
        let heavy = self.keys.iter().filter(|key| self.is_heavy(*key));
        let mut ranked: Vec<_> = heavy.filter_map(|key| Some((key, self.least(key)?))).collect();
        ranked.sort_by(|left, right| right.1.cmp(left.1).then_with(|| left.0.cmp(right.0)));
        ranked
    }

    /// Makes room when there are too many keys: half of what they may take, so that it is rarely done.
    fn prune(&mut self) {
        if self.keys.len() > 4 * PARTS as usize {
            self.keys = self.heavy().into_iter().map(|(key, _)| key).collect();
        }
    }

    fn least<Q: Item + ?Sized>(&self, key: &Q) -> Option<&V> {
        let rows = self.cells.chunks_exact(WIDTH as usize).zip(places(key, WIDTH));
        rows.map(|(row, place)| &row[place]).min()
    }

    fn is_heavy<Q: Item + ?Sized>(&self, key: &Q) -> bool {
        self.least(key)
            .is_some_and(|least| reaches(least, PARTS, &self.total))
    }
}

/// The key's place in each row: 32 bits of hash scaled to the width, four rows from each seed 0, 1, …
fn places<Q: Item + ?Sized>(key: &Q, width: u32) -> impl Iterator<Item = usize> {
    let mut hash = 0;
    (0_u64..).map(move |row| {
        hash = if row % 4 == 0 {
            hash128(key, row / 4)
        } else {
            hash >> 32
        };
        (((hash & u128::from(u32::MAX)) as u64 * u64::from(width)) >> 32) as usize
    })
}

/// Whether `value` summed `times` times is at least `total`. Stops as soon as it is, so that no sum passes twice the
/// total.
fn reaches<V: Monoid + Ord + Clone>(value: &V, times: u32, total: &V) -> bool {
    let (mut sum, mut power, mut left) = (V::zero(), value.clone(), times);
    while left > 0 {
        if power >= *total {
            return true;
        }
        if left & 1 == 1 {
            sum.plus(power.clone());
        }
        left >>= 1;
        power.plus(power.clone());
    }
    sum >= *total
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> PartialEq
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    fn eq(&self, other: &Self) -> bool {
        let same_table = self.total == other.total && self.cells == other.cells;
        same_table && self.ranked() == other.ranked()
    }
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Default
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    fn default() -> Self {
        Self::new()
    }
}

/// Adds to the sum of a key.
impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Sketch<(K, V)>
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    fn add(&mut self, (key, value): &(K, V)) {
        self.add_value(key, value.clone());
    }
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> SumsByKey<K, V>
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
}

/// Cell by cell; of the keys of both those that look heavy in the sum.
impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Semigroup
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    fn plus(&mut self, right: Self) {
        if self.cells.is_empty() {
            *self = right;
            return;
        }
        self.total.plus(right.total);
        for (left, right) in self.cells.iter_mut().zip(right.cells) {
            left.plus(right);
        }
        self.keys.extend(right.keys);
        self.prune();
    }
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Monoid
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.cells.is_empty()
    }
}

impl<K, V, const PARTS: u32, const WIDTH: u32, const DEPTH: u8> Commutative
    for SketchMap<K, V, PARTS, WIDTH, DEPTH>
where
    K: Item + Ord + Clone,
    V: Monoid + Commutative + Ord + Clone,
{
}

through_bytes!(
    [
        K: Item + Ord + Clone + Codec, V: Monoid + Commutative + Ord + Clone + Codec,
        const PARTS: u32, const WIDTH: u32, const DEPTH: u8
    ]
    SketchMap<K, V, PARTS, WIDTH, DEPTH>
);
