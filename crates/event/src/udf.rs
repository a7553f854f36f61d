//! A step of a dataset's chain that users give: rows in, rows out.

use std::fmt;

use arrow::array::RecordBatch;

/// The column (`UInt32`, never null) that ties rows that come out of a [`Udf`] to those that went in: the place of the
/// row that this one was made of, from 0.
pub const ROW_COLUMN: &str = "_row";

/// The column (text) with which a [`Udf`] rejects a row: where it is not null, the row is rejected for that reason.
pub const ERROR_COLUMN: &str = "_error";

/// A user-defined function of a dataset: rows → rows.
///
/// **In**: the system's columns (see [`crate::SystemColumn`]), the fields of the events so far, and [`ROW_COLUMN`] with
/// 0, 1, 2 … A field that no event has had yet is not among the columns; fields that are called as the two columns here
/// are in `_extra`.
///
/// **Out**: [`ROW_COLUMN`], and the fields that the events have from here on, of types that can be stored. An input row
/// may come out not at all (it is filtered), once, or more often; rows are put into the order of [`ROW_COLUMN`].
/// `eventTime` among the columns changes the event's time, where it is not null (a time stamp, RFC 3339 text, or
/// milliseconds); the other system columns are carried along by the chain, whatever comes out. [`ERROR_COLUMN`] rejects
/// rows, and is no field. One row of an event that is rejected rejects the event: no row of it is stored.
///
/// An implementation is pure: the same rows give the same rows, as a job that starts again after a crash gives them again.
/// It is called from many threads at once, on threads that may block.
pub trait Udf: fmt::Debug + Send + Sync {
    /// What the step is called, in settings, in `<dataset>$failed` and in metrics.
    fn name(&self) -> &str;

    /// The rows that come out.
    ///
    /// # Errors
    /// See [`UdfErrorKind`]. The rows of a call that fails are rejected, or given again in smaller calls.
    fn apply(&self, rows: &RecordBatch) -> Result<RecordBatch, UdfError>;
}

/// What is done about the rows of a call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdfErrorKind {
    /// Some row is at fault, and others may be fine: halves are tried, until the bad rows are found.
    Row,
    /// The function crashed, or was beyond its time or memory: all rows are rejected.
    Broken,
}

/// A call of a [`Udf`] failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UdfError {
    kind: UdfErrorKind,
    message: String,
}

impl UdfError {
    /// An error with its text.
    pub fn new(kind: UdfErrorKind, message: impl fmt::Display) -> Self {
        let message = message.to_string();
        Self { kind, message }
    }

    /// What is done about the rows.
    pub fn kind(&self) -> UdfErrorKind {
        self.kind
    }
}
