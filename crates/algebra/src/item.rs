//! What a sketch takes: values that are the same bytes in every language.

use twox_hash::XxHash3_128;

/// A value as the bytes that are hashed.
///
/// | value | bytes |
/// |---|---|
/// | integers to 64 bits, `bool`, `char` | the value as a 64-bit integer (sign- or zero-extended), little-endian |
/// | `f32`, `f64` | the value as `f64`, little-endian; `-0.0` as `0.0`, every NaN as `0x7ff8_0000_0000_0000` |
/// | `str`, `String` | UTF-8 |
/// | `[u8]`, `Vec<u8>`, `[u8; N]` | themselves |
/// | references | what they refer to |
/// | tuples | of each part its length (`u64`, little-endian) and its bytes |
///
/// These are the bytes that Apache DataSketches hashes in Java (`update(long)`, `update(double)`, `update(String)`),
/// C++ and Python, so its sketches and ours of the same values merge. Java skips empty strings; this does not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no bytes that are the same in every language: it is not an `Item`",
    note = "take a part of it that is one: a string, an integer, a float, bytes, or a tuple of these"
)]
pub trait Item {
    /// Calls `use_bytes` with the bytes.
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R;
}

/// 128 bits of hash: XXH3 with this seed. Frozen: what is stored depends on it.
#[inline]
pub fn hash128(item: &(impl Item + ?Sized), seed: u64) -> u128 {
    item.with_bytes(|bytes| XxHash3_128::oneshot_with_seed(seed, bytes))
}

macro_rules! integers {
    ($($int:ty as $wide:ty),*) => {$(
        impl Item for $int {
            #[inline]
            fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
                use_bytes(&<$wide>::from(*self).to_le_bytes())
            }
        }
    )*};
}

integers!(
    u8 as u64,
    u16 as u64,
    u32 as u64,
    u64 as u64,
    bool as u64,
    char as u64,
    i8 as i64,
    i16 as i64,
    i32 as i64,
    i64 as i64
);

impl Item for usize {
    #[inline]
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        (*self as u64).with_bytes(use_bytes)
    }
}

impl Item for isize {
    #[inline]
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        (*self as i64).with_bytes(use_bytes)
    }
}

impl Item for f64 {
    #[inline]
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        let canonical = if self.is_nan() {
            0x7ff8_0000_0000_0000
        } else if *self == 0.0 {
            0
        } else {
            self.to_bits()
        };
        use_bytes(&canonical.to_le_bytes())
    }
}

impl Item for f32 {
    #[inline]
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        f64::from(*self).with_bytes(use_bytes)
    }
}

macro_rules! as_bytes {
    ($([$($generics:tt)*] $type:ty, |$it:ident| $bytes:expr;)*) => {$(
        impl<$($generics)*> Item for $type {
            #[inline]
            fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
                let $it = self;
                use_bytes($bytes)
            }
        }
    )*};
}

as_bytes! {
    [] str, |it| it.as_bytes();
    [] String, |it| it.as_bytes();
    [] [u8], |it| it;
    [] Vec<u8>, |it| it;
    [const N: usize] [u8; N], |it| it;
}

impl<T: Item + ?Sized> Item for &T {
    #[inline]
    fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(use_bytes)
    }
}

macro_rules! tuples {
    ($($part:ident $place:tt),*) => {
        impl<$($part: Item),*> Item for ($($part,)*) {
            fn with_bytes<R>(&self, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
                let mut all = Vec::new();
                $(self.$place.with_bytes(|bytes| {
                    all.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                    all.extend_from_slice(bytes);
                });)*
                use_bytes(&all)
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
tuples!(A 0, B 1, C 2, D 3);

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(item: &(impl Item + ?Sized)) -> Vec<u8> {
        item.with_bytes(<[u8]>::to_vec)
    }

    #[test]
    fn a_number_is_the_same_in_every_width() {
        assert_eq!(bytes(&-1_i8), bytes(&-1_i64));
        assert_eq!(bytes(&200_u8), bytes(&200_i64));
        assert_eq!(bytes(&u32::MAX), bytes(&0xffff_ffff_u64));
        assert_eq!(bytes(&1.5_f32), bytes(&1.5_f64));
        assert_eq!(bytes(&0.0), bytes(&-0.0));
        assert_eq!(bytes(&f64::NAN), bytes(&-f64::NAN));
        assert_eq!(bytes(&1_u8), [1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn where_a_tuple_is_cut_counts() {
        assert_ne!(bytes(&("a", "bc")), bytes(&("ab", "c")));
        assert_eq!(bytes(&("é", 1_u8)), bytes(&("é".to_owned(), 1_i64)));
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(hash128("sanderling", 0), FROZEN[0]);
        assert_eq!(hash128(&7_u64, 9001), FROZEN[1]);
    }

    /// As the `xxhash` package of Python computes them.
    const FROZEN: [u128; 2] = [
        0x8dce_9eef_288c_82b4_9d83_d3a5_f0b7_537b,
        0xfe56_abb7_c44b_9824_76a3_6196_9663_8470,
    ];
}
