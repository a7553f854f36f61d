//! The one error of this crate.

use std::fmt;

use datafusion::error::DataFusionError;

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The query is wrong: its text, its names, its types, or a value it met.
    Invalid,
    /// Not there.
    NotFound,
    /// Try again later: too many queries, too little memory, or a file that could not be read.
    Retry,
    /// Stored bytes are not what was written.
    Corrupt,
    /// An error of this program.
    Bug,
}

impl ErrorKind {
    /// The kind's name in snake case, as the doors send it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Retry => "retry",
            Self::Corrupt => "corrupt",
            Self::Bug => "bug",
        }
    }
}

/// A query could not be answered.
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

    /// The query is wrong.
    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Names what caused it.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<DataFusionError> for Error {
    fn from(error: DataFusionError) -> Self {
        use DataFusionError as E;
        let root = error.find_root();
        let kind = match root {
            E::ResourcesExhausted(_) | E::IoError(_) | E::ObjectStore(_) => ErrorKind::Retry,
            E::ParquetError(_) => ErrorKind::Corrupt,
            E::Internal(_) | E::ExecutionJoin(_) => ErrorKind::Bug,
            E::External(source) => source.downcast_ref::<Error>().map_or(ErrorKind::Bug, Error::kind),
            _ => ErrorKind::Invalid,
        };
        let message = root.strip_backtrace();
        Self::new(kind, message.lines().next().unwrap_or_default()).with_source(error)
    }
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        Self::External(Box::new(error))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        let kind = match error.kind() {
            store::ErrorKind::Invalid => ErrorKind::Invalid,
            store::ErrorKind::NotFound => ErrorKind::NotFound,
            store::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Retry,
        };
        Self::new(kind, &error).with_source(error)
    }
}
