//! Nested columns as JSON text, for doors that have no word for them.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

/// The schema with each column that `nested` picks as text.
pub(crate) fn schema(schema: &Schema, nested: fn(&DataType) -> bool) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match nested(field.data_type()) {
            true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
            false => field.clone(),
        });
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<FieldRef>>(),
        schema.metadata().clone(),
    ))
}

/// The batch with each column that `nested` picks as JSON text.
pub(crate) fn batch(batch: &RecordBatch, nested: fn(&DataType) -> bool) -> Result<RecordBatch, ArrowError> {
    let schema_ref = batch.schema();
    let columns = schema_ref
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| match nested(field.data_type()) {
            true => json(field, column),
            false => Ok(column.clone()),
        });
    let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema(&schema_ref, nested), columns, &options)
}

fn json(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}
