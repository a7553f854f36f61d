//! Why bytes were refused.

use std::fmt;

/// What to do about bytes that were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// They are not what was ever written: fetch them again, or give them up.
    Corrupt,
    /// Another version of the form: read them with the release that wrote them.
    Version,
    /// A value of another shape (other parameters): read them as the type that has these.
    Shape,
}

/// Bytes were refused: why, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    kind: DecodeErrorKind,
    text: String,
    at: usize,
}

impl DecodeError {
    /// `text` in lower case, variables at its end; `at` is the byte after the last one read.
    pub fn new(kind: DecodeErrorKind, text: impl Into<String>, at: usize) -> Self {
        Self {
            kind,
            text: text.into(),
            at,
        }
    }

    /// What to do about it.
    pub fn kind(&self) -> DecodeErrorKind {
        self.kind
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at={}", self.text, self.at)
    }
}

impl std::error::Error for DecodeError {}
