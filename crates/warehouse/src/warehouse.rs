//! All tables under one folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;

use crate::{Result, Table, TableSchema};

/// Where the tables are and when their hot tails become files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WarehouseOptions {
    /// The folder; it and a folder per table in it are made when missing.
    pub root: PathBuf,
    /// A hot tail of so many bytes of Arrow memory is flushed. Default 64 MiB.
    pub flush_bytes: usize,
    /// A hot tail whose oldest row is so old is flushed. Default 30 s.
    pub flush_age: Duration,
    /// Appends to a table wait while its hot tail has more bytes than this. Default 256 MiB.
    pub hot_bytes_max: usize,
}

/// All tables under one folder, and the loop that flushes them.
#[derive(Debug)]
pub struct Warehouse {}

impl Warehouse {
    /// Opens the folder and every table in it, and starts the loop that flushes them (on the current tokio
    /// runtime; it ends with [`Warehouse::close`] or when the warehouse is dropped).
    pub async fn open(options: WarehouseOptions) -> Result<Self> { let _ = options; todo!("under way") }

    /// The table of this name, made with `schema` if it does not exist. `name` is a dataset's name or
    /// `<dataset>$failed`.
    ///
    /// A table that exists keeps its own columns and its own [`Table::dataset_schema`]: use that, not the one given.
    pub async fn create(&self, name: &str, schema: impl Into<TableSchema>) -> Result<Arc<Table>> {
        let _ = (name, schema.into()); todo!("under way")
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<Arc<Table>> { let _ = name; todo!("under way") }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<Table>> { todo!("under way") }

    /// Where all tables' files are: [`crate::DataFile::path`] is a path in it.
    pub fn store(&self) -> Arc<dyn ObjectStore> { todo!("under way") }

    /// Flushes every table and stops the loop.
    pub async fn close(&self) -> Result<()> { todo!("under way") }
}
