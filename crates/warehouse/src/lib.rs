//! The warehouse: per table a hot tail (Arrow batches in memory) and a Delta table (Parquet files), read as one
//! [`Version`] that is swapped atomically.
//!
//! | name | what it is |
//! |---|---|
//! | [`Warehouse`] | all tables under one [`Location`], and the loop that flushes them |
//! | [`Location`] | a folder, or a bucket's prefix on S3, Google or Azure |
//! | [`Table`] | one table; a `flow::Sink<RecordBatch>`, so a job that writes into it is exactly-once |
//! | [`InsertMode`] | whether rows are visible at once, or in windows that cost less |
//! | [`PlainFiles`] | files by hour without a table format, beside or instead of a table |
//! | [`Version`] | what a query reads: files and hot batches that together hold each row once |
//!
//! The queue is the write-ahead log: a crash loses the hot tail, and the job goes on from
//! [`Table::durable_progress`], the progress in the last Delta commit.
//!
//! What a commit names is on the disk when the commit is, and the commit when [`Table::durable_progress`] tells of it:
//! files, the log and the folders that name them are synced.
//!
//! Google's and Azure's stores have been opened here, but no server of theirs has been written to; S3 is tested with
//! moto (`.ci/object-stores`). A store is one writer's; who writes is not recorded in it.
//!
//! Not here: SQL, compaction, vacuum. A crash between the upload of a file and the commit that names it leaves an
//! orphan file; it is not in the log, so no reader ever sees it.

mod about;
mod auto;
mod encode;
mod error;
mod flusher;
mod hot;
mod insert;
pub mod limits;
mod location;
mod log;
mod plain;
mod remote;
mod schema;
mod stats;
mod synced;
mod table;
mod tail;
mod version;
mod warehouse;

#[cfg(test)]
mod tests;

pub use about::{TableSchema, TableStats};
pub use auto::{AutoOptions, Costs, Decision, Observation};
pub use error::{Error, ErrorKind, Result};
pub use insert::{InsertMode, InsertStatus};
pub use location::Location;
pub use plain::{PlainFiles, PlainFormat, PlainOptions};
pub use table::Table;
pub use version::{DataFile, Version};
pub use warehouse::{Warehouse, WarehouseOptions};
