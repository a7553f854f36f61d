//! Where emitted events wait to be sent: one for each dataset, between its handles and its sender.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use event::DatasetName;
use event::limits::BATCH_EVENTS_MAX;
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use crate::acked::{Acked, Notice};
use crate::client::Clock;
use crate::dataset::Gate;
use crate::rows::Rows;
use crate::stats::{Counts, add, sub};
use crate::switch::Switch;
use crate::{DatasetStats, Error, ErrorKind, Result};

/// A batch that takes no more events.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub(crate) payload: Payload,
    pub(crate) events: u32,
    /// When its oldest event was emitted, by the clock of the world.
    pub(crate) generated_at: Timestamp,
    /// The same by the clock that only goes forward.
    pub(crate) emitted: Instant,
    /// What it takes of the room.
    pub(crate) bytes: usize,
    /// For those who wait for its ack.
    pub(crate) notice: Option<Notice>,
}

/// The events of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    Lines(Bytes),
    Rows(Rows),
}

/// Whether the ack of what is put in is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Nothing,
    Ack,
}

/// The events of one dataset that are not handed to its sender yet. Whoever puts some in has taken room for
/// them before; whoever finishes a batch gives the room back.
pub(crate) struct Outbox {
    pub(crate) name: DatasetName,
    batch_bytes: usize,
    linger: Duration,
    clock: Clock,
    /// Free bytes of the client's buffer.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) counts: Arc<Counts>,
    /// What its events must pass.
    pub(crate) gate: Gate,
    /// Where its events go now.
    pub(crate) switch: Switch,
    /// The way into files, if there is a folder for them.
    pub(crate) files: Option<Arc<Outbox>>,
    /// The way to its copy on the server, once a flag has asked for it.
    pub(crate) shadow: OnceLock<Arc<Outbox>>,
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// How many batches are acked or given up.
    finished: watch::Sender<u64>,
    /// Whether the loop behind it has ended in order.
    ended: watch::Sender<bool>,
}

#[derive(Default)]
struct Waiting {
    open: Vec<u8>,
    open_events: u32,
    /// When the first event of `open` came.
    opened: Option<(Instant, Timestamp)>,
    /// Of `open`, when somebody has asked for its ack.
    notice: Option<(Notice, Acked)>,
    sealed: VecDeque<Sealed>,
    sealed_total: u64,
    closed: bool,
    /// Events given up since the last flush, and why the first of them were.
    refused: Option<(u64, Error)>,
}

impl Outbox {
    pub(crate) fn new(
        name: DatasetName,
        options: &crate::ClientOptions,
        room: Arc<Semaphore>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            name,
            batch_bytes: options.batch_bytes,
            linger: options.linger,
            clock: Arc::clone(&options.clock),
            room,
            counts,
            gate: Gate::default(),
            switch: Switch::default(),
            files: None,
            shadow: OnceLock::new(),
            waiting: Mutex::default(),
            wake: Notify::new(),
            finished: watch::Sender::new(0),
            ended: watch::Sender::new(false),
        }
    }

    pub(crate) fn with(self, gate: Gate, files: Option<Arc<Outbox>>) -> Self {
        Self { gate, files, ..self }
    }

    /// What has been counted so far, of its files too.
    pub(crate) fn stats(&self) -> DatasetStats {
        let mut stats = self.counts.stats();
        if let Some(files) = &self.files {
            let files = files.counts.stats();
            stats.buffered_bytes += files.buffered_bytes;
            stats.queued_batches += files.queued_batches;
        }
        self.switch.tell(&mut stats);
        stats
    }

    /// Takes one event as a JSON text without line breaks; its room (one byte more, for the line's end) is taken.
    pub(crate) fn put_line(&self, line: &[u8], ask: Ask) -> Result<Option<Acked>> {
        let bytes = line.len() + 1;
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(self.closed(bytes));
        }
        let mut wake = false;
        if waiting.open_events > 0 && waiting.open.len() + bytes > self.batch_bytes {
            waiting.seal(&self.counts);
            wake = true;
        }
        if waiting.open_events == 0 {
            waiting.opened = Some((Instant::now(), (self.clock)()));
            wake = true;
        }
        waiting.open.extend_from_slice(line);
        waiting.open.push(b'\n');
        waiting.open_events += 1;
        let acked = (ask == Ask::Ack).then(|| waiting.acked());
        if waiting.open.len() >= self.batch_bytes || waiting.open_events == BATCH_EVENTS_MAX {
            waiting.seal(&self.counts);
            wake = true;
        }
        drop(waiting);
        add(&self.counts.emitted, 1);
        self.counts.event_bytes.count(line.len() as u64);
        if wake {
            self.wake.notify_one();
        }
        Ok(acked)
    }

    /// Takes rows, after the lines that came before them; their room is taken.
    pub(crate) fn put_rows(&self, rows: Vec<Rows>, ask: Ask) -> Result<Option<Acked>> {
        let bytes = rows.iter().map(Rows::bytes).sum();
        let (emitted, generated_at) = (Instant::now(), (self.clock)());
        let mut waiting = self.waiting();
        if waiting.closed {
            return Err(self.closed(bytes));
        }
        waiting.seal(&self.counts);
        let mut acks = Vec::new();
        for rows in rows {
            add(&self.counts.emitted, u64::from(rows.count));
            let (events, bytes) = (rows.count, rows.bytes());
            let (notice, acked) = (ask == Ask::Ack).then(Notice::new).unzip();
            acks.extend(acked);
            let batch = Sealed {
                payload: Payload::Rows(rows),
                events,
                generated_at,
                emitted,
                bytes,
                notice,
            };
            waiting.push(batch, &self.counts);
        }
        drop(waiting);
        self.wake.notify_one();
        Ok((ask == Ask::Ack).then(|| Acked::of(acks)))
    }

    /// Counts room that was taken of the client's.
    pub(crate) fn took_room(&self, permit: tokio::sync::SemaphorePermit<'_>) {
        add(&self.counts.buffered, permit.num_permits() as u64);
        permit.forget();
    }

    /// Gives room back.
    pub(crate) fn release(&self, bytes: usize) {
        sub(&self.counts.buffered, bytes as u64);
        self.room.add_permits(bytes);
    }

    fn closed(&self, bytes: usize) -> Error {
        self.release(bytes);
        Error::new(ErrorKind::Closed, "client is closed")
    }

    /// Takes no more events; what there is will still be sent.
    pub(crate) fn close(&self) {
        self.waiting().closed = true;
        self.wake.notify_one();
        if let Some(files) = &self.files {
            files.close();
        }
    }

    /// The loop behind it has ended in order.
    pub(crate) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Returns when the files have their names, after a close.
    pub(crate) async fn files_ended(&self) {
        if let Some(files) = &self.files {
            // An error would mean that the sender of the watch is gone, and this outbox holds it.
            let _ = files.ended.subscribe().wait_for(|ended| *ended).await;
        }
    }

    /// Returns when all that is in now is acked or given up, and written to the files.
    ///
    /// # Errors
    /// Events that were given up since the last call.
    pub(crate) async fn flush(&self) -> Result<()> {
        self.finish_all().await;
        if let Some(files) = &self.files {
            files.finish_all().await;
        }
        match self.waiting().refused.take() {
            None => Ok(()),
            Some((events, error)) => Err(Error::new(
                error.kind(),
                format_args!(
                    "server refused events for good: {error} dataset={} events={events}",
                    self.name
                ),
            )),
        }
    }

    async fn finish_all(&self) {
        let target = {
            let mut waiting = self.waiting();
            waiting.seal(&self.counts);
            waiting.sealed_total
        };
        self.wake.notify_one();
        // An error would mean that the sender of the watch is gone, and this outbox holds it.
        let _ = self
            .finished
            .subscribe()
            .wait_for(|finished| *finished >= target)
            .await;
    }

    /// Sender's side: the sealed batches, and the open one if its time has come.
    pub(crate) fn take(&self, now: Instant) -> VecDeque<Sealed> {
        let mut waiting = self.waiting();
        if waiting.closed
            || waiting
                .opened
                .is_some_and(|(opened, _)| opened + self.linger <= now)
        {
            waiting.seal(&self.counts);
        }
        std::mem::take(&mut waiting.sealed)
    }

    /// Sender's side: when the open batch is to be taken.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.waiting().opened.map(|(opened, _)| opened + self.linger)
    }

    /// Sender's side: returns when there may be something to take.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Sender's side: whether nothing will come any more.
    pub(crate) fn is_over(&self) -> bool {
        let waiting = self.waiting();
        waiting.closed && waiting.open_events == 0 && waiting.sealed.is_empty()
    }

    /// Before the sender begins: so many batches are left of an earlier process.
    pub(crate) fn recovered(&self, batches: u64) {
        self.waiting().sealed_total += batches;
        add(&self.counts.recovered, batches);
        add(&self.counts.queued, batches);
    }

    /// Sender's side: a batch of so many events is acked, or was given up because of an error. Its room was given
    /// back before. What an option gave up is no error of a flush.
    pub(crate) fn finish(&self, events: u32, refused: Option<Error>) {
        if let Some(error) = refused.filter(|error| error.kind() != ErrorKind::NotSent) {
            let mut waiting = self.waiting();
            let events = waiting.refused.as_ref().map_or(0, |(events, _)| *events) + u64::from(events);
            let first = waiting.refused.take().map_or(error, |(_, first)| first);
            waiting.refused = Some((events, first));
        }
        sub(&self.counts.queued, 1);
        self.finished.send_modify(|finished| *finished += 1);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of the lock panics")
    }
}

impl Waiting {
    fn seal(&mut self, counts: &Counts) {
        let Some((emitted, generated_at)) = self.opened.take() else {
            return;
        };
        let room = Vec::with_capacity(self.open.len());
        let lines = std::mem::replace(&mut self.open, room);
        let (bytes, events) = (lines.len(), std::mem::take(&mut self.open_events));
        counts.batch_us.took(emitted.elapsed());
        let batch = Sealed {
            payload: Payload::Lines(lines.into()),
            events,
            generated_at,
            emitted,
            bytes,
            notice: self.notice.take().map(|(notice, _)| notice),
        };
        self.push(batch, counts);
    }

    /// The ack of the open batch.
    fn acked(&mut self) -> Acked {
        self.notice.get_or_insert_with(Notice::new).1.clone()
    }

    fn push(&mut self, batch: Sealed, counts: &Counts) {
        add(&counts.queued, 1);
        self.sealed_total += 1;
        self.sealed.push_back(batch);
    }
}
