//! The one error of this crate.

use std::fmt;

use arrow_flight::error::FlightError;
use tonic::{Code, Status};

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Try again later: the server cannot be reached or is busy.
    Retry,
    /// The input is wrong; sending it again will not help.
    Invalid,
    /// The client holds as many bytes without an ack as it may: wait for room.
    Full,
    /// An option or a flag says that the event is not sent, or not again; the text says which.
    NotSent,
    /// The server does not let this client in, or not for this: give [`crate::ClientOptions::token`] another token.
    Denied,
    /// The client is closed.
    Closed,
    /// Somebody else was faster, or the server expects something else.
    Conflict,
    /// The server has no such thing.
    NotFound,
    /// The server's stored bytes are not what was written.
    Corrupt,
}

/// The client could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// What a caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl From<event::Error> for Error {
    fn from(error: event::Error) -> Self {
        Self::invalid(error)
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let kind = match status.code() {
            // OutOfRange is how a message over the receiver's limit is called.
            Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => ErrorKind::Invalid,
            Code::FailedPrecondition | Code::AlreadyExists | Code::Aborted => ErrorKind::Conflict,
            Code::NotFound => ErrorKind::NotFound,
            Code::Unauthenticated | Code::PermissionDenied => ErrorKind::Denied,
            Code::DataLoss => ErrorKind::Corrupt,
            _ => ErrorKind::Retry,
        };
        Self::new(
            kind,
            format_args!("{} code={:?}", status.message(), status.code()),
        )
    }
}

impl From<FlightError> for Error {
    fn from(error: FlightError) -> Self {
        match error {
            FlightError::Tonic(status) => (*status).into(),
            other => Self::new(ErrorKind::Corrupt, format_args!("answer cannot be read: {other}")),
        }
    }
}
