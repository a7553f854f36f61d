//! The one error of this crate.

use std::fmt;

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
    /// Not there.
    NotFound,
    /// Stored bytes are not what was written.
    Corrupt,
}

/// The warehouse could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
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
        self.source = Some(source.into());
        self
    }

    /// Arrays that do not fit their schema.
    pub(crate) fn arrow(source: arrow::error::ArrowError) -> Self {
        Self::new(
            ErrorKind::Invalid,
            format_args!("rows do not fit the table's schema: {source}"),
        )
        .with_source(source)
    }

    /// Whether trying again may help; what a read of the log or a write came to.
    pub(crate) fn storage(
        what: &str,
        table: &str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self::new(ErrorKind::Retry, format_args!("{what}: {source} table={table}")).with_source(source)
    }

    /// What the first request to a location came to. Lists do not tell errors that pass from others.
    pub(crate) fn opening(location: &crate::Location, source: object_store::Error) -> Self {
        let message = format_args!(
            "cannot list the tables, see the bucket, the credentials and what they may do: {source} location={location}"
        );
        Self::new(ErrorKind::Retry, message).with_source(source)
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<Error> for flow::Error {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Retry => flow::ErrorKind::Retry,
            ErrorKind::Conflict => flow::ErrorKind::Conflict,
            ErrorKind::NotFound => flow::ErrorKind::NotFound,
            ErrorKind::Corrupt => flow::ErrorKind::Corrupt,
            ErrorKind::Invalid => flow::ErrorKind::Invalid,
        };
        Self::new(kind, &error).with_source(error)
    }
}

impl From<event::Error> for Error {
    /// Rows that do not fit a schema.
    fn from(error: event::Error) -> Self {
        let kind = match error.kind() {
            event::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, &error).with_source(error)
    }
}
