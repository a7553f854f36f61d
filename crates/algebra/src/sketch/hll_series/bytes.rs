//! The bytes of a HyperLogLog over time.
//!
//! | bytes | |
//! |---|---|
//! | 0, 1 | kind 0x60, version 1 |
//! | 2.. | `LG_K` (u64) |
//! | 10 | 0 without a horizon, else 1 and the horizon (u64) |
//! | then | number of recent coupons (u32), coupons rising: coupon (u32), time (u64) |
//! | then, with a horizon | for each register: number of ranks (u8), ranks falling: rank (u8), time (u64), times rising |

use super::frontier::{Frontier, Seen};
use super::{Coupon, HyperLogLogSeries, coupons_max};
use crate::codec::{Codec, DecodeError, Input, kind, put_header, put_shape};

const VERSION: u8 = 1;
const RANK_MAX: u8 = 63;

impl<const LG_K: u8> Codec for HyperLogLogSeries<LG_K> {
    fn encode(&self, out: &mut Vec<u8>) {
        let trimmed = self.trimmed();
        put_header(out, kind::HLL_SERIES, VERSION);
        put_shape(out, LG_K.into());
        trimmed.horizon.encode(out);
        let recent: Vec<(u32, u64)> = trimmed
            .recent
            .iter()
            .map(|(coupon, time)| (coupon.bits(), *time))
            .collect();
        recent.encode(out);
        for register in &trimmed.registers {
            out.push(register.len() as u8);
            for seen in register.iter() {
                (seen.rank, seen.time).encode(out);
            }
        }
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.header(kind::HLL_SERIES, VERSION)?;
        input.shape("LG_K", LG_K.into())?;
        let mut series = Self::new();
        series.horizon = Option::decode(input)?;
        for _ in 0..input.length(12)? {
            let (bits, time) = <(u32, u64)>::decode(input)?;
            let Some(coupon) = Coupon::from_bits(bits) else {
                return Err(input.corrupt("a coupon has the rank 0"));
            };
            let rises = series
                .recent
                .last_key_value()
                .is_none_or(|(last, _)| *last < coupon);
            if !rises || series.horizon.is_some_and(|horizon| time <= horizon) {
                return Err(input.corrupt("coupons do not rise, or are not after the horizon"));
            }
            series.recent.insert(coupon, time);
        }
        if series.recent.len() > coupons_max(LG_K) {
            let text = format!("more recent coupons than are kept: found={}", series.recent.len());
            return Err(input.corrupt(text));
        }
        if series.horizon.is_some() {
            series.take_registers(input)?;
        }
        Ok(series)
    }
}

impl<const LG_K: u8> HyperLogLogSeries<LG_K> {
    fn take_registers(&mut self, input: &mut Input<'_>) -> Result<(), DecodeError> {
        if input.remaining() < Self::REGISTERS {
            return Err(input.corrupt("bytes end before the registers"));
        }
        self.registers = Vec::with_capacity(Self::REGISTERS);
        for _ in 0..Self::REGISTERS {
            let mut register = Frontier::default();
            for _ in 0..u8::decode(input)? {
                let (rank, time) = <(u8, u64)>::decode(input)?;
                if !(1..=RANK_MAX).contains(&rank) || !register.push(Seen { time, rank }) {
                    return Err(input.corrupt("ranks do not fall, or times do not rise"));
                }
            }
            self.registers.push(register);
        }
        for (coupon, time) in self.recent.clone() {
            if self.see(coupon, time) {
                return Err(input.corrupt("a recent coupon is not in the registers"));
            }
        }
        Ok(())
    }
}
