//! The bytes of the buckets: differences, which are small, in as many bytes as they need.

use super::{Bucket, ExponentialHistogram, has_left};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_length, put_shape, through_bytes};

impl<const K: u32, const WINDOW: u64> Codec for ExponentialHistogram<K, WINDOW> {
    fn encode(&self, out: &mut Vec<u8>) {
        put_header(out, kind::EXPONENTIAL_HISTOGRAM, 1);
        put_shape(out, u64::from(K));
        put_shape(out, WINDOW);
        put_length(out, self.buckets.len());
        let mut before = 0;
        for bucket in &self.buckets {
            put_varint(out, bucket.newest - before);
            put_varint(out, bucket.newest - bucket.oldest);
            put_varint(out, bucket.count);
            before = bucket.newest;
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::EXPONENTIAL_HISTOGRAM, 1)?;
        input.shape("K", u64::from(K))?;
        input.shape("WINDOW", WINDOW)?;
        let length = input.length(3)?;
        if length > Self::BUCKETS_MAX {
            return Err(input.corrupt(format!(
                "more buckets than it holds: expected={} found={length}",
                Self::BUCKETS_MAX
            )));
        }
        let mut read = Self::new();
        for _ in 0..length {
            let bucket = bucket(input, read.latest().unwrap_or(0))?;
            if read
                .buckets
                .back()
                .is_some_and(|last| last.span() >= bucket.span())
            {
                return Err(input.corrupt("the buckets do not rise"));
            }
            read.buckets.push_back(bucket);
        }
        let latest = read.latest().unwrap_or(0);
        match read.buckets.front() {
            Some(first) if has_left::<WINDOW>(first.newest, latest) => {
                Err(input.corrupt("a bucket has left the window"))
            }
            _ => Ok(read),
        }
    }
}

through_bytes!([const K: u32, const WINDOW: u64] ExponentialHistogram<K, WINDOW>);

fn bucket(input: &mut Input<'_>, before: u64) -> Result<Bucket, DecodeError> {
    let [since, span, count] = [varint(input)?, varint(input)?, varint(input)?];
    let bucket = before
        .checked_add(since)
        .and_then(|newest| Some((newest, newest.checked_sub(span)?)))
        .map(|(newest, oldest)| Bucket {
            newest,
            oldest,
            count,
        });
    let events_min = if span == 0 { 1 } else { 2 };
    match bucket {
        Some(bucket) if count >= events_min => Ok(bucket),
        _ => Err(input.corrupt(format!(
            "a bucket of no such events: after={before} since={since} span={span} count={count}"
        ))),
    }
}

/// LEB128: seven bits a byte, the lowest first; the highest bit says that more follow.
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What [`put_varint`] writes, and nothing else: a number has one form.
fn varint(input: &mut Input<'_>) -> Result<u64, DecodeError> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let [byte] = input.array()?;
        let bits = u64::from(byte & 0x7f);
        value |= bits << shift;
        if byte & 0x80 == 0 {
            let longer_than_needed = shift > 0 && byte == 0;
            if longer_than_needed || (bits << shift) >> shift != bits {
                break;
            }
            return Ok(value);
        }
    }
    Err(input.corrupt("a number is longer than it needs to be, or than 64 bits"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_has_one_form(value: u64, shift in 0..64, bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut out = Vec::new();
            put_varint(&mut out, value >> shift);
            prop_assert_eq!(varint(&mut Input::new(&out)).unwrap(), value >> shift);

            let mut input = Input::new(&bytes);
            if let Ok(value) = varint(&mut input) {
                let mut again = Vec::new();
                put_varint(&mut again, value);
                prop_assert_eq!(&again, &bytes[..bytes.len() - input.remaining()]);
            }
        }
    }

    #[test]
    fn more_than_a_number_is_refused() {
        for bytes in [
            &[0x80, 0][..],
            &[0xff; 12],
            &[0x80],
            &[255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
        ] {
            assert!(varint(&mut Input::new(bytes)).is_err(), "{bytes:?}");
        }
    }
}
