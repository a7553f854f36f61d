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
//! Over a table's life small files are merged ([`Table::compact`]), rows are deleted by predicate ([`Table::delete`])
//! or for their age ([`Table::expire`]), and what no reader needs is deleted from storage ([`Table::vacuum`]). Each is
//! one commit that says nothing of progress and one swap of the version; a crash leaves the table as it was before or
//! as it is after. The loop does it by itself as [`MaintenanceOptions`] say.
//!
//! Google's and Azure's stores have been opened here, but no server of theirs has been written to; S3 is tested with
//! moto (`.ci/object-stores`). A store is one writer's; who writes is not recorded in it.
//!
//! Not here: SQL; deletion vectors; sorting or clustering of rows. A crash between the upload of a file and the commit
//! that names it leaves an orphan; it is not in the log, so no reader ever sees it, and a vacuum deletes it. Half a
//! file that a crash left under a hidden name (`….parquet#<digits>`, local folders only) stays.

mod about;
mod auto;
mod background;
mod compact;
mod concat;
mod delete;
mod encode;
mod error;
mod flusher;
mod held;
mod hot;
mod insert;
pub mod limits;
mod location;
mod log;
mod maintenance;
mod plain;
mod remote;
mod rewrite;
mod schema;
mod stats;
mod synced;
mod table;
mod tail;
mod upload;
mod vacuum;
mod version;
mod warehouse;

#[cfg(test)]
mod tests;

pub use about::{MaintenanceStats, TableSchema, TableStats};
pub use auto::{AutoOptions, Costs, Decision, Observation};
pub use delete::{DeleteOptions, Deleted};
pub use error::{Error, ErrorKind, Result};
pub use insert::{InsertMode, InsertStatus};
pub use location::Location;
pub use maintenance::MaintenanceOptions;
pub use plain::{PlainFiles, PlainFormat, PlainOptions};
pub use table::Table;
pub use vacuum::{Vacuum, Vacuumed};
pub use version::{DataFile, Times, Version};
pub use warehouse::{Warehouse, WarehouseOptions};
