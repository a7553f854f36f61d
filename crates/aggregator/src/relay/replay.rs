//! The batches of a spool on their way to the upstream: read in order, sent, acked; emitters in conflict wait.
//!
//! A conflict means that the queue does not have an earlier batch of the emitter; another edge may hold it. So this
//! emitter's batches are left out, the others go on, and later its batches alone are read and sent again, from the first
//! that the queue does not have.

use std::collections::{BTreeMap, HashMap, VecDeque};

use event::{Batch, EmitterId, Epoch, Sequence};
use queue::{Error, ErrorKind};

/// A place in the spools of a dataset: which spool, and the offset in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) spool: u64,
    pub(super) offset: u64,
}

/// What is done with a batch that is not its emitter's next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnConflict {
    Wait,
    Refuse,
}

/// A batch that will not be sent again.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) batch: Batch,
    pub(super) error: Error,
}

/// See the head of this file.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) on_conflict: OnConflict,
    /// What is read next.
    cursor: Place,
    /// All before it was read once.
    frontier: Place,
    /// Read and not acked, oldest first; the first `sent` of them are on the open stream.
    unacked: VecDeque<(Place, Batch)>,
    sent: usize,
    sent_bytes: usize,
    bytes: usize,
    /// Emitters in conflict, each with its first batch that the upstream does not have.
    blocked: BTreeMap<EmitterId, Place>,
    /// Those that were and are read again, up to the frontier.
    again: BTreeMap<EmitterId, Place>,
    /// Batches that were refused for good: those behind them will never be the next.
    holes: HashMap<EmitterId, (Epoch, Sequence)>,
    /// Emitters that have begun a later epoch: the last one that is over, and what the upstream said of it.
    fenced: HashMap<EmitterId, (Epoch, Error)>,
}

impl Replay {
    pub(super) fn new(first: Place) -> Self {
        Self {
            on_conflict: OnConflict::Wait,
            cursor: first,
            frontier: first,
            unacked: VecDeque::new(),
            sent: 0,
            sent_bytes: 0,
            bytes: 0,
            blocked: BTreeMap::new(),
            again: BTreeMap::new(),
            holes: HashMap::new(),
            fenced: HashMap::new(),
        }
    }

    pub(super) fn cursor(&self) -> Place {
        self.cursor
    }

    /// All before it was read once.
    pub(super) fn frontier(&self) -> Place {
        self.frontier
    }

    /// Payload that was read and not acked.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Batches that were read and not acked.
    pub(super) fn len(&self) -> usize {
        self.unacked.len()
    }

    /// The oldest of them.
    pub(super) fn first(&self) -> Option<&Batch> {
        self.unacked.front().map(|(_, batch)| batch)
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.sent > 0
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sent < self.unacked.len()
    }

    pub(super) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    /// Emitters in conflict.
    pub(super) fn blocked(&self) -> usize {
        self.blocked.len()
    }

    /// Nothing before this place is needed any more.
    pub(super) fn needed(&self) -> Place {
        let unacked = self.unacked.iter().map(|(place, _)| *place);
        let blocked = self.blocked.values().copied();
        unacked.chain(blocked).fold(self.cursor, Place::min)
    }

    /// The oldest batch under way.
    pub(super) fn oldest(&self) -> Option<&Batch> {
        self.first().filter(|_| self.sent > 0)
    }

    /// Takes what was read at the cursor or behind it. It comes back if it need not be sent.
    pub(super) fn read(&mut self, place: Place, batch: Batch) -> Option<Refused> {
        let emitter = batch.header.key.emitter;
        let is_due = !self.blocked.contains_key(&emitter)
            && (place >= self.frontier || self.again.get(&emitter).is_some_and(|from| *from <= place));
        let mut refused = None;
        if let Some(error) = self.error_of(&batch).filter(|_| is_due) {
            refused = Some(Refused { batch, error });
        } else if is_due {
            self.bytes += batch.payload.len();
            self.unacked.push_back((place, batch));
        }
        self.skip_to(Place {
            offset: place.offset + 1,
            ..place
        });
        refused
    }

    /// What the upstream would say to a batch, since one of its epoch or of a later one was fenced.
    fn error_of(&self, batch: &Batch) -> Option<Error> {
        let key = batch.header.key;
        let (epoch, error) = self.fenced.get(&key.emitter)?;
        (key.epoch <= *epoch).then(|| error.clone())
    }

    pub(super) fn skip_to(&mut self, place: Place) {
        self.cursor = self.cursor.max(place);
        self.frontier = self.frontier.max(place);
        if self.cursor == self.frontier {
            self.again.clear();
        }
    }

    pub(super) fn send(&mut self, bytes_max: usize) -> Option<Batch> {
        if self.sent_bytes >= bytes_max {
            return None;
        }
        let batch = self.unacked.get(self.sent)?.1.clone();
        self.sent += 1;
        self.sent_bytes += batch.payload.len();
        Some(batch)
    }

    /// The oldest batch under way is at the upstream. Says its payload in bytes.
    pub(super) fn acked(&mut self) -> usize {
        self.pop().map_or(0, |(_, batch)| batch.payload.len())
    }

    fn pop(&mut self) -> Option<(Place, Batch)> {
        let (place, batch) = self.unacked.pop_front()?;
        self.sent -= 1;
        self.sent_bytes -= batch.payload.len();
        self.bytes -= batch.payload.len();
        Some((place, batch))
    }

    pub(super) fn lost(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// The oldest batch under way was refused. It comes back if it is not to be sent again.
    pub(super) fn refused(&mut self, error: Error) -> Option<Refused> {
        let (place, batch) = self.pop()?;
        let key = batch.header.key;
        let hole = self.holes.get(&key.emitter);
        let is_behind = hole.is_some_and(|(epoch, sequence)| *epoch == key.epoch && *sequence < key.sequence);
        let is_final = error.kind() != ErrorKind::Conflict;
        if !is_final && !is_behind && self.on_conflict == OnConflict::Wait {
            self.block(key.emitter, place);
            return None;
        }
        if error.kind() != ErrorKind::Fenced && !is_behind {
            self.holes.insert(key.emitter, (key.epoch, key.sequence));
        }
        if error.kind() == ErrorKind::Fenced {
            self.fenced.insert(key.emitter, (key.epoch, error.clone()));
        }
        Some(Refused { batch, error })
    }

    /// When nothing is on a stream: the batches that need not be sent, since one of their epoch or of a later one was
    /// fenced.
    pub(super) fn fenced(&mut self) -> Vec<Refused> {
        if self.fenced.is_empty() || self.sent > 0 {
            return Vec::new();
        }
        let mut refused = Vec::new();
        for (place, batch) in std::mem::take(&mut self.unacked) {
            match self.error_of(&batch) {
                None => self.unacked.push_back((place, batch)),
                Some(error) => {
                    self.bytes -= batch.payload.len();
                    refused.push(Refused { batch, error });
                }
            }
        }
        refused
    }

    fn block(&mut self, emitter: EmitterId, place: Place) {
        self.lost();
        self.blocked.insert(emitter, place);
        self.again.remove(&emitter);
        let bytes = &mut self.bytes;
        self.unacked.retain(|(_, batch)| {
            let is_others = batch.header.key.emitter != emitter;
            if !is_others {
                *bytes -= batch.payload.len();
            }
            is_others
        });
    }

    /// The spool is empty.
    pub(super) fn rest(&mut self) {
        self.on_conflict = OnConflict::Wait;
        self.holes.clear();
        self.fenced.clear();
    }

    /// Whether blocked emitters are being read again.
    pub(super) fn is_reading_again(&self) -> bool {
        self.cursor < self.frontier
    }

    /// Reads blocked emitters again; not before what is read again now has been.
    pub(super) fn try_blocked(&mut self) {
        if self.cursor == self.frontier
            && let Some(first) = self.blocked.values().min()
        {
            self.cursor = *first;
            self.again = std::mem::take(&mut self.blocked);
        }
    }
}
