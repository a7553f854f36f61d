//! The columns that a message type makes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as Column, FieldRef, TimeUnit};
use prost_reflect::Kind;

use super::plan::{Field, Of, Plan, Shape};
use crate::infer::list_of;
use crate::limits::{SCHEMA_COLUMNS_MAX, SCHEMA_DEPTH_MAX};

/// A column for each field of the events' type that can have one.
pub(super) fn columns(plan: &Plan) -> Vec<FieldRef> {
    let mut columns = Columns {
        plan,
        left: SCHEMA_COLUMNS_MAX,
    };
    columns.fields(0, 0)
}

struct Columns<'a> {
    plan: &'a Plan,
    /// Messages may stand in many places: what may still be made.
    left: usize,
}

impl Columns<'_> {
    fn fields(&mut self, message: usize, depth: usize) -> Vec<FieldRef> {
        let fields = &self.plan.0[message];
        let mut columns = Vec::new();
        for field in fields {
            if let Some(data_type) = self.column(field, depth + 1) {
                columns.push(Arc::new(Column::new(&field.name, data_type, true)));
            }
        }
        columns
    }

    fn column(&mut self, field: &Field, depth: usize) -> Option<DataType> {
        match field.shape {
            Shape::One => self.value(&field.of, depth),
            Shape::List => Some(list_of(self.value(&field.of, depth + 1)?)),
            Shape::Map => {
                let key = match field.descriptor.kind() {
                    Kind::Message(entry) => match entry.map_entry_key_field().kind() {
                        Kind::String => DataType::Utf8View,
                        Kind::Bool => DataType::Boolean,
                        _ => DataType::Int64,
                    },
                    _ => return None,
                };
                let mut entry = vec![Arc::new(Column::new("key", key, true))];
                let value = self.value(&field.of, depth + 2);
                entry.extend(value.map(|value| Arc::new(Column::new("value", value, true))));
                Some(list_of(DataType::Struct(entry.into())))
            }
        }
    }

    fn value(&mut self, of: &Of, depth: usize) -> Option<DataType> {
        self.left = self.left.checked_sub(1)?;
        if depth > SCHEMA_DEPTH_MAX {
            return None;
        }
        Some(match of {
            Of::Bool => DataType::Boolean,
            Of::Int => DataType::Int64,
            Of::Float => DataType::Float64,
            Of::Text | Of::Enum(_) | Of::Duration | Of::Json => DataType::Utf8View,
            Of::Bytes => DataType::BinaryView,
            Of::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Of::Wrapped(of) => self.value(of, depth)?,
            Of::Message(message) => {
                let columns = self.fields(*message, depth);
                if columns.is_empty() {
                    return None;
                }
                DataType::Struct(columns.into())
            }
        })
    }
}
