//! Messages as what `serde` reads.

use std::collections::HashMap;
use std::fmt;

use prost_reflect::{DynamicMessage, MapKey, ReflectMessage, Value};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Number};

use super::plan::{Field, Of, Plan, Shape};
use crate::limits::RECORD_DEPTH_MAX;

/// What fields are called that the type does not have; no column can be.
const UNKNOWN_FIELDS: &str = "unknown fields";

/// Why a message cannot be read.
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

/// An event.
pub(crate) struct Message<'a> {
    plan: &'a Plan,
    message: DynamicMessage,
}

impl<'a> Message<'a> {
    pub(super) fn new(plan: &'a Plan, message: DynamicMessage) -> Self {
        Self { plan, message }
    }
}

macro_rules! forward_all {
    () => {
        fn is_human_readable(&self) -> bool {
            false
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    };
}

impl<'de> Deserializer<'de> for Message<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let of = Of::Message(0);
        one(self.plan, &of, &Value::Message(self.message), 0, visitor)
    }

    forward_all!();
}

/// One value.
struct One<'a> {
    plan: &'a Plan,
    of: &'a Of,
    value: &'a Value,
    depth: usize,
}

impl<'de> Deserializer<'de> for One<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        one(self.plan, self.of, self.value, self.depth, visitor)
    }

    forward_all!();
}

fn one<'de, V: Visitor<'de>>(
    plan: &Plan,
    of: &Of,
    value: &Value,
    depth: usize,
    visitor: V,
) -> Result<V::Value, Fault> {
    if depth > RECORD_DEPTH_MAX {
        return Err(Fault(format!("nests too deep depth_max={RECORD_DEPTH_MAX}")));
    }
    match (of, value) {
        (_, Value::Bool(value)) => visitor.visit_bool(*value),
        (_, Value::I32(value)) => visitor.visit_i64((*value).into()),
        (_, Value::I64(value)) => visitor.visit_i64(*value),
        (_, Value::U32(value)) => visitor.visit_i64((*value).into()),
        (_, Value::U64(value)) => visitor.visit_u64(*value),
        (_, Value::F32(value)) => visitor.visit_f64((*value).into()),
        (_, Value::F64(value)) => visitor.visit_f64(*value),
        (_, Value::String(value)) => visitor.visit_str(value),
        (_, Value::Bytes(value)) => visitor.visit_bytes(value),
        (Of::Enum(names), Value::EnumNumber(number)) => match names.get(number) {
            Some(name) => visitor.visit_str(name),
            None => visitor.visit_str(&number.to_string()),
        },
        (Of::Timestamp, Value::Message(message)) => {
            let (seconds, nanos) = seconds_and_nanos(message);
            let us = seconds
                .checked_mul(1_000_000)
                .and_then(|us| us.checked_add(i64::from(nanos).div_euclid(1_000)));
            match us {
                Some(us) => visitor.visit_i128(us.into()),
                None => Err(Fault(format!("time is out of range seconds={seconds}"))),
            }
        }
        (Of::Duration, Value::Message(message)) => visitor.visit_str(&duration(message)),
        (Of::Json, Value::Message(message)) => {
            visitor.visit_str(&json(message, RECORD_DEPTH_MAX - depth)?.to_string())
        }
        (Of::Wrapped(of), Value::Message(message)) => {
            let value = message.get_field_by_number(1);
            match value {
                Some(value) => one(plan, of, &value, depth + 1, visitor),
                None => visitor.visit_unit(),
            }
        }
        (Of::Message(number), Value::Message(message)) => {
            if let Some((extension, _)) = message.extensions().next() {
                return Err(Fault(format!(
                    "extensions are not read, declare a field extension={}",
                    extension.full_name()
                )));
            }
            visitor.visit_map(Fields {
                plan,
                message,
                fields: &plan.0[*number],
                unknown: message.unknown_fields().next().is_some(),
                depth: depth + 1,
            })
        }
        _ => Err(Fault("a value is not of its field's type".to_owned())),
    }
}

fn seconds_and_nanos(message: &DynamicMessage) -> (i64, i32) {
    let number = |number| message.get_field_by_number(number);
    let seconds = number(1).and_then(|value| value.as_i64()).unwrap_or(0);
    let nanos = number(2).and_then(|value| value.as_i32()).unwrap_or(0);
    (seconds, nanos)
}

fn duration(message: &DynamicMessage) -> String {
    let (seconds, nanos) = seconds_and_nanos(message);
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let fraction = format!("{:09}", nanos.unsigned_abs());
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}s", seconds.unsigned_abs())
}

/// The JSON of a `Struct`, a `Value` or a `ListValue`.
fn json(message: &DynamicMessage, depth_left: usize) -> Result<serde_json::Value, Fault> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(Fault(format!("nests too deep depth_max={RECORD_DEPTH_MAX}")));
    };
    let Some((field, value)) = message.fields().next() else {
        let empty = match message.descriptor().full_name() {
            "google.protobuf.Struct" => Map::new().into(),
            "google.protobuf.ListValue" => Vec::<serde_json::Value>::new().into(),
            _ => serde_json::Value::Null,
        };
        return Ok(empty);
    };
    Ok(match value {
        Value::Map(entries) if field.number() == 1 => {
            let mut object = Map::new();
            for (key, value) in sorted(entries) {
                if let (MapKey::String(key), Value::Message(value)) = (key, value) {
                    object.insert(key.clone(), json(value, depth_left)?);
                }
            }
            object.into()
        }
        Value::List(items) => {
            let items = items.iter().filter_map(Value::as_message);
            let items: Result<Vec<_>, _> = items.map(|item| json(item, depth_left)).collect();
            items?.into()
        }
        Value::Bool(value) => (*value).into(),
        Value::F64(value) => {
            Number::from_f64(*value).map_or_else(|| value.to_string().into(), serde_json::Value::Number)
        }
        Value::String(text) => text.clone().into(),
        Value::Message(inner) => json(inner, depth_left)?,
        _ => serde_json::Value::Null,
    })
}

fn sorted(entries: &HashMap<MapKey, Value>) -> Vec<(&MapKey, &Value)> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

/// The fields of a message: those that are set or have a default.
struct Fields<'a> {
    plan: &'a Plan,
    message: &'a DynamicMessage,
    /// Those that are not read yet.
    fields: &'a [Field],
    /// Whether there are fields yet that the type does not have.
    unknown: bool,
    depth: usize,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        while let [field, rest @ ..] = self.fields {
            if !field.descriptor.supports_presence() || self.message.has_field(&field.descriptor) {
                return seed
                    .deserialize(field.name.as_str().into_deserializer())
                    .map(Some);
            }
            self.fields = rest;
        }
        if self.unknown {
            return seed.deserialize(UNKNOWN_FIELDS.into_deserializer()).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let [field, rest @ ..] = self.fields else {
            self.unknown = false;
            let mut encoded = Vec::new();
            for field in self.message.unknown_fields() {
                field.encode(&mut encoded);
            }
            let encoded = serde::de::value::BytesDeserializer::new(&encoded);
            return seed.deserialize(encoded);
        };
        self.fields = rest;
        let value = self.message.get_field(&field.descriptor);
        let (plan, of, depth) = (self.plan, &field.of, self.depth);
        match (field.shape, value.as_ref()) {
            (Shape::One, value) => seed.deserialize(One {
                plan,
                of,
                value,
                depth,
            }),
            (Shape::List, Value::List(items)) => seed.deserialize(Many {
                plan,
                of,
                items: Items::List(items),
                depth,
            }),
            (Shape::Map, Value::Map(entries)) => seed.deserialize(Many {
                plan,
                of,
                items: Items::Map(sorted(entries)),
                depth,
            }),
            _ => Err(Fault("a value is not of its field's type".to_owned())),
        }
    }
}

/// The items of a repeated field, or the entries of a map.
struct Many<'a> {
    plan: &'a Plan,
    of: &'a Of,
    items: Items<'a>,
    depth: usize,
}

enum Items<'a> {
    List(&'a [Value]),
    Map(Vec<(&'a MapKey, &'a Value)>),
}

impl<'de> Deserializer<'de> for Many<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Next { many: self, at: 0 })
    }

    forward_all!();
}

struct Next<'a> {
    many: Many<'a>,
    at: usize,
}

impl<'de> SeqAccess<'de> for Next<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Many { plan, of, depth, .. } = self.many;
        let depth = depth + 1;
        let at = self.at;
        self.at += 1;
        match &self.many.items {
            Items::List(items) => items.get(at).map(|value| {
                seed.deserialize(One {
                    plan,
                    of,
                    value,
                    depth,
                })
            }),
            Items::Map(entries) => entries.get(at).map(|(key, value)| {
                let value = One {
                    plan,
                    of,
                    value,
                    depth,
                };
                seed.deserialize(Entry { key, value })
            }),
        }
        .transpose()
    }
}

/// An entry of a map: an object with `key` and `value`.
struct Entry<'a> {
    key: &'a MapKey,
    value: One<'a>,
}

impl<'de> Deserializer<'de> for Entry<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(EntryFields {
            key: Some(self.key),
            value: Some(self.value),
        })
    }

    forward_all!();
}

struct EntryFields<'a> {
    key: Option<&'a MapKey>,
    value: Option<One<'a>>,
}

impl<'de> MapAccess<'de> for EntryFields<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let name = match (&self.key, &self.value) {
            (Some(_), _) => "key",
            (None, Some(_)) => "value",
            (None, None) => return Ok(None),
        };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        match (self.key.take(), self.value.take()) {
            (Some(key), value) => {
                self.value = value;
                match key {
                    MapKey::Bool(key) => seed.deserialize((*key).into_deserializer()),
                    MapKey::I32(key) => seed.deserialize(i64::from(*key).into_deserializer()),
                    MapKey::I64(key) => seed.deserialize((*key).into_deserializer()),
                    MapKey::U32(key) => seed.deserialize(i64::from(*key).into_deserializer()),
                    MapKey::U64(key) => seed.deserialize((*key).into_deserializer()),
                    MapKey::String(key) => seed.deserialize(key.as_str().into_deserializer()),
                }
            }
            (None, Some(value)) => seed.deserialize(value),
            (None, None) => Err(Fault("a value was asked for that has no field".to_owned())),
        }
    }
}
