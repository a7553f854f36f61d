//! Arrow's columns as Delta's, and back.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::{StructField, StructType};

use crate::encode::{HOUR_COLUMN, hour_column};
use crate::{Error, ErrorKind, Result};

/// The Delta columns of a table: its own and, last, the partition's.
///
/// Errors: `Invalid` if a type is not among those that come back from Delta as they were, or if the time that rows
/// are partitioned by is missing or may be null.
pub(crate) fn to_delta(schema: &SchemaRef) -> Result<StructType> {
    for field in schema.fields() {
        check(field, field.name())?;
    }
    let hour = hour_column(schema).field();
    let has_hour = |field: &FieldRef| field.name() == hour.name() && field.data_type() == hour.data_type();
    if !schema
        .fields()
        .iter()
        .any(|field| has_hour(field) && !field.is_nullable())
    {
        return Err(Error::new(
            ErrorKind::Invalid,
            format_args!(
                "a table needs a time of its rows that is not null column={}",
                hour.name()
            ),
        ));
    }
    let hour = Field::new(HOUR_COLUMN, DataType::Utf8View, true);
    let fields = schema.fields().iter().map(AsRef::as_ref).chain([&hour]);
    let fields: Result<Vec<StructField>, _> = fields.map(TryIntoKernel::try_into_kernel).collect();
    let fields = fields.map_err(Error::arrow)?;
    StructType::try_new(fields).map_err(|error| {
        Error::new(
            ErrorKind::Invalid,
            format_args!("columns are not fit for Delta: {error}"),
        )
        .with_source(error)
    })
}

/// The columns in memory of a Delta table: text and bytes as views, without the partition's.
pub(crate) fn from_delta(schema: &StructType) -> Result<SchemaRef> {
    let schema: Schema = schema.try_into_arrow().map_err(Error::arrow)?;
    let own = schema.fields().iter().filter(|field| field.name() != HOUR_COLUMN);
    Ok(Arc::new(Schema::new(own.map(with_views).collect::<Fields>())))
}

fn with_views(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_views).collect()),
        DataType::List(item) => DataType::List(with_views(item)),
        other => other.clone(),
    };
    Arc::new(Field::new(field.name(), data_type, field.is_nullable()))
}

/// Whether a type comes back from Delta as it was.
fn check(field: &FieldRef, column: &str) -> Result<()> {
    use DataType::{
        BinaryView, Boolean, Date32, Decimal128, Float32, Float64, Int8, Int16, Int32, Int64, List, Struct,
        Timestamp, Utf8View,
    };
    match field.data_type() {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8View | BinaryView | Date32 => Ok(()),
        Decimal128(_, scale) if *scale >= 0 => Ok(()),
        Timestamp(TimeUnit::Microsecond, Some(zone)) if zone.as_ref() == "UTC" => Ok(()),
        Struct(fields) if !fields.is_empty() => fields.iter().try_for_each(|field| check(field, column)),
        // The item's name is Delta's and Parquet's.
        List(item) if item.name() == "element" => check(item, column),
        other => Err(Error::new(
            ErrorKind::Invalid,
            format_args!(
                "a column's type cannot be stored: use text, bytes, numbers, times in UTC, structs and lists of them column={column} type={other}"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_back_as_they_were() {
        let own = Field::new(
            "payload",
            DataType::Struct(Fields::from(vec![
                Field::new("text", DataType::Utf8View, true),
                Field::new_list("list", Field::new("element", DataType::Utf8View, true), true),
                Field::new("price", DataType::Decimal128(20, 4), true),
            ])),
            true,
        );
        let schema = event::DatasetSchema::empty();
        let schema = schema.grow(|_| vec![Arc::new(own.clone())]);
        for schema in [schema, event::failed_schema()] {
            assert_eq!(from_delta(&to_delta(&schema).unwrap()).unwrap(), schema);
        }
    }

    #[test]
    fn what_delta_cannot_hold_is_refused() {
        let empty = event::DatasetSchema::empty().table();
        let with = |data_type| {
            let fields = empty
                .fields()
                .iter()
                .cloned()
                .chain([Arc::new(Field::new("x", data_type, true))]);
            Arc::new(Schema::new(fields.collect::<Fields>()))
        };
        for bad in [
            DataType::Null,
            DataType::UInt64,
            DataType::Utf8,
            DataType::Timestamp(TimeUnit::Microsecond, None),
            DataType::Struct(Fields::empty()),
            DataType::new_list(DataType::Int64, true),
        ] {
            assert_eq!(to_delta(&with(bad)).unwrap_err().kind(), ErrorKind::Invalid);
        }
        let untimed = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        assert_eq!(to_delta(&untimed).unwrap_err().kind(), ErrorKind::Invalid);
    }
}
