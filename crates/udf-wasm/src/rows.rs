//! Rows as they travel to a guest and back.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat_batches, max};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use event::ROW_COLUMN;

/// Which layout text and bytes have.
#[derive(Clone, Copy)]
enum Layout {
    /// `Utf8`, `Binary`: what Arrow libraries of all languages read, and no more bytes than the rows have.
    Guest,
    /// `Utf8View`, `BinaryView`: as columns are stored.
    Stored,
}

/// The rows as an IPC stream of one batch, text as `Utf8`.
pub(crate) fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let rows = with_layout(rows, Layout::Guest)?;
    let mut writer = StreamWriter::try_new(Vec::new(), rows.schema_ref())?;
    writer.write(&rows)?;
    writer.into_inner()
}

/// What a guest answered to `rows` rows.
///
/// # Errors
/// Says which part of the contract the bytes break.
pub(crate) fn decode(stream: Vec<u8>, rows: usize) -> Result<RecordBatch, String> {
    let stream = Buffer::from_vec(stream);
    refuse_compression(&stream)?;
    // The reader asserts much of what a broken stream does not keep.
    let read = catch_unwind(|| read(stream)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let what = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        Err(ArrowError::IpcError(what.to_owned()))
    });
    let read = read.map_err(|error| format!("what came out is not an Arrow IPC stream: {error}"))?;
    check_rows(&read, rows)?;
    with_layout(&read, Layout::Stored).map_err(|error| format!("what came out cannot be read: {error}"))
}

fn read(mut rest: Buffer) -> Result<RecordBatch, ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    while !rest.is_empty() {
        match decoder.decode(&mut rest)? {
            Some(batch) => batches.push(batch),
            None => break,
        }
    }
    decoder.finish()?;
    let schema = decoder
        .schema()
        .ok_or_else(|| ArrowError::IpcError("it has no schema".to_owned()))?;
    match batches.as_slice() {
        [one] => Ok(one.clone()),
        several => concat_batches(&schema, several),
    }
}

/// A compressed buffer says how large it becomes, and whoever reads it makes room for that.
fn refuse_compression(stream: &[u8]) -> Result<(), String> {
    let mut rest = stream;
    while let Some((message, behind)) = next_message(rest) {
        let message = arrow::ipc::root_as_message(message)
            .map_err(|error| format!("what came out is not an Arrow IPC stream: {error}"))?;
        let batch = match message.header_as_dictionary_batch() {
            Some(dictionary) => dictionary.data(),
            None => message.header_as_record_batch(),
        };
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err(
                "what came out is compressed: write the Arrow IPC stream without compression".to_owned(),
            );
        }
        let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        rest = behind.get(body..).unwrap_or_default();
    }
    Ok(())
}

/// The next message's description, and the bytes behind it ("Encapsulated message format" of Arrow's columnar format).
fn next_message(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let stream = stream.strip_prefix(&[0xFF; 4]).unwrap_or(stream);
    let (length, stream) = stream.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_le_bytes(*length)).ok()?;
    (length > 0).then(|| stream.split_at_checked(length))?
}

/// Whether each row says of which of `rows` rows it was made.
fn check_rows(out: &RecordBatch, rows: usize) -> Result<(), String> {
    let column = out.column_by_name(ROW_COLUMN).ok_or_else(|| {
        format!("what came out has no column {ROW_COLUMN}: let each row carry that of its origin")
    })?;
    let places = column.as_primitive_opt::<UInt32Type>().ok_or_else(|| {
        format!(
            "column {ROW_COLUMN} must be UInt32, as it came in is={}",
            column.data_type()
        )
    })?;
    if places.null_count() > 0 {
        return Err(format!(
            "column {ROW_COLUMN} must have no nulls nulls={}",
            places.null_count()
        ));
    }
    match max(places) {
        Some(place) if place as usize >= rows => Err(format!(
            "column {ROW_COLUMN} names a row that did not come in row={place} rows={rows}"
        )),
        _ => Ok(()),
    }
}

fn with_layout(rows: &RecordBatch, layout: Layout) -> Result<RecordBatch, ArrowError> {
    let fields = rows.schema_ref().fields().iter();
    let fields: Vec<FieldRef> = fields.map(|field| field_in(field, layout)).collect();
    let columns = rows.columns().iter().zip(&fields);
    let columns: Result<Vec<ArrayRef>, _> = columns
        .map(|(column, field)| match column.data_type() == field.data_type() {
            true => Ok(column.clone()),
            false => cast(column, field.data_type()),
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns?, &options)
}

fn field_in(field: &FieldRef, layout: Layout) -> FieldRef {
    let data_type = type_in(field.data_type(), layout);
    match &data_type == field.data_type() {
        true => field.clone(),
        false => Arc::new(Field::clone(field).with_data_type(data_type)),
    }
}

fn type_in(data_type: &DataType, layout: Layout) -> DataType {
    match (data_type, layout) {
        (DataType::Utf8View, Layout::Guest) => DataType::Utf8,
        (DataType::BinaryView, Layout::Guest) => DataType::Binary,
        (DataType::Utf8 | DataType::LargeUtf8, Layout::Stored) => DataType::Utf8View,
        (DataType::Binary | DataType::LargeBinary, Layout::Stored) => DataType::BinaryView,
        (DataType::List(item), _) => DataType::List(field_in(item, layout)),
        (DataType::LargeList(item), _) => DataType::LargeList(field_in(item, layout)),
        (DataType::Struct(fields), _) => {
            DataType::Struct(fields.iter().map(|field| field_in(field, layout)).collect())
        }
        _ => data_type.clone(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, StringArray, UInt32Array};
    use arrow::datatypes::Int64Type;
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let lists =
            ListArray::from_iter_primitive::<Int64Type, _, _>((0..8).map(|i| Some(vec![Some(i), None])));
        let columns: [(&str, ArrayRef); 3] = [
            (ROW_COLUMN, Arc::new(UInt32Array::from_iter_values(0..8))),
            (
                "text",
                Arc::new(StringArray::from_iter_values((0..8).map(|i| "ü".repeat(i)))),
            ),
            ("list", Arc::new(lists)),
        ];
        encode(&RecordBatch::try_from_iter(columns).unwrap()).unwrap()
    }

    proptest! {
        /// Bytes that differ are rows or a reason, and never a panic or a row that did not come in.
        #[test]
        fn any_bytes_are_rows_or_a_reason(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut bytes = stream();
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            if let Ok(rows) = decode(bytes, 8) {
                prop_assert!(check_rows(&rows, 8).is_ok());
                prop_assert!(encode(&rows).is_ok());
            }
        }
    }
}
