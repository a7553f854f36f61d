//! Log records in the JSON encoding of OTLP: proto3 JSON with hex ids and numbers for enums.
//!
//! Lists are walked element by element on the text, so that memory does not outgrow the body.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Answer;
use super::row::{Head, Object, Records, too_deep, write_double};
use crate::http::rows::{Raw, write_text};
use crate::limits::LOG_VALUE_DEPTH_MAX;
use crate::lines::each_element;
use crate::{Error, Result};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Export<'a> {
    #[serde(borrow, default)]
    resource_logs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceLogs<'a> {
    #[serde(borrow, default)]
    resource: Option<&'a RawValue>,
    #[serde(borrow, default)]
    scope_logs: Option<&'a RawValue>,
    #[serde(borrow, default)]
    schema_url: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    attributes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScopeLogs<'a> {
    #[serde(borrow, default)]
    scope: Option<&'a RawValue>,
    #[serde(borrow, default)]
    log_records: Option<&'a RawValue>,
    #[serde(borrow, default)]
    schema_url: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Scope<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    attributes: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LogRecord<'a> {
    #[serde(borrow, default)]
    time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow, default)]
    observed_time_unix_nano: Option<&'a RawValue>,
    #[serde(borrow, default)]
    severity_number: Option<&'a RawValue>,
    #[serde(borrow, default)]
    severity_text: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    event_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dropped_attributes_count: Option<&'a RawValue>,
    #[serde(borrow, default)]
    flags: Option<&'a RawValue>,
    #[serde(borrow, default)]
    trace_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    span_id: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct KeyValue<'a> {
    #[serde(borrow, default)]
    key: Cow<'a, str>,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnyValue<'a> {
    #[serde(borrow, default)]
    string_value: Option<Cow<'a, str>>,
    #[serde(default)]
    bool_value: Option<bool>,
    #[serde(borrow, default)]
    int_value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    double_value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    array_value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    kvlist_value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    bytes_value: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow, default)]
    values: Option<&'a RawValue>,
}

/// Reads a body.
///
/// # Errors
/// `Invalid` when it is not an `ExportLogsServiceRequest`; records that are not good are refused one by one.
pub(super) fn read(body: &[u8], records: &mut Records<'_>) -> Result<()> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Error::invalid(format_args!("body is not UTF-8: {error}")))?;
    let export: Export<'_> = parse(text, "body")?;
    each(export.resource_logs, "resourceLogs", |resource_logs| {
        let resource_logs: ResourceLogs<'_> = parse(resource_logs.get(), "resourceLogs")?;
        let resource: Resource<'_> = parse_some(resource_logs.resource, "resource")?;
        let schema_url = resource_logs.schema_url.unwrap_or_default();
        let sent = resource_logs.resource.map_or(0, |resource| resource.get().len()) + schema_url.len();
        records.resource(sent, &schema_url, |object| {
            attributes(resource.attributes, object, 0)
        })?;
        each(resource_logs.scope_logs, "scopeLogs", |scope_logs| {
            let scope_logs: ScopeLogs<'_> = parse(scope_logs.get(), "scopeLogs")?;
            let scope: Scope<'_> = parse_some(scope_logs.scope, "scope")?;
            let schema_url = scope_logs.schema_url.unwrap_or_default();
            let sent = scope_logs.scope.map_or(0, |scope| scope.get().len()) + schema_url.len();
            records.scope(sent, |object| {
                object.text("name", &scope.name.unwrap_or_default());
                object.text("version", &scope.version.unwrap_or_default());
                object.text("schemaUrl", &schema_url);
                object.object("attributes", |object| attributes(scope.attributes, object, 0))
            })?;
            each(scope_logs.log_records, "logRecords", |record| {
                records.record(Raw::Json(record.get()), |row| write_record(record, row))
            })
        })
    })
}

fn write_record(record: &RawValue, row: &mut Object<'_>) -> Result<()> {
    let record: LogRecord<'_> = parse(record.get(), "log record")?;
    row.head(&Head {
        time_unix_nano: number("timeUnixNano", record.time_unix_nano)?,
        observed_time_unix_nano: number("observedTimeUnixNano", record.observed_time_unix_nano)?,
        severity_number: number("severityNumber", record.severity_number)?,
        severity_text: record.severity_text.unwrap_or_default(),
        event_name: record.event_name.unwrap_or_default(),
        dropped_attributes_count: number("droppedAttributesCount", record.dropped_attributes_count)?,
        flags: number("flags", record.flags)?,
        trace_id: hex("traceId", record.trace_id)?,
        span_id: hex("spanId", record.span_id)?,
    });
    if let Some(body) = record.body {
        let mut json = Vec::new();
        write_value(body, &mut json, 0)?;
        row.text_of("body", &json);
    }
    row.object("attributes", |object| attributes(record.attributes, object, 0))
}

fn attributes(list: Option<&RawValue>, object: &mut Object<'_>, depth: usize) -> Result<()> {
    each(list, "attributes", |pair| {
        let pair: KeyValue<'_> = parse(pair.get(), "attribute")?;
        let out = object.name(&pair.key);
        match pair.value {
            Some(value) => write_value(value, out, depth),
            None => {
                out.extend_from_slice(b"null");
                Ok(())
            }
        }
    })
}

/// Writes an `AnyValue` as the JSON value that it stands for.
fn write_value(value: &RawValue, out: &mut Vec<u8>, depth: usize) -> Result<()> {
    if depth == LOG_VALUE_DEPTH_MAX {
        return Err(too_deep());
    }
    let value: AnyValue<'_> = parse(value.get(), "value")?;
    if let Some(text) = value.string_value {
        write_text(out, &text);
    } else if let Some(bool) = value.bool_value {
        out.extend_from_slice(if bool { b"true" } else { b"false" });
    } else if value.int_value.is_some() {
        let int: i64 = number("intValue", value.int_value)?;
        out.extend_from_slice(int.to_string().as_bytes());
    } else if let Some(double) = value.double_value {
        let double = match double.get().trim_matches('"') {
            "NaN" | "Infinity" | "-Infinity" => f64::NAN,
            _ => number("doubleValue", Some(double))?,
        };
        write_double(out, double);
    } else if let Some(array) = value.array_value {
        let Values { values } = parse(array.get(), "arrayValue")?;
        out.push(b'[');
        let mut first = true;
        each(values, "arrayValue", |value| {
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            write_value(value, out, depth + 1)
        })?;
        out.push(b']');
    } else if let Some(list) = value.kvlist_value {
        let Values { values } = parse(list.get(), "kvlistValue")?;
        out.push(b'{');
        attributes(values, &mut Object::fields(out), depth + 1)?;
        out.push(b'}');
    } else if let Some(bytes) = value.bytes_value {
        BASE64_STANDARD
            .decode(bytes.as_bytes())
            .map_err(|error| Error::invalid(format_args!("bytesValue is not base64: {error}")))?;
        write_text(out, &bytes);
    } else {
        out.extend_from_slice(b"null");
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a str, what: &str) -> Result<T> {
    // An array would be taken for the fields of a message in their order.
    if !json.trim_start().starts_with('{') {
        return Err(Error::invalid(format_args!(
            "{what} is not of OTLP: not a JSON object"
        )));
    }
    serde_json::from_str(json).map_err(|error| Error::invalid(format_args!("{what} is not of OTLP: {error}")))
}

fn parse_some<'a, T: Deserialize<'a> + Default>(json: Option<&'a RawValue>, what: &str) -> Result<T> {
    json.map_or_else(|| Ok(T::default()), |json| parse(json.get(), what))
}

fn each<'a>(
    list: Option<&'a RawValue>,
    what: &str,
    visit: impl FnMut(&'a RawValue) -> Result<()>,
) -> Result<()> {
    match list {
        None => Ok(()),
        Some(list) => each_element(list.get().as_bytes(), visit).map_err(|error| error.of(what)),
    }
}

/// Numbers of 64 bits are written as texts; both are read.
fn number<T: std::str::FromStr + Default>(name: &str, json: Option<&RawValue>) -> Result<T> {
    let Some(json) = json else {
        return Ok(T::default());
    };
    json.get().trim_matches('"').parse().map_err(|_| {
        let shown: String = json.get().chars().take(40).collect();
        Error::invalid(format_args!(
            "not a number of its type field={name} value={shown}"
        ))
    })
}

fn hex(name: &str, id: Option<Cow<'_, str>>) -> Result<String> {
    let id = id.unwrap_or_default();
    if id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(id.to_ascii_lowercase());
    }
    let shown: String = id.chars().take(40).collect();
    Err(Error::invalid(format_args!(
        "not hex field={name} value={shown:?}"
    )))
}

pub(super) fn answer(answer: &Answer) -> Vec<u8> {
    let json = match answer {
        Answer::Response(None) => serde_json::json!({}),
        Answer::Response(Some((rejected, message))) => serde_json::json!({
            "partialSuccess": { "rejectedLogRecords": rejected.to_string(), "errorMessage": message }
        }),
        Answer::Status(message) => serde_json::json!({ "message": message }),
    };
    json.to_string().into_bytes()
}
