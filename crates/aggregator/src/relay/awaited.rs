//! Emitters whose batch this relay itself turned away: those behind it, already on their way, must not be taken first.
//!
//! The queue knows that of the batches it refused. Of one that never reached it, it would take a later batch as the
//! emitter's first, and then the earlier one, sent again, for a duplicate.

use std::collections::HashMap;

use event::{BatchKey, EmitterId, Epoch, Sequence};
use queue::{Error, ErrorKind};

use crate::limits::RELAY_AWAITED_MAX;

/// Emitter → the first batch that was turned away.
#[derive(Debug, Default)]
pub(super) struct Awaited(HashMap<EmitterId, (Epoch, Sequence)>);

impl Awaited {
    /// A batch was turned away.
    pub(super) fn note(&mut self, key: &BatchKey) {
        let at = (key.epoch, key.sequence);
        if self.0.len() < RELAY_AWAITED_MAX || self.0.contains_key(&key.emitter) {
            let first = self.0.entry(key.emitter).or_insert(at);
            *first = (*first).min(at);
        }
    }

    /// The error for a batch that comes before its turn.
    pub(super) fn check(&mut self, key: &BatchKey) -> Option<Error> {
        let (epoch, sequence) = *self.0.get(&key.emitter)?;
        let expected = if key.epoch > epoch { Sequence(0) } else { sequence };
        if key.epoch >= epoch && key.sequence > expected {
            return Some(Self::too_early(expected, key));
        }
        self.0.remove(&key.emitter);
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
