//! Input from a seed: the same on every machine.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use clap::ValueEnum;

/// The words of a line.
const LINE_WORDS: u64 = 12;
/// The keys of numbers in `linear`.
const LINEAR_KEYS: u64 = 100_000;
/// A prime larger than any count of keys: its multiples go through all keys before one comes again.
const STEP: u64 = 2_147_483_647;

/// What the text is.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Shape {
    /// Lines of twelve words; the probability of the n-th word is in proportion to 1/n.
    Words,
    /// Lines `key,number`: random keys below 2⁴⁰ and numbers below 100.
    Keyed,
}

/// Writes a file of so many words or lines.
pub(crate) fn write(shape: Shape, path: &Path, elements: u64, keys: u64, seed: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for n in 0..elements {
        let random = scramble(seed.wrapping_mul(STEP).wrapping_add(n));
        match shape {
            Shape::Words => {
                // Uniform in the logarithm of the rank.
                let uniform = (random >> 11) as f64 / (1u64 << 53) as f64;
                word(&mut file, (keys as f64).powf(uniform) as u64)?;
                let last = n % LINE_WORDS == LINE_WORDS - 1 || n == elements - 1;
                file.write_all(if last { b"\n" } else { b" " })?;
            }
            Shape::Keyed => {
                // Each third line goes through all keys, the others take any.
                let index = if n % 3 == 0 {
                    (n / 3).wrapping_mul(STEP)
                } else {
                    random >> 20
                } % keys;
                let key = unique(seed ^ index);
                writeln!(file, "{key},{}", random % 100)?;
            }
        }
    }
    file.flush()
}

/// The key of a number in `linear`.
pub(crate) fn key_of(number: u64) -> u64 {
    scramble(number) % LINEAR_KEYS
}

/// Syllables, so that frequent words are short: five letters up to the ten-thousandth, then seven and nine.
fn word(file: &mut impl Write, rank: u64) -> io::Result<()> {
    const CONSONANTS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
    const VOWELS: &[u8; 5] = b"aeiou";
    let mut letters = [0; 24];
    let (mut length, mut rest) = (0, rank + 100);
    while rest > 0 {
        letters[length] = CONSONANTS[(rest % 20) as usize];
        letters[length + 1] = VOWELS[(rest / 20 % 5) as usize];
        length += 2;
        rest /= 100;
    }
    letters[length] = CONSONANTS[(rank % 20) as usize];
    file.write_all(&letters[..=length])
}

/// SplitMix64's output function (Steele, Lea, Flood 2014): one-to-one, and looks random.
fn scramble(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number below 2⁴⁰ for each number below it: one-to-one, and looks random.
fn unique(number: u64) -> u64 {
    const BITS: u64 = (1 << 40) - 1;
    let mut z = number & BITS;
    for _ in 0..3 {
        z = z.wrapping_mul(0x9e37_79b9_7f4a_7c15) & BITS;
        z ^= z >> 21;
    }
    z
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_and_words_are_as_many_as_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = |shape, elements, keys| {
            let path = folder.path().join("input");
            write(shape, &path, elements, keys, 7).expect("written");
            std::fs::read_to_string(&path).expect("read")
        };
        let keyed = text(Shape::Keyed, 3_000, 1_000);
        let keys: HashSet<_> = keyed.lines().map(|line| line.split(',').next()).collect();
        assert_eq!((keyed.lines().count(), keys.len()), (3_000, 1_000));
        let words = text(Shape::Words, 30_001, 100);
        let distinct: HashSet<_> = words.split_ascii_whitespace().collect();
        assert_eq!(words.split_ascii_whitespace().count(), 30_001);
        assert!(
            (90..=100).contains(&distinct.len()),
            "distinct={}",
            distinct.len()
        );
    }

    #[test]
    fn numbers_become_unique_ones() {
        let unique: HashSet<u64> = (0..100_000).map(unique).collect();
        assert_eq!(unique.len(), 100_000);
    }
}
