//! The loop of one dataset: it owns the line, the spools and the stream, and performs what the line decides.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use event::wire::{PutAck, PutHeader};
use event::{Batch, BatchKey, DatasetName, Durability, EmitterId};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use queue::{Error, ErrorKind, Receipt, Result};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::counts::{Counts, RelayState};
use super::line::{Acked, Act, Backlog, Entry, Line, Mode};
use super::replay::Place;
use super::route::{Heard, Route, until};
use super::spool::{Spools, cost};
use super::{Answer, Shared};
use crate::counters::add;
use crate::limits::{RELAY_AWAITED_TIME, RELAY_SEGMENT_BYTES};

/// Reads of the spool before other work has its turn.
const READS_IN_TURN: usize = 8;

/// What comes to a dataset.
pub(super) enum Came {
    Batch(Entry<Answer>),
    /// Answered with an error already; those behind it must know.
    TurnedAway(BatchKey),
}

/// See the head of this file.
pub(super) struct Task {
    shared: Arc<Shared>,
    dataset: DatasetName,
    counts: Arc<Counts>,
    incoming: mpsc::UnboundedReceiver<Came>,
    is_closing: bool,
    line: Line<Answer>,
    spools: Spools,
    /// What of the spools' bytes is counted for all datasets.
    counted_bytes: u64,
    appends: FuturesOrdered<BoxFuture<'static, Appended>>,
    route: Route,
    /// Since when a batch waits and nothing was answered.
    quiet_since: Option<Instant>,
    /// When batches that were turned away are waited for no longer, in two steps.
    awaited_until: Option<Instant>,
    /// When emitters in conflict are tried again.
    blocked_until: Option<Instant>,
    /// When the spool is read again, after its disk failed or to let other work have its turn.
    read_at: Option<Instant>,
    /// Payload that was replayed since the spool was trimmed.
    replayed_bytes: u64,
    /// A refused batch could not be written: the spool has it.
    keeps_spools: bool,
    /// Whose refused batches the log has told of last.
    told_of: Option<EmitterId>,
}

/// What an append to the spool came to.
struct Appended {
    key: BatchKey,
    payload_bytes: u64,
    bytes: u64,
    answer: Answer,
    outcome: Result<Receipt>,
}

impl Task {
    pub(super) fn new(
        shared: Arc<Shared>,
        dataset: DatasetName,
        spools: Spools,
        counts: Arc<Counts>,
        incoming: mpsc::UnboundedReceiver<Came>,
    ) -> Self {
        Self {
            line: Line::new(spools.first(), shared.options.window_bytes),
            told_of: None,
            counted_bytes: spools.bytes(),
            shared,
            dataset,
            counts,
            incoming,
            is_closing: false,
            spools,
            appends: FuturesOrdered::new(),
            route: Route::default(),
            quiet_since: None,
            awaited_until: None,
            blocked_until: None,
            read_at: None,
            replayed_bytes: 0,
            keeps_spools: false,
        }
    }

    /// Until no more comes and all that came is answered.
    pub(super) async fn run(mut self) {
        loop {
            self.work().await;
            if self.is_closing && !self.line.has_waiting() && self.appends.is_empty() {
                return self.spools.close().await;
            }
            let spool_at = self.spool_at();
            let (retry_at, ack_due, return_at) =
                (self.route.retry_at, self.route.ack_due, self.route.return_at);
            tokio::select! {
                came = self.incoming.recv(), if !self.is_closing => self.came(came),
                heard = self.route.heard() => self.heard(heard),
                Some(appended) = self.appends.next(), if !self.appends.is_empty() => self.appended(appended),
                () = until(spool_at) => self.spool_now(),
                () = until(retry_at) => self.route.retry_at = None,
                () = until(ack_due) => self.stalled(),
                () = until(return_at) => self.route.ask_preferred(&self.shared),
                () = until(self.blocked_until) => {
                    self.blocked_until = None;
                    self.line.try_blocked();
                }
                () = until(self.read_at) => self.read_at = None,
                () = until(self.awaited_until) => {
                    self.awaited_until = None;
                    self.line.age_turned_away();
                }
            }
        }
    }

    /// Does all that can be done without waiting for anybody but the disk.
    async fn work(&mut self) {
        self.perform().await;
        self.fill().await;
        self.line.settle(self.backlog());
        self.perform().await;
        self.trim().await;
        if self.route.is_returning && !self.line.is_under_way() {
            self.route.move_back();
        }
        self.send();
        if self.line.replay().is_blocked() && self.blocked_until.is_none() {
            self.blocked_until = Some(Instant::now() + self.shared.options.retry_max);
        }
        if self.line.awaits() && self.awaited_until.is_none() {
            self.awaited_until = Some(Instant::now() + RELAY_AWAITED_TIME);
        }
        self.show();
    }

    fn came(&mut self, came: Option<Came>) {
        let Some(first) = came else {
            self.is_closing = true;
            return;
        };
        self.take(first);
        // Those that came with it, so that they share one round of work.
        for _ in 0..1024 {
            match self.incoming.try_recv() {
                Ok(came) => self.take(came),
                Err(_) => break,
            }
        }
        if self.line.mode() == Mode::Direct && self.route.failures > 0 && self.line.is_full() {
            self.spool_now();
        }
    }

    fn take(&mut self, came: Came) {
        match came {
            Came::TurnedAway(key) => self.line.turned_away(&key),
            Came::Batch(entry) => {
                if !self.line.has_waiting() {
                    self.quiet_since = Some(Instant::now());
                }
                self.line.came(entry);
            }
        }
    }

    /// When waiting for an upstream ends.
    fn spool_at(&self) -> Option<Instant> {
        let waits = self.line.mode() != Mode::Spooled && self.line.has_waiting();
        self.quiet_since
            .filter(|_| waits)
            .map(|since| since + self.shared.options.spool_after)
    }

    fn spool_now(&mut self) {
        if self.line.is_under_way() {
            self.stalled();
        }
        if self.line.mode() != Mode::Spooled {
            tracing::warn!(
                dataset = %self.dataset, upstream = %self.route.upstream,
                "upstream is away, batches go to the spool"
            );
            self.line.spool();
        }
    }

    fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Probed(is_there) => self.route.probed(is_there),
            Heard::Answer(Ok(ack)) => self.acked(&ack),
            Heard::Answer(Err(status)) => self.failed(&status),
        }
    }

    fn acked(&mut self, ack: &PutAck) {
        match self.line.acked(ack) {
            Acked::Forwarded => add(&self.counts.forwarded_batches, 1),
            Acked::Replayed(bytes) => {
                add(&self.counts.replayed_batches, 1);
                self.replayed_bytes += bytes as u64;
            }
            Acked::Stray => {
                let text = format!("ack is not of the oldest batch sequence={}", ack.sequence.0);
                return self.failed(&Status::internal(text));
            }
        }
        self.route.is_bound = ack.spooled;
        self.route.is_returning &= !ack.spooled;
        self.quiet_since = Some(Instant::now());
        self.route
            .answered(self.line.is_under_way(), self.shared.options.ack_timeout);
    }

    fn stalled(&mut self) {
        // The connection may be dead without saying so.
        self.shared.endpoints.forget(&self.route.upstream);
        self.failed(&Status::deadline_exceeded("no ack in time"));
    }

    /// The stream has ended. Acks come in order, so the failure is about the oldest batch under way, if it is about a
    /// batch at all.
    fn failed(&mut self, status: &Status) {
        self.route.drop_stream();
        if !self.line.is_under_way() {
            // A stream that nothing was sent on: the server has gone, or has had enough of waiting.
            return;
        }
        add(&self.counts.failures, 1);
        let (code, upstream) = (status.code(), &self.route.upstream);
        let text = format!("{} code={code:?} upstream={upstream}", status.message());
        tracing::debug!(dataset = %self.dataset, "stream to the upstream ended: {text}");
        self.counts.went_wrong(text);
        let kind = match code {
            Code::InvalidArgument | Code::OutOfRange => ErrorKind::Invalid,
            Code::FailedPrecondition => ErrorKind::Conflict,
            Code::Aborted => ErrorKind::Fenced,
            _ => {
                self.line.lost();
                return self.route.back_off(&self.shared);
            }
        };
        self.line.refused(Error::new(kind, status.message()));
        self.route.answered(false, self.shared.options.ack_timeout);
        self.quiet_since = Some(Instant::now());
    }

    fn send(&mut self) {
        let waits = self.route.retry_at.is_some_and(|at| at > Instant::now());
        if waits || self.route.is_returning || !self.line.has_unsent() {
            return;
        }
        self.route.retry_at = None;
        let was_idle = !self.line.is_under_way();
        let stream = match self.route.stream(&self.shared, &self.dataset) {
            Ok(stream) => stream,
            Err(error) => {
                self.counts.went_wrong(error.to_string());
                return self.route.back_off(&self.shared);
            }
        };
        while let Some(batch) = self.line.send() {
            stream.send_whole(&header_of(&batch), batch.payload);
        }
        if was_idle && self.line.is_under_way() {
            self.route.ack_due = Some(Instant::now() + self.shared.options.ack_timeout);
        }
    }

    async fn perform(&mut self) {
        loop {
            let acts = self.line.acts();
            if acts.is_empty() {
                return;
            }
            for act in acts {
                match act {
                    Act::Answer(answer, outcome) => answer.tell(outcome),
                    Act::Spool(entry) => self.spool(entry).await,
                    Act::Refuse(batch, error) => self.refuse(batch, &error).await,
                    Act::DropSpool => self.drop_spools().await,
                }
            }
        }
    }

    async fn spool(&mut self, entry: Entry<Answer>) {
        let Entry { batch, answer } = entry;
        let (key, bytes, payload_bytes) = (batch.header.key, cost(&batch), batch.payload.len() as u64);
        if let Some(error) = self.line.too_early(&key) {
            return answer.tell(Err(error));
        }
        let ready = match self.room_for(bytes) {
            Ok(()) => self.spools.ready().await,
            Err(error) => {
                if self.line.replay().is_blocked() {
                    self.line.give_up_blocked();
                }
                Err(error)
            }
        };
        if let Err(error) = ready {
            let text = format!("upstream is away and {error}, send the batch again later");
            self.counts.went_wrong(text.clone());
            return self
                .line
                .spooled(&key, answer, Err(Error::new(ErrorKind::Retry, text)));
        }
        let append = self.spools.append(batch);
        let appended = async move {
            Appended {
                key,
                payload_bytes,
                bytes,
                answer,
                outcome: append.await,
            }
        };
        self.appends.push_back(appended.boxed());
    }

    /// A dataset takes at most as much as is left free.
    fn room_for(&mut self, bytes: u64) -> Result<()> {
        self.count_bytes();
        let (own, total) = (
            self.spools.bytes(),
            self.shared.spool_bytes.load(Ordering::Relaxed),
        );
        let bytes_max = self.shared.options.spool_bytes_max;
        if own + bytes <= bytes_max.saturating_sub(total) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Retry,
            format_args!(
                "the spool is full spool_bytes_max={bytes_max} bytes={total} bytes_of_dataset={own}"
            ),
        ))
    }

    fn count_bytes(&mut self) {
        let bytes = self.spools.bytes();
        let all = &self.shared.spool_bytes;
        if bytes >= self.counted_bytes {
            all.fetch_add(bytes - self.counted_bytes, Ordering::Relaxed);
        } else {
            all.fetch_sub(self.counted_bytes - bytes, Ordering::Relaxed);
        }
        self.counted_bytes = bytes;
        self.counts.disk_bytes.store(bytes, Ordering::Relaxed);
    }

    fn appended(&mut self, appended: Appended) {
        let Appended {
            key,
            payload_bytes,
            bytes,
            answer,
            outcome,
        } = appended;
        match &outcome {
            Ok(receipt) if !receipt.duplicate => {
                add(&self.counts.spooled_batches, 1);
                add(&self.counts.spooled_bytes, payload_bytes);
            }
            Ok(_) => self.spools.not_appended(bytes),
            Err(error) => {
                self.spools.not_appended(bytes);
                self.counts.went_wrong(format!("spool: {error}"));
            }
        }
        self.line.spooled(&key, answer, outcome);
    }

    async fn refuse(&mut self, batch: Batch, error: &Error) {
        let key = batch.header.key;
        // The first of an emitter's is told; the folder and the count have them all.
        if self.told_of.replace(key.emitter) != Some(key.emitter) {
            tracing::error!(
                dataset = %self.dataset, emitter = %key.emitter.0, epoch = key.epoch.0, sequence = key.sequence.0, %error,
                "upstream refuses batches that were acked, they go to the folder of the refused"
            );
        }
        add(&self.counts.refused_batches, 1);
        while let Err(error) = self.spools.refuse(batch.clone()).await {
            self.counts.went_wrong(error.to_string());
            if self.incoming.is_closed() {
                self.keeps_spools = true;
                return;
            }
            tokio::time::sleep(self.shared.options.retry_max).await;
        }
    }

    async fn drop_spools(&mut self) {
        if self.keeps_spools {
            return;
        }
        if let Err(error) = self.spools.clear().await {
            self.counts.went_wrong(error.to_string());
        }
        self.replayed_bytes = 0;
        self.told_of = None;
    }

    async fn trim(&mut self) {
        if self.replayed_bytes < RELAY_SEGMENT_BYTES || self.keeps_spools {
            return;
        }
        self.replayed_bytes = 0;
        if let Err(error) = self.spools.trim(self.line.replay().needed()).await {
            self.counts
                .went_wrong(format!("spool cannot be made smaller: {error}"));
        }
    }

    /// Reads from the spool what may be under way.
    async fn fill(&mut self) {
        for _ in 0..READS_IN_TURN {
            let wanted = self.line.wants().filter(|_| self.read_at.is_none());
            let Some(place) = wanted.and_then(|place| self.spools.at_or_after(place)) else {
                return;
            };
            self.line.skip_to(place);
            let frontier = self.line.replay().frontier();
            let room = self
                .shared
                .options
                .window_bytes
                .saturating_sub(self.line.replay().bytes());
            match self.spools.read(place, room, frontier).await {
                Ok(read) => {
                    if read.damaged > 0 {
                        let (damaged, dataset) = (read.damaged, &self.dataset);
                        add(&self.counts.damaged_batches, damaged);
                        tracing::error!(%dataset, damaged, "batches of the spool are damaged and lost");
                    }
                    self.line.skip_to(read.next);
                    for (offset, batch) in (read.next.offset..).zip(read.batches) {
                        let place = Place { offset, ..read.next };
                        self.line.read(place, batch);
                    }
                }
                Err(error) => {
                    self.counts.went_wrong(format!("spool cannot be read: {error}"));
                    self.read_at = Some(Instant::now() + self.shared.options.retry_max);
                }
            }
        }
        self.read_at.get_or_insert_with(Instant::now);
    }

    fn backlog(&self) -> Backlog {
        let place = self.line.replay().cursor();
        let little = (self.shared.options.window_bytes / 4) as u64;
        if self.appends.is_empty() && self.spools.at_or_after(place).is_none() {
            Backlog::Nothing
        } else if self.line.replay().is_reading_again() || self.spools.has_more_than(little, place) {
            Backlog::Much
        } else {
            Backlog::Little
        }
    }

    fn show(&mut self) {
        self.count_bytes();
        let (counts, replay) = (&self.counts, self.line.replay());
        counts.set_state(match self.line.mode() {
            Mode::Direct => RelayState::Direct,
            Mode::Closing => RelayState::Closing,
            Mode::Spooled if self.line.is_well() => RelayState::Replaying,
            Mode::Spooled => RelayState::Spooling,
        });
        let set = |gauge: &AtomicU64, value: u64| gauge.store(value, Ordering::Relaxed);
        let in_spool = match self.line.mode() {
            Mode::Direct => 0,
            _ => self.spools.batches_from(replay.cursor()) + replay.len() as u64,
        };
        set(&counts.waiting_batches, in_spool);
        set(&counts.blocked_emitters, replay.blocked() as u64);
        let oldest = replay
            .first()
            .map_or(0, |batch| batch.header.received_at.as_microsecond());
        counts.oldest_received_at.store(oldest, Ordering::Relaxed);
        counts.sends_to(&self.route.upstream);
    }
}

fn header_of(batch: &Batch) -> PutHeader {
    let header = &batch.header;
    PutHeader {
        emitter: header.key.emitter,
        epoch: header.key.epoch,
        sequence: header.key.sequence,
        events: Some(header.events),
        encoding: header.encoding,
        generated_at_us: Some(header.generated_at.as_microsecond()),
        received_at_us: Some(header.received_at.as_microsecond()),
        // What it acks is deleted here.
        durability: Some(Durability::Durable),
    }
}
