//! The bytes of a theta sketch: those of Apache DataSketches, compact and ordered, version 3.
//!
//! | bytes | |
//! |---|---|
//! | 0 | words of eight bytes before the hashes: 1 of none or of one item, 2 of a whole sample, 3 with a θ |
//! | 1, 2 | 3, version; 3, family |
//! | 3, 4 | 0 |
//! | 5 | flags: 2 read only, 4 empty, 8 compact, 16 ordered |
//! | 6, 7 | cc 93, a hash of the seed 9001 |
//! | 8.. | number of hashes (u32), 0 (u32), when there are 2 words or more |
//! | 16.. | θ (u64), when there are 3 |
//! | then | hashes (u64), rising |
//!
//! k is not among them: a sketch of another k is read too, a larger one trimmed, a smaller one with its θ. Read are also
//! hashes in any order, and the compressed form (version 4).

use datasketches::theta::CompactThetaSketch;

use super::{THETA_MAX, Theta};
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length};

const VERSION: u8 = 3;
const VERSION_COMPRESSED: u8 = 4;
const FAMILY: u8 = 3;
const READ_ONLY: u8 = 2;
const EMPTY: u8 = 4;
const COMPACT: u8 = 8;
const ORDERED: u8 = 16;
const SEED_HASH: [u8; 2] = [0xcc, 0x93];
/// Narrower steps between hashes are those of more than 2⁵⁴ items; refused, since they are not much longer as bytes
/// than nothing, and unpack to eight bytes each.
const STEP_BITS_MIN: u8 = 8;

impl<const LG_K: u8> Codec for Theta<LG_K> {
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
        let sample = self.trimmed().sorted();
        let (words, empty) = match (sample.theta, sample.hashes.len()) {
            (THETA_MAX, 0) => (1, EMPTY),
            (THETA_MAX, 1) => (1, 0),
            (THETA_MAX, _) => (2, 0),
            _ => (3, 0),
        };
        let flags = READ_ONLY | COMPACT | ORDERED | empty;
        let mut out = vec![words, VERSION, FAMILY, 0, 0, flags];
        out.extend_from_slice(&SEED_HASH);
        if words > 1 {
            put_length(&mut out, sample.hashes.len());
            out.extend_from_slice(&[0; 4]);
        }
        if words > 2 {
            out.extend_from_slice(&sample.theta.to_le_bytes());
        }
        for hash in sample.hashes {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let input = check(bytes)?;
        let library =
            CompactThetaSketch::deserialize(bytes).map_err(|error| input.corrupt(error.message()))?;
        let mut sketch = Self::with_theta(library.theta64());
        library.iter().for_each(|entry| sketch.add_hash(entry.hash()));
        Ok(sketch)
    }
}

/// What the library does not look at: that nothing follows, that the seed is ours, that unpacking stays small.
fn check(bytes: &[u8]) -> Result<Input<'_>, DecodeError> {
    let mut input = Input::new(bytes);
    let [
        words,
        version,
        family,
        step_bits,
        count_bytes,
        flags,
        seed_hash @ ..,
    ] = input.array::<8>()?;
    if family != FAMILY {
        return Err(input.corrupt(format!("not a theta sketch: family={family}")));
    }
    if !matches!(version, VERSION | VERSION_COMPRESSED) {
        let text = format!("another version of the form: expected=3|4 found={version}");
        return Err(input.error(DecodeErrorKind::Version, text));
    }
    let empty = flags & EMPTY != 0;
    if seed_hash != SEED_HASH && !empty {
        let text =
            format!("made with another seed than 9001: expected={SEED_HASH:02x?} found={seed_hash:02x?}");
        return Err(input.error(DecodeErrorKind::Shape, text));
    }
    if empty || (version == VERSION && words == 1) {
        input.take(if empty { 0 } else { 8 })?;
    } else if version == VERSION {
        let count = u32::from_le_bytes(input.array()?) as usize;
        input.take(4 + if words > 2 { 8 } else { 0 })?;
        input.take(count.saturating_mul(8))?;
    } else {
        input.take(if words > 1 { 8 } else { 0 })?;
        let mut count = 0;
        for place in 0..count_bytes.min(4) {
            count |= usize::from(input.array::<1>()?[0]) << (place * 8);
        }
        if count > 1 && step_bits < STEP_BITS_MIN {
            return Err(input.corrupt(format!("hashes too close to each other: bits={step_bits}")));
        }
        input.take(count.saturating_mul(step_bits.into()).div_ceil(8))?;
    }
    input.clone().finish()?;
    Ok(input)
}
