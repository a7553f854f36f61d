//! The bytes of a MinHash.
//!
//! | bytes | |
//! |---|---|
//! | 0, 1 | kind 0x61, version 1 |
//! | 2.. | `HASHES` (u64) |
//! | 10 | 0 of no items (and nothing follows), else 1 |
//! | 11.. | a bit for each bin, the lowest of the first byte first: set when it is not empty; the bits left over are 0 |
//! | then | hashes (u64) of the bins that are not empty, in their order |

use super::{EMPTY, MinHash};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};

const VERSION: u8 = 1;

impl<const HASHES: usize> Codec for MinHash<HASHES> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::MIN_HASH, VERSION);
        put_shape(out, HASHES as u64);
        (!self.least.is_empty()).encode(out);
        for bins in self.least.chunks(8) {
            let held = bins
                .iter()
                .enumerate()
                .map(|(bit, hash)| u8::from(*hash != EMPTY) << bit);
            out.push(held.sum());
        }
        self.least
            .iter()
            .filter(|hash| **hash != EMPTY)
            .for_each(|hash| hash.encode(out));
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::MIN_HASH, VERSION)?;
        input.shape("HASHES", HASHES as u64)?;
        if !bool::decode(input)? {
            return Ok(Self::new());
        }
        let held = input.take(HASHES.div_ceil(8))?;
        let count = held.iter().map(|bits| bits.count_ones() as usize).sum::<usize>();
        let is_held = |bin: usize| held[bin / 8] >> (bin % 8) & 1 == 1;
        if count == 0 || (HASHES..held.len() * 8).any(is_held) {
            return Err(input.corrupt("bins are held that there are not, or none"));
        }
        let mut least = Vec::with_capacity(HASHES);
        for bin in 0..HASHES {
            let hash = if is_held(bin) { u64::decode(input)? } else { EMPTY };
            if is_held(bin) && hash == EMPTY {
                return Err(input.corrupt(format!("a hash beyond the largest: bin={bin}")));
            }
            least.push(hash);
        }
        Ok(Self { least })
    }
}
