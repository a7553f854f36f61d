//! The handle of a dataset: events in.

use std::cell::Cell;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use event::DatasetName;
use event::limits::EVENT_BYTES_MAX;
use serde::Serialize;

use crate::outbox::Outbox;
use crate::rows::{Rows, encode};
use crate::{Client, Error, ErrorKind, Result};

/// Where the events of one dataset go in. Clones put into the same batches.
#[derive(Clone)]
pub struct Dataset {
    outbox: Arc<Outbox>,
    buffer_bytes_max: usize,
    /// Keeps the client open.
    _client: Client,
}

impl Dataset {
    pub(crate) fn new(outbox: Arc<Outbox>, buffer_bytes_max: usize, client: Client) -> Self {
        Self {
            outbox,
            buffer_bytes_max,
            _client: client,
        }
    }

    /// The dataset's name.
    pub fn name(&self) -> &DatasetName {
        &self.outbox.name
    }

    /// Emits one event: puts it, as a line of JSON, into the batch that is open. Does not block and does not
    /// wait for the server; what it took is kept until it is acked.
    ///
    /// # Errors
    /// `Invalid`: the event is not a JSON object, or is larger than 1 MiB. `Full`: the client holds as much as
    /// it may; the event is not taken. `Closed`: the client is closed.
    pub fn emit<E: Serialize + ?Sized>(&self, event: &E) -> Result<()> {
        with_line(event, |line| {
            self.take_room(line.len() + 1)?;
            self.outbox.put_line(line)
        })
    }

    /// As [`Dataset::emit`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit`], without `Full`.
    pub async fn emit_wait<E: Serialize + ?Sized>(&self, event: &E) -> Result<()> {
        let line = with_line(event, |line| Ok(line.to_vec()))?;
        self.wait_for_room(line.len() + 1).await?;
        self.outbox.put_line(&line)
    }

    /// Emits one event that is JSON text already, on one line. It is sent as it is: what is malformed ends in
    /// `<dataset>$failed`.
    ///
    /// # Errors
    /// As [`Dataset::emit`]; `Invalid` when the line is blank, has a line break, or is too long.
    pub fn emit_json_line(&self, line: &[u8]) -> Result<()> {
        let line = raw_line(line)?;
        self.take_room(line.len() + 1)?;
        self.outbox.put_line(line)
    }

    /// As [`Dataset::emit_json_line`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit_json_line`], without `Full`.
    pub async fn emit_json_line_wait(&self, line: &[u8]) -> Result<()> {
        let line = raw_line(line)?;
        self.wait_for_room(line.len() + 1).await?;
        self.outbox.put_line(line)
    }

    /// Emits rows, in order with the events around them. Large ones are cut into several batches; none are
    /// taken, or all.
    ///
    /// # Errors
    /// As [`Dataset::emit`].
    pub fn emit_rows(&self, rows: &RecordBatch) -> Result<()> {
        let rows = encode(rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.take_room(rows.iter().map(Rows::bytes).sum())?;
        self.outbox.put_rows(rows)
    }

    /// As [`Dataset::emit_rows`], but waits for room.
    ///
    /// # Errors
    /// As [`Dataset::emit`], without `Full`.
    pub async fn emit_rows_wait(&self, rows: &RecordBatch) -> Result<()> {
        let rows = encode(rows)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.wait_for_room(rows.iter().map(Rows::bytes).sum()).await?;
        self.outbox.put_rows(rows)
    }

    /// As [`Client::flush`], for this dataset alone.
    ///
    /// # Errors
    /// As [`Client::flush`].
    pub async fn flush(&self) -> Result<()> {
        self.outbox.flush().await
    }

    /// Takes room that goes back when the batch is finished.
    fn take_room(&self, bytes: usize) -> Result<()> {
        let permits = self.permits(bytes)?;
        match self.outbox.room.try_acquire_many(permits) {
            Ok(permit) => {
                permit.forget();
                Ok(())
            }
            Err(_) => Err(Error::new(
                ErrorKind::Full,
                format_args!(
                    "client holds as much as it may, wait for acks buffer_bytes_max={}",
                    self.buffer_bytes_max
                ),
            )),
        }
    }

    async fn wait_for_room(&self, bytes: usize) -> Result<()> {
        let permits = self.permits(bytes)?;
        let permit = self.outbox.room.acquire_many(permits).await;
        permit.expect("the room is never closed").forget();
        Ok(())
    }

    fn permits(&self, bytes: usize) -> Result<u32> {
        let bytes_max = self.buffer_bytes_max;
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
