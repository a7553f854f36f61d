//! Which cell of each row an item falls into: as the C++ library has it, built with GNU's standard library.
//!
//! There a row's seed comes from `std::default_random_engine` (MINSTD: Lewis, Goodman and Miller 1969) through
//! `std::uniform_int_distribution`, plus the seed of the whole, 9001; the cell is the first half of MurmurHash3
//! (x64, 128 bits; Appleby 2010) modulo the width. Frozen: what is stored depends on it.

/// The seed that Apache DataSketches hashes with unless told otherwise.
pub(crate) const SEED: u64 = 9001;

/// The seeds of the rows, first row first: as many as a table can have.
pub(crate) static ROW_SEEDS: [u64; u8::MAX as usize] = row_seeds();

const MULTIPLIER: u64 = 0x87c3_7b91_1142_53d5;
const MULTIPLIER_2: u64 = 0x4cf5_ad43_2745_937f;

/// The first 64 bits of MurmurHash3 (x64, 128 bits).
#[inline]
pub(crate) fn murmur(bytes: &[u8], seed: u64) -> u64 {
    let (mut left, mut right) = (seed, seed);
    let blocks = bytes.chunks_exact(16);
    let tail = blocks.remainder();
    for block in blocks {
        let (first, second) = block.split_at(8);
        left ^= scramble(word(first));
        left = left
            .rotate_left(27)
            .wrapping_add(right)
            .wrapping_mul(5)
            .wrapping_add(0x52dc_e729);
        right ^= scramble_2(word(second));
        right = right
            .rotate_left(31)
            .wrapping_add(left)
            .wrapping_mul(5)
            .wrapping_add(0x3849_5ab5);
    }
    let (first, second) = tail.split_at(tail.len().min(8));
    left ^= scramble(word(first)) ^ bytes.len() as u64;
    right ^= scramble_2(word(second)) ^ bytes.len() as u64;
    left = left.wrapping_add(right);
    right = right.wrapping_add(left);
    mix(left).wrapping_add(mix(right))
}

/// Up to eight bytes as an integer, little-endian.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.try_into() {
        Ok(all) => u64::from_le_bytes(all),
        Err(_) => bytes
            .iter()
            .rev()
            .fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

/// Of 0 it is 0.
#[inline]
fn scramble(word: u64) -> u64 {
    word.wrapping_mul(MULTIPLIER)
        .rotate_left(31)
        .wrapping_mul(MULTIPLIER_2)
}

/// Of 0 it is 0.
#[inline]
fn scramble_2(word: u64) -> u64 {
    word.wrapping_mul(MULTIPLIER_2)
        .rotate_left(33)
        .wrapping_mul(MULTIPLIER)
}

/// Lets every bit of the input reach every bit of the output.
#[inline]
fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ word >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ word >> 33
}

const fn row_seeds() -> [u64; u8::MAX as usize] {
    let mut engine = Minstd(SEED);
    let mut seeds = [0; u8::MAX as usize];
    let mut row = 0;
    while row < seeds.len() {
        seeds[row] = engine.uniform().wrapping_add(SEED);
        row += 1;
    }
    seeds
}

/// A number in `1..MODULUS`, then 16807 times as much modulo `MODULUS`, and so on.
struct Minstd(u64);

impl Minstd {
    const MODULUS: u64 = (1 << 31) - 1;
    /// How many numbers it has.
    const COUNT: u64 = Self::MODULUS - 1;

    /// Uniform in `0..COUNT`.
    const fn next(&mut self) -> u64 {
        self.0 = self.0 * 16_807 % Self::MODULUS;
        self.0 - 1
    }

    /// Uniform over all 64 bits: digits to the base `COUNT`, the leading one in `0..5`, until they fit.
    const fn uniform(&mut self) -> u64 {
        loop {
            let leading = self.leading();
            let upper = leading * Self::COUNT + self.next();
            if upper > u64::MAX / Self::COUNT {
                continue;
            }
            if let Some(all) = (upper * Self::COUNT).checked_add(self.next()) {
                return all;
            }
        }
    }

    /// Uniform in `0..5`.
    const fn leading(&mut self) -> u64 {
        let scale = (Self::COUNT - 1) / 5;
        loop {
            let digit = self.next() / scale;
            if digit < 5 {
                return digit;
            }
        }
    }
}
