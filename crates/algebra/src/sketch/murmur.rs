//! The hash of the families that Apache DataSketches has: MurmurHash3 x64 128 (Appleby 2011) with that project's seed.
//!
//! Own, because the bare library hashes only inside its own sketches; a test holds it to the published values.

/// The seed of Apache DataSketches in every language.
pub(crate) const SEED: u64 = 9001;

const FIRST: u64 = 0x87c3_7b91_1142_53d5;
const SECOND: u64 = 0x4cf5_ad43_2745_937f;

/// 128 bits of hash as two words, the first one first.
#[inline(always)]
pub(crate) fn murmur128(bytes: &[u8], seed: u64) -> (u64, u64) {
    let (mut left, mut right) = (seed, seed);
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        left ^= scatter_left(word(&block[..8]));
        left = left.rotate_left(27).wrapping_add(right);
        left = left.wrapping_mul(5).wrapping_add(0x52dc_e729);
        right ^= scatter_right(word(&block[8..]));
        right = right.rotate_left(31).wrapping_add(left);
        right = right.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let rest = blocks.remainder();
    if rest.len() > 8 {
        left ^= scatter_left(word(&rest[..8]));
        right ^= scatter_right(word(&rest[8..]));
    } else if !rest.is_empty() {
        left ^= scatter_left(word(rest));
    }
    left ^= bytes.len() as u64;
    right ^= bytes.len() as u64;
    left = left.wrapping_add(right);
    right = right.wrapping_add(left);
    left = avalanche(left);
    right = avalanche(right);
    left = left.wrapping_add(right);
    (left, right.wrapping_add(left))
}

/// Up to eight bytes, little-endian. Read as two halves that may overlap, which is faster than a copy of some length.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    let len = bytes.len();
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return u64::from(u32::from_le_bytes(*first))
            | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4));
    }
    let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
    if len == 0 {
        0
    } else {
        byte(0) | byte(len / 2) | byte(len - 1)
    }
}

#[inline(always)]
fn scatter_left(word: u64) -> u64 {
    word.wrapping_mul(FIRST).rotate_left(31).wrapping_mul(SECOND)
}

#[inline(always)]
fn scatter_right(word: u64) -> u64 {
    word.wrapping_mul(SECOND).rotate_left(33).wrapping_mul(FIRST)
}

#[inline(always)]
fn avalanche(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_little_endian() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        for len in 0..=8 {
            let expected = (0..len).map(|at| u64::from(bytes[at]) << (8 * at)).sum::<u64>();
            assert_eq!(word(&bytes[..len]), expected, "len={len}");
        }
    }

    #[test]
    fn as_published() {
        let fox = "The quick brown fox jumps over the lazy dog";
        let hash = |text: &str| murmur128(text.as_bytes(), 0);
        assert_eq!(hash(""), (0, 0));
        assert_eq!(hash(fox), (0xe34b_bc7b_bc07_1b6c, 0x7a43_3ca9_c49a_9347));
        // Tails of 0 and 8 bytes.
        assert_eq!(
            hash("The quick brown fox jumps over t"),
            (0xdf6a_f91b_b29b_dacf, 0x91a3_41c5_8df1_f3a6)
        );
        assert_eq!(
            hash("The quick brown fox jumps over the lazy1"),
            (0xe330_1a82_7e5c_dfe3, 0xbdbf_05f8_da0f_0392)
        );
    }
}
