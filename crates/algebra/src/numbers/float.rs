//! An `f64` that survives JSON: there, NaN and the infinities are the text `"NaN"`, `"inf"` and `"-inf"`; and one
//! whose bytes are canonical.
//!
//! For `#[serde(with = "float")]`; plain serde_json writes them as `null`, and cannot read that back.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Codec, DecodeError, Input};

/// Appends 8 bytes: equal floats have equal ones, so `-0.0` is written as `0.0`, and every NaN alike.
pub(crate) fn put(out: &mut Vec<u8>, value: f64) {
    canonical(value).encode(out);
}

/// Takes what [`put`] writes, and only that.
pub(crate) fn take(input: &mut Input<'_>) -> Result<f64, DecodeError> {
    let value = f64::decode(input)?;
    if value.to_bits() == canonical(value).to_bits() {
        Ok(value)
    } else {
        Err(input.corrupt("a float is not in its canonical form: -0.0, or NaN with a payload"))
    }
}

fn canonical(value: f64) -> f64 {
    if value.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        value + 0.0
    }
}

pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() || !serializer.is_human_readable() {
        value.serialize(serializer)
    } else {
        serializer.collect_str(value)
    }
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    if !deserializer.is_human_readable() {
        return f64::deserialize(deserializer);
    }
    deserializer.deserialize_any(Text)
}

struct Text;

impl Visitor<'_> for Text {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, \"NaN\", \"inf\" or \"-inf\"")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<f64, E> {
        match value {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(value), &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::Average;

    fn round_trip(value: f64) -> f64 {
        let text = serde_json::to_string(&Average::from(value)).unwrap();
        serde_json::from_str::<Average>(&text).unwrap().mean
    }

    proptest! {
        #[test]
        fn survives_json(value in any::<f64>()) {
            prop_assert_eq!(round_trip(value).to_bits(), value.to_bits());
        }
    }

    #[test]
    fn survives_json_when_not_finite() {
        assert!(round_trip(f64::NAN).is_nan());
        assert_eq!(round_trip(f64::INFINITY), f64::INFINITY);
        assert_eq!(round_trip(f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert!(serde_json::from_str::<Average>(r#"{"count":1,"mean":"much"}"#).is_err());
        assert_eq!(
            serde_json::from_str::<Average>(r#"{"count":1,"mean":-2}"#).unwrap(),
            Average::from(-2.0)
        );
    }
}
