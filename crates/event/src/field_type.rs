//! The types that a declared field can have, and how each is stored.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::infer::list_of;
use crate::{Error, FieldSettings, Result};

/// Digits that a decimal can have; also what every declared decimal is stored with.
pub(crate) const DECIMAL_DIGITS_MAX: u8 = 38;

/// The type of a declared field. In settings it is text.
///
/// | text | values | in JSON | Arrow | Delta | SQL |
/// |---|---|---|---|---|---|
/// | `text` | UTF-8 | text | Utf8View | string | `TEXT` |
/// | `boolean` | true, false | `true`, `false` | Boolean | boolean | `BOOLEAN` |
/// | `int8` `int16` `int32` `int64` | whole numbers of so many bits | number | Int64 | long | `BIGINT` |
/// | `float64` | IEEE 754 double | number | Float64 | double | `DOUBLE` |
/// | `float32` | a double within the range of a float (not rounded) | number | Float64 | double | `DOUBLE` |
/// | `decimal(p,s)` | up to p digits, s of them after the point; 1 ≤ p ≤ 38, s ≤ p | number or text, exact | Decimal128(38, s) | decimal(38,s) | `DECIMAL(38,s)` |
/// | `timestamp` | microseconds since 1970, UTC | RFC 3339 text with an offset, or a whole number of ms | Timestamp(µs, UTC) | timestamp | `TIMESTAMP` |
/// | `date` | a day | text `YYYY-MM-DD` | Date32 | date | `DATE` |
/// | `bytes` | bytes | base64 text | BinaryView | binary | `BYTEA` |
/// | `list<t>` | any number of t | array | List | array | `t[]` |
/// | `struct` | the fields named beside it | object | Struct | struct | `STRUCT` |
///
/// Numbers are stored as the widest of their family, so that a field can be widened later without writing a row
/// again; what is declared is checked of each event.
///
/// ```
/// use event::FieldType;
/// assert_eq!("list<int32>".parse::<FieldType>().unwrap(), FieldType::List(Box::new(FieldType::Int32)));
/// let error = "bigint".parse::<FieldType>().unwrap_err().to_string();
/// assert!(error.contains("int64"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FieldType {
    /// `text`
    Text,
    /// `boolean`
    Boolean,
    /// `int8`
    Int8,
    /// `int16`
    Int16,
    /// `int32`
    Int32,
    /// `int64`
    Int64,
    /// `float32`
    Float32,
    /// `float64`
    Float64,
    /// `decimal(p,s)`
    Decimal {
        /// Digits in all.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// `timestamp`
    Timestamp,
    /// `date`
    Date,
    /// `bytes`
    Bytes,
    /// `list<t>`
    List(Box<FieldType>),
    /// `struct`: its fields are [`FieldSettings::fields`].
    Struct,
}

/// The types without parameters, by name.
const PLAIN: [(&str, FieldType); 12] = [
    ("text", FieldType::Text),
    ("boolean", FieldType::Boolean),
    ("int8", FieldType::Int8),
    ("int16", FieldType::Int16),
    ("int32", FieldType::Int32),
    ("int64", FieldType::Int64),
    ("float32", FieldType::Float32),
    ("float64", FieldType::Float64),
    ("timestamp", FieldType::Timestamp),
    ("date", FieldType::Date),
    ("bytes", FieldType::Bytes),
    ("struct", FieldType::Struct),
];

/// What others call these types, for the error.
const ELSEWHERE: [(&str, &[&str]); 12] = [
    (
        "text",
        &["string", "varchar", "char", "utf8", "str", "uuid", "json"],
    ),
    ("boolean", &["bool"]),
    ("int8", &["tinyint", "byte"]),
    ("int16", &["smallint", "short", "int2"]),
    ("int32", &["int", "integer", "int4"]),
    (
        "int64",
        &["bigint", "long", "uint8", "uint16", "uint32", "number"],
    ),
    ("float32", &["float", "real", "float4"]),
    ("float64", &["double", "double precision", "float8"]),
    ("decimal(p,s)", &["decimal", "numeric", "money", "uint64"]),
    ("timestamp", &["timestamptz", "datetime", "time"]),
    ("bytes", &["bytea", "binary", "blob", "varbinary"]),
    ("list<t>", &["list", "array", "repeated"]),
];

impl FromStr for FieldType {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some((_, plain)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(plain.clone());
        }
        if let Some(item) = text.strip_prefix("list<").and_then(|rest| rest.strip_suffix('>')) {
            return Ok(Self::List(Box::new(item.parse()?)));
        }
        if let Some(digits) = text
            .strip_prefix("decimal(")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            return decimal(text, digits);
        }
        Err(unknown(text))
    }
}

fn decimal(text: &str, digits: &str) -> Result<FieldType> {
    let numbers = digits
        .split_once(',')
        .and_then(|(p, s)| Some((p.trim().parse().ok()?, s.trim().parse().ok()?)));
    match numbers {
        Some((precision, scale)) if (1..=DECIMAL_DIGITS_MAX).contains(&precision) && scale <= precision => {
            Ok(FieldType::Decimal { precision, scale })
        }
        _ => Err(Error::invalid(format_args!(
            "decimal has 1 to {DECIMAL_DIGITS_MAX} digits and not more of them after the point, write decimal(20,4) type={text:?}"
        ))),
    }
}

fn unknown(text: &str) -> Error {
    let lower = text.to_lowercase();
    let name = lower.split(['(', '<']).next().unwrap_or_default().trim();
    let meant = PLAIN
        .iter()
        .map(|(plain, _)| *plain)
        .find(|plain| *plain == name)
        .or_else(|| {
            let of = |(meant, names): &(&'static str, &[&str])| names.contains(&name).then_some(*meant);
            ELSEWHERE.iter().find_map(of)
        });
    let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
    Error::invalid(format_args!(
        "unknown type, use text, boolean, int8, int16, int32, int64, float32, float64, decimal(p,s), timestamp, date, bytes, list<t> or struct{hint} type={text:?}"
    ))
}

impl fmt::Display for FieldType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::List(item) => write!(f, "list<{item}>"),
            plain => {
                let name = PLAIN.iter().find(|(_, of)| of == plain).map(|(name, _)| *name);
                f.write_str(name.unwrap_or_default())
            }
        }
    }
}

impl TryFrom<String> for FieldType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<FieldType> for String {
    fn from(of: FieldType) -> Self {
        of.to_string()
    }
}

impl FieldType {
    /// The type of the column, with the fields of the struct that it ends in.
    pub(crate) fn stored(&self, fields: &[FieldSettings]) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Boolean => DataType::Boolean,
            Self::Int8 | Self::Int16 | Self::Int32 | Self::Int64 => DataType::Int64,
            Self::Float32 | Self::Float64 => DataType::Float64,
            Self::Decimal { scale, .. } => DataType::Decimal128(DECIMAL_DIGITS_MAX, *scale as i8),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Date => DataType::Date32,
            Self::Bytes => DataType::BinaryView,
            Self::List(item) => list_of(item.stored(fields)),
            Self::Struct => DataType::Struct(stored_fields(fields).into()),
        }
    }

    /// Whether it is a struct, or a list of structs.
    pub(crate) fn has_fields(&self) -> bool {
        match self {
            Self::Struct => true,
            Self::List(item) => item.has_fields(),
            _ => false,
        }
    }

    /// How deep it nests.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::List(item) => 1 + item.depth(),
            _ => 0,
        }
    }

    /// Whether every value of `self` is one of `wider`, stored the same way.
    pub(crate) fn widens_to(&self, wider: &Self) -> bool {
        use FieldType::{Decimal, Float32, Float64, Int8, Int16, Int32, Int64, List};
        match (self, wider) {
            (old, new) if old == new => true,
            (Int8, Int16 | Int32 | Int64) | (Int16, Int32 | Int64) | (Int32, Int64) | (Float32, Float64) => {
                true
            }
            (
                Decimal {
                    precision: old,
                    scale,
                },
                Decimal {
                    precision: new,
                    scale: same,
                },
            ) => new >= old && same == scale,
            (List(old), List(new)) => old.widens_to(new),
            _ => false,
        }
    }
}

/// The columns of declared fields: nullable, whatever is required of new events.
pub(crate) fn stored_fields(fields: &[FieldSettings]) -> Vec<FieldRef> {
    let stored = |field: &FieldSettings| {
        let data_type = field.data_type.stored(&field.fields);
        Arc::new(Field::new(&field.name, data_type, true))
    };
    fields.iter().map(stored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_their_text() {
        for text in [
            "text",
            "int8",
            "decimal(20,4)",
            "list<list<decimal(38,38)>>",
            "list<struct>",
        ] {
            assert_eq!(text.parse::<FieldType>().unwrap().to_string(), text);
        }
        for (text, hint) in [
            ("string", "did you mean text?"),
            ("Int64", "did you mean int64?"),
            ("numeric(3,2)", "did you mean decimal(p,s)?"),
            ("array<text>", "did you mean list<t>?"),
            ("decimal(39,0)", "1 to 38 digits"),
            ("decimal(3,4)", "1 to 38 digits"),
            ("decimal(3)", "1 to 38 digits"),
            ("list<what>", "type=\"what\""),
        ] {
            let error = text.parse::<FieldType>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
