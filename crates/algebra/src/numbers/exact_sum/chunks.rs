//! The superaccumulator: a wide fixed-point number in chunks that overlap, so that an addition seldom carries.

/// How many chunks of 32 bits: 66 hold any double, the others what sums grow by.
pub(super) const CHUNKS: usize = 70;

/// How many additions fit before a carry: chunks have 63 bits, what is added at most 52.
const PENDING_MAX: u32 = (1 << (63 - 52)) - 1;

/// `Σ chunks[i] · 2^(32·(low + i) − 1074)`, modulo `2^(32·CHUNKS − 1074)`, and counts of what is not finite.
#[derive(Clone, Default)]
pub(super) struct Chunks {
    /// The place of the first chunk; `low + chunks.len() ≤ CHUNKS`.
    low: usize,
    /// Signed, each at most `pending · 2⁵²` in magnitude.
    chunks: Vec<i64>,
    /// At most [`PENDING_MAX`].
    pending: u32,
    /// Of +∞, −∞ and NaN. They wrap.
    pub(super) counts: [i64; 3],
}

impl Chunks {
    /// Each digit a chunk, with this sign.
    pub(super) fn new(low: usize, digits: impl Iterator<Item = u32>, negative: bool) -> Self {
        let sign = if negative { -1 } else { 1 };
        Self {
            low,
            chunks: digits.map(|digit| sign * i64::from(digit)).collect(),
            pending: 1,
            counts: [0; 3],
        }
    }

    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        let bits = value.to_bits();
        let exponent = (bits >> 52) as usize & 0x7ff;
        if exponent == 0x7ff {
            return self.count(value);
        }
        let normal = usize::from(exponent != 0);
        let mantissa = bits & ((1 << 52) - 1) | (normal as u64) << 52;
        if mantissa == 0 {
            return;
        }
        // In units of 2⁻¹⁰⁷⁴; subnormals have the exponent of the least normal ones.
        let shift = exponent - normal;
        let (place, offset) = (shift / 32, shift % 32);
        let low = (mantissa << offset) as u32 as i64;
        let high = (mantissa >> (32 - offset)) as i64;
        if self.pending >= PENDING_MAX {
            self.carry();
        }
        self.pending += 1;
        // `(x ^ sign) - sign` is `-x` for a sign of −1.
        let sign = bits as i64 >> 63;
        let parts = [(low ^ sign) - sign, (high ^ sign) - sign];
        if self.put(place, parts).is_none() {
            self.cover(place, place + 2);
            let put = self.put(place, parts);
            debug_assert!(put.is_some(), "the chunks cover what they were made to");
        }
    }

    pub(super) fn merge(&mut self, mut right: Self) {
        if self.chunks.len() < right.chunks.len() {
            std::mem::swap(self, &mut right);
        }
        for (count, right) in self.counts.iter_mut().zip(right.counts) {
            *count = count.wrapping_add(right);
        }
        if right.chunks.is_empty() {
            return;
        }
        if self.pending + right.pending > PENDING_MAX {
            self.carry();
            right.carry();
        }
        self.pending += right.pending;
        self.cover(right.low, right.low + right.chunks.len());
        let at = right.low - self.low;
        for (chunk, right) in self.chunks[at..].iter_mut().zip(&right.chunks) {
            *chunk += right;
        }
    }

    pub(super) fn negate(&mut self) {
        self.chunks.iter_mut().for_each(|chunk| *chunk = -*chunk);
        for count in &mut self.counts {
            *count = count.wrapping_neg();
        }
    }

    /// The sum when what is not finite decides it. One taken back that was never there counts as its opposite.
    pub(super) fn not_finite(&self) -> Option<f64> {
        let [positive, negative, nan] = self.counts;
        let up = positive > 0 || negative < 0;
        let down = negative > 0 || positive < 0;
        match (up, down) {
            _ if nan != 0 => Some(f64::NAN),
            (true, true) => Some(f64::NAN),
            (true, false) => Some(f64::INFINITY),
            (false, true) => Some(f64::NEG_INFINITY),
            (false, false) => None,
        }
    }

    /// In two's complement: the place of the lowest digit, and the digits, of which the last has the sign as its
    /// highest bit.
    pub(super) fn complement(&self) -> (usize, Vec<u32>) {
        let mut carry = 0;
        let mut digits: Vec<u32> = Vec::with_capacity(self.chunks.len() + 1);
        for chunk in &self.chunks {
            let sum = chunk + carry;
            digits.push(sum as u32);
            carry = sum >> 32;
        }
        if self.low + digits.len() < CHUNKS {
            digits.push(carry as u32);
        }
        (self.low, digits)
    }

    #[cold]
    fn count(&mut self, value: f64) {
        let which = if value.is_nan() {
            2
        } else {
            usize::from(value < 0.0)
        };
        self.counts[which] = self.counts[which].wrapping_add(1);
    }

    /// Adds to the chunk of this place and the next, if they are there.
    #[inline]
    fn put(&mut self, place: usize, parts: [i64; 2]) -> Option<()> {
        let chunks = self.chunks.get_mut(place.wrapping_sub(self.low)..)?;
        let [low, high] = chunks.first_chunk_mut()?;
        *low += parts[0];
        *high += parts[1];
        Some(())
    }

    #[cold]
    fn cover(&mut self, low: usize, end: usize) {
        if self.chunks.is_empty() {
            self.low = low;
        }
        if low < self.low {
            self.chunks.splice(0..0, (low..self.low).map(|_| 0));
            self.low = low;
        }
        if end > self.low + self.chunks.len() {
            self.chunks.resize(end - self.low, 0);
        }
    }

    /// Leaves less than 2³² in each chunk.
    #[cold]
    fn carry(&mut self) {
        let Some(top) = self.chunks.len().checked_sub(1) else {
            return;
        };
        for at in 0..top {
            self.chunks[at + 1] += self.chunks[at] >> 32;
            self.chunks[at] &= 0xffff_ffff;
        }
        let highest = self.chunks[top];
        if self.low + top == CHUNKS - 1 {
            self.chunks[top] = i64::from(highest as i32);
        } else if highest >> 32 != 0 && highest >> 32 != -1 {
            self.chunks[top] = highest & 0xffff_ffff;
            self.chunks.push(highest >> 32);
        }
        self.pending = 1;
    }
}
