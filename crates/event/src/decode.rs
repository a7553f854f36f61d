//! From a batch as it was sent to rows as they are stored.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, FieldRef, Int64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use jiff::Timestamp;

use crate::conform::conform;
use crate::infer::{Unplaced, place, place_columns};
use crate::json::Rows;
use crate::limits::{EVENT_BYTES_MAX, REJECT_RAW_BYTES_MAX, REJECT_REASON_BYTES_MAX};
use crate::stored::canonical;
use crate::{Batch, BatchHeader, DatasetSchema, DatasetSettings, Encoding, SystemColumn, TimeRange};

/// Stands in the reason of a reject whose raw bytes are not all there.
const RAW_IS_CUT: &str = " (raw is cut bytes=";

/// Batch → rows with all columns of the dataset, and the events that were rejected.
///
/// The schema grows by what a batch brings: a field that has no column gets one of the type that
/// [`crate::infer_fields`] tells; what can have none (or a name that a table cannot have, or one that differs
/// from another only by case) goes to `_extra`. A value that does not fit its column rejects the event.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub(crate) schema: Arc<DatasetSchema>,
    event_time: Option<Vec<String>>,
    pub(crate) time_range: TimeRange,
}

/// What a batch came to: every event is in one of the two.
#[derive(Debug)]
pub struct Decoded {
    /// The good events, in order, with the columns of the dataset's schema; perhaps no rows.
    pub rows: RecordBatch,
    /// The place in the batch of each row's event, as [`Reject::line`].
    pub lines: Vec<u32>,
    /// The others.
    pub rejects: Vec<Reject>,
}

/// An event that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its place in the batch, from 1: the line of NDJSON or the row.
    pub line: u32,
    /// Where it failed: `decode`, `validate` or `udf`.
    pub stage: &'static str,
    /// The step of the dataset's chain that it failed in, where the stage is `udf`.
    pub step: Option<Arc<str>>,
    /// Why, and where in the event.
    pub reason: String,
    /// The event as it was sent, cut to [`REJECT_RAW_BYTES_MAX`]; a row of Arrow as a JSON object.
    pub raw: Vec<u8>,
}

impl Reject {
    /// An event that was rejected, with as much of its raw bytes as is kept.
    pub fn new(line: u32, stage: &'static str, mut reason: String, raw: &[u8]) -> Self {
        if reason.len() > REJECT_REASON_BYTES_MAX {
            reason.truncate(reason.floor_char_boundary(REJECT_REASON_BYTES_MAX));
            reason.push('…');
        }
        let (reason, raw) = match raw.get(..REJECT_RAW_BYTES_MAX) {
            Some(head) if head.len() < raw.len() => (format!("{reason}{RAW_IS_CUT}{})", raw.len()), head),
            _ => (reason, raw),
        };
        Self {
            line,
            stage,
            step: None,
            reason,
            raw: raw.to_vec(),
        }
    }

    /// Whether the raw bytes were too many and are cut, so that they are no longer the event.
    pub fn is_cut(reason: &str) -> bool {
        reason.contains(RAW_IS_CUT)
    }
}

impl Decoder {
    /// A decoder for a dataset whose schema is shared with those who store and query it.
    pub fn new(schema: Arc<DatasetSchema>, settings: &DatasetSettings) -> Self {
        let event_time = settings
            .event_time
            .as_ref()
            .map(|path| path.split('.').map(str::to_owned).collect());
        let time_range = settings.time_range;
        Self {
            schema,
            event_time,
            time_range,
        }
    }

    /// Decodes a batch. A payload that cannot be read at all is one reject.
    pub fn decode(&self, batch: &Batch) -> Decoded {
        let (own, lines, extra, mut rejects) = match batch.header.encoding {
            Encoding::Ndjson => self.decode_ndjson(&batch.payload),
            Encoding::ArrowIpc => self.decode_arrow(batch.payload.clone()),
        };
        let own = Own {
            rows: own,
            lines,
            extra,
        };
        let (own, times) = self.event_times(own, batch, &mut rejects);
        rejects.sort_by_key(|reject| reject.line);
        Decoded {
            rows: with_system_columns(&own.rows, own.extra, times, &batch.header),
            lines: own.lines,
            rejects,
        }
    }

    /// The events at these places (in ascending order) of a batch, as they were sent; a row of Arrow as a JSON object.
    /// Reads the batch again, so it is for the few that were rejected.
    pub fn raw(&self, batch: &Batch, lines: &[u32]) -> Vec<Vec<u8>> {
        match batch.header.encoding {
            Encoding::Ndjson => raw_lines(&batch.payload, lines),
            Encoding::ArrowIpc => raw_rows(&batch.payload, lines),
        }
    }

    fn decode_ndjson(&self, payload: &[u8]) -> (RecordBatch, Vec<u32>, Option<ArrayRef>, Vec<Reject>) {
        loop {
            let fields = self.schema.fields();
            let mut rows = Rows::new(&fields);
            let mut rejects = Vec::new();
            let mut lines = Vec::new();
            for (index, line) in payload.split(|byte| *byte == b'\n').enumerate() {
                let line = line.trim_ascii();
                if line.is_empty() {
                    continue;
                }
                let place = place_of(index);
                if line.len() > EVENT_BYTES_MAX {
                    let reason = format!(
                        "event is too large bytes={} bytes_max={EVENT_BYTES_MAX}",
                        line.len()
                    );
                    rejects.push(Reject::new(place, "decode", reason, line));
                    continue;
                }
                match rows.push(line) {
                    Ok(()) => lines.push(place),
                    Err(reason) => {
                        let stage = if reason.starts_with("field ") {
                            "validate"
                        } else {
                            "decode"
                        };
                        rejects.push(Reject::new(place, stage, reason, line));
                    }
                }
            }
            let unplaced = std::mem::take(&mut rows.unplaced);
            if !unplaced.is_empty() {
                let found: Vec<Unplaced> = unplaced.iter().map(|(_, unplaced)| unplaced.clone()).collect();
                let grown = self.schema.grow(|fields| place(fields, &found));
                if grown.fields()[SystemColumn::ALL.len()..] != fields[..] {
                    continue; // the schema has grown: what was unplaced now has columns
                }
            }
            let extra = extra_column(&unplaced, rows.len());
            return (
                record_batch(fields, lines.len(), rows.finish()),
                lines,
                extra,
                rejects,
            );
        }
    }

    fn decode_arrow(&self, payload: Bytes) -> (RecordBatch, Vec<u32>, Option<ArrayRef>, Vec<Reject>) {
        let unreadable = |reason: String| {
            let rejects = vec![Reject::new(1, "decode", reason, &payload)];
            (
                record_batch(self.schema.fields(), 0, self.no_rows()),
                Vec::new(),
                None,
                rejects,
            )
        };
        let sent = match read_ipc(payload.clone()) {
            Ok(sent) => sent,
            Err(error) => return unreadable(format!("not an Arrow IPC stream: {error}")),
        };
        let Some(sent_schema) = sent.first().map(RecordBatch::schema) else {
            return unreadable("no record batch in the stream".to_owned());
        };
        let sent = match arrow::compute::concat_batches(&sent_schema, &sent) {
            Ok(sent) => sent,
            Err(error) => return unreadable(format!("record batches do not fit one another: {error}")),
        };
        self.place_arrow(sent)
    }

    /// Gives an Arrow batch the dataset's columns: new ones are added, what has none goes to `_extra`, and a
    /// batch with a column of another type is rejected row by row.
    fn place_arrow(&self, sent: RecordBatch) -> (RecordBatch, Vec<u32>, Option<ArrayRef>, Vec<Reject>) {
        let rows = sent.num_rows();
        let reject_all = |reason: String| {
            let rejects = json_rows(&sent)
                .into_iter()
                .enumerate()
                .map(|(row, raw)| Reject::new(place_of(row), "validate", reason.clone(), &raw))
                .collect();
            (
                record_batch(self.schema.fields(), 0, self.no_rows()),
                Vec::new(),
                None,
                rejects,
            )
        };
        let sent = match canonical(&sent) {
            Ok(sent) => sent,
            Err(reason) => return reject_all(reason),
        };
        let columns: Vec<FieldRef> = sent.schema().fields().iter().cloned().collect();
        let grown = self.schema.grow(|fields| place_columns(fields, &columns));
        let fields = grown.fields()[SystemColumn::ALL.len()..].to_vec();
        let (placed, extra): (Vec<usize>, Vec<usize>) = (0..columns.len())
            .partition(|index| fields.iter().any(|field| field.name() == columns[*index].name()));
        let own_schema = Arc::new(Schema::new(fields));
        let own = sent
            .project(&placed)
            .map_err(|e| e.to_string())
            .and_then(|own| conform(&own, &own_schema).map_err(|e| e.to_string()));
        let own = match own {
            Ok(own) => own,
            Err(reason) => return reject_all(reason),
        };
        let extra = sent
            .project(&extra)
            .ok()
            .filter(|extra| extra.num_columns() > 0)
            .map(|extra| {
                let texts = json_rows(&extra)
                    .into_iter()
                    .map(|row| String::from_utf8_lossy(&row).into_owned());
                Arc::new(
                    texts
                        .map(|text| (text != "{}").then_some(text))
                        .collect::<StringViewArray>(),
                ) as ArrayRef
            });
        (own, (0..rows).map(place_of).collect(), extra, Vec::new())
    }

    fn no_rows(&self) -> Vec<ArrayRef> {
        self.schema
            .fields()
            .iter()
            .map(|field| arrow::array::new_empty_array(field.data_type()))
            .collect()
    }

    /// The event time of each row; rows whose time cannot be read, or is out of range, become rejects.
    fn event_times(
        &self,
        own: Own,
        batch: &Batch,
        rejects: &mut Vec<Reject>,
    ) -> (Own, TimestampMicrosecondArray) {
        let received = batch.header.received_at.as_microsecond();
        let column = self
            .event_time
            .as_ref()
            .and_then(|path| column_at(&own.rows, path));
        let Some(column) = column else {
            let times = TimestampMicrosecondArray::from_value(received, own.rows.num_rows());
            return (own, times);
        };
        let times: Vec<Result<i64, String>> = (0..own.rows.num_rows())
            .map(|row| self.time_range.check(time_at(&column, row, received)?, received))
            .collect();
        if times.iter().all(Result::is_ok) {
            let times = times.into_iter().flatten().collect::<Vec<_>>();
            return (own, times.into());
        }
        let bad = times.iter().zip(&own.lines);
        let bad: Vec<(u32, &String)> = bad
            .filter_map(|(time, line)| time.as_ref().err().map(|reason| (*line, reason)))
            .collect();
        let lines: Vec<u32> = bad.iter().map(|(line, _)| *line).collect();
        for ((line, reason), raw) in bad.into_iter().zip(self.raw(batch, &lines)) {
            rejects.push(Reject::new(line, "validate", reason.clone(), &raw));
        }
        let good: BooleanArray = times.iter().map(|time| Some(time.is_ok())).collect();
        (
            own.filter(&good),
            times.into_iter().flatten().collect::<Vec<_>>().into(),
        )
    }
}

/// Rows with the events' own columns.
struct Own {
    rows: RecordBatch,
    lines: Vec<u32>,
    extra: Option<ArrayRef>,
}

impl Own {
    fn filter(self, good: &BooleanArray) -> Self {
        let one_flag_a_row = "the filter has one flag a row";
        let flags = good.values().iter();
        Self {
            rows: filter_record_batch(&self.rows, good).expect(one_flag_a_row),
            lines: self
                .lines
                .into_iter()
                .zip(flags)
                .filter_map(|(line, good)| good.then_some(line))
                .collect(),
            extra: self
                .extra
                .map(|extra| filter(&extra, good).expect(one_flag_a_row)),
        }
    }
}

/// The place in the batch, from 1, of what is at an index.
fn place_of(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

fn raw_lines(payload: &[u8], lines: &[u32]) -> Vec<Vec<u8>> {
    let mut all = (1u32..).zip(payload.split(|byte| *byte == b'\n'));
    let raw = |line: &u32| all.find(|(place, _)| place == line).map(|(_, raw)| raw);
    lines
        .iter()
        .map(raw)
        .map(|raw| raw.unwrap_or_default().trim_ascii().to_vec())
        .collect()
}

fn raw_rows(payload: &Bytes, lines: &[u32]) -> Vec<Vec<u8>> {
    let raw = || {
        let sent = read_ipc(payload.clone()).ok()?;
        let sent = arrow::compute::concat_batches(&sent.first()?.schema(), &sent).ok()?;
        let rows: UInt32Array = lines.iter().map(|line| line - 1).collect();
        let sent = take_record_batch(&sent, &rows).ok()?;
        Some(json_rows(&canonical(&sent).unwrap_or(sent)))
    };
    // A batch that gave rows can be read.
    raw().unwrap_or_else(|| vec![Vec::new(); lines.len()])
}

/// The record batches of an IPC stream, sharing its bytes; the end marker may be missing.
///
/// The reader asserts much of what a damaged message does not keep. Such a batch has been acked: it must become a
/// reject, and not stop those behind it.
fn read_ipc(payload: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
    catch_unwind(|| read_ipc_or_panic(payload)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let what = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panic");
        Err(ArrowError::IpcError(format!("message is damaged: {what}")))
    })
}

fn read_ipc_or_panic(payload: Bytes) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut rest = Buffer::from(payload);
    let mut batches = Vec::new();
    while !rest.is_empty() {
        match decoder.decode(&mut rest)? {
            Some(batch) => batches.push(batch),
            None => break,
        }
    }
    decoder.finish()?;
    Ok(batches)
}

pub(crate) fn record_batch(fields: Vec<FieldRef>, rows: usize, columns: Vec<ArrayRef>) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .expect("columns are built by their fields, with as many rows each")
}

/// `_extra`: one object a row, of dotted path and value.
fn extra_column(unplaced: &[(usize, Unplaced)], rows: usize) -> Option<ArrayRef> {
    if unplaced.is_empty() {
        return None;
    }
    let mut texts = StringViewBuilder::with_capacity(rows);
    let mut rest = unplaced.iter().peekable();
    for row in 0..rows {
        let mut object = serde_json::Map::new();
        while let Some((_, unplaced)) = rest.next_if(|(of, _)| *of == row) {
            object.insert(unplaced.path.join("."), unplaced.value.clone());
        }
        texts.append_option((!object.is_empty()).then(|| serde_json::Value::Object(object).to_string()));
    }
    Some(Arc::new(texts.finish()))
}

fn with_system_columns(
    own: &RecordBatch,
    extra: Option<ArrayRef>,
    times: TimestampMicrosecondArray,
    header: &BatchHeader,
) -> RecordBatch {
    let rows = own.num_rows();
    let constant = |at: Timestamp| {
        Arc::new(TimestampMicrosecondArray::from_value(at.as_microsecond(), rows).with_timezone("UTC"))
            as ArrayRef
    };
    let mut emitter = StringViewBuilder::with_capacity(rows);
    let id = header.key.emitter.0.hyphenated().to_string();
    let block = emitter.append_block(id.as_bytes().into());
    for _ in 0..rows {
        emitter
            .try_append_view(block, 0, id.len() as u32)
            .expect("the view is of the block just added");
    }
    let mut columns: Vec<ArrayRef> = vec![
        constant(header.received_at),
        constant(header.generated_at),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(emitter.finish()),
        Arc::new(Int64Array::from_value(header.key.sequence.0 as i64, rows)),
        extra.unwrap_or_else(|| Arc::new(StringViewArray::new_null(rows))),
    ];
    columns.extend(own.columns().iter().cloned());
    let fields: Vec<FieldRef> = SystemColumn::ALL
        .iter()
        .map(|column| Arc::new(column.field()))
        .chain(own.schema().fields().iter().cloned())
        .collect();
    record_batch(fields, rows, columns)
}

fn column_at(rows: &RecordBatch, path: &[String]) -> Option<ArrayRef> {
    let (first, rest) = path.split_first()?;
    let mut column = rows.column_by_name(first)?.clone();
    for name in rest {
        column = column.as_struct_opt()?.column_by_name(name)?.clone();
    }
    Some(column)
}

/// µs since the epoch; `received` where the event has no time.
pub(crate) fn time_at(column: &ArrayRef, row: usize, received: i64) -> Result<i64, String> {
    if column.is_null(row) {
        return Ok(received);
    }
    let range = || "the event's time is out of range".to_owned();
    match column.data_type() {
        DataType::Utf8View => {
            let text = column.as_string_view().value(row);
            let time: Timestamp = text.parse().map_err(|e| {
                format!("the event's time is not RFC 3339 with an offset: {e} value={text:?}")
            })?;
            Ok(time.as_microsecond())
        }
        DataType::Int64 => {
            let ms = column.as_primitive::<Int64Type>().value(row);
            Timestamp::from_millisecond(ms)
                .map(Timestamp::as_microsecond)
                .map_err(|_| range())
        }
        DataType::Timestamp(..) => {
            let us = column.as_primitive::<TimestampMicrosecondType>().value(row);
            Timestamp::from_microsecond(us)
                .map(Timestamp::as_microsecond)
                .map_err(|_| range())
        }
        other => Err(format!(
            "the event's time must be text, milliseconds or a time stamp type={other}"
        )),
    }
}

/// Each row as a JSON object.
pub(crate) fn json_rows(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    if let Err(error) = writer.write(rows).and_then(|()| writer.finish()) {
        let text = format!("the row cannot be shown as JSON: {error}").into_bytes();
        return vec![text; rows.num_rows()];
    }
    out.split(|byte| *byte == b'\n')
        .take(rows.num_rows())
        .map(<[u8]>::to_vec)
        .collect()
}
