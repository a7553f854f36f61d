//! The canonical form of an exact sum: a sign and the digits in use; its rounding and its bytes.

use std::cmp::Ordering;

use super::chunks::{CHUNKS, Chunks};
use crate::codec::{Codec, DecodeError, Input};

/// `± Σ digits[i] · 2^(32·(low + i) − 1074)`. The first and the last digit are not 0; of zero there are none, and
/// `low` is 0.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) negative: bool,
    low: usize,
    digits: Vec<u32>,
}

impl Digits {
    pub(super) fn of(chunks: &Chunks) -> Self {
        let (low, mut digits) = chunks.complement();
        let negative = digits.last().is_some_and(|digit| digit >> 31 == 1);
        if negative {
            let mut carry = true;
            for digit in &mut digits {
                (*digit, carry) = (!*digit).overflowing_add(u32::from(carry));
            }
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        Self {
            negative,
            low: if digits.is_empty() { 0 } else { low + zeros },
            digits,
        }
    }

    /// Of a finite one.
    pub(super) fn of_double(value: f64) -> Self {
        let mut chunks = Chunks::default();
        chunks.add(value);
        Self::of(&chunks)
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    pub(super) fn compare(&self, other: &Self) -> Ordering {
        let size = |it: &Self| it.low + it.digits.len();
        match (self.negative, other.negative) {
            (true, false) => return Ordering::Less,
            (false, true) => return Ordering::Greater,
            _ => {}
        }
        let magnitudes = size(self)
            .cmp(&size(other))
            .then_with(|| self.digits.iter().rev().cmp(other.digits.iter().rev()));
        if self.negative {
            magnitudes.reverse()
        } else {
            magnitudes
        }
    }

    pub(super) fn chunks(&self) -> Chunks {
        Chunks::new(self.low, self.digits.iter().copied(), self.negative)
    }

    /// The nearest double, of two equally near the even one.
    pub(super) fn round(&self) -> f64 {
        let Some(highest) = self.digits.last() else {
            return 0.0;
        };
        // Of the highest bit that is set; bit 0 is worth 2⁻¹⁰⁷⁴.
        let bit = 32 * (self.low + self.digits.len()) - 1 - highest.leading_zeros() as usize;
        // How many bits fall off; with the first 53 at the bottom, this is what the exponent is raised by.
        let shift = bit.saturating_sub(52);
        let magnitude = if shift > 0x7fd {
            f64::INFINITY
        } else {
            let bits = ((shift as u64) << 52) + self.bits(shift);
            // A carry out of the mantissa goes into the exponent, and past the largest double makes it ∞.
            f64::from_bits(bits + u64::from(self.rounds_up(shift)))
        };
        if self.negative { -magnitude } else { magnitude }
    }

    fn digit(&self, place: usize) -> u32 {
        let at = place.checked_sub(self.low);
        at.and_then(|at| self.digits.get(at)).copied().unwrap_or(0)
    }

    /// The 53 bits from this one up.
    fn bits(&self, from: usize) -> u64 {
        let digit = |at: usize| u128::from(self.digit(from / 32 + at));
        let all = digit(0) | digit(1) << 32 | digit(2) << 64;
        (all >> (from % 32)) as u64 & ((1 << 53) - 1)
    }

    /// Whether what is below this bit is more than half of it, or half of it and the bit is set.
    fn rounds_up(&self, from: usize) -> bool {
        let Some(half) = from.checked_sub(1) else {
            return false;
        };
        let (place, below) = (half / 32, (1 << (half % 32)) - 1);
        let is_set = |bit: usize| self.digit(bit / 32) >> (bit % 32) & 1 == 1;
        // The lowest digit is not 0.
        let more_than_half = self.low < place || self.digit(place) & below != 0;
        is_set(half) && (more_than_half || is_set(from))
    }

    /// Without the sign.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend([self.low as u8, self.digits.len() as u8]);
        self.digits.iter().for_each(|digit| digit.encode(out));
    }

    /// After the sign.
    pub(super) fn decode(negative: bool, input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let [low, length] = input.array()?.map(|byte: u8| usize::from(byte));
        if low + length > CHUNKS {
            return Err(input.corrupt(format!("more digits than there are: low={low} length={length}")));
        }
        let mut digits = Vec::with_capacity(length);
        for _ in 0..length {
            digits.push(u32::decode(input)?);
        }
        let found = Self {
            negative,
            low,
            digits,
        };
        // What has another form, or is out of range, changes on the way through the chunks.
        if Self::of(&found.chunks()) == found {
            Ok(found)
        } else {
            Err(input.corrupt("the digits are not in their canonical form"))
        }
    }
}
