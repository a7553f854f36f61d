//! Why a job's program ends with another code than 0.

use std::fmt;

/// Decides the exit code.
#[derive(Debug)]
pub(super) enum Failure {
    /// Arguments that cannot be: 78.
    Arguments(String),
    /// All else: 1.
    Other(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    pub(super) fn arguments(text: impl fmt::Display) -> Self {
        Self::Arguments(text.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arguments(text) => f.write_str(text),
            Self::Other(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}
