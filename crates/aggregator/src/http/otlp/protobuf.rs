//! Log records in protobuf: the messages of `opentelemetry.proto.collector.logs.v1`, by their field numbers.
//!
//! Messages are walked on the bytes and written as rows at once. Decoding them into structs first would let a
//! body of empty attributes (two bytes each) take some thirty times its size.

use std::borrow::Cow;
use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::Answer;
use super::row::{Head, Object, Records, too_deep, write_double};
use crate::http::rows::{Raw, write_text};
use crate::limits::LOG_VALUE_DEPTH_MAX;
use crate::{Error, Result};

/// The value of a field, by how it is written (Protocol Buffers encoding, *message structure*).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    /// A text, bytes, or a message.
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, by number, in the order they are written; ends after an error.
#[derive(Clone, Copy)]
struct Message<'a>(&'a [u8]);

impl<'a> Iterator for Message<'a> {
    type Item = Result<(u32, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or_else(|| Error::invalid("not protobuf of OTLP, or cut short")))
    }
}

impl<'a> Message<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(length)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return None,
        };
        (tag >> 3 > 0).then_some((tag >> 3, value))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return None;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// The messages, texts or bytes of a repeated field.
    fn each(self, number: u32, mut visit: impl FnMut(&'a [u8]) -> Result<()>) -> Result<()> {
        for field in self {
            if let (known, Value::Bytes(bytes)) = field?
                && known == number
            {
                visit(bytes)?;
            }
        }
        Ok(())
    }

    /// The last of a field; none is an empty one.
    fn last(self, number: u32) -> Result<&'a [u8]> {
        let mut last: &[u8] = &[];
        self.each(number, |bytes| {
            last = bytes;
            Ok(())
        })?;
        Ok(last)
    }
}

/// Reads a body: `ExportLogsServiceRequest { repeated ResourceLogs resource_logs = 1; }`.
///
/// # Errors
/// `Invalid` when it is not that; records that are not good are refused one by one.
pub(super) fn read(body: &[u8], records: &mut Records<'_>) -> Result<()> {
    Message(body).each(1, |resource_logs| {
        // ResourceLogs: resource = 1, scope_logs = 2, schema_url = 3; Resource: attributes = 1.
        let resource_logs = Message(resource_logs);
        let resource = Message(resource_logs.last(1)?);
        let schema_url = text(resource_logs.last(3)?)?;
        records.resource(resource.0.len() + schema_url.len(), schema_url, |object| {
            attributes(resource, 1, object, 0)
        })?;
        resource_logs.each(2, |scope_logs| {
            // ScopeLogs: scope = 1, log_records = 2, schema_url = 3; scope: name = 1, version = 2, attributes = 3.
            let scope_logs = Message(scope_logs);
            let scope = Message(scope_logs.last(1)?);
            let schema_url = text(scope_logs.last(3)?)?;
            records.scope(scope.0.len() + schema_url.len(), |object| {
                object.text("name", text(scope.last(1)?)?);
                object.text("version", text(scope.last(2)?)?);
                object.text("schemaUrl", schema_url);
                object.object("attributes", |object| attributes(scope, 3, object, 0))
            })?;
            scope_logs.each(2, |record| {
                records.record(Raw::Binary(record), |row| write_record(Message(record), row))
            })
        })
    })
}

fn write_record(record: Message<'_>, row: &mut Object<'_>) -> Result<()> {
    let mut head = Head::default();
    let mut body: &[u8] = &[];
    for field in record {
        match field? {
            (1, Value::Fixed64(nanos)) => head.time_unix_nano = nanos,
            (2, Value::Varint(number)) => head.severity_number = number as i64,
            (3, Value::Bytes(bytes)) => head.severity_text = Cow::Borrowed(text(bytes)?),
            (5, Value::Bytes(bytes)) => body = bytes,
            (7, Value::Varint(count)) => head.dropped_attributes_count = count,
            (8, Value::Fixed32(flags)) => head.flags = flags.into(),
            (9, Value::Bytes(id)) => head.trace_id = hex(id),
            (10, Value::Bytes(id)) => head.span_id = hex(id),
            (11, Value::Fixed64(nanos)) => head.observed_time_unix_nano = nanos,
            (12, Value::Bytes(bytes)) => head.event_name = Cow::Borrowed(text(bytes)?),
            _ => {}
        }
    }
    row.head(&head);
    let mut json = Vec::new();
    write_value(Message(body), &mut json, 0)?;
    row.text_of("body", &json);
    row.object("attributes", |object| attributes(record, 6, object, 0))
}

/// A repeated field of `KeyValue { string key = 1; AnyValue value = 2; }`.
fn attributes(message: Message<'_>, number: u32, object: &mut Object<'_>, depth: usize) -> Result<()> {
    message.each(number, |pair| {
        let pair = Message(pair);
        let out = object.name(text(pair.last(1)?)?);
        write_value(Message(pair.last(2)?), out, depth)
    })
}

/// Writes an `AnyValue` as the JSON value that it stands for; of several the last is meant.
fn write_value(value: Message<'_>, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    if depth == LOG_VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    let mut last = None;
    for field in value {
        let field = field?;
        if (1..=7).contains(&field.0) {
            last = Some(field);
        }
    }
    match last {
        Some((1, Value::Bytes(bytes))) => write_text(out, text(bytes)?),
        Some((2, Value::Varint(bool))) => out.extend_from_slice(if bool == 0 { b"false" } else { b"true" }),
        Some((3, Value::Varint(int))) => out.extend_from_slice((int as i64).to_string().as_bytes()),
        Some((4, Value::Fixed64(bits))) => write_double(out, f64::from_bits(bits)),
        // ArrayValue: values = 1.
        Some((5, Value::Bytes(list))) => {
            out.push(b'[');
            let mut first = true;
            Message(list).each(1, |value| {
                if !std::mem::take(&mut first) {
                    out.push(b',');
                }
                write_value(Message(value), out, depth + 1)
            })?;
            out.push(b']');
        }
        // KeyValueList: values = 1.
        Some((6, Value::Bytes(list))) => {
            out.push(b'{');
            attributes(Message(list), 1, &mut Object::fields(out), depth + 1)?;
            out.push(b'}');
        }
        Some((7, Value::Bytes(bytes))) => write_text(out, &BASE64_STANDARD.encode(bytes)),
        None => out.extend_from_slice(b"null"),
        Some((number, _)) => {
            return Err(Error::invalid(format_args!(
                "a value is not written as its field is field={number}"
            )));
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::invalid(format_args!("a text is not UTF-8: {error}")))
}

fn hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// `ExportLogsServiceResponse { ExportLogsPartialSuccess partial_success = 1; }`, whose fields are
/// `rejected_log_records = 1` and `error_message = 2`; or `google.rpc.Status`, whose `message` is 2.
pub(super) fn answer(answer: &Answer) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        Answer::Response(None) => {}
        Answer::Response(Some((rejected, message))) => {
            let mut partial = vec![1 << 3];
            write_varint(&mut partial, u64::from(*rejected));
            write_bytes(&mut partial, 2, message.as_bytes());
            write_bytes(&mut out, 1, &partial);
        }
        Answer::Status(message) => write_bytes(&mut out, 2, message.as_bytes()),
    }
    out
}

fn write_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    write_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
