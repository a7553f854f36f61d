//! The handle of a dataset: events in.

use std::cell::Cell;
use std::sync::{Arc, Mutex};

use arrow::record_batch::RecordBatch;
use event::limits::EVENT_BYTES_MAX;
use event::{Checker, DatasetName};
use serde::Serialize;
use tokio::sync::SemaphorePermit;

use crate::acked::Acked;
use crate::limits::DIVERTED_RAW_BYTES_MAX;
use crate::options::{Delivery, OnInvalid, OnSpoolFull, ValidationSchema};
use crate::outbox::{Ask, Outbox};
use crate::routed::{WayRows, Ways, lines_of};
use crate::rows::encode;
use crate::stats::add;
use crate::{Client, DatasetOptions, DatasetStats, Error, ErrorKind, OnFull, Result};

/// Where the events of one dataset go in. Clones put into the same batches.
#[derive(Clone)]
pub struct Dataset {
    pub(crate) outbox: Arc<Outbox>,
    /// Keeps the client open.
    pub(crate) client: Client,
}

impl Dataset {
    pub(crate) fn new(outbox: Arc<Outbox>, client: Client) -> Self {
        Self { outbox, client }
    }

    /// The dataset's name.
    pub fn name(&self) -> &DatasetName {
        &self.outbox.name
    }

    /// What has been counted of this dataset so far.
    pub fn stats(&self) -> DatasetStats {
        self.outbox.stats()
    }

    /// Emits one event: puts it, as a line of JSON, into the batch that is open. Does not block and does not
    /// wait for the server; what it took is kept until it is acked. `Ok` is also said of what an option or a flag
    /// drops, which is counted in [`crate::Dropped`].
    ///
    /// # Errors
    /// `Invalid`: the event is not a JSON object, is larger than 1 MiB, or does not pass
    /// [`DatasetOptions::validation`]. `Full`: the client holds as much as it may; the event is not taken.
    /// `Closed`: the client is closed.
    pub fn emit<E: Serialize + ?Sized>(&self, event: &E) -> Result<()> {
        with_line(event, |line| self.put_now(line, Ask::Nothing)).map(drop)
    }

    /// As [`Dataset::emit`], and answers with a future of the ack of the batch that the event is in. Events of one
    /// batch share one notification, so it costs one allocation an event more than `emit`.
    ///
    /// # Errors
    /// As [`Dataset::emit`]. An event that is taken and given up later ends the future.
    pub fn emit_acked<E: Serialize + ?Sized>(&self, event: &E) -> Result<Acked> {
        with_line(event, |line| self.put_now(line, Ask::Ack)).map(asked)
    }

    /// As [`Dataset::emit`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit`], without `Full`.
    pub async fn emit_wait<E: Serialize + ?Sized>(&self, event: &E) -> Result<()> {
        let line = with_line(event, |line| Ok(line.to_vec()))?;
        self.put_wait(&line, Ask::Nothing).await.map(drop)
    }

    /// Emits one event that is JSON text already, on one line. Without [`DatasetOptions::validation`] it is sent
    /// as it is: what is malformed ends in `<dataset>$failed`.
    ///
    /// # Errors
    /// As [`Dataset::emit`]; `Invalid` when the line is blank, has a line break, or is too long.
    pub fn emit_json_line(&self, line: &[u8]) -> Result<()> {
        self.put_now(raw_line(line)?, Ask::Nothing).map(drop)
    }

    /// As [`Dataset::emit_json_line`], with a future of the ack as [`Dataset::emit_acked`].
    ///
    /// # Errors
    /// As [`Dataset::emit_json_line`].
    pub fn emit_json_line_acked(&self, line: &[u8]) -> Result<Acked> {
        self.put_now(raw_line(line)?, Ask::Ack).map(asked)
    }

    /// As [`Dataset::emit_json_line`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit_json_line`], without `Full`.
    pub async fn emit_json_line_wait(&self, line: &[u8]) -> Result<()> {
        self.put_wait(raw_line(line)?, Ask::Nothing).await.map(drop)
    }

    /// Emits rows, in order with the events around them. Large ones are cut into several batches; none are
    /// taken, or all.
    ///
    /// # Errors
    /// As [`Dataset::emit`].
    pub fn emit_rows(&self, rows: &RecordBatch) -> Result<()> {
        self.put_rows_now(rows, Ask::Nothing).map(drop)
    }

    /// As [`Dataset::emit_rows`], with a future of the ack of the last batch, which resolves when all are acked.
    ///
    /// # Errors
    /// As [`Dataset::emit_rows`]; `Invalid` when there is no row.
    pub fn emit_rows_acked(&self, rows: &RecordBatch) -> Result<Acked> {
        if rows.num_rows() == 0 {
            return Err(Error::invalid("no rows, so there is no batch to be acked"));
        }
        self.put_rows_now(rows, Ask::Ack).map(asked)
    }

    /// As [`Dataset::emit_rows`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit`], without `Full`.
    pub async fn emit_rows_wait(&self, rows: &RecordBatch) -> Result<()> {
        if let Some(rows) = self.prepared(rows)? {
            self.wait_for_rooms(rows.ways.as_ref(), rows.bytes()).await?;
            self.put_rows_routed(rows, Ask::Nothing)?;
        }
        Ok(())
    }

    /// As [`Client::flush`], for this dataset alone.
    ///
    /// # Errors
    /// As [`Client::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.outbox.flush().await
    }

    fn put_now(&self, line: &[u8], ask: Ask) -> Result<Option<Acked>> {
        let ways = self.ways(line);
        if let Err(error) = self.check(line, ways.as_ref()) {
            let (dataset, diverted) = self.invalid(line, error)?;
            return with_line(&diverted, |line| dataset.put_unchecked(line, ask));
        }
        let bytes = line.len() + 1;
        if !self.take_rooms(ways.as_ref(), (bytes, bytes), 1)? {
            return Ok(self.dropped(ask));
        }
        self.deliver(line, ways, ask)
    }

    /// To the server, whatever flags say.
    pub(crate) fn put_unchecked(&self, line: &[u8], ask: Ask) -> Result<Option<Acked>> {
        if !self.take_rooms(None, (line.len() + 1, 0), 1)? {
            return Ok(self.dropped(ask));
        }
        self.outbox.put_line(line, ask)
    }

    async fn put_wait(&self, line: &[u8], ask: Ask) -> Result<Option<Acked>> {
        let ways = self.ways(line);
        if let Err(error) = self.check(line, ways.as_ref()) {
            let (dataset, diverted) = self.invalid(line, error)?;
            let line = with_line(&diverted, |line| Ok(line.to_vec()))?;
            dataset.wait_for_rooms(None, (line.len() + 1, 0)).await?;
            return dataset.outbox.put_line(&line, ask);
        }
        let bytes = line.len() + 1;
        self.wait_for_rooms(ways.as_ref(), (bytes, bytes)).await?;
        self.deliver(line, ways, ask)
    }

    fn put_rows_now(&self, rows: &RecordBatch, ask: Ask) -> Result<Option<Acked>> {
        let count = rows.num_rows() as u64;
        let Some(rows) = self.prepared(rows)? else {
            return Ok(None);
        };
        if !self.take_rooms(rows.ways.as_ref(), rows.bytes(), count)? {
            return Ok(self.dropped(ask));
        }
        self.put_rows_routed(rows, ask)
    }

    /// The ways of an event or of rows with these bytes; `None`: no flags, to the server alone.
    fn ways(&self, bytes: &[u8]) -> Option<Ways> {
        let route = self.outbox.switch.route()?;
        Some(Ways::new(&self.outbox, route, bytes))
    }

    fn check(&self, line: &[u8], ways: Option<&Ways>) -> Result<()> {
        match ways {
            Some(ways) if !ways.validate => Ok(()),
            _ => self.outbox.gate.check(line),
        }
    }

    fn deliver(&self, line: &[u8], ways: Option<Ways>, ask: Ask) -> Result<Option<Acked>> {
        match ways {
            None => self.outbox.put_line(line, ask),
            Some(ways) => self.put_routed(line, &ways, ask),
        }
    }

    /// What is told of events that a full buffer dropped.
    fn dropped(&self, ask: Ask) -> Option<Acked> {
        let why = || {
            format!(
                "client's buffer is full, event is dropped dataset={} buffer_bytes_max={}",
                self.outbox.name,
                self.client.buffer_bytes_max()
            )
        };
        (ask == Ask::Ack).then(|| Acked::not_sent(why()))
    }

    /// An event did not pass: where it goes instead.
    fn invalid(&self, line: &[u8], error: Error) -> Result<(Dataset, serde_json::Value)> {
        add(&self.outbox.counts.invalid, 1);
        let Some(divert) = &self.outbox.gate.divert else {
            return Err(error);
        };
        let raw = &line[..line.len().min(DIVERTED_RAW_BYTES_MAX)];
        let diverted = serde_json::json!({
            "reason": error.to_string(),
            "raw": String::from_utf8_lossy(raw),
        });
        Ok((self.client.diverted(divert)?, diverted))
    }

    /// Checked rows with their ways; `None` when there are no rows.
    fn prepared(&self, batch: &RecordBatch) -> Result<Option<WayRows>> {
        let rows = encode(batch)?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let ways = self.ways(&first.body);
        if ways.as_ref().is_none_or(|ways| ways.validate)
            && let Err(error) = self.outbox.gate.check_rows(batch)
        {
            add(&self.outbox.counts.invalid, batch.num_rows() as u64);
            return Err(error);
        }
        let lines = match &ways {
            Some(ways) if ways.files.is_some() => lines_of(batch)?,
            _ => Vec::new(),
        };
        Ok(Some(WayRows { rows, lines, ways }))
    }

    /// Takes room, on the way to the server and on that into files, that goes back when the batch is finished. Says
    /// no when the events are to be dropped.
    pub(crate) fn take_rooms(&self, ways: Option<&Ways>, bytes: (usize, usize), events: u64) -> Result<bool> {
        let (stream, files) = needed(ways, bytes);
        match self.outbox.room.try_acquire_many(self.permits(stream + files)?) {
            Ok(permit) => {
                self.took_rooms(ways, permit, files);
                Ok(true)
            }
            Err(_) if self.outbox.gate.drops_newest => {
                add(&self.outbox.counts.emitted, events);
                add(&self.outbox.counts.full, events);
                Ok(false)
            }
            Err(_) => Err(Error::new(
                ErrorKind::Full,
                format_args!(
                    "client holds as much as it may, wait for acks buffer_bytes_max={}",
                    self.client.buffer_bytes_max()
                ),
            )),
        }
    }

    async fn wait_for_rooms(&self, ways: Option<&Ways>, bytes: (usize, usize)) -> Result<()> {
        let (stream, files) = needed(ways, bytes);
        let permits = self.permits(stream + files)?;
        let permit = self.outbox.room.acquire_many(permits).await;
        self.took_rooms(ways, permit.expect("the room is never closed"), files);
        Ok(())
    }

    fn took_rooms(&self, ways: Option<&Ways>, mut permit: SemaphorePermit<'_>, file_bytes: usize) {
        if let Some(files) = ways.and_then(|ways| ways.files.as_ref())
            && let Some(part) = permit.split(file_bytes)
        {
            files.took_room(part);
        }
        self.outbox.took_room(permit);
    }

    fn permits(&self, bytes: usize) -> Result<u32> {
        let bytes_max = self.client.buffer_bytes_max();
        u32::try_from(bytes)
            .ok()
            .filter(|_| bytes <= bytes_max)
            .ok_or_else(|| {
                Error::invalid(format_args!(
                    "larger than the whole buffer, split it bytes={bytes} buffer_bytes_max={bytes_max}"
                ))
            })
    }
}

/// What an event must pass on its way into a dataset.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    /// What a full buffer does not hold is dropped.
    drops_newest: bool,
    event_bytes_max: Option<usize>,
    checker: Option<Mutex<Checker>>,
    /// The dataset of those that do not pass.
    divert: Option<DatasetName>,
}

impl Gate {
    pub(crate) fn new(name: &DatasetName, options: &DatasetOptions) -> Result<Self> {
        let drops_newest = match &options.on_full {
            OnFull::Refuse => false,
            OnFull::DropNewest => true,
            OnFull::Spool(_) if options.delivery == Delivery::BestEffort => {
                return Err(Error::invalid(
                    "a spool keeps what best effort gives up, choose one of them",
                ));
            }
            OnFull::Spool(spool) => spool.on_full == OnSpoolFull::DropNewest,
        } || options.delivery == Delivery::BestEffort;
        let Some(validation) = &options.validation else {
            return Ok(Self {
                drops_newest,
                ..Self::default()
            });
        };
        let divert = match validation.on_invalid {
            OnInvalid::Refuse => None,
            OnInvalid::Divert => Some(format!("{name}_invalid").parse()?),
        };
        let checker = match &validation.schema {
            ValidationSchema::Columns(schema, unknown) => Checker::new(schema.fields(), *unknown)?,
            ValidationSchema::Declared(schema) => Checker::declared(schema)?,
        };
        Ok(Self {
            drops_newest,
            event_bytes_max: Some(validation.event_bytes_max),
            checker: Some(Mutex::new(checker)),
            divert,
        })
    }

    fn check(&self, line: &[u8]) -> Result<()> {
        if let Some(bytes_max) = self.event_bytes_max
            && line.len() > bytes_max
        {
            return Err(Error::invalid(format_args!(
                "event is too large bytes={} bytes_max={bytes_max}",
                line.len()
            )));
        }
        match &self.checker {
            None => Ok(()),
            Some(checker) => Ok(checker
                .lock()
                .expect("no holder of the lock panics")
                .check_json(line)?),
        }
    }

    fn check_rows(&self, rows: &RecordBatch) -> Result<()> {
        match &self.checker {
            None => Ok(()),
            Some(checker) => Ok(checker
                .lock()
                .expect("no holder of the lock panics")
                .check_rows(rows)?),
        }
    }
}

/// What is needed of the room, to the server and into files.
fn needed(ways: Option<&Ways>, (stream, files): (usize, usize)) -> (usize, usize) {
    match ways {
        None => (stream, 0),
        Some(ways) => (
            if ways.stream { stream } else { 0 },
            if ways.files.is_some() { files } else { 0 },
        ),
    }
}

/// What was asked for is always there.
fn asked(acked: Option<Acked>) -> Acked {
    acked.unwrap_or_else(|| Acked::not_sent("event is not sent"))
}

/// A line of text as it may be sent.
fn raw_line(line: &[u8]) -> Result<&[u8]> {
    let line = line.trim_ascii();
    if line.is_empty() || line.contains(&b'\n') {
        return Err(Error::invalid(
            "event must be one line: leave blank lines out and take out line breaks",
        ));
    }
    check_bytes(line)?;
    Ok(line)
}

fn check_line(line: &[u8]) -> Result<()> {
    if line.first() != Some(&b'{') || line.last() != Some(&b'}') {
        return Err(Error::invalid("event must be a JSON object"));
    }
    check_bytes(line)
}

fn check_bytes(line: &[u8]) -> Result<()> {
    if line.len() > EVENT_BYTES_MAX {
        return Err(Error::invalid(format_args!(
            "event is too large bytes={} bytes_max={EVENT_BYTES_MAX}",
            line.len()
        )));
    }
    Ok(())
}

/// A line's memory larger than this is not kept for the next one.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `put` with the event as a checked line, in memory that the thread uses again.
fn with_line<E: Serialize + ?Sized, T>(event: &E, put: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
    let mut line = SCRATCH.take();
    line.clear();
    let result = serde_json::to_writer(&mut line, event)
        .map_err(|error| Error::invalid(format_args!("event cannot be JSON: {error}")))
        .and_then(|()| check_line(&line))
        .and_then(|()| put(&line));
    if line.capacity() <= SCRATCH_BYTES_MAX {
        SCRATCH.set(line);
    }
    result
}
