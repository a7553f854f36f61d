//! The bytes: those of Apache DataSketches.
//!
//! | bytes | what |
//! |---|---|
//! | 0–3 | words of 8 bytes before the counts (`1` when empty, else `4`), `1` (version), `10` (family), `LG_MAX` |
//! | 4 | binary logarithm of a hash table's length: here the least that holds the items, at least 3 |
//! | 5, 6–7 | flags: `5` when empty (either bit is understood), 0 |
//! | 8–11, 12–15 | how many items, 0; this and all that follows unless empty |
//! | 16–23, 24–31 | the total, the error |
//! | 32– | the counts, 8 bytes each; then in the same order the items |
//!
//! All little-endian. Items rise; when read they may be in any order. A string is a length (`u32`) and UTF-8.

use std::hash::Hash;

use super::FrequentItems;
use super::counters::Counters;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length};

const WORDS_EMPTY: u8 = 1;
const WORDS: u8 = 4;
/// Some languages also use the upper two bits of that byte.
const WORDS_MASK: u8 = 0x3f;
const VERSION: u8 = 1;
const FAMILY: u8 = 10;
const EMPTY: u8 = 5;
const LG_MIN: u8 = 3;

/// As a whole the bytes of Apache DataSketches; inside another value their length and them.
impl<T: Ord + Hash + Codec, const LG_MAX: u8> Codec for FrequentItems<T, LG_MAX> {
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
        if self.total == 0 {
            return vec![WORDS_EMPTY, VERSION, FAMILY, LG_MAX, LG_MIN, EMPTY, 0, 0];
        }
        let length = self.counters.counts.len();
        let lg = (LG_MIN..LG_MAX)
            .find(|lg| length <= (1 << lg) / 4 * 3)
            .unwrap_or(LG_MAX);
        let mut out = vec![WORDS, VERSION, FAMILY, LG_MAX, lg, 0, 0, 0];
        put_length(&mut out, length);
        out.extend_from_slice(&[0; 4]);
        self.total.encode(&mut out);
        self.counters.error.encode(&mut out);
        self.counters.encode(&mut out);
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let mut sketch = Self::new();
        if !Self::take_preamble(&mut input)? {
            let length = input.length(8)?;
            let _: [u8; 4] = input.array()?;
            sketch.total = u64::decode(&mut input)?;
            let error = u64::decode(&mut input)?;
            if length > Self::CAPACITY || sketch.total == 0 {
                let text = format!(
                    "too many items, or no count: items={length} total={}",
                    sketch.total
                );
                return Err(input.corrupt(text));
            }
            sketch.counters = Counters::decode(&mut input, length, error, sketch.total)?;
        }
        input.finish()?;
        Ok(sketch)
    }
}

impl<T: Ord + Hash + Codec, const LG_MAX: u8> FrequentItems<T, LG_MAX> {
    fn take_preamble(input: &mut Input<'_>) -> Result<bool, DecodeError> {
        let [words, version, family, lg_max, _, flags, _, _] = input.array()?;
        let empty = flags & EMPTY != 0;
        let words_expected = if empty { WORDS_EMPTY } else { WORDS };
        if (words & WORDS_MASK, family) != (words_expected, FAMILY) {
            return Err(input.corrupt(format!("not frequent items: preamble={words} family={family}")));
        }
        if version != VERSION {
            let text = format!("another version of the form: expected={VERSION} found={version}");
            return Err(input.error(DecodeErrorKind::Version, text));
        }
        if lg_max != LG_MAX {
            let text = format!(
                "made with another size, read it as the type that has it: expected={LG_MAX} found={lg_max}"
            );
            return Err(input.error(DecodeErrorKind::Shape, text));
        }
        Ok(empty)
    }
}
