//! Emitters whose batch this relay itself turned away: those behind it, already on their way, must not be taken first.
//!
//! The queue knows that of the batches it refused. Of one that never reached it, it would take a later batch as the
//! emitter's first, and then the earlier one, sent again, for a duplicate. What is behind comes at once or not at all,
//! so this is forgotten after a while: an emitter that went on elsewhere and comes back is not to be held up. But not while
//! the emitter waits for an earlier answer, since it hears them in order.

use std::collections::HashMap;

use event::{BatchKey, EmitterId, Epoch, Sequence};
use queue::{Error, ErrorKind};

use crate::limits::RELAY_AWAITED_MAX;

/// Emitter → the first batch that was turned away, lately and in the time before.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    lately: HashMap<EmitterId, (Epoch, Sequence)>,
    before: HashMap<EmitterId, (Epoch, Sequence)>,
}

impl Awaited {
    pub(super) fn is_empty(&self) -> bool {
        self.lately.is_empty() && self.before.is_empty()
    }

    /// Time has passed: what was noted before the last call is forgotten, but for emitters that cannot have heard of it.
    /// Theirs is as if noted now.
    pub(super) fn age(&mut self, waits: impl Fn(EmitterId) -> bool) {
        let (lately, before) = (std::mem::take(&mut self.lately), std::mem::take(&mut self.before));
        for (emitter, first) in before {
            if waits(emitter) {
                self.lately.insert(emitter, first);
            }
        }
        for (emitter, first) in lately {
            let to = if waits(emitter) {
                &mut self.lately
            } else {
                &mut self.before
            };
            to.insert(emitter, first);
        }
    }

    /// A batch was turned away.
    pub(super) fn note(&mut self, key: &BatchKey) {
        let at = (key.epoch, key.sequence);
        let first = self.find(key.emitter).map_or(at, |first| first.min(at));
        if self.lately.len() < RELAY_AWAITED_MAX || self.lately.contains_key(&key.emitter) {
            self.lately.insert(key.emitter, first);
        }
    }

    fn find(&self, emitter: EmitterId) -> Option<(Epoch, Sequence)> {
        let found = self.lately.get(&emitter).or_else(|| self.before.get(&emitter));
        found.copied()
    }

    /// The error for a batch that comes before its turn.
    pub(super) fn check(&mut self, key: &BatchKey) -> Option<Error> {
        if self.is_empty() {
            return None;
        }
        let (epoch, sequence) = self.find(key.emitter)?;
        let expected = if key.epoch > epoch { Sequence(0) } else { sequence };
        if key.epoch >= epoch && key.sequence > expected {
            return Some(Self::too_early(expected, key));
        }
        self.lately.remove(&key.emitter);
        self.before.remove(&key.emitter);
        None
    }

    /// Not a `Conflict`: that is the queue's to say, since a sender may then number its batches anew, and this relay does
    /// not know what the queue has from elsewhere.
    pub(super) fn too_early(expected: Sequence, key: &BatchKey) -> Error {
        Error::new(
            ErrorKind::Retry,
            format_args!(
                "a batch before this one was turned away, send that one first expected={} sequence={} emitter={} epoch={}",
                expected.0, key.sequence.0, key.emitter.0, key.epoch.0
            ),
        )
    }
}
