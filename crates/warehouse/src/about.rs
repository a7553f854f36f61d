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
    /// What was done to the files since the process began.
    pub maintenance: MaintenanceStats,
}

/// Counts of a table's compactions, deletions and vacuums in this process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceStats {
    /// Compactions that were committed.
    pub compactions: u64,
    /// Files that commits took out of the table: compacted, with deleted rows, or too old.
    pub files_removed: u64,
    /// Bytes of the files that compactions and deletions wrote in their place.
    pub bytes_rewritten: u64,
    /// Rows that were deleted, by [`crate::Table::delete`] or for their age.
    pub rows_deleted: u64,
    /// Files that were deleted from storage: removed ones, and orphans.
    pub files_vacuumed: u64,
    /// Bytes of the files that were deleted from storage.
    pub bytes_vacuumed: u64,
    /// The error of the last piece of maintenance that the loop did, if it failed.
    pub error: Option<String>,
}
