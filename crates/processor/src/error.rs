//! The one error of this crate.

use std::fmt;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try again later.
    Retry,
    /// The input is wrong.
    Invalid,
    /// No such dataset.
    NotFound,
    /// Stored bytes are not what was written.
    Corrupt,
}

/// A dataset's job or stream could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a kind with a text.
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<flow::Error> for Error {
    fn from(error: flow::Error) -> Self {
        let kind = match error.kind() {
            flow::ErrorKind::Retry => ErrorKind::Retry,
            flow::ErrorKind::NotFound => ErrorKind::NotFound,
            flow::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error)
    }
}

impl From<warehouse::Error> for Error {
    fn from(error: warehouse::Error) -> Self {
        flow::Error::from(error).into()
    }
}
