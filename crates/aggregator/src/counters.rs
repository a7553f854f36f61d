//! What is counted of each dataset.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the doors have counted of one dataset since the start. Every number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetCounts {
    /// Events that came in, whatever became of them.
    pub events_received: u64,
    /// Events in batches that the queue has kept, those kept before (duplicates) not counted again.
    pub events_acked: u64,
    /// Batches that the queue has kept, without duplicates.
    pub batches: u64,
    /// Batches that had been kept before.
    pub duplicates: u64,
    /// Events that were refused with their batch, and lines that the text door found malformed.
    pub rejected: u64,
    /// Events that were acked as `memory` and then not kept, since the queue failed. They are in `events_acked` too.
    pub lost: u64,
    /// Payload of the batches that came in, in bytes.
    pub bytes: u64,
}

/// The live twin of [`DatasetCounts`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) events_received: AtomicU64,
    pub(crate) events_acked: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

impl Counters {
    pub(crate) fn counts(&self) -> DatasetCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DatasetCounts {
            events_received: of(&self.events_received),
            events_acked: of(&self.events_acked),
            batches: of(&self.batches),
            duplicates: of(&self.duplicates),
            rejected: of(&self.rejected),
            lost: of(&self.lost),
            bytes: of(&self.bytes),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
