//! An `i128` that survives JSON: past 64 bits it is text there, since most readers have no wider number.
//!
//! For `#[serde(with = "whole")]`.

use std::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) fn serialize<S: Serializer>(value: &i128, serializer: S) -> Result<S::Ok, S::Error> {
    if !serializer.is_human_readable() {
        return value.to_le_bytes().serialize(serializer);
    }
    match i64::try_from(*value) {
        Ok(value) => value.serialize(serializer),
        Err(_) => serializer.collect_str(value),
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    if deserializer.is_human_readable() {
        deserializer.deserialize_any(Text)
    } else {
        <[u8; 16]>::deserialize(deserializer).map(i128::from_le_bytes)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, past 64 bits as text")
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<i128, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<i128, E> {
        value
            .parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
    }
}
