//! The types of JSON values, and how an inferred schema takes in fields it has not seen.
//!
//! | JSON | column |
//! |---|---|
//! | `true`, `false` | Boolean |
//! | a number without fraction or exponent that fits 64 bits | Int64 |
//! | any other number | Float64 |
//! | text | Utf8View |
//! | an array whose items have one type | List |
//! | an object with at least one field that has a type | Struct |
//! | `null`, `[]`, `{}`, arrays of mixed types, what nests too deep | none (yet) |

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use serde_json::Value;
use std::sync::Arc;

use crate::SystemColumn;
use crate::limits::{SCHEMA_COLUMNS_MAX, SCHEMA_DEPTH_MAX};

/// Longest name of an inferred column, in bytes.
const FIELD_NAME_BYTES_MAX: usize = 255;
/// What table formats do not let into a column's name.
const FIELD_NAME_FORBIDDEN: &[char] = &[' ', ',', ';', '{', '}', '(', ')', '\n', '\t', '='];

/// A value that has no column yet: the path of names that leads to it, and the value.
#[derive(Clone, Debug)]
pub(crate) struct Unplaced {
    pub(crate) path: Vec<String>,
    pub(crate) value: Value,
}

/// The fields that hold a JSON object, in its order; those whose type cannot be told yet are left out.
pub fn infer_fields(object: &serde_json::Map<String, Value>) -> Vec<FieldRef> {
    fields_of(object, 0)
}

/// `fields` grown so that `unplaced` find their place, where they can have one; equal to `fields` if none can.
pub(crate) fn place(fields: &[FieldRef], unplaced: &[Unplaced]) -> Vec<FieldRef> {
    let mut grown = fields.to_vec();
    for Unplaced { path, value } in unplaced {
        let Some(data_type) = type_of(value, path.len()) else {
            continue;
        };
        insert(&mut grown, path, data_type, 0);
    }
    grown
}

/// Adds columns that a batch has with its types and `fields` lack; names within them that a table cannot have are left
/// out.
pub(crate) fn place_columns(fields: &[FieldRef], columns: &[FieldRef]) -> Vec<FieldRef> {
    let mut grown = fields.to_vec();
    for column in columns {
        if let Some(data_type) = with_good_names(column.data_type()) {
            insert(&mut grown, std::slice::from_ref(column.name()), data_type, 0);
        }
    }
    grown
}

fn with_good_names(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Struct(fields) => {
            let mut good = Vec::new();
            for field in fields {
                if let Some(data_type) = with_good_names(field.data_type()) {
                    insert(&mut good, std::slice::from_ref(field.name()), data_type, 1);
                }
            }
            (!good.is_empty()).then(|| DataType::Struct(good.into()))
        }
        DataType::List(item) => Some(list_of(with_good_names(item.data_type())?)),
        other => Some(other.clone()),
    }
}

fn insert(fields: &mut Vec<FieldRef>, path: &[String], data_type: DataType, depth: usize) {
    let [name, rest @ ..] = path else { return };
    match fields.iter().position(|field| field.name() == name) {
        Some(index) => {
            let field = &mut fields[index];
            let grown = match (field.data_type(), &data_type) {
                (DataType::Struct(inner), _) if !rest.is_empty() => {
                    let mut inner = inner.to_vec();
                    insert(&mut inner, rest, data_type, depth + 1);
                    DataType::Struct(inner.into())
                }
                (known, new) if rest.is_empty() => unify(known, new),
                _ => return,
            };
            if &grown != field.data_type() {
                *field = Arc::new(Field::new(name, grown, true));
            }
        }
        None if rest.is_empty() && may_be_named(fields, name, depth) => {
            fields.push(Arc::new(Field::new(name, data_type, true)));
        }
        None => {}
    }
}

/// Whether a column beside `siblings` may have this name.
pub(crate) fn may_be_named(siblings: &[FieldRef], name: &str, depth: usize) -> bool {
    siblings.len() < SCHEMA_COLUMNS_MAX
        && !name.is_empty()
        && name.len() <= FIELD_NAME_BYTES_MAX
        && !name.contains(FIELD_NAME_FORBIDDEN)
        && !(depth == 0 && (SystemColumn::is_reserved(name) || name.eq_ignore_ascii_case("_hour")))
        && !siblings
            .iter()
            .any(|field| field.name().to_lowercase() == name.to_lowercase())
}

/// The known type, grown by what the new one adds: structs gain fields, also within lists; else it stays.
fn unify(known: &DataType, new: &DataType) -> DataType {
    match (known, new) {
        (DataType::Struct(known), DataType::Struct(new)) => {
            let mut grown = known.to_vec();
            for field in new {
                insert(
                    &mut grown,
                    std::slice::from_ref(field.name()),
                    field.data_type().clone(),
                    1,
                );
            }
            DataType::Struct(grown.into())
        }
        (DataType::List(known), DataType::List(new)) => list_of(unify(known.data_type(), new.data_type())),
        _ => known.clone(),
    }
}

pub(crate) fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

fn fields_of(object: &serde_json::Map<String, Value>, depth: usize) -> Vec<FieldRef> {
    let mut fields = Vec::new();
    for (name, value) in object {
        if let Some(data_type) = type_of(value, depth + 1) {
            insert(&mut fields, std::slice::from_ref(name), data_type, depth);
        }
    }
    fields
}

fn type_of(value: &Value, depth: usize) -> Option<DataType> {
    match value {
        Value::Null => None,
        Value::Bool(_) => Some(DataType::Boolean),
        Value::Number(number) if number.is_i64() => Some(DataType::Int64),
        Value::Number(_) => Some(DataType::Float64),
        Value::String(_) => Some(DataType::Utf8View),
        _ if depth >= SCHEMA_DEPTH_MAX => None,
        Value::Array(items) => {
            let mut types = items
                .iter()
                .filter(|item| !item.is_null())
                .map(|item| type_of(item, depth + 1));
            let first = types.next()??;
            types
                .try_fold(first, |all, item| widen(&all, &item?))
                .map(list_of)
        }
        Value::Object(object) => {
            let fields = fields_of(object, depth);
            (!fields.is_empty()).then(|| DataType::Struct(Fields::from(fields)))
        }
    }
}

/// One type for two items of an array, if there is one.
fn widen(left: &DataType, right: &DataType) -> Option<DataType> {
    match (left, right) {
        (left, right) if left == right => Some(left.clone()),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            Some(DataType::Float64)
        }
        (DataType::Struct(_), DataType::Struct(_)) => Some(unify(left, right)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer(json: &str) -> String {
        let Value::Object(object) = serde_json::from_str(json).unwrap() else {
            panic!("not an object")
        };
        let show = |field: &FieldRef| format!("{}:{}", field.name(), field.data_type());
        infer_fields(&object)
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn types_of_json() {
        assert_eq!(
            infer(r#"{"b":true,"i":-1,"f":1.5,"t":"x","n":null,"e":[],"o":{}}"#),
            "b:Boolean i:Int64 f:Float64 t:Utf8View"
        );
        assert_eq!(infer(r#"{"u":18446744073709551615}"#), "u:Float64");
        assert!(infer(r#"{"l":[1,null,2.5]}"#).starts_with("l:List"));
        assert!(infer(r#"{"l":[1,null,2.5]}"#).contains("Float64"));
        assert_eq!(infer(r#"{"l":[1,"a"]}"#), "");
        assert_eq!(infer(r#"{"a b":1,"":2,"eventtime":3,"A":1,"a":2}"#), "A:Int64");
    }
}
