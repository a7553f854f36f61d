//! What the keys and values of a store look like, and their JSON as Arrow.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::Value;

/// The shape of JSON values. Its own JSON: one of `"string"`, `"i64"`, `"u64"`, `"f64"`, `"bool"`, `"json"`, or
/// `{"struct": [[name, shape], …]}`, or `{"list": shape}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text.
    String,
    /// A whole number.
    I64,
    /// A whole number from 0.
    U64,
    /// A number.
    F64,
    /// True or false.
    Bool,
    /// Anything; in SQL its JSON text.
    Json,
    /// An object with these fields.
    Struct(Vec<(String, Shape)>),
    /// An array.
    List(Box<Shape>),
}

impl Shape {
    /// Reads a shape's JSON; what it does not know is [`Shape::Json`].
    pub fn parse(json: &Value) -> Self {
        match json {
            Value::String(name) => match name.as_str() {
                "string" => Self::String,
                "i64" => Self::I64,
                "u64" => Self::U64,
                "f64" => Self::F64,
                "bool" => Self::Bool,
                _ => Self::Json,
            },
            Value::Object(object) => {
                if let Some(element) = object.get("list") {
                    return Self::List(Box::new(Self::parse(element)));
                }
                let fields = object.get("struct").and_then(Value::as_array);
                let fields: Option<Vec<_>> = fields.and_then(|fields| {
                    fields
                        .iter()
                        .map(|f| Some((f.get(0)?.as_str()?.to_owned(), Self::parse(f.get(1)?))))
                        .collect()
                });
                match fields {
                    Some(fields) if !fields.is_empty() => Self::Struct(fields),
                    _ => Self::Json,
                }
            }
            _ => Self::Json,
        }
    }

    /// Key's and value's shape of a store, from `{"key": shape, "value": shape}`; without it both are
    /// [`Shape::Json`].
    pub fn pair(json: Option<&Value>) -> (Self, Self) {
        let of = |name| {
            json.and_then(|json| json.get(name))
                .map_or(Self::Json, Self::parse)
        };
        (of("key"), of("value"))
    }

    /// The Arrow type of its values.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::String | Self::Json => DataType::Utf8View,
            Self::I64 => DataType::Int64,
            Self::U64 => DataType::UInt64,
            Self::F64 => DataType::Float64,
            Self::Bool => DataType::Boolean,
            Self::Struct(fields) => DataType::Struct(
                fields
                    .iter()
                    .map(|(name, shape)| Field::new(name, shape.data_type(), true))
                    .collect(),
            ),
            Self::List(element) => DataType::List(Arc::new(Field::new("item", element.data_type(), true))),
        }
    }

    /// Appends stored JSON as the JSON that an Arrow decoder of [`Shape::data_type`] takes: where the shape is
    /// [`Shape::Json`], its text as a string.
    pub(crate) fn write(&self, json: &[u8], out: &mut Vec<u8>) -> serde_json::Result<()> {
        if !self.has_json() {
            out.extend_from_slice(json);
            return Ok(());
        }
        let shaped = match self {
            Self::Json => Value::String(String::from_utf8_lossy(json).into_owned()),
            _ => self.text_in(serde_json::from_slice(json)?),
        };
        serde_json::to_writer(out, &shaped)
    }

    fn has_json(&self) -> bool {
        match self {
            Self::Json => true,
            Self::Struct(fields) => fields.iter().any(|(_, shape)| shape.has_json()),
            Self::List(element) => element.has_json(),
            _ => false,
        }
    }

    fn text_in(&self, value: Value) -> Value {
        match (self, value) {
            (_, Value::Null) => Value::Null,
            (Self::Json, value) => Value::String(value.to_string()),
            (Self::List(element), Value::Array(values)) => {
                Value::Array(values.into_iter().map(|value| element.text_in(value)).collect())
            }
            (Self::Struct(fields), Value::Object(mut object)) => {
                for (name, shape) in fields {
                    if let Some(value) = object.get_mut(name) {
                        *value = shape.text_in(value.take());
                    }
                }
                Value::Object(object)
            }
            (_, value) => value,
        }
    }
}

/// The columns of a store's table: `key` and `value`.
pub(crate) fn schema(key: &Shape, value: &Shape) -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("key", key.data_type(), true),
        Field::new("value", value.data_type(), true),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_parse() {
        let shape = |text: &str| Shape::parse(&serde_json::from_str(text).unwrap());
        assert_eq!(shape(r#""u64""#), Shape::U64);
        assert_eq!(shape(r#""float128""#), Shape::Json);
        assert_eq!(
            shape(r#"{"struct": [["n", "i64"], ["tags", {"list": "string"}]]}"#),
            Shape::Struct(vec![
                ("n".into(), Shape::I64),
                ("tags".into(), Shape::List(Box::new(Shape::String)))
            ])
        );
        assert_eq!(Shape::pair(None), (Shape::Json, Shape::Json));
    }

    #[test]
    fn json_within_a_shape_becomes_text() {
        let shape = Shape::Struct(vec![("a".into(), Shape::I64), ("b".into(), Shape::Json)]);
        let mut out = Vec::new();
        shape.write(br#"{"a":1,"b":{"c":[1]}}"#, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":1,"b":"{\"c\":[1]}"}"#);
    }
}
