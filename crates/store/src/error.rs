//! The one error of this crate.

use std::fmt;
use std::sync::Arc;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try again later: the backend cannot be reached or is busy.
    Retry,
    /// Somebody else has written, or this writer is behind: read the progress and go on from there.
    Conflict,
    /// The input is wrong.
    Invalid,
    /// No such store.
    NotFound,
    /// Stored bytes are not what was written, or a backend breaks its port's law.
    Corrupt,
    /// It may have been done or not: read before doing it again. Only for what counts twice when done twice.
    Doubt,
}

/// A store could not do what it was asked. Cheap to clone: one failed call is the answer to each of its keys.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with a text.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
            source: None,
        }
    }

    /// Names what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
