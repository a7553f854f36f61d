//! Which shape of Bloom filter to take.

/// The parameters of a [`Bloom`](super::Bloom).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BloomShape {
    /// Bits, a multiple of 64.
    pub bits: u64,
    /// Bits that an item sets.
    pub hashes: u16,
}

impl BloomShape {
    /// The smallest shape of which, after so many distinct items, another item is found with at most about
    /// `failure_probability`: n·log₂(1/p)/ln 2 bits and log₂(1/p) hashes (Bloom 1970), rounded up to what
    /// [`Bloom`](super::Bloom) takes.
    ///
    /// The probability is taken within 2⁻⁶⁴ and one half (NaN as one half), and the bits within 64 and 2³⁶.
    ///
    /// | items | probability | bits, hashes | bytes |
    /// |---|---|---|---|
    /// | 1 000 | 1 % | 9 600, 7 | 1.2 k |
    /// | 10 000 | 1 % | 95 872, 7 | 12 k |
    /// | 100 000 | 1 % | 958 528, 7 | 120 k |
    /// | 100 000 | 0.1 % | 1 437 760, 10 | 180 k |
    /// | 1 000 000 | 0.1 % | 14 377 600, 10 | 1.8 M |
    pub fn suggest(items: u64, failure_probability: f64) -> Self {
        let halvings = if failure_probability.is_nan() {
            1.0
        } else {
            -failure_probability.clamp(2_f64.powi(-64), 0.5).log2()
        };
        let bits = items as f64 * halvings / std::f64::consts::LN_2;
        Self {
            bits: (bits.ceil() as u64).clamp(64, 1 << 36).next_multiple_of(64),
            hashes: halvings.round() as u16,
        }
    }
}
