//! Arrow batches of any make, brought to the few column types that are stored.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};

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

/// The field as a column of its stored type, nullable; `None` if there is none.
pub(crate) fn stored_field(field: &FieldRef) -> Option<FieldRef> {
    Some(Arc::new(Field::new(
        field.name(),
        stored_type(field.data_type())?,
        true,
    )))
}

/// Whether columns of these types can be stored; those of the Null type can, as no column.
///
/// # Errors
/// Names the column whose type is not stored.
pub fn storable(schema: &Schema) -> Result<(), String> {
    let null = |field: &&FieldRef| field.data_type() != &DataType::Null;
    schema.fields().iter().filter(null).try_for_each(|field| {
        stored_type(field.data_type()).map(drop).ok_or_else(|| {
            format!(
                "field {}: columns of this type are not stored, cast it type={}",
                field.name(),
                field.data_type()
            )
        })
    })
}

/// The batch with each column in the type it is stored as; columns of the Null type are left out.
///
/// # Errors
/// Names the column whose type is not stored, or whose value does not fit (an unsigned integer beyond 63 bits).
pub fn canonical(rows: &RecordBatch) -> Result<RecordBatch, String> {
    storable(rows.schema_ref())?;
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        if field.data_type() == &DataType::Null {
            continue;
        }
        let stored = stored_type(field.data_type()).expect("it was found storable");
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
