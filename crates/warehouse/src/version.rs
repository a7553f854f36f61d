//! What a query reads: one immutable version of a table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use object_store::path::Path;
use store::Progress;

/// A table at one moment: `files` and `hot` together hold each row up to `progress` once.
#[derive(Clone, Debug)]
pub struct Version {
    /// All columns; every batch of `hot` has exactly these. Files may have fewer: see [`event::conform`].
    pub schema: SchemaRef,
    /// The Delta version that `files` are of.
    pub delta_version: u64,
    /// The progress that files and hot tail together stand for; empty before the first.
    pub progress: Progress,
    /// The progress that `files` alone stand for; `None` before the first commit with one.
    pub durable: Option<Progress>,
    /// Parquet files, ordered by path.
    pub files: Arc<[DataFile]>,
    /// The hot tail in arrival order: the rows newer than the last Delta commit.
    pub hot: Arc<[RecordBatch]>,
    /// Of each batch of `hot`.
    pub hot_times: Arc<[Times]>,
}

/// Least and greatest times of some rows, µs since 1970, both inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Of `eventTime`, or of `eventReceivedTime` where there is none.
    pub event: (i64, i64),
    /// Of `eventReceivedTime`.
    pub received: (i64, i64),
}

/// A Parquet file of a table. It holds the columns of the schema at the time it was written, in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Where it is in [`crate::Table::store`].
    pub path: Path,
    /// Size in bytes.
    pub bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// The hour of all its rows, UTC, as `YYYY-MM-DD-HH`: of `eventTime`, or of `eventReceivedTime` where the
    /// table has no `eventTime`.
    pub hour: String,
    /// Least and greatest `eventTime` (of `eventReceivedTime` where there is none), µs since 1970, both inclusive.
    pub event_time: (i64, i64),
    /// Least and greatest `eventReceivedTime`, µs since 1970, both inclusive.
    pub received_time: (i64, i64),
}

impl DataFile {
    /// The times of its rows.
    pub fn times(&self) -> Times {
        Times {
            event: self.event_time,
            received: self.received_time,
        }
    }
}
