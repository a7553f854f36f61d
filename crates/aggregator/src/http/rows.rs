//! The events of one request, sorted by dataset into batches.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use event::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_BYTES_MAX, REJECT_RAW_BYTES_MAX};
use event::{DatasetName, Encoding};

use super::key::{EventId, IdShape, event_id};
use super::room::Room;
use crate::limits::{ERRORS_SHOWN_MAX, REASON_BYTES_MAX, REQUEST_DATASETS_MAX, REQUEST_ROWS_BYTES_MAX};
use crate::lines::{LineError, Lines};
use crate::{Error, Result};

/// One dataset's part of a request.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) dataset: DatasetName,
    /// What the batches are made of.
    pub(super) encoding: Encoding,
    /// Payloads and how many events each has, each at most a batch.
    pub(super) batches: Vec<(Bytes, u32)>,
    /// Events in all of them.
    pub(super) events: u32,
    /// How many of them are not good.
    pub(super) rejected: u32,
    /// The ids of the events, in order; empty when one of them has none.
    pub(super) ids: Vec<EventId>,
}

/// What a request's body was made into.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) parts: Vec<Part>,
    /// Events that stood in the body a second time, by their ids.
    pub(super) repeated: u32,
    /// Why events were refused, for the first [`ERRORS_SHOWN_MAX`].
    pub(super) errors: Vec<LineError>,
    /// Why the first was.
    refused: Option<Error>,
}

impl Made {
    /// Lines as they were sent.
    pub(super) fn of_lines(dataset: DatasetName, lines: Lines) -> Self {
        let mut made = Self::of_payload(dataset, Encoding::Ndjson, (lines.payload, lines.events));
        made.parts[0].rejected = lines.rejected;
        made.errors = lines.errors;
        made
    }

    /// A payload of so many events, none of which has been looked at.
    pub(super) fn of_payload(dataset: DatasetName, encoding: Encoding, batch: (Bytes, u32)) -> Self {
        let part = Part {
            dataset,
            encoding,
            events: batch.1,
            batches: vec![batch],
            rejected: 0,
            ids: Vec::new(),
        };
        Self {
            parts: vec![part],
            repeated: 0,
            errors: Vec::new(),
            refused: None,
        }
    }

    /// A request that is one event is refused with it.
    pub(super) fn single(self) -> Result<Self> {
        match self.refused {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }
}

/// Writes rows. Memory is taken from the room as it is needed, beside `base` bytes for the body.
pub(super) struct Rows<'a> {
    room: &'a mut Room,
    base: usize,
    /// What the batches take and what they hold, in bytes.
    taken: usize,
    written: usize,
    /// The row that is being written.
    row: Vec<u8>,
    parts: Vec<Growing>,
    by_dataset: HashMap<DatasetName, usize>,
    seen: HashSet<(usize, EventId)>,
    repeated: u32,
    errors: Vec<LineError>,
    refused: Option<Error>,
}

struct Growing {
    part: Part,
    /// Whether every event has an id so far.
    named: bool,
    open: Vec<u8>,
    open_events: u32,
}

/// An event as the request has it.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    pub(super) dataset: &'a DatasetName,
    /// Its place, from 1, as answers name it.
    pub(super) line: usize,
    pub(super) id: Option<EventId>,
    pub(super) raw: Raw<'a>,
}

/// The bytes of an event.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Json(&'a str),
    Binary(&'a [u8]),
}

impl Raw<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// As JSON: itself, its head as a text when it is too large, or base64.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Json(text) if text.len() > EVENT_BYTES_MAX => {
                write_text(out, &text[..text.floor_char_boundary(REJECT_RAW_BYTES_MAX)]);
            }
            Self::Json(text) => out.extend_from_slice(text.as_bytes()),
            Self::Binary(bytes) => {
                let head = &bytes[..bytes.len().min(REJECT_RAW_BYTES_MAX)];
                write_text(out, &BASE64_STANDARD.encode(head));
            }
        }
    }
}

impl<'a> Rows<'a> {
    pub(super) fn new(room: &'a mut Room, base: usize) -> Self {
        Self {
            room,
            base,
            taken: 0,
            written: 0,
            row: Vec::new(),
            parts: Vec::new(),
            by_dataset: HashMap::new(),
            seen: HashSet::new(),
            repeated: 0,
            errors: Vec::new(),
            refused: None,
        }
    }

    /// Adds an event: `write` appends one JSON object, in which line breaks can only be white space, or says why
    /// it cannot. An event whose id was there before is counted and not added.
    ///
    /// # Errors
    /// Those that end the request: `TooLarge` for its rows, events or datasets; `Busy`.
    pub(super) fn push(
        &mut self,
        sent: Sent<'_>,
        write: impl FnOnce(&mut Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        self.row.clear();
        let written = match sent.raw.bytes().len() {
            bytes if bytes > EVENT_BYTES_MAX => Err(too_large(bytes)),
            _ => write(&mut self.row),
        };
        let written = written.and_then(|()| match self.row.len() {
            bytes if bytes > EVENT_BYTES_MAX => Err(too_large(bytes)),
            _ => Ok(()),
        });
        if let Err(error) = written {
            return self.refuse(sent, error);
        }
        let index = self.part(sent.dataset)?;
        if let Some(id) = sent.id
            && !self.seen.insert((index, id))
        {
            self.repeated += 1;
            return Ok(());
        }
        self.append(index, sent.id)
    }

    /// Adds an event that is not good, as `["reason", event]`: a line that no row can be made of, so that it comes
    /// out in the dataset's table of failed events. That it is too large goes before any other reason.
    pub(super) fn refuse(&mut self, sent: Sent<'_>, error: Error) -> Result<()> {
        let error = match sent.raw.bytes().len() {
            bytes if bytes > EVENT_BYTES_MAX => too_large(bytes),
            _ => error,
        };
        let mut reason = error.to_string();
        // Some name what was sent.
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        let index = self.part(sent.dataset)?;
        self.row.clear();
        self.row.push(b'[');
        write_text(&mut self.row, &reason);
        self.row.push(b',');
        sent.raw.write(&mut self.row);
        self.row.push(b']');
        self.parts[index].part.rejected += 1;
        self.refused
            .get_or_insert_with(|| Error::new(error.kind(), &reason));
        if self.errors.len() < ERRORS_SHOWN_MAX {
            let line = sent.line;
            self.errors.push(LineError { line, reason });
        }
        self.append(index, Some(event_id(IdShape::Refused, &[sent.raw.bytes()])))
    }

    pub(super) fn finish(self) -> Made {
        let parts = self.parts.into_iter().map(|mut growing| {
            growing.seal();
            growing.part
        });
        Made {
            parts: parts.collect(),
            repeated: self.repeated,
            errors: self.errors,
            refused: self.refused,
        }
    }

    fn part(&mut self, dataset: &DatasetName) -> Result<usize> {
        if let Some(index) = self.by_dataset.get(dataset) {
            return Ok(*index);
        }
        if self.parts.len() == REQUEST_DATASETS_MAX {
            return Err(Error::too_large(format_args!(
                "events belong to too many datasets, split the body or name one by Sanderling-Dataset datasets_max={REQUEST_DATASETS_MAX}"
            )));
        }
        self.parts.push(Growing {
            part: Part {
                dataset: dataset.clone(),
                encoding: Encoding::Ndjson,
                batches: Vec::new(),
                events: 0,
                rejected: 0,
                ids: Vec::new(),
            },
            named: true,
            open: Vec::new(),
            open_events: 0,
        });
        self.by_dataset.insert(dataset.clone(), self.parts.len() - 1);
        Ok(self.parts.len() - 1)
    }

    /// Appends the row to its part.
    fn append(&mut self, index: usize, id: Option<EventId>) -> Result<()> {
        for byte in &mut self.row {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        self.row.push(b'\n');
        let growing = &mut self.parts[index];
        if growing.open.len() + self.row.len() > BATCH_BYTES_MAX {
            growing.seal();
        }
        let needed = growing.open.len() + self.row.len();
        if needed > growing.open.capacity() {
            let capacity = (2 * growing.open.capacity()).min(BATCH_BYTES_MAX).max(needed);
            self.taken += capacity - growing.open.capacity();
            let ids = size_of::<(usize, EventId)>() * self.seen.capacity()
                + size_of::<EventId>() * growing.part.ids.capacity();
            self.room
                .cover(self.base + self.taken + self.row.capacity() + ids)?;
            growing.open.reserve_exact(capacity - growing.open.len());
        }
        growing.open.extend_from_slice(&self.row);
        self.written += self.row.len();
        if self.written > REQUEST_ROWS_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "rows of the body are too large, split it bytes_max={REQUEST_ROWS_BYTES_MAX}"
            )));
        }
        growing.count(id)
    }
}

impl Growing {
    fn count(&mut self, id: Option<EventId>) -> Result<()> {
        self.open_events += 1;
        self.part.events += 1;
        match id {
            Some(id) if self.named => self.part.ids.push(id),
            Some(_) => {}
            None => {
                self.named = false;
                self.part.ids = Vec::new();
            }
        }
        if self.part.events > BATCH_EVENTS_MAX {
            return Err(Error::too_large(format_args!(
                "body holds too many events, split it events_max={BATCH_EVENTS_MAX}"
            )));
        }
        Ok(())
    }

    fn seal(&mut self) {
        if self.open_events > 0 {
            let payload = std::mem::take(&mut self.open);
            self.part.batches.push((payload.into(), self.open_events));
            self.open_events = 0;
        }
    }
}

fn too_large(bytes: usize) -> Error {
    Error::too_large(format_args!(
        "event is too large bytes={bytes} bytes_max={EVENT_BYTES_MAX}"
    ))
}

/// A JSON text.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("text is written to memory");
}
