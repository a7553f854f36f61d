//! The bytes of a HyperLogLog: those of Apache DataSketches, canonical.
//!
//! | bytes | list (to 7 coupons) | set | registers |
//! |---|---|---|---|
//! | 0 | 2, words of preamble | 3 | 10 |
//! | 1, 2, 3 | 1, version; 7, family; lg_k | same | same |
//! | 4 | 3, log2 of the places | log2 of the places | 0 |
//! | 5 | flags: 4 empty, 8 compact, 16 out of order | 8 | 24 |
//! | 6 | number of coupons | 0 | the least rank |
//! | 7 | form: 0 list, 1 set, 2 registers; a register has 4 bits | same | same |
//! | 8.. | coupons, rising | their number (u32), coupons, rising | f64 0.0, the historical estimate; f64 Σ 2^−rank of ranks below 32 and from 32; u32 registers at the least rank; u32 exceptions |
//! | 40.. | | | ranks above the least one, two in a byte, 15 of an exception; exceptions as coupons, rising by register |
//!
//! What depends on the order of items there (the historical estimate, the order of coupons) is left out or sorted; the
//! sums are exact in f64, so they depend on the ranks alone. Read are also the forms that others write: registers of 6
//! and 8 bits, tables with free places, items in order; all become the canonical one.

use super::coupons::{Coupon, Coupons, coupons_max};
use super::{HyperLogLog, State};
use crate::Monoid;
use crate::codec::{Codec, DecodeError, DecodeErrorKind, Input, put_length};

const VERSION: u8 = 1;
const FAMILY: u8 = 7;
const EMPTY: u8 = 4;
const COMPACT: u8 = 8;
const OUT_OF_ORDER: u8 = 16;
const LIST_PLACES_LG: u8 = 3;
const SET_PLACES_LG_MIN: u8 = 5;
const RANK_MAX: u8 = 63;
const RANKS: usize = 64;
/// What a register of four bits holds when its rank is among the exceptions.
const EXCEPTION: u8 = 15;
/// Marks an exception that is still to come, and is refused as a rank.
const MISSING: u8 = u8::MAX;

impl<const LG_K: u8> Codec for HyperLogLog<LG_K> {
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
        match &self.state {
            State::Coupons(coupons) => put_coupons(LG_K, coupons),
            State::Registers(ranks) => put_ranks(LG_K, ranks),
        }
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let [_, version, family, lg_k, places_lg, flags, state, form] = input.array()?;
        if family != FAMILY {
            return Err(input.corrupt(format!("not a HyperLogLog: family={family}")));
        }
        if version != VERSION {
            let text = format!("another version of the form: expected={VERSION} found={version}");
            return Err(input.error(DecodeErrorKind::Version, text));
        }
        if lg_k != LG_K {
            let text = format!(
                "made with another number of registers, read it as HyperLogLog<{lg_k}>; a larger one can be made smaller by downsize: expected={LG_K} found={lg_k}"
            );
            return Err(input.error(DecodeErrorKind::Shape, text));
        }
        let compact = flags & COMPACT != 0;
        let sketch = match (form & 3, form >> 2 & 3) {
            (0, _) if places_lg == LIST_PLACES_LG => {
                let places = if compact {
                    state.into()
                } else {
                    1 << LIST_PLACES_LG
                };
                let none_follow = flags & EMPTY != 0 && input.remaining() == 0;
                take_coupons(&mut input, if none_follow { 0 } else { places }, state.into())?
            }
            (1, _) if (SET_PLACES_LG_MIN..=LG_K.saturating_sub(3)).contains(&places_lg) => {
                let count = u32::from_le_bytes(input.array()?) as usize;
                take_coupons(&mut input, if compact { count } else { 1 << places_lg }, count)?
            }
            (2, width) => {
                input.take(28)?;
                let exceptions = u32::from_le_bytes(input.array()?) as usize;
                let ranks = match width {
                    0 => take_four_bits(&mut input, 1 << LG_K, state, exceptions)?,
                    1 => take_six_bits(&mut input, 1 << LG_K)?,
                    2 => input.take(1 << LG_K)?.to_vec(),
                    _ => return Err(input.corrupt("registers of an unknown width")),
                };
                if let Some(rank) = ranks.iter().find(|rank| **rank > RANK_MAX) {
                    return Err(input.corrupt(format!("a rank exceeds {RANK_MAX}: rank={rank}")));
                }
                Self::from_ranks(ranks)
            }
            _ => return Err(input.corrupt(format!("an unknown form: form={form} places={places_lg}"))),
        };
        input.finish()?;
        Ok(sketch)
    }
}

fn put_coupons(lg_k: u8, coupons: &Coupons) -> Vec<u8> {
    let len = coupons.len();
    let mut out = if len <= coupons_max(4) {
        let flags = if len == 0 { COMPACT | EMPTY } else { COMPACT };
        vec![2, VERSION, FAMILY, lg_k, LIST_PLACES_LG, flags, len as u8, 0]
    } else {
        let places_lg = (SET_PLACES_LG_MIN..)
            .find(|lg| len * 4 <= 3 << lg)
            .expect("a set of coupons is bounded");
        let mut out = vec![3, VERSION, FAMILY, lg_k, places_lg, COMPACT, 0, 1];
        put_length(&mut out, len);
        out
    };
    for coupon in coupons.sorted() {
        out.extend_from_slice(&coupon.bits().to_le_bytes());
    }
    out
}

fn put_ranks(lg_k: u8, ranks: &[u8]) -> Vec<u8> {
    let counts = count(ranks);
    let least = (0..=RANK_MAX)
        .find(|rank| counts[usize::from(*rank)] > 0)
        .expect("each register has a rank");
    let sum = |from: usize, to: usize| {
        let each = (from..to).map(|rank| f64::from(counts[rank]) / (1_u64 << rank) as f64);
        each.sum::<f64>()
    };
    let is_exception = |rank: u8| rank - least >= EXCEPTION;
    let exceptions = (least..=RANK_MAX)
        .filter(|rank| is_exception(*rank))
        .map(|rank| counts[usize::from(rank)])
        .sum::<u32>();
    let mut out = Vec::with_capacity(40 + ranks.len() / 2 + exceptions as usize * 4);
    out.extend_from_slice(&[10, VERSION, FAMILY, lg_k, 0, COMPACT | OUT_OF_ORDER, least, 2]);
    out.extend_from_slice(&0.0_f64.to_le_bytes());
    out.extend_from_slice(&sum(0, 32).to_le_bytes());
    out.extend_from_slice(&sum(32, RANKS).to_le_bytes());
    out.extend_from_slice(&counts[usize::from(least)].to_le_bytes());
    out.extend_from_slice(&exceptions.to_le_bytes());
    let registers = out.len();
    out.resize(registers + ranks.len() / 2, 0);
    for (byte, pair) in out[registers..].iter_mut().zip(ranks.chunks_exact(2)) {
        let [left, right] = [pair[0], pair[1]].map(|rank| (rank - least).min(EXCEPTION));
        *byte = left | right << 4;
    }
    if exceptions > 0 {
        for (register, rank) in ranks.iter().enumerate() {
            if is_exception(*rank) {
                let coupon = Coupon::new(register as u32, *rank);
                out.extend_from_slice(&coupon.bits().to_le_bytes());
            }
        }
    }
    out
}

/// How many registers have each rank. Four tables in turn, so that one count does not wait for the one before.
fn count(ranks: &[u8]) -> [u32; RANKS] {
    let mut counts = [[0_u32; RANKS]; 4];
    for four in ranks.chunks_exact(4) {
        for (counts, rank) in counts.iter_mut().zip(four) {
            counts[usize::from(rank & RANK_MAX)] += 1;
        }
    }
    std::array::from_fn(|rank| counts.iter().map(|counts| counts[rank]).sum())
}

/// `places` words, of which `count` are coupons and the others 0.
fn take_coupons<const LG_K: u8>(
    input: &mut Input<'_>,
    places: usize,
    count: usize,
) -> Result<HyperLogLog<LG_K>, DecodeError> {
    let mut sketch = HyperLogLog::zero();
    let mut found = Coupons::default();
    for place in input.take(places.saturating_mul(4))?.chunks_exact(4) {
        let bits = u32::from_le_bytes(place.try_into().expect("a chunk of four is four"));
        match Coupon::from_bits(bits) {
            Some(coupon) => {
                found.insert(coupon);
                sketch.add_coupon(coupon);
            }
            None if bits == 0 => {}
            None => return Err(input.corrupt("a coupon has the rank 0")),
        }
    }
    if found.len() != count {
        let text = format!(
            "another number of coupons: expected={count} found={}",
            found.len()
        );
        return Err(input.corrupt(text));
    }
    Ok(sketch)
}

/// Two registers in a byte, the lower four bits first, above the least rank; then the exceptions as coupons, with or
/// without free places between.
fn take_four_bits(
    input: &mut Input<'_>,
    registers: usize,
    least: u8,
    exceptions: usize,
) -> Result<Vec<u8>, DecodeError> {
    if least > RANK_MAX {
        return Err(input.corrupt(format!("the least rank exceeds {RANK_MAX}: rank={least}")));
    }
    let packed = input.take(registers / 2)?;
    let mut ranks = vec![0; registers];
    for (pair, byte) in ranks.chunks_exact_mut(2).zip(packed) {
        (pair[0], pair[1]) = (byte & 15, byte >> 4);
    }
    let missing = ranks.iter().filter(|half| **half == EXCEPTION).count();
    if missing != exceptions {
        let text = format!("another number of exceptions: expected={missing} found={exceptions}");
        return Err(input.corrupt(text));
    }
    for rank in &mut ranks {
        *rank = if *rank == EXCEPTION {
            MISSING
        } else {
            *rank + least
        };
    }
    while input.remaining() > 0 {
        let bits = u32::from_le_bytes(input.array()?);
        let Some(coupon) = Coupon::from_bits(bits) else {
            if bits == 0 {
                continue;
            }
            return Err(input.corrupt("an exception has the rank 0"));
        };
        let slot = coupon.address() as usize & (registers - 1);
        if ranks[slot] != MISSING {
            return Err(input.corrupt(format!("an exception that is none, or comes twice: slot={slot}")));
        }
        ranks[slot] = coupon.rank();
    }
    Ok(ranks)
}

/// Six bits for each register, from the lowest bit on; one byte more than they need.
fn take_six_bits(input: &mut Input<'_>, registers: usize) -> Result<Vec<u8>, DecodeError> {
    let packed = input.take(registers * 3 / 4 + 1)?;
    let rank = |register: usize| {
        let bit = register * 6;
        let two = u16::from_le_bytes([packed[bit / 8], packed[bit / 8 + 1]]);
        (two >> (bit % 8)) as u8 & RANK_MAX
    };
    Ok((0..registers).map(rank).collect())
}
