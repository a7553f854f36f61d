//! A sum whose parts fade by half in each half-life.

use std::f64::consts::LN_2;

use serde::{Deserialize, Serialize};

use super::half_lives::{growth, is_settled, settled, shifted, whole};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};
use crate::numbers::float;
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup};

/// `Σ xᵢ·2^(−(t − tᵢ)/HALF_LIFE)` of parts `xᵢ` at times `tᵢ`, kept as one float as of the half-life in which the
/// latest part lies. Times and `HALF_LIFE` are in one unit, the caller's.
///
/// ```
/// use algebra::{DecayedValue, Semigroup};
///
/// const MINUTE: u64 = 60_000;
/// let mut requests = DecayedValue::<MINUTE>::from((0, 8.0));
/// requests.plus(DecayedValue::from((2 * MINUTE, 1.0)));
/// assert_eq!(requests.at(2 * MINUTE), 3.0);
/// assert_eq!(requests.at(3 * MINUTE), 1.5);
/// ```
///
/// Parts may come in any order. Identity, inverse and commutativity hold exactly. It is associative as
/// [`at`](Self::at) any time not before the latest part: of `n` parts in any grouping, it is within
/// `(n + 5)·ε·Σ|xᵢ|·2^(−(t − tᵢ)/HALF_LIFE)` of the true sum (ε = 2⁻⁵³), and merging rounds nothing but the addition
/// itself. Parts of 1 are 0 after 1,075 half-lives, twice as large ones one half-life later; no gap is too long. What
/// is infinite or NaN never fades. A sum of exactly 0 is the zero.
///
/// | | |
/// |---|---|
/// | answers | a fading sum, and a moving average of rate or value |
/// | update | one `exp2` |
/// | merge | a shift and an addition |
/// | size | 16 bytes |
/// | error | rounding |
///
/// For a fading *average*, keep a pair `(DecayedValue, DecayedValue)` of sum and count: their quotient is the same at
/// every time.
///
/// Bytes: kind, version; `HALF_LIFE` u64; half-lives u64; value f64 (as of that many half-lives after time 0). JSON has
/// the same by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Named", into = "Named")]
pub struct DecayedValue<const HALF_LIFE: u64> {
    /// As of `half_lives`.
    value: f64,
    /// The half-life of the latest part, counted from time 0; 0 when the value is 0.
    half_lives: u64,
}

impl<const HALF_LIFE: u64> DecayedValue<HALF_LIFE> {
    /// No parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part.
    #[inline]
    pub fn add_at(&mut self, time: u64, value: f64) {
        self.plus(Self::from((time, value)));
    }

    /// The sum at `time`. Before the latest part the equation holds too: what comes later then counts more than whole.
    pub fn at(&self, time: u64) -> f64 {
        shifted(
            self.value / growth::<HALF_LIFE>(time),
            self.half_lives,
            whole::<HALF_LIFE>(time),
        )
    }

    /// The parts per unit of time, recent time weighing most: `at(time)·ln 2/HALF_LIFE`.
    ///
    /// The sum divided by the whole weight `∫ 2^(−u/HALF_LIFE) du` of the past. Too low in the first half-lives of a
    /// signal: take [`rate_since`](Self::rate_since). (Algebird's `DecayedValue.average`.)
    pub fn rate_at(&self, time: u64) -> f64 {
        self.at(time) * LN_2 / HALF_LIFE as f64
    }

    /// The parts per unit of time of a signal that began at `start`; `None` when `time` is not later.
    ///
    /// The sum divided by the weight of the time since `start`; right when no part is older. (Algebird's
    /// `averageFrom`.)
    pub fn rate_since(&self, start: u64, time: u64) -> Option<f64> {
        let span = time.checked_sub(start).filter(|span| *span > 0)?;
        let weight = -(-LN_2 * (span as f64 / HALF_LIFE as f64)).exp_m1();
        Some(self.rate_at(time) / weight)
    }

    /// The mean of the values, recent ones weighing most, when there is one at every tick of the clock, the last at
    /// `time`: `at(time)·(1 − 2^(−1/HALF_LIFE))`.
    ///
    /// The sum divided by the weights `Σ 2^(−k/HALF_LIFE)` of all past ticks. (Algebird's `discreteAverage`.)
    pub fn tick_mean_at(&self, time: u64) -> f64 {
        self.at(time) * -(-LN_2 / HALF_LIFE as f64).exp_m1()
    }

    fn settle(value: f64, half_lives: u64) -> Self {
        let value = settled(value);
        Self {
            value,
            half_lives: if value == 0.0 { 0 } else { half_lives },
        }
    }
}

/// One part: its time and its value.
impl<const HALF_LIFE: u64> From<(u64, f64)> for DecayedValue<HALF_LIFE> {
    #[inline]
    fn from((time, value): (u64, f64)) -> Self {
        Self::settle(value * growth::<HALF_LIFE>(time), whole::<HALF_LIFE>(time))
    }
}

/// Addition, as of the later of the two.
impl<const HALF_LIFE: u64> Semigroup for DecayedValue<HALF_LIFE> {
    #[inline]
    fn plus(&mut self, right: Self) {
        if self.half_lives == right.half_lives {
            self.value += right.value;
        } else if self.half_lives > right.half_lives {
            self.value += shifted(right.value, right.half_lives, self.half_lives);
        } else {
            self.value = right.value + shifted(self.value, self.half_lives, right.half_lives);
            self.half_lives = right.half_lives;
        }
        if self.value == 0.0 {
            *self = Self::default();
        }
    }
}

impl<const HALF_LIFE: u64> Monoid for DecayedValue<HALF_LIFE> {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.value == 0.0
    }
}

impl<const HALF_LIFE: u64> Group for DecayedValue<HALF_LIFE> {
    fn negate(&mut self) {
        self.value = settled(-self.value);
    }
}

impl<const HALF_LIFE: u64> Commutative for DecayedValue<HALF_LIFE> {}

/// Takes a time and a value.
impl<const HALF_LIFE: u64> Sketch<(u64, f64)> for DecayedValue<HALF_LIFE> {
    fn add(&mut self, (time, value): &(u64, f64)) {
        self.add_at(*time, *value);
    }
}

impl<const HALF_LIFE: u64> Codec for DecayedValue<HALF_LIFE> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::DECAYED_VALUE, 1);
        put_shape(out, HALF_LIFE);
        self.half_lives.encode(out);
        settled(self.value).encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::DECAYED_VALUE, 1)?;
        input.shape("HALF_LIFE", HALF_LIFE)?;
        let (half_lives, value) = <(u64, f64)>::decode(input)?;
        if !is_settled(value) || (value == 0.0 && half_lives != 0) {
            return Err(input.corrupt(format!(
                "zero and NaN have one form: half_lives={half_lives} value={value}"
            )));
        }
        Ok(Self { value, half_lives })
    }
}

/// As JSON.
#[derive(Serialize, Deserialize)]
struct Named {
    half_life: u64,
    half_lives: u64,
    #[serde(with = "float")]
    value: f64,
}

impl<const HALF_LIFE: u64> From<DecayedValue<HALF_LIFE>> for Named {
    fn from(value: DecayedValue<HALF_LIFE>) -> Self {
        Self {
            half_life: HALF_LIFE,
            half_lives: value.half_lives,
            value: value.value,
        }
    }
}

impl<const HALF_LIFE: u64> TryFrom<Named> for DecayedValue<HALF_LIFE> {
    type Error = String;

    fn try_from(named: Named) -> Result<Self, String> {
        if named.half_life != HALF_LIFE {
            return Err(format!(
                "made with another half-life, read it as the type that has it: expected={HALF_LIFE} found={}",
                named.half_life
            ));
        }
        Ok(Self::settle(named.value, named.half_lives))
    }
}

#[cfg(test)]
mod tests;
