//! From a batch as it was sent to rows as they are stored.

use std::panic::catch_unwind;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, StringViewArray,
    StringViewBuilder, TimestampMicrosecondArray,
};
use arrow::buffer::Buffer;
use arrow::compute::filter_record_batch;
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
use crate::limits::REJECT_RAW_BYTES_MAX;
use crate::protobuf::MessageType;
use crate::reading::Reading;
use crate::stored::canonical;
use crate::{
    Batch, BatchHeader, DatasetSchema, DatasetSettings, Encoding, Result, SchemaSettings, SystemColumn,
    UnknownFields,
};

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
    schema: Arc<DatasetSchema>,
    declared: Option<Arc<SchemaSettings>>,
    protobuf: Option<MessageType>,
    event_time: Option<Vec<String>>,
}

/// What a batch came to: every event is in one of the two.
#[derive(Debug)]
pub struct Decoded {
    /// The good events, in order, with the columns of the dataset's schema; perhaps no rows.
    pub rows: RecordBatch,
    /// The others.
    pub rejects: Vec<Reject>,
}

/// An event that could not become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Its place in the batch, from 1: the line of NDJSON, the row, the record or the message.
    pub line: u32,
    /// Where it failed: `decode` or `validate`.
    pub stage: &'static str,
    /// Why, and where in the event.
    pub reason: String,
    /// The event as it was sent, cut to [`REJECT_RAW_BYTES_MAX`]; a row of Arrow as a JSON object.
    pub raw: Vec<u8>,
}

impl Reject {
    pub(crate) fn new(line: usize, stage: &'static str, reason: String, raw: &[u8]) -> Self {
        let (reason, raw) = match raw.get(..REJECT_RAW_BYTES_MAX) {
            Some(head) if head.len() < raw.len() => {
                (format!("{reason} (raw is cut bytes={})", raw.len()), head)
            }
            _ => (reason, raw),
        };
        Self {
            line: u32::try_from(line).unwrap_or(u32::MAX),
            stage,
            reason,
            raw: raw.to_vec(),
        }
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
        let (own, lines, extra, mut rejects) = match batch.header.encoding {
            Encoding::Ndjson => self.read_events(|reading| reading.lines_of_json(&batch.payload)),
            Encoding::ArrowIpc => self.decode_arrow(batch.payload.clone()),
            Encoding::Avro => self.decode_avro(&batch.payload),
            Encoding::Protobuf => self.decode_protobuf(&batch.payload),
        };
        let (own, extra, times) = self.event_times(own, extra, lines, &batch.header, &mut rejects);
        rejects.sort_by_key(|reject| reject.line);
        Decoded {
            rows: with_system_columns(&own, extra, times, &batch.header),
            rejects,
        }
    }

    /// Reads a payload event by event, again if the schema has grown by what it brings.
    fn read_events(
        &self,
        read: impl Fn(&mut Reading),
    ) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
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
            return (
                record_batch(fields, lines.len(), rows.finish()),
                lines,
                extra,
                rejects,
            );
        }
    }

    fn decode_avro(&self, payload: &[u8]) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
        match avro::open(payload) {
            Ok((container, schema)) => {
                self.grow_by(avro::columns(&schema));
                self.read_events(|reading| reading.avro(payload, &container, &schema))
            }
            Err(error) => self.unreadable(error.to_string(), payload),
        }
    }

    fn decode_protobuf(&self, payload: &[u8]) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
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
    fn unreadable(
        &self,
        reason: String,
        payload: &[u8],
    ) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
        let rejects = vec![Reject::new(1, "decode", reason, payload)];
        let none = record_batch(self.schema.fields(), 0, self.no_rows());
        (none, Vec::new(), None, rejects)
    }

    fn decode_arrow(&self, payload: Bytes) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
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
    fn place_arrow(&self, sent: RecordBatch) -> (RecordBatch, Vec<usize>, Option<ArrayRef>, Vec<Reject>) {
        let rows = sent.num_rows();
        let reject_all = |reason: String| {
            let rejects = json_rows(&sent)
                .into_iter()
                .enumerate()
                .map(|(row, raw)| Reject::new(row + 1, "validate", reason.clone(), &raw))
                .collect();
            (
                record_batch(self.schema.fields(), 0, self.no_rows()),
                Vec::new(),
                None,
                rejects,
            )
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
        let fitted = match fit_rows(&stored, &Arc::new(Schema::new(fields))) {
            Ok(fitted) => fitted,
            Err(reason) => return reject_all(reason),
        };
        let mut lines: Vec<usize> = (1..=rows).collect();
        let mut own = fitted.rows.clone();
        let mut extra = extra_of(&fitted.rest, rows);
        let mut rejects = Vec::new();
        let faults = fitted.faults(&rules);
        if faults.iter().any(Option::is_some) {
            let raws = json_rows(&sent);
            let good: BooleanArray = faults.iter().map(|fault| Some(fault.is_none())).collect();
            for (row, reason) in faults.into_iter().enumerate() {
                if let Some(reason) = reason {
                    rejects.push(Reject::new(row + 1, "validate", reason, &raws[row]));
                }
            }
            lines.retain(|line| good.value(line - 1));
            own = filter_record_batch(&own, &good).expect("the filter has one flag a row");
            extra = extra
                .map(|extra| arrow::compute::filter(&extra, &good).expect("the filter has one flag a row"));
        }
        (own, lines, extra, rejects)
    }

    fn no_rows(&self) -> Vec<ArrayRef> {
        self.schema
            .fields()
            .iter()
            .map(|field| arrow::array::new_empty_array(field.data_type()))
            .collect()
    }

    /// The event time of each row; rows whose time cannot be read become rejects.
    fn event_times(
        &self,
        own: RecordBatch,
        extra: Option<ArrayRef>,
        lines: Vec<usize>,
        header: &BatchHeader,
        rejects: &mut Vec<Reject>,
    ) -> (RecordBatch, Option<ArrayRef>, TimestampMicrosecondArray) {
        let received = header.received_at.as_microsecond();
        let column = self.event_time.as_ref().and_then(|path| column_at(&own, path));
        let Some(column) = column else {
            let times = TimestampMicrosecondArray::from_value(received, own.num_rows());
            return (own, extra, times);
        };
        let times: Vec<Result<i64, String>> = (0..own.num_rows())
            .map(|row| time_at(&column, row, received))
            .collect();
        if times.iter().all(Result::is_ok) {
            let times = times.into_iter().flatten().collect::<Vec<_>>();
            return (own, extra, times.into());
        }
        let raws = json_rows(&own);
        for (row, time) in times.iter().enumerate() {
            if let Err(reason) = time {
                rejects.push(Reject::new(lines[row], "validate", reason.clone(), &raws[row]));
            }
        }
        let good: BooleanArray = times.iter().map(|time| Some(time.is_ok())).collect();
        let own = filter_record_batch(&own, &good).expect("the filter has one flag a row");
        let extra =
            extra.map(|extra| arrow::compute::filter(&extra, &good).expect("the filter has one flag a row"));
        (own, extra, times.into_iter().flatten().collect::<Vec<_>>().into())
    }
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

fn record_batch(fields: Vec<FieldRef>, rows: usize, columns: Vec<ArrayRef>) -> RecordBatch {
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
fn time_at(column: &ArrayRef, row: usize, received: i64) -> Result<i64, String> {
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
fn json_rows(rows: &RecordBatch) -> Vec<Vec<u8>> {
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
