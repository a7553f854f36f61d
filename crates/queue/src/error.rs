//! The one error of this crate.

use std::fmt;

use crate::Offset;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try again later: the disk is full or failing, or a limit is reached.
    Retry,
    /// The batch's sequence is not the next one: send the one the text names.
    Conflict,
    /// The batch breaks a limit or a rule.
    Invalid,
    /// No such dataset, partition or offset.
    NotFound,
    /// The emitter's epoch is over: a later life of it has begun.
    Fenced,
    /// The queue is shut.
    Closed,
    /// Stored bytes are not what was written; [`Error::next`] is behind them.
    Corrupt,
}

/// The queue could not do what it was asked. Clones, since one failed write answers many appends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    next: Option<Offset>,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with a text.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            next: None,
        }
    }

    /// The same, with the offset to go on at.
    #[must_use]
    pub fn with_next(mut self, next: Offset) -> Self {
        self.next = Some(next);
        self
    }

    /// For a read that met deleted or damaged batches: the first offset behind them. Those between are not to be
    /// had from this queue.
    pub fn next(&self) -> Option<Offset> {
        self.next
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<event::Error> for Error {
    fn from(error: event::Error) -> Self {
        let kind = match error.kind() {
            event::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error)
    }
}
