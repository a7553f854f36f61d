//! Files as sources: the laws, and naive readings of the same files.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

mod changes;
mod csv;
mod job;
mod kit;
mod lines;
mod malformed;
mod parquet;
