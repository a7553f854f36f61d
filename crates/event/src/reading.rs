//! A payload of events, one after the other, into rows and rejects.

use crate::avro::{self, Container, Records};
use crate::json::Rows;
use crate::limits::{BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use crate::protobuf::{self, MessageType};
use crate::{Reject, Result};

/// Rows that are being made of a payload.
pub(crate) struct Reading {
    pub(crate) rows: Rows,
    /// Of each row its place in the batch.
    pub(crate) lines: Vec<u32>,
    pub(crate) rejects: Vec<Reject>,
}

impl Reading {
    pub(crate) fn new(rows: Rows) -> Self {
        Self {
            rows,
            lines: Vec::new(),
            rejects: Vec::new(),
        }
    }

    /// Notes what became of the event at a place, from 1.
    fn note(&mut self, line: usize, outcome: Result<(), String>, raw: &[u8]) {
        let line = u32::try_from(line).unwrap_or(u32::MAX);
        match outcome {
            Ok(()) => self.lines.push(line),
            Err(reason) => {
                let stage = if reason.starts_with("field ") {
                    "validate"
                } else {
                    "decode"
                };
                self.rejects.push(Reject::new(line, stage, reason, raw));
            }
        }
    }

    /// Lines of JSON.
    pub(crate) fn lines_of_json(&mut self, payload: &[u8]) {
        // Text that is known to be UTF-8 as a whole need not be looked at again string by string.
        let text = std::str::from_utf8(payload).ok();
        let mut start = 0;
        let ends = memchr::memchr_iter(b'\n', payload).chain([payload.len()]);
        for (index, end) in ends.enumerate() {
            let range = std::mem::replace(&mut start, end + 1)..end;
            let line = payload[range.clone()].trim_ascii();
            if line.is_empty() {
                continue;
            }
            let outcome = match (too_large(line), text) {
                (Some(reason), _) => Err(reason),
                (None, Some(text)) => self.rows.push_text(text[range].trim_ascii()),
                (None, None) => self.rows.push(line),
            };
            self.note(index + 1, outcome, line);
        }
    }

    /// Records of a container.
    pub(crate) fn avro(&mut self, payload: &[u8], container: &Container<'_>, schema: &avro::Schema) {
        let mut records = Records::new(schema);
        let mut line = 0_usize;
        let mut left = u64::from(BATCH_EVENTS_MAX);
        for block in container.blocks() {
            let block = match block {
                Ok(block) => block,
                Err(error) => {
                    self.note(line + 1, Err(error.to_string()), payload);
                    return;
                }
            };
            if block.records > left {
                let reason = format!("the batch has too many events events_max={BATCH_EVENTS_MAX}");
                self.note(line + 1, Err(reason), block.bytes);
                return;
            }
            left -= block.records;
            records.go_to(block.bytes);
            let end = line + block.records as usize;
            while line < end {
                line += 1;
                if !self.record(&mut records, line) {
                    break;
                }
            }
            if line == end && !records.rest().is_empty() {
                let reason = format!(
                    "a block has more bytes than its records take records={} bytes_over={}",
                    block.records,
                    records.rest().len()
                );
                self.note(line, Err(reason), records.rest());
            }
            line = end;
        }
    }

    /// One record; false if its end cannot be told, then the rest of the block is a reject.
    fn record<'de>(&mut self, records: &mut Records<'_, 'de>, line: usize) -> bool {
        let start = records.rest();
        let outcome = if start.len() > EVENT_BYTES_MAX {
            // The record may be too large: see how long it is.
            match records.skip() {
                Ok(()) => {
                    let raw = &start[..start.len() - records.rest().len()];
                    match too_large(raw) {
                        Some(reason) => Err(reason),
                        None => {
                            records.go_to(start);
                            self.rows.push_from(records.record())
                        }
                    }
                }
                Err(error) => Err(error.to_string()),
            }
        } else {
            self.rows.push_from(records.record())
        };
        let Err(reason) = outcome else {
            self.note(line, Ok(()), &[]);
            return true;
        };
        records.go_to(start);
        if records.skip().is_ok() {
            let raw = &start[..start.len() - records.rest().len()];
            self.note(line, Err(reason), raw);
            return true;
        }
        records.go_to(&[]);
        self.note(
            line,
            Err(format!("{reason} (this record and the rest of its block)")),
            start,
        );
        false
    }

    /// Messages, each behind its length.
    pub(crate) fn protobuf(&mut self, payload: &[u8], of: Option<&MessageType>) {
        for (index, message) in protobuf::messages(payload).enumerate() {
            let line = index + 1;
            let message = match message {
                Ok(message) => message,
                Err((error, rest)) => {
                    self.note(line, Err(error.to_string()), rest);
                    return;
                }
            };
            let outcome = match (of, too_large(message)) {
                (_, Some(reason)) => Err(reason),
                (None, None) => Err(
                    "the dataset has no type of protobuf messages, give its settings protobuf = { descriptors, message }"
                        .to_owned(),
                ),
                (Some(of), None) => of
                    .decode(message)
                    .and_then(|message| self.rows.push_from(message)),
            };
            self.note(line, outcome, message);
        }
    }
}

fn too_large(event: &[u8]) -> Option<String> {
    let bytes = event.len();
    (bytes > EVENT_BYTES_MAX).then(|| format!("event is too large bytes={bytes} bytes_max={EVENT_BYTES_MAX}"))
}
