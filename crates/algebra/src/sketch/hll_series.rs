//! HyperLogLog over time: how many distinct items since any moment.

mod bytes;
mod frontier;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use self::frontier::Frontier;
use super::Sketch;
use super::hll::{Coupon, HyperLogLog, coupons_max};
use crate::codec::through_bytes;
use crate::{Commutative, Idempotent, Item, Monoid, Semigroup};

/// A [`HyperLogLog`] for every moment: of each register and rank the latest time it was seen, and the most recent
/// coupons with their latest times. A time is a number of the caller's, in any unit.
///
/// Of a register only the ranks that can still count are kept: a rank goes when a higher one was seen at the same time or
/// later. For the sketch of a short span, which holds coupons, the latest coupons are kept, one fewer than there is
/// need of registers for; the time of the next one is the *horizon*, from which back every span has registers.
///
/// Laws, *exact* (`==`): associative, commutative, idempotent, `a.add(x) = a ⊕ of(x)`, and
/// * `s.since(t)` is the `HyperLogLog` of the items at or after `t`, `==` and byte for byte;
/// * `(a ⊕ b).since(t) = a.since(t) ⊕ b.since(t)`;
/// * `s.forget_before(t)` makes it the series of the items at or after `t`.
///
/// ```
/// use algebra::sketch::HyperLogLogSeries;
///
/// let mut visits = HyperLogLogSeries::<12>::new();
/// visits.add_at(100, "ant");
/// visits.add_at(200, "bee");
/// visits.add_at(300, "ant");
/// assert_eq!(visits.since(200).estimate().round(), 2.0);
/// assert_eq!(visits.since(201).estimate().round(), 1.0);
/// ```
///
/// | | |
/// |---|---|
/// | answers | distinct items since any moment, as a `HyperLogLog` |
/// | `LG_K` | 4 to 21 |
/// | error | that of `HyperLogLog` |
/// | update | O(log 2^`LG_K`) |
/// | merge, `since` | O(entries) |
/// | size | at most 63 entries for each register; of n items in random order about ln(n / 2^`LG_K`), 16 bytes each |
///
/// Source: Chabchoub and Hébrail, Sliding HyperLogLog, ICDM workshops 2010.
#[derive(Clone)]
pub struct HyperLogLogSeries<const LG_K: u8 = 12> {
    /// The time of the latest coupon that is not in `recent`; `None` when all are.
    horizon: Option<u64>,
    /// The coupons with a time after the horizon, and that time. At most twice [`coupons_max`]: they are trimmed to that
    /// when more come, and in what compares or encodes.
    recent: BTreeMap<Coupon, u64>,
    /// 2^`LG_K` when there is a horizon, and of all coupons; else none.
    registers: Vec<Frontier>,
}

impl<const LG_K: u8> HyperLogLogSeries<LG_K> {
    const REGISTERS: usize = {
        assert!(LG_K >= 4 && LG_K <= 21, "LG_K must be within 4..=21");
        1 << LG_K
    };

    /// No items.
    pub fn new() -> Self {
        let _ = Self::REGISTERS;
        Self {
            horizon: None,
            recent: BTreeMap::new(),
            registers: Vec::new(),
        }
    }

    /// Takes an item that was seen at `time`. Times may come in any order.
    pub fn add_at(&mut self, time: u64, item: &(impl Item + ?Sized)) {
        self.add_coupon(item.with_bytes(Coupon::of), time);
        if self.recent.len() > 2 * coupons_max(LG_K) {
            self.trim();
        }
    }

    /// The sketch of the items at or after `time`.
    pub fn since(&self, time: u64) -> HyperLogLog<LG_K> {
        if self.horizon.is_some_and(|horizon| horizon >= time) {
            let ranks = self.registers.iter().map(|register| register.rank_since(time));
            return HyperLogLog::from_ranks(ranks.collect());
        }
        let mut sketch = HyperLogLog::new();
        for (coupon, seen) in &self.recent {
            if *seen >= time {
                sketch.add_coupon(*coupon);
            }
        }
        sketch
    }

    /// Forgets the items that were not seen at or after `time`: then `s.since(t) = before.since(max(t, time))`.
    pub fn forget_before(&mut self, time: u64) {
        self.recent.retain(|_, seen| *seen >= time);
        if self.horizon.is_some_and(|horizon| horizon >= time) {
            self.registers
                .iter_mut()
                .for_each(|register| register.forget_before(time));
        } else {
            self.horizon = None;
            self.registers = Vec::new();
        }
    }

    fn add_coupon(&mut self, coupon: Coupon, time: u64) {
        if let Some(horizon) = self.horizon {
            self.see(coupon, time);
            if time <= horizon {
                return;
            }
        }
        let seen = self.recent.entry(coupon).or_insert(time);
        *seen = (*seen).max(time);
    }

    /// In the registers alone; whether that changes anything.
    fn see(&mut self, coupon: Coupon, time: u64) -> bool {
        let register = coupon.address() as usize & (Self::REGISTERS - 1);
        self.registers[register].see(coupon.rank(), time)
    }

    fn make_registers(&mut self) {
        if self.registers.is_empty() {
            self.registers = vec![Frontier::default(); Self::REGISTERS];
            for (coupon, time) in self.recent.clone() {
                self.see(coupon, time);
            }
        }
    }

    /// To the coupons after the horizon, which is the time of the latest one that is too many.
    fn trim(&mut self) {
        if self.recent.len() <= coupons_max(LG_K) {
            return;
        }
        self.make_registers();
        let mut times: Vec<u64> = self.recent.values().copied().collect();
        let (_, horizon, _) = times.select_nth_unstable_by(coupons_max(LG_K), |left, right| right.cmp(left));
        let horizon = *horizon;
        self.recent.retain(|_, seen| *seen > horizon);
        self.horizon = Some(horizon);
    }

    /// What this is, whatever its history.
    fn trimmed(&self) -> Self {
        let mut trimmed = self.clone();
        trimmed.trim();
        trimmed
    }
}

/// Takes a time and an item.
impl<T: Item, const LG_K: u8> Sketch<(u64, T)> for HyperLogLogSeries<LG_K> {
    fn add(&mut self, (time, item): &(u64, T)) {
        self.add_at(*time, item);
    }
}

/// The items of both, at the later of their times.
impl<const LG_K: u8> Semigroup for HyperLogLogSeries<LG_K> {
    fn plus(&mut self, mut right: Self) {
        if self.horizon < right.horizon {
            std::mem::swap(self, &mut right);
        }
        if right.horizon.is_some() {
            for (register, other) in self.registers.iter_mut().zip(&right.registers) {
                register.see_all(other);
            }
        }
        // When only the left has registers, this brings the right one's coupons to them.
        for (coupon, time) in right.recent {
            self.add_coupon(coupon, time);
        }
        self.trim();
    }
}

impl<const LG_K: u8> Monoid for HyperLogLogSeries<LG_K> {
    fn zero() -> Self {
        Self::new()
    }

    fn is_zero(&self) -> bool {
        self.horizon.is_none() && self.recent.is_empty()
    }
}

impl<const LG_K: u8> Commutative for HyperLogLogSeries<LG_K> {}
impl<const LG_K: u8> Idempotent for HyperLogLogSeries<LG_K> {}

impl<const LG_K: u8> Default for HyperLogLogSeries<LG_K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const LG_K: u8> PartialEq for HyperLogLogSeries<LG_K> {
    fn eq(&self, other: &Self) -> bool {
        let (left, right) = (self.trimmed(), other.trimmed());
        left.horizon == right.horizon && left.recent == right.recent && left.registers == right.registers
    }
}

impl<const LG_K: u8> Eq for HyperLogLogSeries<LG_K> {}

impl<const LG_K: u8> fmt::Debug for HyperLogLogSeries<LG_K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trimmed = self.trimmed();
        f.debug_struct("HyperLogLogSeries")
            .field("lg_k", &LG_K)
            .field("horizon", &trimmed.horizon)
            .field("recent", &trimmed.recent.len())
            .field(
                "seen",
                &trimmed.registers.iter().map(Frontier::len).sum::<usize>(),
            )
            .finish()
    }
}

through_bytes!([const LG_K: u8] HyperLogLogSeries<LG_K>);
