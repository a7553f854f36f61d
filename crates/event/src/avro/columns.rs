//! The columns that a container's schema makes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};

use super::schema::{Schema, Type};
use crate::field_type::DECIMAL_DIGITS_MAX;
use crate::infer::list_of;
use crate::limits::{SCHEMA_COLUMNS_MAX, SCHEMA_DEPTH_MAX};

/// A column for each field of the record that can have one.
pub(crate) fn columns(schema: &Schema) -> Vec<FieldRef> {
    let mut made = Columns {
        schema,
        left: SCHEMA_COLUMNS_MAX,
    };
    match schema.get(schema.root()) {
        Type::Record(fields) => made.fields(fields, 0),
        _ => Vec::new(),
    }
}

struct Columns<'a> {
    schema: &'a Schema,
    /// Named types may stand in many places: what may still be made.
    left: usize,
}

impl Columns<'_> {
    fn fields(&mut self, fields: &[(String, usize)], depth: usize) -> Vec<FieldRef> {
        let mut columns = Vec::new();
        for (name, at) in fields {
            if let Some(data_type) = self.column(*at, depth + 1) {
                columns.push(Arc::new(Field::new(name, data_type, true)));
            }
        }
        columns
    }

    fn column(&mut self, at: usize, depth: usize) -> Option<DataType> {
        self.left = self.left.checked_sub(1)?;
        if depth > SCHEMA_DEPTH_MAX {
            return None;
        }
        Some(match self.schema.get(at) {
            Type::Null => return None,
            Type::Boolean => DataType::Boolean,
            Type::Long => DataType::Int64,
            Type::Float | Type::Double => DataType::Float64,
            Type::Bytes | Type::Fixed(_) => DataType::BinaryView,
            Type::String | Type::Enum(_) | Type::Uuid | Type::LocalTimestamp(_) | Type::Time(_) => {
                DataType::Utf8View
            }
            Type::Date => DataType::Date32,
            Type::Timestamp(_) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Type::Decimal { scale, .. } => DataType::Decimal128(DECIMAL_DIGITS_MAX, *scale as i8),
            Type::Array(items) => list_of(self.column(*items, depth + 1)?),
            Type::Map(values) => {
                let mut entry = vec![Arc::new(Field::new("key", DataType::Utf8View, true))];
                let value = self.column(*values, depth + 2);
                entry.extend(value.map(|value| Arc::new(Field::new("value", value, true))));
                list_of(DataType::Struct(entry.into()))
            }
            Type::Record(fields) => self.record(fields, depth)?,
            Type::Union(branches) => {
                let is_null = |at: usize| self.schema.get(at) == &Type::Null;
                let values: Vec<_> = branches.iter().filter(|(_, at)| !is_null(*at)).cloned().collect();
                match values.as_slice() {
                    [(_, only)] => self.column(*only, depth)?,
                    several => self.record(several, depth)?,
                }
            }
        })
    }

    fn record(&mut self, fields: &[(String, usize)], depth: usize) -> Option<DataType> {
        let columns = self.fields(fields, depth);
        (!columns.is_empty()).then(|| DataType::Struct(columns.into()))
    }
}
