//! A sum of floats that loses nothing, whatever the order and the grouping.

mod chunks;
mod digits;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use chunks::Chunks;
use digits::Digits;

use crate::codec::{Codec, DecodeError, Input, kind, put_header, through_bytes};
use crate::sketch::Sketch;
use crate::{Commutative, Group, Monoid, Semigroup};

/// The exact sum of `f64`: a fixed-point number of 2240 bits in units of 2⁻¹⁰⁷⁴, of which only the part in use is
/// kept. [`value`](Self::value) is that number correctly rounded, to nearest and of two equally near to even.
///
/// All laws hold exactly, bit for bit: any order, any grouping, any number of machines, and what was added and taken
/// back leaves nothing. So a sum in memory, a live one and one made again in batch are the same. [`Sum`](crate::Sum)
/// is the cheap one: 16 bytes whatever is added, exact up to a bound only. Infinities and NaN are counted beside the
/// number, so that they can be taken back too: the value is what IEEE 754 gives for the terms in any order, except
/// that finite terms never overflow on the way, and that a zero is `0.0`. It wraps, silently, past 2¹⁴¹ times the
/// largest double.
///
/// | answers | the sum, correctly rounded |
/// |---|---|
/// | error | none but the last rounding |
/// | update | two integer additions; every 2047th carries |
/// | merge | one integer addition for each 32 bits in use |
/// | memory | 16 bytes while the sum is a double; else about 80, and 8 for each 32 bits between its ends |
/// | bytes | 5, 4 for each 32 bits in use, 24 more with infinities or NaN |
///
/// Source: Neal 2015, "Fast exact summation using small and large superaccumulators", section 3 (the small one).
///
/// ```
/// use algebra::{ExactSum, Group, Semigroup};
///
/// let mut sum: ExactSum = [1e100, 0.1, -1e100].into_iter().collect();
/// assert_eq!(sum.value(), 0.1);
/// let mut tenth = ExactSum::from(0.1);
/// tenth.negate();
/// sum.plus(tenth);
/// assert_eq!(sum, ExactSum::default());
/// ```
///
/// | byte | what |
/// |---|---|
/// | 0 | kind 0x11 |
/// | 1 | version 1 |
/// | 2 | 1 when negative, plus 2 when counts follow |
/// | 3 | `p`: the place of the lowest digit (0 to 69) |
/// | 4 | `n`: how many digits |
/// | 5 | magnitude: `n` digits of 32 bits, the lowest first, digit `i` worth `2^(32·(p + i) − 1074)` |
/// | | counts, of +∞, −∞ and NaN: three `i64` |
#[derive(Clone)]
pub struct ExactSum(State);

#[derive(Clone)]
enum State {
    /// A finite sum that is a double.
    One(f64),
    Many(Box<Chunks>),
}

impl ExactSum {
    /// The sum, correctly rounded; ±∞ from halfway between the largest double and 2¹⁰²⁴ on.
    pub fn value(&self) -> f64 {
        match &self.0 {
            // A zero has no sign here.
            State::One(value) => value + 0.0,
            State::Many(chunks) => chunks.not_finite().unwrap_or_else(|| Digits::of(chunks).round()),
        }
    }

    /// As the chunks: those of a double are made.
    fn chunks(&mut self) -> &mut Chunks {
        if let State::One(value) = self.0 {
            let mut chunks = Box::<Chunks>::default();
            chunks.add(value);
            self.0 = State::Many(chunks);
        }
        match &mut self.0 {
            State::Many(chunks) => chunks,
            State::One(_) => unreachable!("replaced above"),
        }
    }

    fn digits(&self) -> Digits {
        match &self.0 {
            State::One(value) => Digits::of_double(*value),
            State::Many(chunks) => Digits::of(chunks),
        }
    }

    fn counts(&self) -> [i64; 3] {
        match &self.0 {
            State::One(_) => [0; 3],
            State::Many(chunks) => chunks.counts,
        }
    }
}

impl Default for ExactSum {
    fn default() -> Self {
        Self(State::One(0.0))
    }
}

/// One number.
impl From<f64> for ExactSum {
    #[inline]
    fn from(value: f64) -> Self {
        let mut sum = Self(State::One(value));
        if !value.is_finite() {
            sum.chunks();
        }
        sum
    }
}

impl FromIterator<f64> for ExactSum {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let mut sum = Self::default();
        values.into_iter().for_each(|value| sum.add(&value));
        sum
    }
}

impl Sketch<f64> for ExactSum {
    #[inline]
    fn add(&mut self, item: &f64) {
        match &mut self.0 {
            State::Many(chunks) => chunks.add(*item),
            State::One(value) => match exactly(*value, *item) {
                Some(sum) => *value = sum,
                None => self.chunks().add(*item),
            },
        }
    }
}

/// The sum of two when it is a double.
#[inline]
fn exactly(left: f64, right: f64) -> Option<f64> {
    let sum = left + right;
    let right_part = sum - left;
    // Knuth's TwoSum; next to the maximum it gives NaN, which is not 0 either.
    let lost = (left - (sum - right_part)) + (right - right_part);
    (sum.is_finite() && lost == 0.0).then_some(sum)
}

/// Exact addition.
impl Semigroup for ExactSum {
    #[inline]
    fn plus(&mut self, right: Self) {
        match right.0 {
            State::One(value) => self.add(&value),
            State::Many(mut right) => match &mut self.0 {
                State::Many(left) => left.merge(*right),
                State::One(value) => {
                    right.add(*value);
                    self.0 = State::Many(right);
                }
            },
        }
    }
}

impl Monoid for ExactSum {
    fn zero() -> Self {
        Self::default()
    }

    fn is_zero(&self) -> bool {
        self.digits().is_zero() && self.counts() == [0; 3]
    }
}

/// Exact; a count of infinities or NaN turns negative.
impl Group for ExactSum {
    fn negate(&mut self) {
        match &mut self.0 {
            State::One(value) => *value = -*value,
            State::Many(chunks) => chunks.negate(),
        }
    }
}

impl Commutative for ExactSum {}

/// The same number, and the same counts of infinities and NaN.
impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        self.counts() == other.counts() && self.digits() == other.digits()
    }
}

impl Eq for ExactSum {}

/// By the exact number; of different ones that are not finite by [`value`](ExactSum::value), equal infinities and NaN
/// having no order.
impl PartialOrd for ExactSum {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other {
            return Some(Ordering::Equal);
        }
        if self.counts() == [0; 3] && other.counts() == [0; 3] {
            return Some(self.digits().compare(&other.digits()));
        }
        self.value()
            .partial_cmp(&other.value())
            .filter(|order| order.is_ne())
    }
}

impl fmt::Debug for ExactSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExactSum")
            .field("value", &self.value())
            .field("digits", &self.digits())
            .field("counts", &self.counts())
            .finish()
    }
}

const NEGATIVE: u8 = 1;
const COUNTED: u8 = 2;

impl Codec for ExactSum {
    fn encode(&self, out: &mut Vec<u8>) {
        let (digits, counts) = (self.digits(), self.counts());
        let counted = counts != [0; 3];
        put_header(out, kind::EXACT_SUM, 1);
        out.push(u8::from(digits.negative) * NEGATIVE + u8::from(counted) * COUNTED);
        digits.encode(out);
        if counted {
            counts.encode(out);
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::EXACT_SUM, 1)?;
        let flags = u8::decode(input)?;
        if flags > NEGATIVE + COUNTED {
            return Err(input.corrupt(format!("unknown flags: found={flags}")));
        }
        let digits = Digits::decode(flags & NEGATIVE != 0, input)?;
        if flags & COUNTED != 0 {
            let counts = <[i64; 3]>::decode(input)?;
            if counts == [0; 3] {
                return Err(input.corrupt("the counts are all 0"));
            }
            let mut chunks = digits.chunks();
            chunks.counts = counts;
            return Ok(Self(State::Many(Box::new(chunks))));
        }
        let value = digits.round();
        Ok(Self(if value.is_finite() && Digits::of_double(value) == digits {
            State::One(value)
        } else {
            State::Many(Box::new(digits.chunks()))
        }))
    }
}

through_bytes!([] ExactSum);
