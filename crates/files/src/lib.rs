//! Files as sources of jobs: text, NDJSON, CSV and Parquet, plain or compressed.
//!
//! | name | what it is |
//! |---|---|
//! | [`FileSource`] | a bounded `flow::Source`: each file a part, each record an element |
//! | [`Malformed`] | a record that is not an element, where it is and why |
//! | [`EventTime`] | what a source's `time` function may return |
//! | [`limits`] | the longest record, the most files |
//!
//! Not here: files that are followed while they grow, sinks, files that are elsewhere than on this machine.

mod csv;
mod cursor;
pub mod limits;
mod lines;
mod malformed;
mod parquet;
mod paths;
mod source;
mod text;
mod time;

pub use csv::{Columns, CsvOptions};
pub use malformed::Malformed;
pub use source::{FileOptions, FileSource, Gone};
pub use time::EventTime;
