//! An item as 32 bits, and the set of them that a small sketch is.

use crate::sketch::murmur::{SEED, murmur128};

/// Six bits of rank (1 to 63), then 26 bits of address: what any number of registers needs to know of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Coupon(u32);

const ADDRESS_BITS: u32 = 26;
const ADDRESS_MASK: u32 = (1 << ADDRESS_BITS) - 1;
const RANK_MAX: u8 = 63;

impl Coupon {
    /// The coupon of an item's bytes.
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let (low, high) = murmur128(bytes, SEED);
        let rank = high.leading_zeros().min(u32::from(RANK_MAX) - 1) + 1;
        Self((rank << ADDRESS_BITS) | (low as u32 & ADDRESS_MASK))
    }

    pub(super) fn new(address: u32, rank: u8) -> Self {
        Self((u32::from(rank) << ADDRESS_BITS) | (address & ADDRESS_MASK))
    }

    /// From its 32 bits; `None` when the rank is 0.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        (bits >> ADDRESS_BITS != 0).then_some(Self(bits))
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u32 {
        self.0 & ADDRESS_MASK
    }

    #[inline(always)]
    pub(crate) fn rank(self) -> u8 {
        (self.0 >> ADDRESS_BITS) as u8
    }
}

/// How many coupons a sketch of 2^`lg_k` registers holds before it takes to registers: as Apache DataSketches does.
pub(crate) const fn coupons_max(lg_k: u8) -> usize {
    if lg_k < 8 { 7 } else { (1 << (lg_k - 3)) / 4 * 3 }
}

/// A set of coupons: an open-addressed table, a power of two long, at most three quarters full; 0 is a free place.
///
/// Coupons are hashes already, so the low bits of one are its place.
#[derive(Clone, Default)]
pub(super) struct Coupons {
    table: Vec<u32>,
    len: usize,
}

impl Coupons {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.table.capacity() * size_of::<u32>()
    }

    #[inline]
    pub(super) fn insert(&mut self, coupon: Coupon) {
        if (self.len + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let place = place(&self.table, coupon.0);
        if self.table[place] == 0 {
            self.table[place] = coupon.0;
            self.len += 1;
        }
    }

    pub(super) fn contains(&self, coupon: Coupon) -> bool {
        self.len > 0 && self.table[place(&self.table, coupon.0)] != 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Coupon> {
        self.table
            .iter()
            .filter(|bits| **bits != 0)
            .map(|bits| Coupon(*bits))
    }

    /// Rising.
    pub(super) fn sorted(&self) -> Vec<Coupon> {
        let mut coupons: Vec<Coupon> = self.iter().collect();
        coupons.sort_unstable();
        coupons
    }

    #[cold]
    fn grow(&mut self) {
        let mut table = vec![0; (self.table.len() * 2).max(8)];
        for coupon in self.iter() {
            let place = place(&table, coupon.0);
            table[place] = coupon.0;
        }
        self.table = table;
    }
}

/// Where it is, or would be. The table has a free place, and an odd stride comes to all; the stride is of other bits
/// than the first place, so that coupons that were chosen to meet there part again.
#[inline]
fn place(table: &[u32], coupon: u32) -> usize {
    let mask = table.len() - 1;
    let mut place = coupon as usize & mask;
    let stride = (coupon >> 14) as usize | 1;
    while table[place] != 0 && table[place] != coupon {
        place = (place + stride) & mask;
    }
    place
}

impl PartialEq for Coupons {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().all(|coupon| other.contains(coupon))
    }
}
