//! Where a job was when one of its functions panicked.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use queue::{Offset, Partition, Record};

/// The batch whose functions panicked last, of one dataset's job.
#[derive(Clone, Default)]
pub(crate) struct PanickedAt(Arc<Mutex<Option<Place>>>);

/// A batch of the dataset, by its place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    partition: Partition,
    offset: Offset,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "partition={} offset={}", self.partition.0, self.offset.0)
    }
}

impl PanickedAt {
    /// The batch, as an iterator that notes it if what takes it panics.
    pub(crate) fn watched(&self, record: Record) -> impl Iterator<Item = Record> + use<> {
        let note = Note {
            to: self.clone(),
            place: Place {
                partition: record.partition,
                offset: record.offset,
            },
        };
        Watched {
            record: Some(record),
            _note: note,
        }
    }

    /// What was noted since the last call.
    pub(crate) fn take(&self) -> Option<Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Watched {
    record: Option<Record>,
    _note: Note,
}

impl Iterator for Watched {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        self.record.take()
    }
}

/// Notes the place when it is dropped by a panic.
struct Note {
    to: PanickedAt,
    place: Place,
}

impl Drop for Note {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *self.to.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.place);
        }
    }
}
