//! The bytes: those of Apache DataSketches.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | `2` (preamble, in words of 8 bytes), `1` (version), `18` (family), flags: `1` when empty |
//! | 4–7 | 0 |
//! | 8–11, 12 | width, depth |
//! | 13–14, 15 | hash of the seed (`0x93cc` for 9001), 0 |
//! | 16–23 | the total, unless empty |
//! | 24– | the cells, row by row, 8 bytes each, unless empty |
//!
//! All little-endian; counts are integers, in Python floats, and the bytes do not say which.

use super::CountMin;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length};

const PREAMBLE_WORDS: u8 = 2;
const VERSION: u8 = 1;
const FAMILY: u8 = 18;
const EMPTY: u8 = 1;
/// The first 16 bits of Murmur3 of the seed 9001.
const SEED_HASH: u16 = 0x93cc;
/// Up to here floats hold every integer.
const FLOAT_EXACT_MAX: f64 = (1_u64 << 53) as f64;

impl<const WIDTH: u32, const DEPTH: u8> CountMin<WIDTH, DEPTH> {
    /// The bytes as `count_min_sketch` of Apache DataSketches in Python reads them: counts as `f64`, exact up to 2⁵³.
    pub fn to_python(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, |count| (count as f64).to_le_bytes());
        out
    }

    /// Reads what `serialize()` in Python gives.
    ///
    /// # Errors
    /// As [`from_bytes`](Codec::from_bytes), and `Corrupt` when a count is not a whole number of `0..=2^53`.
    pub fn from_python(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::take(bytes, |bytes| {
            let count = f64::from_le_bytes(bytes);
            ((0.0..=FLOAT_EXACT_MAX).contains(&count) && count.fract() == 0.0).then_some(count as u64)
        })
    }

    fn put(&self, out: &mut Vec<u8>, number: impl Fn(u64) -> [u8; 8]) {
        let flags = if self.total == 0 { EMPTY } else { 0 };
        out.extend_from_slice(&[PREAMBLE_WORDS, VERSION, FAMILY, flags, 0, 0, 0, 0]);
        out.extend_from_slice(&WIDTH.to_le_bytes());
        out.push(DEPTH);
        out.extend_from_slice(&SEED_HASH.to_le_bytes());
        out.push(0);
        if self.total > 0 {
            out.extend_from_slice(&number(self.total));
            self.cells
                .iter()
                .for_each(|count| out.extend_from_slice(&number(*count)));
        }
    }

    fn take(bytes: &[u8], number: impl Fn([u8; 8]) -> Option<u64>) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let empty = Self::take_preamble(&mut input)?;
        let mut sketch = Self::new();
        if !empty {
            let next = |input: &mut Input<'_>| {
                let bytes = input.array()?;
                number(bytes).ok_or_else(|| input.corrupt("a count is not a whole number"))
            };
            sketch.total = next(&mut input)?;
            if input.remaining() != 8 * Self::CELLS {
                return Err(input.corrupt(format!(
                    "another number of cells: expected={} left={}",
                    Self::CELLS,
                    input.remaining()
                )));
            }
            for _ in 0..Self::CELLS {
                sketch.cells.push(next(&mut input)?);
            }
            sketch.check(&input)?;
        }
        input.finish()?;
        Ok(sketch)
    }

    fn take_preamble(input: &mut Input<'_>) -> Result<bool, DecodeError> {
        let [words, version, family, flags] = input.array()?;
        if (words, family) != (PREAMBLE_WORDS, FAMILY) {
            return Err(input.corrupt(format!("not a table of counts: preamble={words} family={family}")));
        }
        if version != VERSION {
            let text = format!("another version of the form: expected={VERSION} found={version}");
            return Err(input.error(DecodeErrorKind::Version, text));
        }
        let _: [u8; 4] = input.array()?;
        let width = u32::decode(input)?;
        let depth = u8::decode(input)?;
        if (width, depth) != (WIDTH, DEPTH) {
            let text = format!(
                "made with another width or depth, read it as the type that has them: \
                 expected={WIDTH}x{DEPTH} found={width}x{depth}"
            );
            return Err(input.error(DecodeErrorKind::Shape, text));
        }
        let seed_hash = u16::decode(input)?;
        if seed_hash != SEED_HASH {
            let text = format!("made with another seed: expected={SEED_HASH:#x} found={seed_hash:#x}");
            return Err(input.error(DecodeErrorKind::Shape, text));
        }
        let _: [u8; 1] = input.array()?;
        Ok(flags & EMPTY != 0)
    }

    /// Refuses what counting cannot give: negative counts of C++, and nearly always floats taken for integers.
    fn check(&self, input: &Input<'_>) -> Result<(), DecodeError> {
        let total = u128::from(self.total);
        for row in self.cells.chunks_exact(WIDTH as usize) {
            let sum: u128 = row.iter().copied().map(u128::from).sum();
            if sum.min(u128::from(u64::MAX)) != total || total == 0 {
                return Err(input.corrupt(format!(
                    "a row does not sum to the total: sum={sum} total={total}"
                )));
            }
        }
        Ok(())
    }
}

/// As a whole the bytes of Apache DataSketches; inside another value their length and them.
impl<const WIDTH: u32, const DEPTH: u8> Codec for CountMin<WIDTH, DEPTH> {
    fn encode(&self, out: &mut Vec<u8>) {
        let bytes = self.to_bytes();
        put_length(out, bytes.len());
        out.extend_from_slice(&bytes);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let length = input.length(1)?;
        Self::from_bytes(input.take(length)?)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, u64::to_le_bytes);
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::take(bytes, |bytes| Some(u64::from_le_bytes(bytes)))
    }
}
