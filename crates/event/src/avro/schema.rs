//! The schema of a container: JSON as a table of types that name one another.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::field_type::DECIMAL_DIGITS_MAX;
use crate::{Error, Result};

/// Types by number; [`Schema::root`] is the record of the events.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    types: Vec<Type>,
    root: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Null,
    Boolean,
    /// `int` too.
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Vec<String>),
    Array(usize),
    Map(usize),
    Record(Vec<(String, usize)>),
    /// The branches, with their names.
    Union(Vec<(String, usize)>),
    Date,
    /// Since 1970 UTC.
    Timestamp(Unit),
    /// Without a zone.
    LocalTimestamp(Unit),
    /// Since midnight.
    Time(Unit),
    /// In `bytes`, or in a fixed number of them.
    Decimal {
        fixed: Option<usize>,
        scale: u8,
    },
    /// 16 bytes.
    Uuid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Schema {
    /// # Errors
    /// `Invalid`: not an Avro schema, or not that of a record.
    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        let json: Value = serde_json::from_slice(json).map_err(|error| {
            Error::invalid(format_args!("schema of an avro container is not JSON: {error}"))
        })?;
        let mut parser = Parser::default();
        let root = parser.parse(&json, "")?;
        let schema = Self {
            types: parser.types,
            root,
        };
        match schema.get(root) {
            Type::Record(_) => Ok(schema),
            _ => Err(Error::invalid(
                "schema of an avro container is not a record: each event must be one",
            )),
        }
    }

    pub(crate) fn root(&self) -> usize {
        self.root
    }

    pub(crate) fn get(&self, at: usize) -> &Type {
        &self.types[at]
    }
}

#[derive(Default)]
struct Parser {
    types: Vec<Type>,
    /// Records, enums and fixed types by full name.
    named: HashMap<String, usize>,
}

fn bad(what: impl std::fmt::Display) -> Error {
    Error::invalid(format_args!("schema of an avro container: {what}"))
}

impl Parser {
    fn add(&mut self, of: Type) -> usize {
        self.types.push(of);
        self.types.len() - 1
    }

    fn parse(&mut self, json: &Value, namespace: &str) -> Result<usize> {
        match json {
            Value::String(name) => self.by_name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.complex(object, namespace),
            other => Err(bad(format_args!(
                "a type is text, a list or an object type={other}"
            ))),
        }
    }

    fn by_name(&mut self, name: &str, namespace: &str) -> Result<usize> {
        if let Some(primitive) = primitive(name) {
            return Ok(self.add(primitive));
        }
        let known = self.named.get(&full_name(name, namespace));
        let known = known.or_else(|| self.named.get(name));
        known
            .copied()
            .ok_or_else(|| bad(format_args!("unknown type type={name:?}")))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<usize> {
        let mut parsed: Vec<(String, usize)> = Vec::with_capacity(branches.len());
        for branch in branches {
            let at = self.parse(branch, namespace)?;
            if matches!(self.types[at], Type::Union(_)) {
                return Err(bad("a union holds a union"));
            }
            let full = branch_name(branch);
            let short = full.rsplit('.').next().unwrap_or(full);
            let is_taken = parsed.iter().any(|(name, _)| name == short);
            parsed.push((if is_taken { full } else { short }.to_owned(), at));
        }
        Ok(self.add(Type::Union(parsed)))
    }

    fn complex(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<usize> {
        let kind = object.get("type").ok_or_else(|| bad("a type has no \"type\""))?;
        let Value::String(kind) = kind else {
            return self.parse(kind, namespace);
        };
        let part = |name: &str| {
            object
                .get(name)
                .ok_or_else(|| bad(format_args!("{kind} has no {name:?}")))
        };
        match kind.as_str() {
            "array" => {
                let items = self.parse(part("items")?, namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            "map" => {
                let values = self.parse(part("values")?, namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            "record" | "error" | "enum" | "fixed" => self.named(kind, object, namespace),
            _ => {
                let at = self.by_name(kind, namespace)?;
                let logical = logical(object, &self.types[at]);
                Ok(logical.map_or(at, |logical| self.add(logical)))
            }
        }
    }

    fn named(&mut self, kind: &str, object: &Map<String, Value>, namespace: &str) -> Result<usize> {
        let name = text(object, "name").ok_or_else(|| bad(format_args!("{kind} has no name")))?;
        let namespace = text(object, "namespace").unwrap_or(namespace);
        let full = full_name(name, namespace);
        let inner = full
            .rsplit_once('.')
            .map_or(String::new(), |(inner, _)| inner.to_owned());
        let at = self.add(Type::Null);
        if self.named.insert(full.clone(), at).is_some() {
            return Err(bad(format_args!("a name is given twice name={full:?}")));
        }
        let list = |key: &str| {
            object
                .get(key)
                .and_then(Value::as_array)
                .ok_or_else(|| bad(format_args!("{kind} has no list of {key} name={full:?}")))
        };
        self.types[at] = match kind {
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64);
                let size = size.and_then(|size| usize::try_from(size).ok());
                let fixed =
                    Type::Fixed(size.ok_or_else(|| bad(format_args!("fixed has no size name={full:?}")))?);
                logical(object, &fixed).unwrap_or(fixed)
            }
            "enum" => {
                let symbols = list("symbols")?
                    .iter()
                    .map(|symbol| symbol.as_str().map(str::to_owned));
                let symbols: Option<Vec<String>> = symbols.collect();
                Type::Enum(symbols.ok_or_else(|| bad(format_args!("a symbol is no text name={full:?}")))?)
            }
            _ => {
                let mut fields = Vec::new();
                for field in list("fields")? {
                    let parts = field
                        .as_object()
                        .and_then(|field| Some((text(field, "name")?, field.get("type")?)));
                    let (name, of) = parts
                        .ok_or_else(|| bad(format_args!("a field has no name or type record={full:?}")))?;
                    if fields.iter().any(|(known, _)| known == name) {
                        return Err(bad(format_args!(
                            "a field stands twice record={full:?} field={name:?}"
                        )));
                    }
                    fields.push((name.to_owned(), self.parse(of, &inner)?));
                }
                Type::Record(fields)
            }
        };
        Ok(at)
    }
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    object.get(key).and_then(Value::as_str)
}

fn full_name(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

/// What Avro's JSON calls the branch of a union.
fn branch_name(branch: &Value) -> &str {
    match branch {
        Value::String(name) => name,
        Value::Object(object) => match object.get("type") {
            Some(Value::String(kind)) if matches!(kind.as_str(), "record" | "error" | "enum" | "fixed") => {
                text(object, "name").unwrap_or(kind)
            }
            Some(inner) => branch_name(inner),
            None => "",
        },
        _ => "",
    }
}

fn primitive(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "int" | "long" => Type::Long,
        "float" => Type::Float,
        "double" => Type::Double,
        "bytes" => Type::Bytes,
        "string" => Type::String,
        _ => return None,
    })
}

/// What a logical type makes of the type below it; `None` if it makes nothing of it, then the type below counts.
fn logical(object: &Map<String, Value>, of: &Type) -> Option<Type> {
    let number = |key| object.get(key).map_or(Some(0), Value::as_u64);
    Some(match (text(object, "logicalType")?, of) {
        ("date", Type::Long) => Type::Date,
        ("time-millis", Type::Long) => Type::Time(Unit::Millis),
        ("time-micros", Type::Long) => Type::Time(Unit::Micros),
        ("timestamp-millis", Type::Long) => Type::Timestamp(Unit::Millis),
        ("timestamp-micros", Type::Long) => Type::Timestamp(Unit::Micros),
        ("timestamp-nanos", Type::Long) => Type::Timestamp(Unit::Nanos),
        ("local-timestamp-millis", Type::Long) => Type::LocalTimestamp(Unit::Millis),
        ("local-timestamp-micros", Type::Long) => Type::LocalTimestamp(Unit::Micros),
        ("local-timestamp-nanos", Type::Long) => Type::LocalTimestamp(Unit::Nanos),
        ("uuid", Type::Fixed(16)) => Type::Uuid,
        ("decimal", Type::Bytes | Type::Fixed(_)) => {
            let (precision, scale) = (number("precision")?, number("scale")?);
            if precision == 0 || precision > u64::from(DECIMAL_DIGITS_MAX) || scale > precision {
                return None;
            }
            let fixed = match of {
                Type::Fixed(bytes) => Some(*bytes),
                _ => None,
            };
            Type::Decimal {
                fixed,
                scale: u8::try_from(scale).ok()?,
            }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> String {
        Schema::parse(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn names_are_found_in_their_namespace() {
        let json = r#"{"type":"record","name":"a.b.Event","fields":[
            {"name":"color","type":{"type":"enum","name":"Color","symbols":["RED"]}},
            {"name":"again","type":["null","Color"]},
            {"name":"full","type":"a.b.Color"},
            {"name":"next","type":["null","Event"]}]}"#;
        let schema = Schema::parse(json.as_bytes()).unwrap();
        let Type::Record(fields) = schema.get(schema.root()) else {
            panic!("a record")
        };
        assert_eq!(fields[0].1, fields[2].1);
        let Type::Union(branches) = schema.get(fields[3].1) else {
            panic!("a union")
        };
        assert_eq!(branches[1], ("Event".to_owned(), schema.root()));
    }

    #[test]
    fn what_is_no_schema_of_events_is_refused() {
        for (json, part) in [
            ("", "not JSON"),
            (r#""string""#, "not a record"),
            ("[]", "not a record"),
            ("7", "a type is text"),
            (r#"{"type":"record","name":"r"}"#, "no list of fields"),
            (r#"{"type":"record","fields":[]}"#, "has no name"),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x"}]}"#,
                "no name or type",
            ),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x","type":"what"}]}"#,
                "unknown type",
            ),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x","type":[["null"]]}]}"#,
                "holds a union",
            ),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x","type":"int"},{"name":"x","type":"int"}]}"#,
                "twice",
            ),
            (
                r#"{"type":"record","name":"r","fields":[{"name":"x","type":{"type":"record","name":"r","fields":[]}}]}"#,
                "twice",
            ),
        ] {
            let error = refused(json);
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
