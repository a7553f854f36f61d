//! What the tests share: golden files, a seeded generator.

use std::fmt::Debug;
use std::path::PathBuf;

use algebra::codec::Codec;

/// The value's bytes are those of `tests/golden/NAME.hex`, and those bytes are the value.
///
/// A file is never overwritten: bytes that have been released last. With `GOLDEN=write` a missing one is made.
pub(crate) fn golden<T: Codec + PartialEq + Debug>(name: &str, value: &T) {
    let path = path(name);
    if !path.exists() && std::env::var("GOLDEN").is_ok_and(|mode| mode == "write") {
        std::fs::write(&path, to_hex(&value.to_bytes())).unwrap();
    }
    let bytes = golden_bytes(name);
    assert_eq!(
        to_hex(&value.to_bytes()),
        to_hex(&bytes),
        "the bytes of {name} have changed: give the form another version"
    );
    assert_eq!(&T::from_bytes(&bytes).unwrap(), value);
}

/// The bytes of `tests/golden/NAME.hex`.
pub(crate) fn golden_bytes(name: &str) -> Vec<u8> {
    let path = path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "no golden file, make it with GOLDEN=write: path={} {error}",
            path.display()
        )
    });
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{name}.hex"))
}

/// 32 bytes a line.
fn to_hex(bytes: &[u8]) -> String {
    bytes
        .chunks(32)
        .map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n")
        .collect()
}

/// SplitMix64 (Steele, Lea and Flood 2014): the same numbers from the same seed, everywhere.
pub(crate) struct Random(pub u64);

impl Random {
    /// Uniform over all.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
