//! The one error of this crate, and what it is called at each door.

use std::fmt;

use axum::http::StatusCode;
use tonic::Status;

/// What a sender can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Send it again later: the queue is full, failing or shutting down.
    Retry,
    /// Send it again later: this server holds as much as it may.
    Busy,
    /// The batch's sequence is not the next one: send the one the text names.
    Conflict,
    /// The batch breaks a rule; sending it again will not help.
    Invalid,
    /// The batch breaks a limit: split it.
    TooLarge,
    /// The body is in an encoding that this server does not know.
    Unsupported,
    /// No such dataset.
    NotFound,
    /// The emitter's epoch is over: a later life of it has begun.
    Closed,
    /// Stored bytes are not what was written.
    Corrupt,
}

/// A batch could not be taken.
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

    pub(crate) fn invalid(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn too_large(message: impl fmt::Display) -> Self {
        Self::new(ErrorKind::TooLarge, message)
    }

    /// What a sender can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the text door calls it.
    pub(crate) fn http_status(&self) -> StatusCode {
        match self.kind {
            ErrorKind::Retry => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Busy => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Conflict | ErrorKind::Closed => StatusCode::CONFLICT,
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Corrupt => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<event::Error> for Error {
    fn from(error: event::Error) -> Self {
        let kind = match error.kind() {
            event::ErrorKind::TooLarge => ErrorKind::TooLarge,
            _ => ErrorKind::Invalid,
        };
        Self::new(kind, error)
    }
}

impl From<queue::Error> for Error {
    fn from(error: queue::Error) -> Self {
        let kind = match error.kind() {
            queue::ErrorKind::Conflict => ErrorKind::Conflict,
            queue::ErrorKind::Invalid => ErrorKind::Invalid,
            queue::ErrorKind::NotFound => ErrorKind::NotFound,
            queue::ErrorKind::Fenced => ErrorKind::Closed,
            queue::ErrorKind::Corrupt => ErrorKind::Corrupt,
            _ => ErrorKind::Retry,
        };
        Self::new(kind, error)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Retry => Status::unavailable(error.message),
            ErrorKind::Busy => Status::resource_exhausted(error.message),
            ErrorKind::Conflict => Status::failed_precondition(error.message),
            ErrorKind::Invalid | ErrorKind::TooLarge | ErrorKind::Unsupported => {
                Status::invalid_argument(error.message)
            }
            ErrorKind::NotFound => Status::not_found(error.message),
            ErrorKind::Closed => Status::aborted(error.message),
            ErrorKind::Corrupt => Status::data_loss(error.message),
        }
    }
}
