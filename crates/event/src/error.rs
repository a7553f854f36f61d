//! The one error of this crate: a kind named by what the caller can do about it, and a text.

use std::fmt;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The input is wrong; sending it again will not help.
    Invalid,
    /// The input is larger than a limit in [`crate::limits`].
    TooLarge,
    /// Stored bytes are not what was written.
    Corrupt,
}

/// Something about an event, a batch or a schema that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that the sender must mend.
    pub fn invalid(message: impl fmt::Display) -> Self {
        Self {
            kind: ErrorKind::Invalid,
            message: message.to_string(),
        }
    }

    /// An error about a size over its limit.
    pub fn too_large(message: impl fmt::Display) -> Self {
        Self {
            kind: ErrorKind::TooLarge,
            message: message.to_string(),
        }
    }

    /// An error about stored bytes.
    pub fn corrupt(message: impl fmt::Display) -> Self {
        Self {
            kind: ErrorKind::Corrupt,
            message: message.to_string(),
        }
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}
