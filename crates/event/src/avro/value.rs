//! Records as what `serde` reads, straight from their bytes.

use std::fmt;

use jiff::SignedDuration;
use jiff::civil::{self, DateTime};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use uuid::Uuid;

use super::container::Input;
use super::schema::{Schema, Type, Unit};
use crate::limits::{RECORD_DEPTH_MAX, ZERO_BYTE_VALUES_MAX};

/// Why a record cannot be read.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self(text.to_string())
    }
}

fn fault(text: &str) -> Fault {
    Fault(text.to_owned())
}

fn cut() -> Fault {
    fault("the record is cut short, or a number in it is not one")
}

/// Records of a container, one after the other.
pub(crate) struct Records<'a, 'de> {
    schema: &'a Schema,
    input: Input<'de>,
    /// What may still be read that takes no bytes: a few bytes could say that there is any number of it.
    free_left: usize,
    /// Whether values count for their length alone.
    skips: bool,
}

impl<'a, 'de> Records<'a, 'de> {
    pub(crate) fn new(schema: &'a Schema) -> Self {
        Self {
            schema,
            input: Input::new(&[]),
            free_left: ZERO_BYTE_VALUES_MAX,
            skips: false,
        }
    }

    /// What is not read yet of the block.
    pub(crate) fn rest(&self) -> &'de [u8] {
        self.input.rest
    }

    /// Goes on with these bytes.
    pub(crate) fn go_to(&mut self, rest: &'de [u8]) {
        self.input.rest = rest;
    }

    /// The next record.
    pub(crate) fn record(&mut self) -> Value<'_, 'a, 'de> {
        let at = self.schema.root();
        Value {
            records: self,
            at,
            depth: 0,
        }
    }

    /// Reads over the next record, whatever its values are.
    pub(crate) fn skip(&mut self) -> Result<(), Fault> {
        self.skips = true;
        let outcome = IgnoredAny::deserialize(self.record());
        self.skips = false;
        outcome.map(|_| ())
    }

    fn charge(&mut self) -> Result<(), Fault> {
        self.free_left = self.free_left.checked_sub(1).ok_or_else(|| {
            Fault(format!(
                "the batch has too many values without bytes values_max={ZERO_BYTE_VALUES_MAX}"
            ))
        })?;
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let bytes = self.input.take(N).and_then(|bytes| bytes.try_into().ok());
        bytes.ok_or_else(cut)
    }

    fn long(&mut self) -> Result<i64, Fault> {
        self.input.long().ok_or_else(cut)
    }

    /// How many items come next of an array or a map.
    fn items(&mut self) -> Result<u64, Fault> {
        let items = self.long()?;
        if items < 0 {
            self.long()?;
        }
        Ok(items.unsigned_abs())
    }
}

/// A value of one of the schema's types.
pub(crate) struct Value<'r, 'a, 'de> {
    records: &'r mut Records<'a, 'de>,
    at: usize,
    depth: usize,
}

impl<'de> Deserializer<'de> for Value<'_, '_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let Self { records, at, depth } = self;
        if depth > RECORD_DEPTH_MAX {
            return Err(Fault(format!("nests too deep depth_max={RECORD_DEPTH_MAX}")));
        }
        let schema = records.schema;
        match schema.get(at) {
            Type::Null => {
                records.charge()?;
                visitor.visit_unit()
            }
            Type::Boolean => match records.take()? {
                [0] => visitor.visit_bool(false),
                [1] => visitor.visit_bool(true),
                [other] => Err(Fault(format!("a boolean is neither 0 nor 1 value={other}"))),
            },
            Type::Long => visitor.visit_i64(records.long()?),
            Type::Float => visitor.visit_f64(f32::from_le_bytes(records.take()?).into()),
            Type::Double => visitor.visit_f64(f64::from_le_bytes(records.take()?)),
            Type::Bytes => visitor.visit_bytes(records.input.bytes().ok_or_else(cut)?),
            Type::Fixed(bytes) => {
                if *bytes == 0 {
                    records.charge()?;
                }
                visitor.visit_bytes(records.input.take(*bytes).ok_or_else(cut)?)
            }
            Type::String => match std::str::from_utf8(records.input.bytes().ok_or_else(cut)?) {
                Ok(text) => visitor.visit_str(text),
                Err(_) if records.skips => visitor.visit_unit(),
                Err(_) => Err(fault("text is not UTF-8")),
            },
            Type::Enum(symbols) => {
                let index = records.long()?;
                match usize::try_from(index).ok().and_then(|index| symbols.get(index)) {
                    Some(symbol) => visitor.visit_str(symbol),
                    None if records.skips => visitor.visit_unit(),
                    None => Err(Fault(format!(
                        "no symbol of the enum has this number number={index}"
                    ))),
                }
            }
            Type::Array(items) => visitor.visit_seq(Items {
                left: 0,
                of: ItemOf::Array(*items),
                records,
                depth: depth + 1,
            }),
            Type::Map(values) => visitor.visit_seq(Items {
                left: 0,
                of: ItemOf::Map(*values),
                records,
                depth: depth + 1,
            }),
            Type::Record(fields) => {
                let before = records.rest().len();
                let value = visitor.visit_map(Fields {
                    records: &mut *records,
                    fields,
                    depth: depth + 1,
                })?;
                if records.rest().len() == before {
                    records.charge()?;
                }
                Ok(value)
            }
            Type::Union(branches) => union(records, branches, depth, visitor),
            scalar => logical(records, scalar, visitor),
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Null, the one other branch, or an object with the branch's name.
fn union<'a, 'de, V: Visitor<'de>>(
    records: &mut Records<'a, 'de>,
    branches: &'a [(String, usize)],
    depth: usize,
    visitor: V,
) -> Result<V::Value, Fault> {
    let index = records.long()?;
    let branch = usize::try_from(index).ok().and_then(|index| branches.get(index));
    let Some(branch) = branch else {
        return Err(Fault(format!(
            "no branch of the union has this number number={index}"
        )));
    };
    let schema = records.schema;
    let values = branches
        .iter()
        .filter(|(_, at)| schema.get(*at) != &Type::Null)
        .count();
    let depth = depth + 1;
    match schema.get(branch.1) {
        Type::Null => visitor.visit_unit(),
        _ if values == 1 => Value {
            records,
            at: branch.1,
            depth,
        }
        .deserialize_any(visitor),
        _ => visitor.visit_map(Fields {
            records,
            fields: std::slice::from_ref(branch),
            depth,
        }),
    }
}

/// Values of logical types: times as such, what JSON has no form for as text.
fn logical<'de, V: Visitor<'de>>(
    records: &mut Records<'_, 'de>,
    of: &Type,
    visitor: V,
) -> Result<V::Value, Fault> {
    let text = match of {
        Type::Timestamp(unit) => match micros(records.long()?, *unit) {
            Some(us) => return visitor.visit_i128(us.into()),
            None => None,
        },
        Type::Date => {
            let days = records.long()?;
            let date = SignedDuration::try_from_hours(days.saturating_mul(24));
            date.and_then(|days| civil::date(1970, 1, 1).checked_add(days).ok())
                .map(|date| date.to_string())
        }
        Type::LocalTimestamp(unit) => {
            let since = micros(records.long()?, *unit).map(SignedDuration::from_micros);
            since
                .and_then(|since| DateTime::constant(1970, 1, 1, 0, 0, 0, 0).checked_add(since).ok())
                .map(|time| time.to_string())
        }
        Type::Time(unit) => {
            let since = micros(records.long()?, *unit).filter(|us| (0..86_400_000_000).contains(us));
            since
                .and_then(|us| {
                    civil::Time::midnight()
                        .checked_add(SignedDuration::from_micros(us))
                        .ok()
                })
                .map(|time| time.to_string())
        }
        Type::Decimal { fixed, scale } => {
            let bytes = match fixed {
                Some(bytes) => records.input.take(*bytes),
                None => records.input.bytes(),
            };
            unscaled(bytes.ok_or_else(cut)?).map(|unscaled| decimal_text(unscaled, *scale))
        }
        Type::Uuid => Some(Uuid::from_bytes(records.take()?).hyphenated().to_string()),
        _ => None,
    };
    match text {
        Some(text) => visitor.visit_str(&text),
        None if records.skips => visitor.visit_unit(),
        None => Err(fault("a time or a decimal is out of range")),
    }
}

fn micros(value: i64, unit: Unit) -> Option<i64> {
    match unit {
        Unit::Millis => value.checked_mul(1_000),
        Unit::Micros => Some(value),
        Unit::Nanos => Some(value.div_euclid(1_000)),
    }
}

/// Two's complement, big endian; of up to 16 bytes that count.
fn unscaled(bytes: &[u8]) -> Option<i128> {
    let fill = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) {
        0xFF
    } else {
        0
    };
    let (more, last) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut value = [fill; 16];
    value[16 - last.len()..].copy_from_slice(last);
    let value = i128::from_be_bytes(value);
    let fits = more.iter().all(|byte| *byte == fill) && (value < 0) == (fill == 0xFF);
    fits.then_some(value)
}

fn decimal_text(unscaled: i128, scale: u8) -> String {
    format!("{unscaled}e-{scale}")
}

/// The items of an array, or the entries of a map.
struct Items<'r, 'a, 'de> {
    records: &'r mut Records<'a, 'de>,
    of: ItemOf,
    /// Of the blocks of items the one that is being read.
    left: u64,
    depth: usize,
}

#[derive(Clone, Copy)]
enum ItemOf {
    Array(usize),
    Map(usize),
}

impl<'de> SeqAccess<'de> for Items<'_, '_, 'de> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.left == 0 {
            self.left = self.records.items()?;
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let (records, depth) = (&mut *self.records, self.depth);
        match self.of {
            ItemOf::Array(at) => seed.deserialize(Value { records, at, depth }),
            ItemOf::Map(at) => seed.deserialize(Entry { records, at, depth }),
        }
        .map(Some)
    }
}

/// An entry of a map: an object with `key` and `value`.
struct Entry<'r, 'a, 'de> {
    records: &'r mut Records<'a, 'de>,
    at: usize,
    depth: usize,
}

impl<'de> Deserializer<'de> for Entry<'_, '_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(EntryFields {
            entry: self,
            next: Some(EntryField::Key),
        })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct EntryFields<'r, 'a, 'de> {
    entry: Entry<'r, 'a, 'de>,
    next: Option<EntryField>,
}

#[derive(Clone, Copy)]
enum EntryField {
    Key,
    Value,
}

impl<'de> MapAccess<'de> for EntryFields<'_, '_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let name = match self.next {
            None => return Ok(None),
            Some(EntryField::Key) => "key",
            Some(EntryField::Value) => "value",
        };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Entry { records, at, depth } = &mut self.entry;
        match self.next {
            Some(EntryField::Key) => {
                self.next = Some(EntryField::Value);
                let bytes = records.input.bytes().ok_or_else(cut)?;
                let key = match std::str::from_utf8(bytes) {
                    Ok(key) => key,
                    Err(_) if records.skips => "",
                    Err(_) => return Err(fault("text is not UTF-8")),
                };
                seed.deserialize(key.into_deserializer())
            }
            _ => {
                self.next = None;
                seed.deserialize(Value {
                    records,
                    at: *at,
                    depth: *depth,
                })
            }
        }
    }
}

/// The fields of a record.
struct Fields<'r, 'a, 'de> {
    records: &'r mut Records<'a, 'de>,
    /// Those that are not read yet.
    fields: &'a [(String, usize)],
    depth: usize,
}

impl<'de> MapAccess<'de> for Fields<'_, '_, 'de> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        match self.fields {
            [(name, _), ..] => seed.deserialize(name.as_str().into_deserializer()).map(Some),
            [] => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let [(_, at), rest @ ..] = self.fields else {
            return Err(fault("a value was asked for that has no field"));
        };
        self.fields = rest;
        seed.deserialize(Value {
            records: self.records,
            at: *at,
            depth: self.depth,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_twos_complement() {
        for (bytes, expected) in [
            (&[][..], Some(0)),
            (&[0x04, 0xD2], Some(1234)),
            (&[0xFB, 0x2E], Some(-1234)),
            (&[0xFF; 20], Some(-1)),
            (&[0x80; 17], None),
        ] {
            assert_eq!(unscaled(bytes), expected, "{bytes:?}");
        }
        let mut long = vec![0; 18];
        long[2] = 0x80;
        assert_eq!(unscaled(&long), None, "2^127 does not fit");
        assert_eq!(crate::scalar::decimal(&decimal_text(-1234, 2), 38, 2), Ok(-1234));
        assert_eq!(crate::scalar::decimal(&decimal_text(5, 38), 38, 38), Ok(5));
    }
}
