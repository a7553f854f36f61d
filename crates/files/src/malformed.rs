//! A record that cannot be an element.

use std::fmt;

use flow::{Error, ErrorKind};
use serde::{Deserialize, Serialize};

use crate::limits::RAW_BYTES_MAX;

/// A record that is not an element, where it is, and why. The same at each reading, so it may be summed or kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Malformed {
    /// The file's name in the progress: see [`crate::FileSource`].
    pub part: String,
    /// The line the record begins with, or in Parquet the row; the first is 1.
    pub line: u64,
    /// The byte of the line at which it went wrong, from 1, where that is known.
    pub column: Option<u64>,
    /// Why, in a sentence's middle: lower case, no full stop.
    pub reason: String,
    /// The record as it is in the file (a Parquet row as JSON), its first [`RAW_BYTES_MAX`] bytes.
    pub raw: Vec<u8>,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.part, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let text = format!(
            "a record is malformed: mend it, or read the files with `results`, which keeps such records apart \
             record={malformed}"
        );
        Self::new(ErrorKind::Invalid, text).with_source(malformed)
    }
}

/// Why a record is malformed, before it is known where it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Reason {
    pub(crate) text: String,
    pub(crate) column: Option<u64>,
}

impl Reason {
    pub(crate) fn new(text: impl fmt::Display) -> Self {
        Self {
            text: text.to_string(),
            column: None,
        }
    }

    pub(crate) fn at(self, part: &str, line: u64, raw: &[u8]) -> Malformed {
        Malformed {
            part: part.to_owned(),
            line,
            column: self.column,
            reason: self.text,
            raw: raw[..raw.len().min(RAW_BYTES_MAX)].to_vec(),
        }
    }
}
