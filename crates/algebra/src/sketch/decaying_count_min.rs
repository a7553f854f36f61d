//! Fading counts of very many items.

use std::ops::RangeInclusive;

use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape, through_bytes};
use crate::item::{Item, hash128};
use crate::sketch::Sketch;
use crate::statistics::half_lives::{growth, shifted, whole};
use crate::{Commutative, Monoid, Semigroup};

/// Count-Min (Cormode and Muthukrishnan 2005) of counts that fade by half in each `HALF_LIFE`: `DEPTH` rows of `WIDTH`
/// floats with one shared time. Times and `HALF_LIFE` are in one unit, the caller's.
///
/// ```
/// use algebra::sketch::DecayingCountMin;
///
/// let mut hits = DecayingCountMin::<60_000, 1_024, 4>::new();
/// hits.add_at(0, "/home", 8.0);
/// hits.add_at(120_000, "/about", 1.0);
/// assert_eq!(hits.at(120_000, "/home"), 2.0);
/// assert_eq!(hits.total_at(120_000), 3.0);
/// ```
///
/// **Error.** For each item, with a probability of at least `1 − e^(−DEPTH)`, the count is at most
/// `e/WIDTH · total_at(t)` too large; it is never too small, but for the rounding of the sums: of `n` additions,
/// `n·2⁻⁵³` of it. Never negative. No gap in time is too long: what has faded to nothing is 0.
///
/// **Laws.** Identity and commutativity exact, associative within that rounding. There is no inverse: with counts below
/// 0, the least of the rows would no longer be a bound.
///
/// | | |
/// |---|---|
/// | answers | fading counts of any items, their fading total |
/// | update | one hash, `DEPTH` cells; all cells once in a half-life |
/// | merge | all cells |
/// | size | `8·WIDTH·DEPTH` bytes, none when empty |
/// | error | `e/WIDTH` of the total, else `e^(−DEPTH)` |
///
/// Bytes: kind, version; `HALF_LIFE` u64, `WIDTH` u64, `DEPTH` u64; half-lives u64; total f64; u32 count of the
/// cells, 0 or all; the cells, row by row, each f64. The cell of an item in a row is part of the form:
/// `mix(low + row·high)·WIDTH >> 64`, with the two halves of `hash128(item, 0)` and the finaliser of SplitMix64.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecayingCountMin<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> {
    /// The half-life of the latest part, counted from time 0; 0 when there is none. All below is as of it.
    half_lives: u64,
    total: f64,
    /// Row by row; empty when there are no parts.
    cells: Vec<f64>,
}

impl<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> DecayingCountMin<HALF_LIFE, WIDTH, DEPTH> {
    const CELLS: usize = {
        assert!(WIDTH >= 1, "a row has at least 1 cell: the error is e/WIDTH");
        assert!(
            DEPTH >= 1 && DEPTH <= 32,
            "1 to 32 rows: it fails with probability e^-DEPTH"
        );
        assert!(WIDTH <= 1 << 24, "at most 2^24 cells in a row");
        WIDTH as usize * DEPTH as usize
    };

    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to the count of an item. A count that is not a number above 0 is not added.
    pub fn add_at(&mut self, time: u64, item: &(impl Item + ?Sized), count: f64) {
        let (from, count) = (whole::<HALF_LIFE>(time), count * growth::<HALF_LIFE>(time));
        if count.is_nan() || count <= 0.0 {
            return;
        }
        if from > self.half_lives {
            self.advance(from);
        }
        let count = shifted(count, from, self.half_lives);
        if count == 0.0 {
            return;
        }
        self.cells.resize(Self::CELLS, 0.0);
        self.total += count;
        for place in Self::places(hash128(item, 0)) {
            self.cells[place] += count;
        }
    }

    /// The count of an item at `time`: never less than the true one (but for rounding), and rarely much more. (Before
    /// the latest part, as [`DecayedValue::at`](crate::DecayedValue::at).)
    pub fn at(&self, time: u64, item: &(impl Item + ?Sized)) -> f64 {
        if self.cells.is_empty() {
            return 0.0;
        }
        let cells = Self::places(hash128(item, 0)).map(|place| self.cells[place]);
        let least = cells.fold(f64::INFINITY, f64::min);
        self.value_at(time, least)
    }

    /// The least and the most that the count of an item at `time` is, the least with a probability of `1 − e^(−DEPTH)`.
    pub fn bounds_at(&self, time: u64, item: &(impl Item + ?Sized)) -> RangeInclusive<f64> {
        let most = self.at(time, item);
        // An infinite total leaves no lower bound: of NaN and 0, `max` gives 0.
        (most - self.error_at(time)).max(0.0)..=most
    }

    /// By how much a count at `time` may be too large: `e/WIDTH` of the total.
    pub fn error_at(&self, time: u64) -> f64 {
        std::f64::consts::E / f64::from(WIDTH) * self.total_at(time)
    }

    /// The sum of all counts at `time`.
    pub fn total_at(&self, time: u64) -> f64 {
        self.value_at(time, self.total)
    }

    fn value_at(&self, time: u64, value: f64) -> f64 {
        shifted(
            value / growth::<HALF_LIFE>(time),
            self.half_lives,
            whole::<HALF_LIFE>(time),
        )
    }

    /// The cell in each row of an item with this hash.
    fn places(hash: u128) -> impl Iterator<Item = usize> {
        let (low, high) = (hash as u64, (hash >> 64) as u64);
        (0..DEPTH).map(move |row| {
            // Mixed after the rows differ: cells that are shared in one row are then no likelier shared in another.
            let mixed = mix(low.wrapping_add(u64::from(row).wrapping_mul(high)));
            usize::from(row) * WIDTH as usize + ((u128::from(mixed) * u128::from(WIDTH)) >> 64) as usize
        })
    }

    /// All as of a later half-life.
    fn advance(&mut self, half_lives: u64) {
        let from = std::mem::replace(&mut self.half_lives, half_lives);
        for value in self.cells.iter_mut().chain([&mut self.total]) {
            *value = shifted(*value, from, half_lives);
        }
        self.settle();
    }

    /// Nothing has one form.
    fn settle(&mut self) {
        if self.total == 0.0 {
            self.cells.clear();
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Cell by cell, as of the later of the two.
impl<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Semigroup
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
    fn plus(&mut self, mut right: Self) {
        let half_lives = self.half_lives.max(right.half_lives);
        self.advance(half_lives);
        right.advance(half_lives);
        if self.cells.is_empty() {
            *self = right;
        } else if !right.cells.is_empty() {
            self.total += right.total;
            for (left, right) in self.cells.iter_mut().zip(right.cells) {
                *left += right;
            }
        }
    }
}

impl<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Monoid
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.cells.is_empty()
    }
}

impl<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Commutative
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
}

/// Takes a time and an item, which counts 1.
impl<T: Item, const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Sketch<(u64, T)>
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
    fn add(&mut self, (time, item): &(u64, T)) {
        self.add_at(*time, item, 1.0);
    }
}

/// Takes a time, an item and its count.
impl<T: Item, const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Sketch<(u64, T, f64)>
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
    fn add(&mut self, (time, item, count): &(u64, T, f64)) {
        self.add_at(*time, item, *count);
    }
}

impl<const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8> Codec
    for DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
{
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::DECAYING_COUNT_MIN, 1);
        put_shape(out, HALF_LIFE);
        put_shape(out, u64::from(WIDTH));
        put_shape(out, u64::from(DEPTH));
        self.half_lives.encode(out);
        self.total.encode(out);
        put_length(out, self.cells.len());
        self.cells.iter().for_each(|cell| cell.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::DECAYING_COUNT_MIN, 1)?;
        input.shape("HALF_LIFE", HALF_LIFE)?;
        input.shape("WIDTH", u64::from(WIDTH))?;
        input.shape("DEPTH", u64::from(DEPTH))?;
        let (half_lives, total) = <(u64, f64)>::decode(input)?;
        let length = input.length(8)?;
        let mut cells = Vec::with_capacity(length);
        for _ in 0..length {
            cells.push(f64::decode(input)?);
        }
        let not_a_sum = |value: &f64| value.is_nan() || value.is_sign_negative();
        if cells.iter().chain([&total]).any(not_a_sum) {
            return Err(input.corrupt("a sum of counts is below 0 or not a number"));
        }
        let sound = match length {
            0 => total == 0.0 && half_lives == 0,
            _ => total > 0.0 && length == Self::CELLS,
        };
        if !sound {
            return Err(input.corrupt(format!(
                "neither nothing nor all cells: cells={length} total={total}"
            )));
        }
        Ok(Self {
            half_lives,
            total,
            cells,
        })
    }
}

through_bytes!(
    [const HALF_LIFE: u64, const WIDTH: u32, const DEPTH: u8] DecayingCountMin<HALF_LIFE, WIDTH, DEPTH>
);

#[cfg(test)]
mod tests;
