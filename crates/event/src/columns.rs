//! Arrow batches of any make, brought to the few column types that are stored, and to a schema's columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, RecordBatchOptions, StructArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef, TimeUnit};

use crate::infer::list_of;

/// The type that a column of this type is stored as; `None` if there is none.
fn stored_type(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match data_type {
        Boolean | Date32 | Decimal128(..) => data_type.clone(),
        Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32 | UInt64 => Int64,
        Float16 | Float32 | Float64 => Float64,
        Utf8 | LargeUtf8 | Utf8View => Utf8View,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => BinaryView,
        Date64 => Date32,
        Timestamp(..) => Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Dictionary(_, values) => stored_type(values)?,
        List(item) | LargeList(item) | FixedSizeList(item, _) => list_of(stored_type(item.data_type())?),
        Struct(fields) if !fields.is_empty() => {
            let fields: Option<Vec<FieldRef>> = fields.iter().map(stored_field).collect();
            Struct(fields?.into())
        }
        _ => return None,
    })
}

fn stored_field(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(
        field.name(),
        stored_type(field.data_type())?,
        true,
    )))
}

/// The batch with each column in the type it is stored as; columns of the Null type are left out.
///
/// # Errors
/// Names the column whose type is not stored, or whose value does not fit (an unsigned integer beyond 63 bits).
pub(crate) fn canonical(rows: &RecordBatch) -> Result<RecordBatch, String> {
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if field.data_type() == &DataType::Null {
            continue;
        }
        let stored = stored_type(field.data_type()).ok_or_else(|| {
            format!(
                "field {}: columns of this type are not stored, cast it type={}",
                field.name(),
                field.data_type()
            )
        })?;
        let options = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let column = cast_with_options(column, &stored, &options)
            .map_err(|error| format!("field {}: {error}", field.name()))?;
        fields.push(Arc::new(Field::new(field.name(), stored, true)));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| e.to_string())
}

/// The batch with exactly the columns of `schema`, in its order: missing columns and fields of structs are null,
/// an integer becomes a float where the schema says so, and nothing else changes type.
///
/// Cheap when nothing is to be done.
///
/// # Errors
/// Names the field whose type differs, or that the schema lacks.
pub fn conform(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    if rows.schema().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    if let Some(stray) = rows
        .schema()
        .fields()
        .iter()
        .find(|field| schema.field_with_name(field.name()).is_err())
    {
        return Err(format!("field {}: the table has no such column", stray.name()));
    }
    let columns: Result<Vec<ArrayRef>, String> = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => conform_column(column, field.data_type(), field.name()),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), columns?, &options).map_err(|e| e.to_string())
}

fn conform_column(column: &ArrayRef, wanted: &DataType, path: &str) -> Result<ArrayRef, String> {
    match (column.data_type(), wanted) {
        (has, wanted) if has == wanted => Ok(column.clone()),
        (DataType::Int64, DataType::Float64) => cast_with_options(column, wanted, &CastOptions::default())
            .map_err(|error| format!("field {path}: {error}")),
        (DataType::Struct(_), DataType::Struct(fields)) => conform_struct(column.as_struct(), fields, path),
        (DataType::List(_), DataType::List(item)) => {
            let list: &ListArray = column.as_list();
            let items = conform_column(list.values(), item.data_type(), path)?;
            let list = ListArray::try_new(item.clone(), list.offsets().clone(), items, list.nulls().cloned());
            Ok(Arc::new(list.map_err(|error| format!("field {path}: {error}"))?))
        }
        (has, wanted) => Err(format!("field {path}: expected {wanted}, got {has}")),
    }
}

fn conform_struct(column: &StructArray, fields: &Fields, path: &str) -> Result<ArrayRef, String> {
    if let Some(stray) = column
        .column_names()
        .iter()
        .find(|name| fields.find(name).is_none())
    {
        return Err(format!("field {path}.{stray}: the table has no such column"));
    }
    let columns: Result<Vec<ArrayRef>, String> = fields
        .iter()
        .map(|field| match column.column_by_name(field.name()) {
            Some(inner) => conform_column(inner, field.data_type(), &format!("{path}.{}", field.name())),
            None => Ok(new_null_array(field.data_type(), column.len())),
        })
        .collect();
    let array = StructArray::try_new(fields.clone(), columns?, column.nulls().cloned());
    Ok(Arc::new(array.map_err(|error| format!("field {path}: {error}"))?))
}
