//! Rows to Parquet files, one per hour; and back.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, PrimitiveArray, RecordBatch, UInt32Array};
use arrow::compute::{max, min, take_record_batch};
use arrow::datatypes::{DataType, Fields, Schema, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use event::SystemColumn;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use crate::background::{self, Urgency};
use crate::limits::{ENCODE_ROWS, ROW_GROUP_ROWS_MAX};
use crate::{Error, ErrorKind, Result, Times};

/// The partition column of the Delta table. It is in the paths and in the log, not in the files.
pub(crate) const HOUR_COLUMN: &str = "_hour";

pub(crate) const HOUR_US: i64 = 3_600_000_000;

/// The name of threads that encode.
const NAME: &str = "encode";

/// A Parquet file in memory.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) hour: String,
    pub(crate) body: Bytes,
    pub(crate) rows: u64,
    pub(crate) event_time: (i64, i64),
    pub(crate) received_time: (i64, i64),
}

/// The column whose hour a row belongs to.
pub(crate) fn hour_column(schema: &SchemaRef) -> SystemColumn {
    match schema.column_with_name(SystemColumn::EventTime.name()) {
        Some(_) => SystemColumn::EventTime,
        None => SystemColumn::ReceivedTime,
    }
}

/// One file per hour present, by hour; within an hour rows keep their order. The work is done some rows at a time, as
/// urgent as it is when their turn comes.
pub(crate) async fn encode(
    batches: Vec<RecordBatch>,
    schema: &SchemaRef,
    urgency: impl Fn() -> Urgency,
) -> Result<Vec<Encoded>> {
    let by = schema.clone();
    let hours = background::run(NAME, Urgency::Soon, move || {
        let mut hours: BTreeMap<i64, Vec<RecordBatch>> = BTreeMap::new();
        let column = hour_column(&by);
        batches
            .iter()
            .try_for_each(|batch| split(batch, column, &mut hours))?;
        Ok::<_, Error>(hours)
    });
    let mut files = Vec::new();
    for (hour, batches) in hours.await?? {
        let mut file = HourFile::new(hour, schema)?;
        let mut some = Vec::new();
        for batch in batches {
            some.push(batch);
            if some.iter().map(RecordBatch::num_rows).sum::<usize>() >= ENCODE_ROWS {
                let some = std::mem::take(&mut some);
                file = background::run(NAME, urgency(), move || file.with(&some)).await??;
            }
        }
        let last = background::run(NAME, urgency(), move || file.with(&some)?.finish());
        files.push(last.await??);
    }
    Ok(files)
}

pub(crate) fn split(
    batch: &RecordBatch,
    column: SystemColumn,
    hours: &mut BTreeMap<i64, Vec<RecordBatch>>,
) -> Result<()> {
    let times = times(batch, column)?;
    let hour_of = |us: i64| us.div_euclid(HOUR_US);
    let (Some(first), Some(last)) = (min(times), max(times)) else {
        return Ok(());
    };
    if hour_of(first) == hour_of(last) {
        hours.entry(hour_of(first)).or_default().push(batch.clone());
        return Ok(());
    }
    let mut places: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (place, us) in times.values().iter().enumerate() {
        let place = u32::try_from(place).expect("a batch has fewer rows than 2^32");
        places.entry(hour_of(*us)).or_default().push(place);
    }
    for (hour, places) in places {
        let rows = take_record_batch(batch, &UInt32Array::from(places)).map_err(Error::arrow)?;
        hours.entry(hour).or_default().push(rows);
    }
    Ok(())
}

fn unwritten(error: ParquetError) -> Error {
    Error::new(
        ErrorKind::Invalid,
        format_args!("rows cannot be written as Parquet: {error}"),
    )
    .with_source(error)
}

/// A Parquet file of batches with this schema.
pub(crate) fn write_parquet(batches: &[RecordBatch], schema: &SchemaRef) -> Result<Bytes> {
    let properties = properties(schema).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).map_err(unwritten)?;
    for batch in batches {
        writer.write(batch).map_err(unwritten)?;
    }
    Ok(writer.into_inner().map_err(unwritten)?.into())
}

/// The file of an hour that is being encoded.
struct HourFile {
    hour: i64,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    ranges: Ranges,
}

impl HourFile {
    fn new(hour: i64, schema: &SchemaRef) -> Result<Self> {
        let properties = properties(schema).build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        Ok(Self {
            hour,
            schema: schema.clone(),
            writer: writer.map_err(unwritten)?,
            ranges: Ranges::default(),
        })
    }

    fn with(mut self, batches: &[RecordBatch]) -> Result<Self> {
        for batch in batches {
            self.ranges.take(batch, &self.schema)?;
            self.writer.write(batch).map_err(unwritten)?;
        }
        Ok(self)
    }

    fn finish(self) -> Result<Encoded> {
        Ok(Encoded {
            hour: hour_label(self.hour),
            body: self.writer.into_inner().map_err(unwritten)?.into(),
            rows: self.ranges.rows,
            event_time: self.ranges.event_time,
            received_time: self.ranges.received_time,
        })
    }
}

/// How every file of rows is written. Integers and times go as differences, which costs less than to look each up in a
/// dictionary, and takes less room where they rise.
pub(crate) fn properties(schema: &Schema) -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(1).expect("1 is a level of zstd");
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX));
    let mut integers = Vec::new();
    integers_in(schema.fields(), &mut Vec::new(), &mut integers);
    integers.into_iter().fold(properties, |properties, path| {
        properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
    })
}

/// The paths of all columns of 64 bits, those in structs too.
fn integers_in(fields: &Fields, path: &mut Vec<String>, found: &mut Vec<ColumnPath>) {
    for field in fields {
        path.push(field.name().clone());
        match field.data_type() {
            DataType::Int64 | DataType::Timestamp(..) => found.push(ColumnPath::new(path.clone())),
            DataType::Struct(fields) => integers_in(fields, path, found),
            _ => {}
        }
        path.pop();
    }
}

/// What the log tells of a file's rows.
#[derive(Debug)]
pub(crate) struct Ranges {
    pub(crate) rows: u64,
    pub(crate) event_time: (i64, i64),
    pub(crate) received_time: (i64, i64),
}

impl Default for Ranges {
    fn default() -> Self {
        let none = (i64::MAX, i64::MIN);
        Self {
            rows: 0,
            event_time: none,
            received_time: none,
        }
    }
}

impl Ranges {
    /// Widens them by the rows of a batch.
    pub(crate) fn take(&mut self, batch: &RecordBatch, schema: &SchemaRef) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        widen(&mut self.event_time, times(batch, hour_column(schema))?);
        widen(&mut self.received_time, times(batch, SystemColumn::ReceivedTime)?);
        Ok(())
    }
}

/// The rows of one row group of a file with `schema`'s columns, in batches of at most `rows_max`; `None` if there is no
/// such group.
pub(crate) fn decode_row_group(
    body: Bytes,
    group: usize,
    rows_max: usize,
    schema: &SchemaRef,
) -> Result<Option<Vec<RecordBatch>>> {
    let corrupt = |error: ParquetError| {
        Error::new(
            ErrorKind::Corrupt,
            format_args!("a file is not as it was written: {error}"),
        )
        .with_source(error)
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(body).map_err(corrupt)?;
    if group >= reader.metadata().num_row_groups() {
        return Ok(None);
    }
    let reader = reader
        .with_row_groups(vec![group])
        .with_batch_size(rows_max.max(1))
        .build()
        .map_err(corrupt)?;
    let conformed = reader.map(|batch| {
        let batch = batch.map_err(|error| corrupt(error.into()))?;
        Ok(event::conform(&batch, schema)?)
    });
    conformed.collect::<Result<_>>().map(Some)
}

pub(crate) fn times(
    batch: &RecordBatch,
    column: SystemColumn,
) -> Result<&PrimitiveArray<TimestampMicrosecondType>> {
    let times = batch.column_by_name(column.name());
    times
        .and_then(|times| times.as_primitive_opt())
        .filter(|times| times.null_count() == 0)
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "a time is missing: it must be microseconds in UTC and not null column={}",
                    column.name()
                ),
            )
        })
}

/// The times of a batch's rows; all there are, if a time is missing.
pub(crate) fn times_of(batch: &RecordBatch) -> Times {
    let mut ranges = Ranges::default();
    match ranges.take(batch, batch.schema_ref()) {
        Ok(()) => Times {
            event: ranges.event_time,
            received: ranges.received_time,
        },
        Err(_) => Times {
            event: (i64::MIN, i64::MAX),
            received: (i64::MIN, i64::MAX),
        },
    }
}

fn widen(range: &mut (i64, i64), times: &PrimitiveArray<TimestampMicrosecondType>) {
    range.0 = range.0.min(min(times).unwrap_or(i64::MAX));
    range.1 = range.1.max(max(times).unwrap_or(i64::MIN));
}

/// `YYYY-MM-DD-HH` of an hour since 1970, UTC, in the proleptic Gregorian calendar; for every hour that µs in an
/// `i64` can reach, so years may have six digits or a sign.
///
/// The civil date is Howard Hinnant's `civil_from_days`.
pub(crate) fn hour_label(hour: i64) -> String {
    let days = hour.div_euclid(24) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}-{:02}", hour.rem_euclid(24))
}

/// The hour since 1970 of a label of [`hour_label`]; `None` if it is not one.
///
/// The days are Howard Hinnant's `days_from_civil`.
pub(crate) fn hour_of(label: &str) -> Option<i64> {
    let (date, hour) = label.rsplit_once('-')?;
    let (date, day) = date.rsplit_once('-')?;
    let (year, month) = date.rsplit_once('-')?;
    let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
    let (day, hour): (i64, i64) = (day.parse().ok()?, hour.parse().ok()?);
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day) && (0..24).contains(&hour);
    if !fits || year.abs() > 1_000_000 {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some((era * 146_097 + day_of_era - 719_468) * 24 + hour)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hours_are_those_of_the_calendar(second in -62_135_596_800i64..253_402_207_200) {
            let expected = jiff::Timestamp::from_second(second).unwrap().strftime("%Y-%m-%d-%H").to_string();
            prop_assert_eq!(hour_label(second.div_euclid(3_600)), expected);
        }

        #[test]
        fn labels_tell_their_hour(us in any::<i64>()) {
            let hour = us.div_euclid(HOUR_US);
            prop_assert_eq!(hour_of(&hour_label(hour)), Some(hour));
        }
    }

    #[test]
    fn hours_far_away() {
        assert_eq!(hour_label(0), "1970-01-01-00");
        assert_eq!(hour_label(-1), "1969-12-31-23");
        assert_eq!(hour_label(i64::MAX / HOUR_US), "294247-01-10-04");
        assert_eq!(hour_label(i64::MIN.div_euclid(HOUR_US)), "-290308-12-21-19");
    }
}
