//! Rows of log records, whatever they were written in.

use std::borrow::Cow;

use event::DatasetName;

use crate::http::rows::{Made, Raw, Rows, Sent, write_text};
use crate::limits::LOG_CONTEXT_BYTES_MAX;
use crate::{Error, Result};

/// What a record says beside its body and attributes; what is empty or 0 is not set.
#[derive(Debug, Default)]
pub(super) struct Head<'a> {
    pub(super) time_unix_nano: u64,
    pub(super) observed_time_unix_nano: u64,
    pub(super) severity_number: i64,
    pub(super) severity_text: Cow<'a, str>,
    pub(super) event_name: Cow<'a, str>,
    pub(super) dropped_attributes_count: u64,
    pub(super) flags: u64,
    /// Hex.
    pub(super) trace_id: String,
    pub(super) span_id: String,
}

/// Takes records, each with the resource and scope before it.
pub(super) struct Records<'a> {
    rows: Rows<'a>,
    dataset: DatasetName,
    line: usize,
    /// Fields of a row: of the resource, then of the scope.
    context: Vec<u8>,
    resource_bytes: usize,
}

impl<'a> Records<'a> {
    pub(super) fn new(rows: Rows<'a>, dataset: DatasetName) -> Self {
        Self {
            rows,
            dataset,
            line: 0,
            context: Vec::new(),
            resource_bytes: 0,
        }
    }

    /// The resource of the records that follow, `sent` bytes long.
    pub(super) fn resource(
        &mut self,
        sent: usize,
        schema_url: &str,
        attributes: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        check_context(sent)?;
        self.context.clear();
        let mut fields = Object::fields(&mut self.context);
        fields.text("resourceSchemaUrl", schema_url);
        fields.object("resource", attributes)?;
        self.resource_bytes = self.context.len();
        check_context(self.context.len())
    }

    /// The scope of the records that follow, `sent` bytes long.
    pub(super) fn scope(
        &mut self,
        sent: usize,
        write: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        check_context(sent)?;
        self.context.truncate(self.resource_bytes);
        Object::fields(&mut self.context).object("scope", write)?;
        check_context(self.context.len())
    }

    /// A record: `write` says its head, and writes `body` and `attributes`.
    pub(super) fn record(
        &mut self,
        raw: Raw<'_>,
        write: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        self.line += 1;
        let sent = Sent {
            dataset: &self.dataset,
            line: self.line,
            id: None,
            raw,
        };
        let context = &self.context;
        self.rows.push(sent, |row| {
            row.push(b'{');
            let mut fields = Object::fields(row);
            write(&mut fields)?;
            fields.append(context);
            row.push(b'}');
            Ok(())
        })
    }

    pub(super) fn finish(self) -> Made {
        self.rows.finish()
    }
}

fn check_context(bytes: usize) -> Result<()> {
    if bytes > LOG_CONTEXT_BYTES_MAX {
        return Err(Error::too_large(format_args!(
            "resource and scope of log records are too large, each record would repeat them bytes={bytes} bytes_max={LOG_CONTEXT_BYTES_MAX}"
        )));
    }
    Ok(())
}

/// The fields of a JSON object under construction.
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Object<'a> {
    pub(super) fn fields(out: &'a mut Vec<u8>) -> Self {
        // After an opening brace, or with nothing before it, no comma is due.
        let start = match out.last() {
            None | Some(b'{') => out.len(),
            Some(_) => usize::MAX,
        };
        Self { out, start }
    }

    /// Writes a name; its value is to be appended to what this returns.
    pub(super) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.out.len() != self.start {
            self.out.push(b',');
        }
        write_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            write_text(self.name(name), text);
        }
    }

    fn number(&mut self, name: &str, number: i128) {
        if number != 0 {
            let digits = number.to_string();
            self.name(name).extend_from_slice(digits.as_bytes());
        }
    }

    /// An object with what `write` writes; nothing if that is nothing.
    pub(super) fn object(
        &mut self,
        name: &str,
        write: impl FnOnce(&mut Object<'_>) -> Result<()>,
    ) -> Result<()> {
        let before = self.out.len();
        let out = self.name(name);
        out.push(b'{');
        let empty = out.len();
        write(&mut Object::fields(out))?;
        match self.out.len() == empty {
            true => self.out.truncate(before),
            false => self.out.push(b'}'),
        }
        Ok(())
    }

    pub(super) fn head(&mut self, head: &Head<'_>) {
        self.number("timeUnixNano", head.time_unix_nano.into());
        self.number("observedTimeUnixNano", head.observed_time_unix_nano.into());
        self.number("severityNumber", head.severity_number.into());
        self.text("severityText", &head.severity_text);
        self.text("eventName", &head.event_name);
        self.text("traceId", &head.trace_id);
        self.text("spanId", &head.span_id);
        self.number("flags", head.flags.into());
        self.number("droppedAttributesCount", head.dropped_attributes_count.into());
    }

    /// A text as it is, any other value as the text of its JSON; `null` is left out.
    pub(super) fn text_of(&mut self, name: &str, json: &[u8]) {
        match json {
            b"null" => {}
            [b'"', ..] => self.name(name).extend_from_slice(json),
            _ => self.text(name, &String::from_utf8_lossy(json)),
        }
    }

    fn append(&mut self, fields: &[u8]) {
        if !fields.is_empty() {
            if self.out.len() != self.start {
                self.out.push(b',');
            }
            self.out.extend_from_slice(fields);
        }
    }
}

/// A number, or null where it is not finite.
pub(super) fn write_double(out: &mut Vec<u8>, double: f64) {
    serde_json::to_writer(out, &double).expect("a number is written to memory");
}

/// The error of values that nest too deep.
pub(super) fn too_deep() -> Error {
    Error::invalid(format_args!(
        "values nest too deep depth_max={}",
        crate::limits::LOG_VALUE_DEPTH_MAX
    ))
}
