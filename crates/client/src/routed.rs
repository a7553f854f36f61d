//! Emitting when flags say where to: into files, to the server, to a copy of the dataset, or nowhere.

use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use event::flags::Mode;

use crate::acked::Acked;
use crate::outbox::{Ask, Outbox};
use crate::rows::Rows;
use crate::stats::add;
use crate::switch::{Route, ToServer};
use crate::{Dataset, Error, Result};

/// The ways that one event, or some rows, take.
pub(crate) struct Ways {
    pub(crate) files: Option<Arc<Outbox>>,
    /// To the dataset itself.
    pub(crate) stream: bool,
    /// To its copy.
    shadow: bool,
    mode: Mode,
    /// Whether the event is checked.
    pub(crate) validate: bool,
}

impl Ways {
    /// For the event with these bytes.
    pub(crate) fn new(outbox: &Outbox, route: Route, bytes: &[u8]) -> Self {
        let to_server = route.server != ToServer::None && route.server.takes(bytes);
        let is_shadow = route.mode == Mode::Shadow;
        let files = outbox.files.clone().filter(|_| route.files);
        Self {
            validate: route.validate && (to_server || files.is_some()),
            files,
            stream: to_server && !is_shadow,
            shadow: to_server && is_shadow,
            mode: route.mode,
        }
    }

    fn lead_nowhere(&self) -> bool {
        self.files.is_none() && !self.stream && !self.shadow
    }
}

/// Rows on their ways: as they are sent and, if files want them, as lines.
pub(crate) struct WayRows {
    pub(crate) rows: Vec<Rows>,
    pub(crate) lines: Vec<Vec<u8>>,
    /// `None`: no flags, to the server alone.
    pub(crate) ways: Option<Ways>,
}

impl WayRows {
    /// What they take of the room, to the server and into files.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let lines = self.lines.iter().map(|line| line.len() + 1);
        (self.rows.iter().map(Rows::bytes).sum(), lines.sum())
    }
}

impl Dataset {
    /// Puts a line on its ways; the room for those into files and to the dataset is taken.
    pub(crate) fn put_routed(&self, line: &[u8], ways: &Ways, ask: Ask) -> Result<Option<Acked>> {
        if let Some(files) = &ways.files {
            let closed = |_: &Error| self.release_stream(ways, line.len() + 1);
            files.put_line(line, Ask::Nothing).inspect_err(closed)?;
        }
        if ways.shadow
            && let Some(shadow) = self.shadow()
        {
            // The copy is sent at best effort: what there is no room for is counted there.
            let _ = shadow.put_unchecked(line, Ask::Nothing);
        }
        if ways.stream {
            return self.outbox.put_line(line, ask);
        }
        self.outbox.counts.event_bytes.count(line.len() as u64);
        Ok(self.not_streamed(1, ways, ask))
    }

    /// Puts rows on their ways, as [`Dataset::put_routed`].
    pub(crate) fn put_rows_routed(&self, routed: WayRows, ask: Ask) -> Result<Option<Acked>> {
        let (bytes, _) = routed.bytes();
        let WayRows {
            rows,
            lines,
            ways: Some(ways),
        } = routed
        else {
            return self.outbox.put_rows(routed.rows, ask);
        };
        if let Some(files) = &ways.files {
            for (at, line) in lines.iter().enumerate() {
                files.put_line(line, Ask::Nothing).inspect_err(|_| {
                    files.release(lines[at + 1..].iter().map(|line| line.len() + 1).sum());
                    self.release_stream(&ways, bytes);
                })?;
            }
        }
        if ways.stream {
            return self.outbox.put_rows(rows, ask);
        }
        let events = rows.iter().map(|rows| u64::from(rows.count)).sum();
        if ways.shadow
            && let Some(shadow) = self.shadow()
            && let Ok(true) = shadow.take_rooms(None, (bytes, 0), events)
        {
            let _ = shadow.outbox.put_rows(rows, Ask::Nothing);
        }
        Ok(self.not_streamed(events, &ways, ask))
    }

    /// The client was closed meanwhile: gives room back that is not used.
    fn release_stream(&self, ways: &Ways, bytes: usize) {
        if ways.stream {
            self.outbox.release(bytes);
        }
    }

    /// Counts events that do not go to the dataset itself, and says why to those who wait for the ack.
    fn not_streamed(&self, events: u64, ways: &Ways, ask: Ask) -> Option<Acked> {
        let counts = &self.outbox.counts;
        add(&counts.emitted, events);
        let why = match ways.mode {
            Mode::Off => {
                add(&counts.off, events);
                "mode is off, event is dropped"
            }
            _ if ways.lead_nowhere() => {
                add(&counts.sampled, events);
                "not in the sample, event is dropped"
            }
            Mode::Shadow => "mode is shadow, event goes into files, and its copy at best effort",
            _ => "event goes into files alone",
        };
        let name = &self.outbox.name;
        (ask == Ask::Ack).then(|| Acked::not_sent(format_args!("{why} dataset={name}")))
    }

    /// The dataset of the copies.
    fn shadow(&self) -> Option<Dataset> {
        let shadow = match self.outbox.shadow.get() {
            Some(shadow) => Arc::clone(shadow),
            None => match self.client.shadow(&self.outbox.name) {
                Ok(shadow) => Arc::clone(self.outbox.shadow.get_or_init(|| shadow)),
                Err(error) => {
                    let text = format!("{}: no shadow: {error}", self.outbox.name);
                    self.outbox.counts.went_wrong(text);
                    return None;
                }
            },
        };
        Some(Dataset::new(shadow, self.client.clone()))
    }
}

/// Rows as lines of JSON, without nulls.
pub(crate) fn lines_of(rows: &RecordBatch) -> Result<Vec<Vec<u8>>> {
    let cannot = |error| Error::invalid(format_args!("rows cannot be JSON, which files hold: {error}"));
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(rows).map_err(cannot)?;
    writer.finish().map_err(cannot)?;
    let text = writer.into_inner();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}
