//! Parquet files: rows as elements, by `serde_arrow` from batches of the columns that the element has fields for.

use std::sync::Arc;

use arrow::array::RecordBatch;
use flow::{Error, ErrorKind, Result, Timestamp};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use crate::EventTime;
use crate::cursor::{Bounds, Chunk, Cursor, Format, Record};
use crate::limits::{BATCH_BYTES, BATCH_ROWS_MAX};
use crate::malformed::Reason;
use crate::paths::DataFile;
use crate::time::timed;

type Timed<T> = dyn Fn(T) -> std::result::Result<(Timestamp, T), Reason> + Send + Sync;

/// Files of Parquet.
pub(crate) struct Parquet<T>(Arc<Timed<T>>);

impl<T: 'static> Parquet<T> {
    pub(crate) fn new<R: EventTime>(time: impl Fn(&T) -> R + Send + Sync + 'static) -> Self {
        Self(Arc::new(move |element| timed(element, &time)))
    }
}

impl<T: DeserializeOwned + 'static> Format<T> for Parquet<T> {
    fn open(&self, file: &Arc<DataFile>, offset: u64, _: usize) -> Result<Box<dyn Cursor<T>>> {
        let damaged = |error| damaged(file, error);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(file.open()?).map_err(damaged)?;
        let groups = builder.metadata().row_groups();
        let rows: u64 = groups.iter().map(|group| group.num_rows().max(0) as u64).sum();
        let bytes: u64 = groups
            .iter()
            .map(|group| group.total_byte_size().max(0) as u64)
            .sum();
        if offset > rows {
            return Err(file.changed("it has fewer rows than the job's progress says"));
        }
        let batch_rows = BATCH_BYTES / (bytes / rows.max(1)).max(1);
        if let Some(mask) = projection::<T>(&builder) {
            builder = builder.with_projection(mask);
        }
        let reader = builder
            .with_offset(offset as usize)
            .with_batch_size(batch_rows.clamp(1, BATCH_ROWS_MAX) as usize)
            .build()
            .map_err(damaged)?;
        Ok(Box::new(RowCursor {
            file: file.clone(),
            reader,
            batch: None,
            row: offset,
            timed: self.0.clone(),
        }))
    }
}

struct RowCursor<T> {
    file: Arc<DataFile>,
    reader: ParquetRecordBatchReader,
    /// Rows that have been read and not given.
    batch: Option<RecordBatch>,
    row: u64,
    timed: Arc<Timed<T>>,
}

impl<T: DeserializeOwned> Cursor<T> for RowCursor<T> {
    fn offset(&self) -> u64 {
        self.row
    }

    fn read(&mut self, bounds: Bounds, emit: &mut dyn FnMut(Record<T>) -> Result<()>) -> Result<Chunk> {
        let mut chunk = Chunk {
            bytes: 0,
            ended: false,
        };
        while self.row < bounds.until && (chunk.bytes == 0 || chunk.bytes < bounds.bytes_max) {
            let Some(batch) = self.batch()? else {
                chunk.ended = true;
                break;
            };
            let row_bytes = (batch.get_array_memory_size() / batch.num_rows()).max(1);
            let wanted = ((bounds.bytes_max - chunk.bytes) / row_bytes).max(1);
            let rows = batch
                .num_rows()
                .min(wanted)
                .min((bounds.until - self.row) as usize);
            chunk.bytes += rows * row_bytes;
            self.emit(&batch.slice(0, rows), emit)?;
            self.row += rows as u64;
            if rows < batch.num_rows() {
                self.batch = Some(batch.slice(rows, batch.num_rows() - rows));
            }
        }
        Ok(chunk)
    }
}

impl<T: DeserializeOwned> RowCursor<T> {
    /// Takes the rows that come next, one at least; `None` at the end.
    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(batch) = self.batch.take() {
            return Ok(Some(batch));
        }
        for batch in &mut self.reader {
            let batch = batch.map_err(|error| damaged(&self.file, error))?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn emit(&self, rows: &RecordBatch, emit: &mut dyn FnMut(Record<T>) -> Result<()>) -> Result<()> {
        if let Ok(elements) = serde_arrow::from_record_batch::<Vec<T>>(rows)
            && elements.len() == rows.num_rows()
        {
            for (i, element) in elements.into_iter().enumerate() {
                let timed = (self.timed)(element);
                emit(timed.map_err(|reason| self.malformed(reason, rows, i)))?;
            }
            return Ok(());
        }
        // Some row is no element: one by one, to find which.
        for i in 0..rows.num_rows() {
            let row = rows.slice(i, 1);
            let element = serde_arrow::from_record_batch::<Vec<T>>(&row).map_err(Reason::new);
            let element =
                element.and_then(|one| one.into_iter().next().ok_or_else(|| Reason::new("it is nothing")));
            let timed = element.and_then(|element| (self.timed)(element));
            emit(timed.map_err(|reason| self.malformed(reason, rows, i)))?;
        }
        Ok(())
    }

    fn malformed(&self, reason: Reason, rows: &RecordBatch, i: usize) -> crate::Malformed {
        // What cannot be JSON (there are such columns) is left empty: the row's number says where it is.
        let row = rows.slice(i, 1);
        let json = serde_arrow::from_record_batch::<Vec<serde_json::Value>>(&row).unwrap_or_default();
        let raw = json.first().map(ToString::to_string).unwrap_or_default();
        reason.at(&self.file.part, self.row + i as u64 + 1, raw.as_bytes())
    }
}

fn damaged(file: &DataFile, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let text = format!("cannot be read as Parquet: {error} file={}", file.path.display());
    Error::new(ErrorKind::Corrupt, text).with_source(error)
}

/// The columns that `T` has fields for; `None`, which is all of them, where that cannot be known.
fn projection<T: DeserializeOwned>(
    builder: &ParquetRecordBatchReaderBuilder<std::fs::File>,
) -> Option<ProjectionMask> {
    let mut names = None;
    let _ = T::deserialize(FieldNames(&mut names));
    let names = names?;
    let columns = builder.parquet_schema().root_schema().get_fields();
    let wanted = (0..columns.len()).filter(|column| names.contains(&columns[*column].name()));
    let wanted: Vec<usize> = wanted.collect();
    (!wanted.is_empty()).then(|| ProjectionMask::roots(builder.parquet_schema(), wanted))
}

/// Takes down the fields that a struct asks for, and gives nothing.
struct FieldNames<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("only names are asked for"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = Some(fields);
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
