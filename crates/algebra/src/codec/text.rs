//! A [`Codec`] value through serde: its bytes, or in text formats (JSON) its bytes in Base64.
//!
//! For `#[serde(with = "algebra::codec")]` on a field, and for the sketches' own `Serialize` and `Deserialize`.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serializer};

use super::Codec;

/// Writes the bytes; in text formats as Base64 (RFC 4648, with padding).
///
/// # Errors
/// The serializer's.
pub fn serialize<T: Codec, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let bytes = value.to_bytes();
    if serializer.is_human_readable() {
        serializer.collect_str(&base64::display::Base64Display::new(&bytes, &STANDARD))
    } else {
        serializer.serialize_bytes(&bytes)
    }
}

/// Reads what [`serialize`] writes.
///
/// # Errors
/// The deserializer's, or the refusal of the bytes as text.
pub fn deserialize<'de, T: Codec, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Bytes(PhantomData))
    } else {
        deserializer.deserialize_bytes(Bytes(PhantomData))
    }
}

struct Bytes<T>(PhantomData<T>);

impl<'de, T: Codec> Visitor<'de> for Bytes<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a value, in text as Base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let bytes = STANDARD.decode(text).map_err(E::custom)?;
        self.visit_bytes(&bytes)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<T, E> {
        T::from_bytes(bytes).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<T, A::Error> {
        let mut bytes = Vec::new();
        while let Some(byte) = sequence.next_element()? {
            bytes.push(byte);
        }
        self.visit_bytes(&bytes)
    }
}

/// Gives a [`Codec`] type serde's traits through its bytes: `through_bytes!([T: Codec, const N: usize] Name<T, N>);`.
macro_rules! through_bytes {
    ([$($generics:tt)*] $type:ty) => {
        impl<$($generics)*> serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::codec::serialize(self, serializer)
            }
        }

        impl<'de, $($generics)*> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::codec::deserialize(deserializer)
            }
        }
    };
}

pub(crate) use through_bytes;
