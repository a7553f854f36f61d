//! From a batch as it was sent to rows as they are stored.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray, UInt32Array,
};
use arrow::buffer::Buffer;
use arrow::compute::{filter, filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use bytes::Bytes;
use jiff::Timestamp;

use crate::avro;
use crate::constraint::constraints;
use crate::fit::fit_rows;
use crate::infer::{Unplaced, place, place_columns};
use crate::json::{Rows, Rules};
use crate::limits::{REJECT_RAW_BYTES_MAX, REJECT_REASON_BYTES_MAX};
use crate::protobuf::{MessageType, messages};
use crate::reading::Reading;
use crate::stored::canonical;
use crate::{
    Batch, BatchHeader, DatasetSchema, DatasetSettings, Encoding, Result, SchemaSettings, SystemColumn,
    TimeRange, UnknownFields,
};

/// Stands in the reason of a reject whose raw bytes are not all there.
const RAW_IS_CUT: &str = " (raw is cut bytes=";

/// Batch → rows with all columns of the dataset, and the events that were rejected.
///
/// The schema grows by what a batch brings: a field that has no column gets one of the type that
/// [`crate::infer_fields`] tells; what can have none (or a name that a table cannot have, or one that differs
/// from another only by case) goes to `_extra`. A value that does not fit its column rejects the event.
///
/// With a declared schema ([`SchemaSettings`]) its columns are there from the start, every event is checked by it, and
/// the schema grows only if it says so.
#[derive(Clone, Debug)]
pub struct Decoder {
    pub(crate) schema: Arc<DatasetSchema>,
    declared: Option<Arc<SchemaSettings>>,
    protobuf: Option<MessageType>,
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
    /// Its place in the batch, from 1: the line of NDJSON, the row, the record or the message.
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
    /// A decoder for a dataset whose schema is shared with those who store and query it. The schema gets the columns
    /// that are declared.
    ///
    /// # Errors
    /// Those of [`DatasetSchema::declare`].
    pub fn new(schema: Arc<DatasetSchema>, settings: &DatasetSettings) -> Result<Self> {
        let event_time = settings
            .event_time
            .as_ref()
            .map(|path| path.split('.').map(str::to_owned).collect());
        let declared = settings.schema.clone().map(Arc::new);
        if let Some(declared) = &declared {
            schema.declare(declared)?;
        }
        Ok(Self {
            schema,
            declared,
            protobuf: None,
            event_time,
            time_range: settings.time_range,
        })
    }

    /// The decoder for a dataset whose Protobuf messages are of this type. Without one they are all rejected.
    #[must_use]
    pub fn with_protobuf(self, of: MessageType) -> Self {
        Self {
            protobuf: Some(of),
            ..self
        }
    }

    /// What is asked of rows with these columns.
    fn rules(&self, columns: &[FieldRef]) -> Rules {
        let Some(declared) = &self.declared else {
            return Rules::default();
        };
        Rules {
            unknown: declared.unknown_fields,
            constraints: constraints(columns, &declared.fields, declared.unknown_fields),
        }
    }

    /// Whether what has no column gets one.
    fn grows(&self) -> bool {
        let declared = self.declared.as_ref();
        declared.is_none_or(|declared| declared.unknown_fields == UnknownFields::Add)
    }

    /// Decodes a batch. A payload that cannot be read at all is one reject.
    pub fn decode(&self, batch: &Batch) -> Decoded {
        let (own, mut rejects) = match batch.header.encoding {
            Encoding::Ndjson => self.read_events(|reading| reading.lines_of_json(&batch.payload)),
            Encoding::ArrowIpc => self.decode_arrow(batch.payload.clone()),
            Encoding::Avro => self.decode_avro(&batch.payload),
            Encoding::Protobuf => self.decode_protobuf(&batch.payload),
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
        let payload = &batch.payload;
        match batch.header.encoding {
            Encoding::Ndjson => {
                let all = payload.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
                at_places(all, lines)
            }
            Encoding::ArrowIpc => raw_rows(payload, lines),
            Encoding::Avro => at_places(avro::raw_records(payload).into_iter(), lines),
            Encoding::Protobuf => at_places(messages(payload).map_while(Result::ok), lines),
        }
    }

    /// Reads a payload event by event, again if the schema has grown by what it brings.
    fn read_events(&self, read: impl Fn(&mut Reading)) -> (Own, Vec<Reject>) {
        loop {
            let fields = self.schema.fields();
            let mut reading = Reading::new(Rows::new(&fields, self.rules(&fields)));
            read(&mut reading);
            let Reading {
                mut rows,
                lines,
                rejects,
            } = reading;
            let unplaced = std::mem::take(&mut rows.unplaced);
            if !unplaced.is_empty() && self.grows() {
                let found: Vec<Unplaced> = unplaced.iter().map(|(_, unplaced)| unplaced.clone()).collect();
                let grown = self.schema.grow(|fields| place(fields, &found));
                if grown.fields()[SystemColumn::ALL.len()..] != fields[..] {
                    continue; // the schema has grown: what was unplaced now has columns
                }
            }
            let extra = extra_column(&unplaced, rows.len());
            let own = Own {
                rows: record_batch(fields, lines.len(), rows.finish()),
                lines,
                extra,
            };
            return (own, rejects);
        }
    }

    fn decode_avro(&self, payload: &[u8]) -> (Own, Vec<Reject>) {
        match avro::open(payload) {
            Ok((container, schema)) => {
                self.grow_by(avro::columns(&schema));
                self.read_events(|reading| reading.avro(payload, &container, &schema))
            }
            Err(error) => self.unreadable(error.to_string(), payload),
        }
    }

    fn decode_protobuf(&self, payload: &[u8]) -> (Own, Vec<Reject>) {
        if let Some(of) = &self.protobuf {
            self.grow_by(of.columns());
        }
        self.read_events(|reading| reading.protobuf(payload, self.protobuf.as_ref()))
    }

    /// Adds the columns that a format names itself.
    fn grow_by(&self, columns: Vec<FieldRef>) {
        if self.grows() {
            self.schema.grow(|fields| place_columns(fields, &columns));
        }
    }

    /// A payload that is one reject.
    fn unreadable(&self, reason: String, payload: &[u8]) -> (Own, Vec<Reject>) {
        (self.none(), vec![Reject::new(1, "decode", reason, payload)])
    }

    fn decode_arrow(&self, payload: Bytes) -> (Own, Vec<Reject>) {
        let unreadable = |reason| self.unreadable(reason, &payload);
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
    fn place_arrow(&self, sent: RecordBatch) -> (Own, Vec<Reject>) {
        let rows = sent.num_rows();
        let reject_all = |reason: String| {
            let rejects = json_rows(&sent)
                .into_iter()
                .enumerate()
                .map(|(row, raw)| Reject::new(place_of(row), "validate", reason.clone(), &raw))
                .collect();
            (self.none(), rejects)
        };
        let stored = match canonical(&sent) {
            Ok(stored) => stored,
            Err(reason) => return reject_all(reason),
        };
        let mut fields = self.schema.fields();
        if self.grows() {
            let columns: Vec<FieldRef> = stored.schema().fields().iter().cloned().collect();
            let grown = self.schema.grow(|fields| place_columns(fields, &columns));
            fields = grown.fields()[SystemColumn::ALL.len()..].to_vec();
        }
        let rules = self.rules(&fields);
        let placed = match fit_rows(&stored, &Arc::new(Schema::new(fields))) {
            Ok(placed) => placed,
            Err(reason) => return reject_all(reason),
        };
        let own = Own {
            rows: placed.rows.clone(),
            lines: (0..rows).map(place_of).collect(),
            extra: extra_of(&placed.rest, rows),
        };
        let faults = placed.faults(&rules);
        if faults.iter().all(Option::is_none) {
            return (own, Vec::new());
        }
        let raws = json_rows(&sent);
        let good: BooleanArray = faults.iter().map(|fault| Some(fault.is_none())).collect();
        let bad = faults.into_iter().enumerate();
        let rejects =
            bad.filter_map(|(row, reason)| Some(Reject::new(place_of(row), "validate", reason?, &raws[row])));
        let rejects = rejects.collect();
        (own.filter(&good), rejects)
    }

    /// Nothing, with the columns of the schema.
    fn none(&self) -> Own {
        let fields = self.schema.fields();
        let columns = fields
            .iter()
            .map(|field| arrow::array::new_empty_array(field.data_type()));
        let columns = columns.collect();
        Own {
            rows: record_batch(fields, 0, columns),
            lines: Vec::new(),
            extra: None,
        }
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
pub(crate) fn place_of(index: usize) -> u32 {
    u32::try_from(index + 1).unwrap_or(u32::MAX)
}

/// Those of `all`, whose places are from 1 on, that are at `lines`.
fn at_places<'a>(all: impl Iterator<Item = &'a [u8]>, lines: &[u32]) -> Vec<Vec<u8>> {
    let mut all = (1u32..).zip(all);
    let mut raw = |line: &u32| all.find(|(place, _)| place == line).map(|(_, raw)| raw);
    lines
        .iter()
        .map(|line| raw(line).unwrap_or_default().to_vec())
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
            let path = unplaced.path.join(".");
            match (object.get_mut(&path), &unplaced.value) {
                // Of the items of a list.
                (Some(serde_json::Value::Array(items)), serde_json::Value::Array(more)) => {
                    items.extend(more.iter().cloned());
                }
                (_, value) => {
                    object.insert(path, value.clone());
                }
            }
        }
        texts.append_option((!object.is_empty()).then(|| serde_json::Value::Object(object).to_string()));
    }
    Some(Arc::new(texts.finish()))
}

/// `_extra` of rows of Arrow.
fn extra_of(rest: &[(String, ArrayRef)], rows: usize) -> Option<ArrayRef> {
    if rest.is_empty() {
        return None;
    }
    let field = |(path, column): &(String, ArrayRef)| Field::new(path, column.data_type().clone(), true);
    let fields: Vec<FieldRef> = rest.iter().map(field).map(Arc::new).collect();
    let columns = rest.iter().map(|(_, column)| column.clone()).collect();
    let texts = json_rows(&record_batch(fields, rows, columns))
        .into_iter()
        .map(|row| {
            let text = String::from_utf8_lossy(&row).into_owned();
            (text != "{}").then_some(text)
        });
    Some(Arc::new(texts.collect::<StringViewArray>()))
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
