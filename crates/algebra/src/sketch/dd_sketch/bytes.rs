//! The bytes of a DdSketch.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | kind `0x63`, version 1 |
//! | 8, 8 | shape: `PERMYRIAD`, `BUCKETS_MAX` |
//! | 8, 8 | how many NaN, how many zeros |
//! | 1 or 17 | 0, or 1 and the least and the greatest number |
//! | | below zero, then above zero: a length, and of each bucket, rising, index and count |
//!
//! Of a bucket `⌊B·(e + s·(4 − s)/3)⌋`, `B = ⌈3750 / PERMYRIAD⌉`, of the magnitude `2ᵉ·(1 + s)`: of the first the
//! index, of the others the step from the one before. These and the counts are LEB128, 7 bits a byte, the lowest first;
//! the first index as `2·i`, or `−2·i − 1` below zero.

use super::counts::Counts;
use super::{DdSketch, Part, mapping};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape, through_bytes};

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> Codec for DdSketch<PERMYRIAD, BUCKETS_MAX> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::DD_SKETCH, 1);
        put_shape(out, u64::from(PERMYRIAD));
        put_shape(out, BUCKETS_MAX as u64);
        self.not_numbers.encode(out);
        self.zeros.encode(out);
        self.extremes.encode(out);
        put_counts(out, &self.negative);
        put_counts(out, &self.positive);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::DD_SKETCH, 1)?;
        input.shape("PERMYRIAD", u64::from(PERMYRIAD))?;
        input.shape("BUCKETS_MAX", BUCKETS_MAX as u64)?;
        let mut sketch = Self::new();
        sketch.not_numbers = u64::decode(input)?;
        sketch.zeros = u64::decode(input)?;
        sketch.extremes = Option::decode(input)?;
        sketch.negative = counts::<PERMYRIAD, BUCKETS_MAX>(input)?;
        sketch.positive = counts::<PERMYRIAD, BUCKETS_MAX>(input)?;
        if sketch.extremes_agree() {
            Ok(sketch)
        } else {
            Err(input.corrupt("the least and the greatest number are not in the outermost buckets"))
        }
    }
}

impl<const PERMYRIAD: u32, const BUCKETS_MAX: usize> DdSketch<PERMYRIAD, BUCKETS_MAX> {
    fn extremes_agree(&self) -> bool {
        let (first, last) = (self.parts().next(), self.parts().last());
        let (Some((min, max)), Some((first, _)), Some((last, _))) = (self.extremes, first, last) else {
            return self.extremes.is_none() && first.is_none();
        };
        let canonical = |x: f64| !x.is_nan() && x.to_bits() != (-0.0_f64).to_bits();
        let [least, greatest] = [min, max].map(Part::of::<PERMYRIAD>);
        // A number that was folded is nearer to zero than the bucket that holds it.
        let first_agrees = least == first
            || (self.positive.is_full()
                && matches!((least, first), (Part::Positive(a), Part::Positive(b)) if a < b));
        let last_agrees = greatest == last
            || (self.negative.is_full()
                && matches!((greatest, last), (Part::Negative(a), Part::Negative(b)) if a > b));
        canonical(min) && canonical(max) && min <= max && first_agrees && last_agrees
    }
}

fn put_counts<const MAX: usize>(out: &mut Vec<u8>, counts: &Counts<MAX>) {
    put_length(out, counts.len());
    let mut before = None;
    for (index, count) in counts.iter() {
        match before {
            None => put_varint(out, zigzag(index)),
            Some(before) => put_varint(out, u64::from(index.abs_diff(before))),
        }
        put_varint(out, count);
        before = Some(index);
    }
}

fn counts<const PERMYRIAD: u32, const MAX: usize>(input: &mut Input<'_>) -> Result<Counts<MAX>, DecodeError> {
    let length = input.length(2)?;
    if length > MAX {
        return Err(input.corrupt(format!(
            "more buckets than there can be: buckets={length} buckets_max={MAX}"
        )));
    }
    let range = mapping::indices::<PERMYRIAD>();
    let mut entries: Vec<(i32, u64)> = Vec::with_capacity(length);
    for _ in 0..length {
        let number = varint(input)?;
        let index = match entries.last() {
            None => unzigzag(number),
            Some(_) if number == 0 => return Err(input.corrupt("the buckets do not rise")),
            Some((before, _)) => i64::from(*before).saturating_add_unsigned(number),
        };
        let index = i32::try_from(index).ok().filter(|index| range.contains(index));
        let Some(index) = index else {
            return Err(input.corrupt(format!("no float has this bucket: found={number}")));
        };
        match varint(input)? {
            0 => return Err(input.corrupt("a bucket is empty")),
            count => entries.push((index, count)),
        }
    }
    Ok(Counts::from_entries(entries))
}

fn zigzag(index: i32) -> u64 {
    let index = i64::from(index);
    ((index << 1) ^ (index >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Only in its shortest form, so that equal values have equal bytes.
fn varint(input: &mut Input<'_>) -> Result<u64, DecodeError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = input.array()?;
        let bits = u64::from(byte & 0x7f);
        if (bits << shift) >> shift != bits {
            return Err(input.corrupt("a number is greater than 64 bits"));
        }
        number |= bits << shift;
        if byte < 0x80 {
            return match byte {
                0 if shift > 0 => Err(input.corrupt("a number has a zero too many")),
                _ => Ok(number),
            };
        }
    }
    Err(input.corrupt("a number is greater than 64 bits"))
}

through_bytes!([const PERMYRIAD: u32, const BUCKETS_MAX: usize] DdSketch<PERMYRIAD, BUCKETS_MAX>);
