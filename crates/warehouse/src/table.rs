//! One table.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use event::DatasetSchema;
use object_store::ObjectStore;
use store::Progress;

use crate::{DataFile, Result, Version};

/// What a table is made with.
#[derive(Clone, Debug)]
pub enum TableSchema {
    /// Columns that grow.
    Dataset(Arc<DatasetSchema>),
    /// Columns that stay; there must be an `eventReceivedTime`.
    Fixed(SchemaRef),
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
    /// Rows in the hot tail.
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

/// One table: hot tail and files.
#[derive(Debug)]
pub struct Table {}

impl Table {
    /// A dataset's name, or `<dataset>$failed`.
    pub fn name(&self) -> &str { todo!("under way") }

    /// All columns now.
    pub fn schema(&self) -> SchemaRef { todo!("under way") }

    /// The schema that grows, if it is a dataset's table.
    pub fn dataset_schema(&self) -> Option<Arc<DatasetSchema>> { todo!("under way") }

    /// What a query reads; cheap.
    pub fn version(&self) -> Arc<Version> { todo!("under way") }

    /// Takes rows into the hot tail, and the progress they stand for; they are visible when it returns. Waits while
    /// the tail is full.
    pub async fn append(&self, rows: Vec<RecordBatch>, progress: &Progress) -> Result<()> {
        let _ = (rows, progress); todo!("under way")
    }

    /// The progress of the last Delta commit; `None` before the first with one.
    pub fn durable_progress(&self) -> Option<Progress> { todo!("under way") }

    /// Writes the hot tail to files and commits them with their progress. Does nothing if there is nothing new.
    pub async fn flush(&self) -> Result<()> { todo!("under way") }

    /// Files (by path) and progress of an older Delta version.
    pub async fn files_at(&self, delta_version: u64) -> Result<(Vec<DataFile>, Option<Progress>)> {
        let _ = delta_version; todo!("under way")
    }

    /// Where the files are: [`DataFile::path`] is a path in it. One store for all tables of a warehouse.
    pub fn store(&self) -> Arc<dyn ObjectStore> { todo!("under way") }

    /// Counts.
    pub fn stats(&self) -> TableStats { todo!("under way") }
}

#[async_trait]
impl flow::Sink<RecordBatch> for Table {
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        Ok(self.durable_progress())
    }

    async fn write(&self, items: Vec<(flow::Timestamp, RecordBatch)>, progress: &Progress) -> flow::Result<()> {
        let rows = items.into_iter().map(|(_, batch)| batch).collect();
        Ok(self.append(rows, progress).await?)
    }
}
