//! The limits of this crate.

/// Default of [`crate::FileOptions::record_bytes_max`].
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Default of [`crate::FileOptions::files_at_once`].
pub const FILES_AT_ONCE: usize = 8;

/// Files of one source: each has its place in the progress that is kept with each commit.
pub const FILES_MAX: usize = 10_000;

/// The raw text kept of a malformed record; the rest is cut.
pub const RAW_BYTES_MAX: usize = 64 << 10;

/// What is asked of a file at a time.
pub(crate) const READ_BYTES: usize = 128 << 10;

/// What is decoded of a Parquet file at a time, about, and the most rows of it.
pub(crate) const BATCH_BYTES: u64 = 1 << 20;
pub(crate) const BATCH_ROWS_MAX: u64 = 8_192;

/// What a reader of one file may keep beside its elements: a buffer grows by doubling to the longest record.
const _: () = assert!(RAW_BYTES_MAX <= RECORD_BYTES_MAX && READ_BYTES <= RECORD_BYTES_MAX);
