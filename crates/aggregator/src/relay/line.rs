//! What becomes of each batch of one dataset, as a state machine without clock, network or disk.
//!
//! Whoever drives it hands in what happened and performs the [`Act`]s that come out, in their order:
//!
//! ```text
//! direct ──upstream away──► spooled ──little left──► closing ──nothing left──► direct
//!                              ▲───── away again, or too much waits ─────┘
//! ```
//!
//! *Direct*: batches wait for the upstream's ack in the order they came. *Spooled*: they go behind those in the spool,
//! which is replayed meanwhile. *Closing*: they wait until the spool is empty. So at every moment all that a client was
//! told is kept comes before all that waits, and order within an emitter holds.

use std::collections::{HashSet, VecDeque};

use event::wire::PutAck;
use event::{Batch, BatchKey, EmitterId};
use queue::{Error, ErrorKind, Receipt, Result};

use super::awaited::Awaited;
use super::replay::{OnConflict, Place, Refused, Replay};

/// A batch that somebody waits for.
#[derive(Debug)]
pub(super) struct Entry<A> {
    pub(super) batch: Batch,
    pub(super) answer: A,
}

/// What the driver is to do.
#[derive(Debug)]
pub(super) enum Act<A> {
    /// Tell the caller.
    Answer(A, Result<Receipt>),
    /// Append to the spool behind those before; then call [`Line::spooled`].
    Spool(Entry<A>),
    /// The upstream will never take this batch, which was acked: keep it where it is seen.
    Refuse(Batch, Error),
    /// Nothing in the spool is needed any more.
    DropSpool,
}

/// Where new batches go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Direct,
    Spooled,
    Closing,
}

/// What is in the spool and was not read from it, appends that are not answered yet included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Backlog {
    Nothing,
    /// So little that new batches can wait for it.
    Little,
    Much,
}

/// What an ack was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acked {
    Forwarded,
    /// A batch of the spool, of so many bytes.
    Replayed(usize),
    /// Not about the oldest batch under way: the upstream does not keep to the protocol.
    Stray,
}

/// See the head of this file. `A` is what answers a caller.
#[derive(Debug)]
pub(super) struct Line<A> {
    mode: Mode,
    /// Without an answer, in order; in direct mode the first `sent` are under way.
    waiting: VecDeque<Entry<A>>,
    waiting_bytes: usize,
    sent: usize,
    sent_bytes: usize,
    replay: Replay,
    awaited: Awaited,
    /// What waited for longest when the turned away were last aged.
    oldest: Option<BatchKey>,
    /// Whether the upstream answered since it failed last.
    is_well: bool,
    window_bytes: usize,
    acts: Vec<Act<A>>,
}

impl<A> Line<A> {
    /// A line whose spool, if there is one, begins at `first`.
    pub(super) fn new(first: Option<Place>, window_bytes: usize) -> Self {
        Self {
            mode: if first.is_some() {
                Mode::Spooled
            } else {
                Mode::Direct
            },
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            sent: 0,
            sent_bytes: 0,
            replay: Replay::new(first.unwrap_or_default()),
            awaited: Awaited::default(),
            oldest: None,
            is_well: first.is_none(),
            window_bytes,
            acts: Vec::new(),
        }
    }

    /// What is to be done, in order.
    pub(super) fn acts(&mut self) -> Vec<Act<A>> {
        std::mem::take(&mut self.acts)
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode
    }

    pub(super) fn is_well(&self) -> bool {
        self.is_well
    }

    pub(super) fn replay(&self) -> &Replay {
        &self.replay
    }

    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether as much waits as may be under way.
    pub(super) fn is_full(&self) -> bool {
        self.waiting_bytes >= self.window_bytes
    }

    /// Whether the open stream owes an answer.
    pub(super) fn is_under_way(&self) -> bool {
        self.sent > 0 || self.replay.is_under_way()
    }

    /// A batch came.
    pub(super) fn came(&mut self, entry: Entry<A>) {
        if let Some(error) = self.too_early(&entry.batch.header.key) {
            return self.acts.push(Act::Answer(entry.answer, Err(error)));
        }
        if self.mode == Mode::Spooled {
            return self.acts.push(Act::Spool(entry));
        }
        self.waiting_bytes += entry.batch.payload.len();
        self.waiting.push_back(entry);
        if self.mode == Mode::Closing && self.is_full() {
            self.spool();
        }
    }

    /// The error for a batch that is behind one that was turned away. Asked again before a batch goes to the spool: the
    /// one before may just have failed to.
    pub(super) fn too_early(&mut self, key: &BatchKey) -> Option<Error> {
        self.awaited.check(key)
    }

    /// A batch was answered with an error before it came here.
    pub(super) fn turned_away(&mut self, key: &BatchKey) {
        self.awaited.note(key);
    }

    /// Whether a batch that was turned away is waited for.
    pub(super) fn awaits(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// Whoever was turned away before the last call, and waits for nothing else, has heard of it long ago.
    pub(super) fn age_turned_away(&mut self) {
        let waiting: HashSet<EmitterId> = self
            .waiting
            .iter()
            .map(|entry| entry.batch.header.key.emitter)
            .collect();
        // Answers are in order per stream, and another relay's stream carries many emitters.
        let oldest = self.waiting.front().map(|entry| entry.batch.header.key);
        let stands = oldest.is_some() && std::mem::replace(&mut self.oldest, oldest) == oldest;
        self.awaited.age(|emitter| stands || waiting.contains(&emitter));
    }

    /// The next batch to send on the open stream, as long as it has room.
    pub(super) fn send(&mut self) -> Option<Batch> {
        if self.mode != Mode::Direct {
            return self.replay.send(self.window_bytes);
        }
        if self.sent_bytes >= self.window_bytes {
            return None;
        }
        let batch = self.waiting.get(self.sent)?.batch.clone();
        self.sent += 1;
        self.sent_bytes += batch.payload.len();
        Some(batch)
    }

    /// Whether there is something to send that is not under way.
    pub(super) fn has_unsent(&self) -> bool {
        match self.mode {
            Mode::Direct => self.sent < self.waiting.len(),
            Mode::Spooled | Mode::Closing => self.replay.has_unsent(),
        }
    }

    /// The upstream has kept a batch: the oldest one under way.
    pub(super) fn acked(&mut self, ack: &PutAck) -> Acked {
        let oldest = match self.mode {
            Mode::Direct if self.sent > 0 => self.waiting.front().map(|entry| &entry.batch),
            Mode::Direct => None,
            Mode::Spooled | Mode::Closing => self.replay.oldest(),
        };
        if oldest.is_none_or(|batch| batch.header.key.sequence != ack.sequence) {
            return Acked::Stray;
        }
        self.is_well = true;
        if self.mode != Mode::Direct {
            return Acked::Replayed(self.replay.acked());
        }
        if let Some(entry) = self.pop() {
            let receipt = Receipt {
                offset: None,
                duplicate: ack.duplicate,
                spooled: ack.spooled,
            };
            self.acts.push(Act::Answer(entry.answer, Ok(receipt)));
        }
        Acked::Forwarded
    }

    /// The upstream has refused the oldest batch under way, and ended the stream.
    pub(super) fn refused(&mut self, error: Error) {
        self.is_well = true;
        if self.mode == Mode::Direct {
            if let Some(entry) = self.pop() {
                self.refuse(entry, error);
            }
            self.unsend();
            return;
        }
        if let Some(Refused { batch, error }) = self.replay.refused(error) {
            self.acts.push(Act::Refuse(batch, error));
        }
        self.replay.lost();
        self.refuse_fenced();
        if self.mode == Mode::Closing && self.replay.is_blocked() {
            self.spool();
        }
    }

    /// What the upstream has as good as refused is not sent.
    fn refuse_fenced(&mut self) {
        for Refused { batch, error } in self.replay.fenced() {
            self.acts.push(Act::Refuse(batch, error));
        }
    }

    /// Answers a batch with its refusal, and those of its emitter that came behind it: no queue takes them before it.
    fn refuse(&mut self, entry: Entry<A>, error: Error) {
        let key = entry.batch.header.key;
        let behind = match error.kind() {
            ErrorKind::Invalid => {
                // An upstream that does not know the emitter would take whichever batch comes first.
                let next = BatchKey {
                    sequence: key.sequence.next(),
                    ..key
                };
                self.awaited.note(&next);
                Awaited::too_early(next.sequence, &key)
            }
            _ => error.clone(),
        };
        self.acts.push(Act::Answer(entry.answer, Err(error)));
        self.refuse_behind(&key, &behind);
    }

    /// Answers what waits behind a batch of its emitter that was turned away, up to where that may be sent again.
    fn refuse_behind(&mut self, key: &BatchKey, error: &Error) {
        let mut is_hole = true;
        let mut rest = VecDeque::with_capacity(self.waiting.len());
        for entry in self.waiting.drain(..) {
            let other = entry.batch.header.key;
            let is_its = other.emitter == key.emitter;
            is_hole &= !is_its || (other.epoch == key.epoch && other.sequence > key.sequence);
            if is_its && is_hole {
                self.waiting_bytes -= entry.batch.payload.len();
                self.acts.push(Act::Answer(entry.answer, Err(error.clone())));
            } else {
                rest.push_back(entry);
            }
        }
        self.waiting = rest;
    }

    fn pop(&mut self) -> Option<Entry<A>> {
        let entry = self.waiting.pop_front()?;
        let bytes = entry.batch.payload.len();
        self.waiting_bytes -= bytes;
        self.sent -= 1;
        self.sent_bytes -= bytes;
        Some(entry)
    }

    fn unsend(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// The stream is gone: all that is under way must be sent again.
    pub(super) fn lost(&mut self) {
        self.is_well = false;
        self.unsend();
        self.replay.lost();
        if self.mode == Mode::Closing {
            self.spool();
        }
    }

    /// The upstream has been away for too long: what waits goes to the spool, and so does what comes. The stream is gone.
    pub(super) fn spool(&mut self) {
        self.mode = Mode::Spooled;
        self.unsend();
        self.waiting_bytes = 0;
        self.acts.extend(self.waiting.drain(..).map(Act::Spool));
    }

    /// What an append to the spool came to.
    pub(super) fn spooled(&mut self, key: &BatchKey, answer: A, outcome: Result<Receipt>) {
        if let Err(error) = &outcome {
            if error.kind() == ErrorKind::Retry {
                self.awaited.note(key);
            }
            // While closing, some may wait that came before this was known.
            self.refuse_behind(key, &Awaited::too_early(key.sequence, key));
        }
        let outcome = match outcome {
            Ok(receipt) => Ok(Receipt {
                offset: None,
                duplicate: receipt.duplicate,
                spooled: true,
            }),
            // The spool does not know what the queue has from elsewhere, so it is no reason to number batches anew.
            Err(error) if error.kind() == ErrorKind::Conflict => Err(Error::new(
                ErrorKind::Retry,
                format_args!("the spool does not have the batches before, send it again later: {error}"),
            )),
            Err(error) => Err(error),
        };
        self.acts.push(Act::Answer(answer, outcome));
    }

    /// Where the spool is to be read next, if there is room for what is found.
    pub(super) fn wants(&self) -> Option<Place> {
        let has_room = self.mode != Mode::Direct && self.replay.bytes() < self.window_bytes;
        has_room.then(|| self.replay.cursor())
    }

    /// A batch was read from the spool.
    pub(super) fn read(&mut self, place: Place, batch: Batch) {
        if let Some(Refused { batch, error }) = self.replay.read(place, batch) {
            self.acts.push(Act::Refuse(batch, error));
        }
    }

    /// The spool is to be read from here on, since there is nothing before.
    pub(super) fn skip_to(&mut self, place: Place) {
        self.replay.skip_to(place);
    }

    /// Emitters that were in conflict are tried again, all their batches in the spool from the first that the upstream
    /// does not have.
    pub(super) fn try_blocked(&mut self) {
        self.replay.try_blocked();
    }

    /// There is no room to wait for emitters in conflict: those that still are go the way of refused batches.
    pub(super) fn give_up_blocked(&mut self) {
        self.replay.on_conflict = OnConflict::Refuse;
        self.replay.try_blocked();
    }

    /// Goes on towards direct when the spool allows it.
    pub(super) fn settle(&mut self, backlog: Backlog) {
        if self.mode == Mode::Direct || self.replay.is_blocked() {
            return;
        }
        if backlog == Backlog::Nothing && self.replay.is_empty() {
            self.mode = Mode::Direct;
            self.replay.rest();
            self.acts.push(Act::DropSpool);
        } else if self.mode == Mode::Spooled && backlog < Backlog::Much && self.is_well {
            self.mode = Mode::Closing;
        }
    }
}
