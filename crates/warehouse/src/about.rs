//! What a table is made with, and what it counts.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use event::DatasetSchema;

use crate::log::Kind;

/// What a table is made with.
#[derive(Clone, Debug)]
pub enum TableSchema {
    /// Columns that grow.
    Dataset(Arc<DatasetSchema>),
    /// Columns that stay.
    Fixed(SchemaRef),
}

impl TableSchema {
    /// All columns now.
    pub fn now(&self) -> SchemaRef {
        match self {
            Self::Dataset(schema) => schema.table(),
            Self::Fixed(schema) => schema.clone(),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Dataset(_) => Kind::Growing,
            Self::Fixed(_) => Kind::Fixed,
        }
    }
}

impl From<Arc<DatasetSchema>> for TableSchema {
    fn from(schema: Arc<DatasetSchema>) -> Self {
        Self::Dataset(schema)
    }
}

impl From<SchemaRef> for TableSchema {
    fn from(schema: SchemaRef) -> Self {
        Self::Fixed(schema)
    }
}

/// Counts of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableStats {
    /// Rows taken by this process.
    pub rows_taken: u64,
    /// How long the last commit took, with the upload of its files.
    pub commit_time: Duration,
    /// Rows in the hot tail, also those that gather for a window.
    pub hot_rows: u64,
    /// Bytes of Arrow memory in the hot tail.
    pub hot_bytes: u64,
    /// Rows in files.
    pub file_rows: u64,
    /// Number of files.
    pub files: u64,
    /// Bytes of files.
    pub file_bytes: u64,
    /// Delta commits of this process.
    pub flushes: u64,
    /// The error of the last flush, if it failed.
    pub flush_error: Option<String>,
}
