//! What comes out of a step, checked against the contract of [`event::Udf`].

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Schema, UInt32Type};
use event::{ERROR_COLUMN, ROW_COLUMN, SystemColumn, UdfError, UdfErrorKind, canonical, storable};
use std::sync::Arc;

use crate::limits::CALL_OUT_ROWS_MAX;

/// Rows that came out, in the order of those that went in.
pub(super) struct Output {
    /// For each, the place of the row that it was made of.
    pub(super) from: UInt32Array,
    /// The columns that are not the system's, of stored types.
    pub(super) fields: RecordBatch,
    /// `eventTime`, where it is among the columns.
    pub(super) time: Option<ArrayRef>,
    /// For each, why it is rejected.
    pub(super) error: Option<ArrayRef>,
}

/// Checks what came out of a call with so many rows.
///
/// # Errors
/// `Broken` says how the contract is broken; `Row` names a value that cannot be stored.
pub(super) fn check(out: RecordBatch, rows_in: usize) -> Result<Output, UdfError> {
    if out.num_rows() > CALL_OUT_ROWS_MAX {
        return Err(broken(format!(
            "too many rows came out of a call rows={} rows_max={CALL_OUT_ROWS_MAX}",
            out.num_rows()
        )));
    }
    let schema = out.schema();
    for (index, field) in schema.fields().iter().enumerate() {
        if schema.fields()[..index]
            .iter()
            .any(|other| other.name() == field.name())
        {
            return Err(broken(format!(
                "a column came out twice, rename one column={}",
                field.name()
            )));
        }
    }
    let from = places(&out, rows_in)?;
    let (out, from) = in_order(out, from);
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    let (mut time, mut error) = (None, None);
    for (field, column) in schema.fields().iter().zip(out.columns()) {
        match field.name().as_str() {
            ROW_COLUMN => {}
            ERROR_COLUMN => error = error_texts(column)?,
            name if name.eq_ignore_ascii_case(SystemColumn::EventTime.name()) => {
                time = Some((field.clone(), column.clone()));
            }
            name if SystemColumn::is_reserved(name) => {}
            _ => {
                fields.push(field.clone());
                columns.push(column.clone());
            }
        }
    }
    let fields = stored(fields, columns, out.num_rows())?;
    let time = match time {
        None => None,
        Some((field, column)) => {
            let time = stored(vec![field], vec![column], out.num_rows())?;
            time.columns().first().cloned() // none if it is of the Null type
        }
    };
    Ok(Output {
        from,
        fields,
        time,
        error,
    })
}

fn stored(
    fields: Vec<arrow::datatypes::FieldRef>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, UdfError> {
    let schema = Arc::new(Schema::new(fields));
    storable(&schema).map_err(broken)?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema, columns, &options).map_err(broken)?;
    canonical(&batch).map_err(|text| UdfError::new(UdfErrorKind::Row, text))
}

/// The column that ties rows to those that went in.
fn places(out: &RecordBatch, rows_in: usize) -> Result<UInt32Array, UdfError> {
    let Some(column) = out.column_by_name(ROW_COLUMN) else {
        return Err(broken(format!(
            "the column {ROW_COLUMN} is missing: hand it on with the rows"
        )));
    };
    let Some(places) = column.as_primitive_opt::<UInt32Type>() else {
        return Err(broken(format!(
            "the column {ROW_COLUMN} is of another type type={} must_be=UInt32",
            column.data_type()
        )));
    };
    if places.null_count() > 0 {
        return Err(broken(format!(
            "the column {ROW_COLUMN} has nulls nulls={}",
            places.null_count()
        )));
    }
    match places.values().iter().max() {
        Some(most) if *most as usize >= rows_in => Err(broken(format!(
            "the column {ROW_COLUMN} names a row that did not go in row={most} rows={rows_in}"
        ))),
        _ => Ok(places.clone()),
    }
}

fn in_order(out: RecordBatch, from: UInt32Array) -> (RecordBatch, UInt32Array) {
    if from.values().is_sorted() {
        return (out, from);
    }
    let mut order: Vec<u32> = (0..).take(from.len()).collect();
    order.sort_by_key(|row| from.value(*row as usize)); // stable: rows of one event keep their order
    let sorted = order
        .iter()
        .map(|row| from.value(*row as usize))
        .collect::<Vec<_>>();
    let out = take_record_batch(&out, &UInt32Array::from(order)).expect("each row is there");
    (out, sorted.into())
}

fn error_texts(column: &ArrayRef) -> Result<Option<ArrayRef>, UdfError> {
    match column.data_type() {
        DataType::Null => Ok(None),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            cast(column, &DataType::Utf8View).map(Some).map_err(broken)
        }
        other => Err(broken(format!(
            "the column {ERROR_COLUMN} must be text type={other}"
        ))),
    }
}

fn broken(text: impl std::fmt::Display) -> UdfError {
    UdfError::new(UdfErrorKind::Broken, text)
}
