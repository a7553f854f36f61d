//! The items that make up at least a share of all.

#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::Sketch;
use super::count_min::CountMin;
use super::frequent_items::counters::Counters;
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape, through_bytes};
use crate::{Commutative, Item, Monoid, Semigroup};

const MILLION: u64 = 1_000_000;

/// A [`CountMin`] table of all items, and at most `4 / s` candidates with a count each, with the share
/// `s = SHARE_PPM / 10⁶`.
///
/// [`heavy`](Self::heavy) gives the candidates whose estimate, in the table as it is now, is at least `s` of the
/// total. With `N` the total, `c(x)` the true count of an item, and the table's `ε = e / WIDTH` and `δ = e^−DEPTH`:
///
/// 1. *Every `x` with `c(x) ≥ s·N` is listed*, whatever the order and the grouping of the merges. What is heavy in a
///    union is heavy in a part (`c₁ + c₂ ≥ s·(N₁ + N₂)` needs `cᵢ ≥ s·Nᵢ` for one of them), and the counters of the
///    candidates (as in [`FrequentItems`](super::FrequentItems)) are short by less than `s/2·N`, so that each part
///    and the whole keep every item with `c(x) ≥ s/2·N`; the table never shows too few.
/// 2. *An `x` with `c(x) < (s − ε)·N` is listed* with a probability of at most `δ`.
/// 3. *No more than `4 / s` candidates*, whatever comes: they are kept by their own counts. An estimate would keep
///    any number of items that share the cells of a heavy one.
/// 4. *Any order gives the same list* but for items with `c(x) < s/2·N` that the table shows as heavy, which takes an
///    error of more than `s/2·N` in all rows: by Markov's inequality at most `(2 / (s·WIDTH))^DEPTH` for an item.
///
/// Laws: `⊕` is commutative with the zero `new()`, exactly (`==`). Associativity is exact for the table and so for
/// all estimates; for the candidates within 1 to 4. Algebird's list of the `n` most frequent keeps what is frequent in
/// one part and so depends on the order; for the first `n` take [`FrequentItems::top`](super::FrequentItems::top).
///
/// An item and what it is borrowed as (`String`, `str`) must be the same [`Item`].
///
/// ```
/// use algebra::sketch::{HeavyHitters, Sketch};
///
/// // From 10 % on, with an error of 1 %.
/// let mut pages = HeavyHitters::<String, 100_000, 272, 5>::new();
/// (0..50).for_each(|n| pages.add(&format!("/page/{n}")));
/// pages.add_count("/", 50);
/// assert_eq!(pages.heavy(), [("/".to_owned(), 50)]);
/// ```
///
/// | | |
/// |---|---|
/// | answers | which items make up at least `s` of all, and how often they came |
/// | update | `DEPTH` hashes and cells, and a look into a hash map |
/// | merge | `WIDTH·DEPTH` additions, and a look into a hash map for each candidate |
/// | size | `8·WIDTH·DEPTH` bytes, and `4 / s` items with their counts |
///
/// Bytes: the header, `SHARE_PPM`, the table, the error of the counters (`u64`), how many candidates (`u32`), their
/// counts (`u64`), and in the same order the candidates, rising.
#[derive(Clone, Debug, PartialEq)]
pub struct HeavyHitters<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> {
    table: CountMin<WIDTH, DEPTH>,
    candidates: Counters<T>,
}

impl<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8>
    HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    /// How many candidates have room: so many that half of them, and one, are more than `2 / s`.
    const CAPACITY: usize = {
        assert!(
            0 < SHARE_PPM && SHARE_PPM as u64 <= MILLION,
            "the share is 1 to 1 000 000 millionths"
        );
        assert!(
            WIDTH as u64 * SHARE_PPM as u64 >= 2_718_282,
            "the table is too narrow: its error, e / width, is above the share"
        );
        (4 * MILLION).div_ceil(SHARE_PPM as u64) as usize
    };

    /// Nothing counted.
    pub fn new() -> Self {
        const { assert!(Self::CAPACITY >= 4) };
        Self {
            table: CountMin::new(),
            candidates: Counters::default(),
        }
    }

    /// Counts an item `count` times.
    #[inline]
    pub fn add_count<Q>(&mut self, item: &Q, count: u64)
    where
        T: Borrow<Q>,
        Q: Item + Eq + Hash + ToOwned<Owned = T> + ?Sized,
    {
        self.table.add_count(item, count);
        self.candidates.add(item, count, Self::CAPACITY);
    }

    /// How often any item was counted, or more; above it by more than `ε·N` with a probability of at most `δ`.
    pub fn estimate(&self, item: &(impl Item + ?Sized)) -> u64 {
        self.table.estimate(item)
    }

    /// Where the count of the item is, for certain.
    pub fn bounds<Q>(&self, item: &Q) -> RangeInclusive<u64>
    where
        T: Borrow<Q>,
        Q: Item + Eq + Hash + ?Sized,
    {
        let counted = self.candidates.count(item);
        counted
            ..=self
                .estimate(item)
                .min(counted.saturating_add(self.candidates.error))
    }

    /// The sum of all counts, exact up to `u64::MAX`.
    pub fn total(&self) -> u64 {
        self.table.total()
    }

    /// The counts of all items.
    pub fn table(&self) -> &CountMin<WIDTH, DEPTH> {
        &self.table
    }

    fn is_heavy(&self, estimate: u64) -> bool {
        u128::from(estimate) * u128::from(MILLION) >= u128::from(self.total()) * u128::from(SHARE_PPM)
    }
}

impl<T: Item + Ord + Hash + Clone, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8>
    HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    /// The items that make up the share, with their estimates, the largest first, of equal ones the lesser item.
    pub fn heavy(&self) -> Vec<(T, u64)> {
        let estimates = self
            .candidates
            .counts
            .keys()
            .map(|item| (item, self.estimate(item)));
        let mut heavy: Vec<_> = estimates
            .filter(|(_, estimate)| self.is_heavy(*estimate))
            .collect();
        heavy.sort_unstable_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        heavy
            .into_iter()
            .map(|(item, estimate)| (item.clone(), estimate))
            .collect()
    }
}

impl<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Default
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the item once.
impl<T, Q, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Sketch<Q>
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
where
    T: Eq + Hash + Borrow<Q>,
    Q: Item + Eq + Hash + ToOwned<Owned = T> + ?Sized,
{
    #[inline]
    fn add(&mut self, item: &Q) {
        self.add_count(item, 1);
    }
}

impl<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Semigroup
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    fn plus(&mut self, right: Self) {
        self.table.plus(right.table);
        self.candidates.plus(right.candidates, Self::CAPACITY);
    }
}

impl<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Monoid
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.table.is_zero()
    }
}

impl<T: Eq + Hash, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Commutative
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
}

impl<T: Ord + Hash + Codec, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8> Codec
    for HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
{
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::HEAVY_HITTERS, 1);
        put_shape(out, SHARE_PPM.into());
        self.table.encode(out);
        self.candidates.error.encode(out);
        put_length(out, self.candidates.counts.len());
        self.candidates.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::HEAVY_HITTERS, 1)?;
        input.shape("SHARE_PPM", SHARE_PPM.into())?;
        let table = CountMin::decode(input)?;
        let error = u64::decode(input)?;
        let length = input.length(8)?;
        if length > Self::CAPACITY {
            return Err(input.corrupt(format!("more candidates than have room: candidates={length}")));
        }
        let candidates = Counters::decode(input, length, error, table.total())?;
        Ok(Self { table, candidates })
    }
}

through_bytes!(
    [T: Ord + Hash + Codec, const SHARE_PPM: u32, const WIDTH: u32, const DEPTH: u8]
    HeavyHitters<T, SHARE_PPM, WIDTH, DEPTH>
);
