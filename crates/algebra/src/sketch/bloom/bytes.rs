//! The bytes of a Bloom filter: those of Apache DataSketches.
//!
//! | bytes | |
//! |---|---|
//! | 0 | words of eight bytes before the bits: 3 of an empty filter, else 4 |
//! | 1, 2 | 1, version; 21, family |
//! | 3 | flags: 4 empty |
//! | 4, 5 | bits that an item sets (u16) |
//! | 6, 7 | 0 |
//! | 8.. | seed (u64), 9001 |
//! | 16.. | words of bits (u32), 0 (u32) |
//! | 24.. | bits that are set (u64), or −1: to be counted |
//! | 32.. | the bits |

use super::{Bloom, SEED};
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length};

const VERSION: u8 = 1;
const FAMILY: u8 = 21;
const EMPTY: u8 = 4;
const UNCOUNTED: u64 = u64::MAX;

impl<const BITS: u64, const HASHES: u16> Codec for Bloom<BITS, HASHES> {
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
        let (preamble, flags) = if self.words.is_empty() { (3, EMPTY) } else { (4, 0) };
        let mut out = Vec::with_capacity(32 + self.words.len() * 8);
        out.extend_from_slice(&[preamble, VERSION, FAMILY, flags]);
        out.extend_from_slice(&HASHES.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&SEED.to_le_bytes());
        out.extend_from_slice(&(BITS / 64).to_le_bytes());
        if !self.words.is_empty() {
            out.extend_from_slice(&self.bits_set().to_le_bytes());
        }
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let [_, version, family, flags] = input.array()?;
        if family != FAMILY {
            return Err(input.corrupt(format!("not a Bloom filter: family={family}")));
        }
        if version != VERSION {
            let text = format!("another version of the form: expected={VERSION} found={version}");
            return Err(input.error(DecodeErrorKind::Version, text));
        }
        shape(
            &input,
            "HASHES",
            HASHES.into(),
            u16::from_le_bytes(input.clone().array()?).into(),
        )?;
        input.take(4)?;
        shape(&input, "seed", SEED, u64::from_le_bytes(input.clone().array()?))?;
        input.take(8)?;
        let words = u32::from_le_bytes(input.clone().array()?);
        shape(&input, "BITS", BITS, u64::from(words) * 64)?;
        input.take(8)?;
        if flags & EMPTY != 0 {
            input.finish()?;
            return Ok(Self::new());
        }
        let set = u64::from_le_bytes(input.array()?);
        let bits = input.take((words as usize).saturating_mul(8))?;
        let words = bits
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("a chunk of eight is eight")));
        let filter = Self::from_words(words.collect());
        if set != UNCOUNTED && set != filter.bits_set() {
            let text = format!(
                "another number of bits: expected={set} found={}",
                filter.bits_set()
            );
            return Err(input.corrupt(text));
        }
        input.finish()?;
        Ok(filter)
    }
}

fn shape(input: &Input<'_>, name: &str, expected: u64, found: u64) -> Result<(), DecodeError> {
    if expected == found {
        return Ok(());
    }
    Err(input.error(
        DecodeErrorKind::Shape,
        format!("made with another parameter, read it as the type that has it: parameter={name} expected={expected} found={found}"),
    ))
}
