//! What can be chosen for one dataset.

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use event::{Durability, SchemaSettings, UnknownFields};

use crate::limits;

/// How a dataset's events are checked and sent, and what happens when they cannot be held in memory.
#[derive(Clone, Debug, Default)]
pub struct DatasetOptions {
    /// What happens when the client holds as much as it may. Default: [`OnFull::Refuse`].
    pub on_full: OnFull,
    /// The check of each event before it is taken. Default: none but that it is a JSON object of up to 1 MiB.
    pub validation: Option<Validation>,
    /// Whether a batch without an ack is sent again. Default: [`Delivery::Acked`].
    pub delivery: Delivery,
    /// What an ack of the dataset's batches promises. Default: what the server has for the dataset. One that the
    /// server cannot promise makes it refuse the batches for good.
    pub durability: Option<Durability>,
}

/// Whether a batch without an ack is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Until it is acked or refused for good: each event is kept once.
    #[default]
    Acked,
    /// Never: each event is kept once or not at all. When sending fails, what is under way is given up and counted
    /// in [`crate::Dropped::best_effort`]; the server may have kept it, so [`crate::DatasetStats::acked`] is the
    /// least that is kept. What follows is sent in a new epoch, so nothing doubles. A full buffer drops, as with
    /// [`OnFull::DropNewest`]. It goes with no spool.
    BestEffort,
}

/// What happens to an event when the client's buffer is full. Those that wait for room (`emit_wait` and its
/// like) wait under each of these.
#[derive(Clone, Debug, Default)]
pub enum OnFull {
    /// `emit` says [`crate::ErrorKind::Full`] and does not take the event.
    #[default]
    Refuse,
    /// `emit` says `Ok`, the event is dropped and counted in [`crate::Dropped::full`].
    DropNewest,
    /// Every batch is written to a folder when it is sealed and stays there until it is acked or refused for
    /// good: an outage is as long as the disk is large, and what was sealed outlives the process.
    Spool(SpoolOptions),
}

/// Where and how a dataset's batches are kept on disk.
///
/// The dataset gets an emitter of its own that lives in the folder, so a batch that was sent before a crash is
/// known again when it is sent after it. The folder belongs to one process at a time (it is locked), and a copy
/// of it must not be used beside it.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The folder; each dataset makes one of its name in it.
    pub folder: PathBuf,
    /// The most it takes of the disk, in bytes; one batch is always taken. Default: 1 GiB.
    pub bytes_max: u64,
    /// What happens when the spool or the disk is full, or the disk fails. Default: [`OnSpoolFull::Wait`].
    pub on_full: OnSpoolFull,
    /// When a batch counts as written. Default: [`SpoolSync::Os`].
    pub sync: SpoolSync,
}

impl SpoolOptions {
    /// The defaults, for a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: limits::SPOOL_BYTES_MAX,
            on_full: OnSpoolFull::Wait,
            sync: SpoolSync::Os,
        }
    }
}

/// What happens to a batch that the spool does not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSpoolFull {
    /// It waits in the client's buffer, and when that is full too, `emit` says [`crate::ErrorKind::Full`].
    #[default]
    Wait,
    /// It is dropped and counted in [`crate::Dropped::spool`].
    DropNewest,
}

/// When a batch in the spool counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolSync {
    /// When the operating system has it: it outlives the process (`kill -9` too). A power failure may take the
    /// newest batches; none is doubled and the spool stays whole.
    #[default]
    Os,
    /// When the disk has it (`fdatasync`), before it is sent: it outlives a power failure.
    EveryBatch,
}

/// A check of events before they are taken; the types are those of [`event::Checker`].
#[derive(Clone, Debug)]
pub struct Validation {
    /// The fields of the events.
    pub schema: ValidationSchema,
    /// The largest event as text, up to 1 MiB. Default: 1 MiB.
    pub event_bytes_max: usize,
    /// Where an event goes that does not pass. Default: [`OnInvalid::Refuse`].
    pub on_invalid: OnInvalid,
}

/// Where the fields come from that events are checked by.
#[derive(Clone, Debug)]
pub enum ValidationSchema {
    /// Columns of Arrow; one that is not nullable must be there. And what is done about others:
    /// [`UnknownFields::Reject`] refuses them, the rest lets them through.
    Columns(SchemaRef, UnknownFields),
    /// The dataset's declared schema: what passes is what the server takes.
    Declared(SchemaSettings),
}

impl Validation {
    /// The defaults, for columns of Arrow; other fields are let through.
    pub fn new(schema: SchemaRef) -> Self {
        Self::of(ValidationSchema::Columns(schema, UnknownFields::Add))
    }

    /// The defaults, for the dataset's declared schema.
    pub fn declared(schema: SchemaSettings) -> Self {
        Self::of(ValidationSchema::Declared(schema))
    }

    fn of(schema: ValidationSchema) -> Self {
        Self {
            schema,
            event_bytes_max: event::limits::EVENT_BYTES_MAX,
            on_invalid: OnInvalid::Refuse,
        }
    }
}

/// Where an event goes that does not pass the check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInvalid {
    /// Back to the caller, as an `Invalid` error that names the field.
    #[default]
    Refuse,
    /// To the dataset `<dataset>_invalid` as `{"reason": …, "raw": …}`, `raw` being its text cut to 64 KiB;
    /// the caller gets `Ok`. Rows that do not pass are refused all the same.
    Divert,
}
