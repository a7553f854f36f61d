//! Maxima of this crate.

use std::time::Duration;

/// Rows of a Parquet row group, at most.
pub const ROW_GROUP_ROWS_MAX: usize = 1 << 20;

/// Batches of the hot tail of this many rows or more are not merged any further.
pub const CHUNK_ROWS_MAX: usize = 1 << 13;

/// So many neighbours of about one size in the hot tail are merged into one.
pub const CHUNK_FAN_IN: usize = 8;

/// Rows of a flush that are encoded at a time, about.
pub const ENCODE_ROWS: usize = 1 << 13;

/// Encoding waits for idle processors no longer than this.
pub const ENCODE_IDLE_TIME_MAX: Duration = Duration::from_secs(1);

/// Flushes (of different tables) at a time.
pub const FLUSHES_MAX: usize = 2;

/// Files uploaded at a time by one flush.
pub const UPLOADS_MAX: usize = 4;

/// The wait after a first failed flush; it doubles with each further one.
pub const RETRY_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest wait after failed flushes.
pub const RETRY_WAIT_MAX: Duration = Duration::from_secs(60);

/// Progress without rows is committed after this many times the flush age: it is worth a commit only rarely.
pub const PROGRESS_AGE_FACTOR: u32 = 10;

/// A checkpoint of the Delta log is written every so many versions.
pub const CHECKPOINT_VERSIONS: u64 = 50;

/// The wait for a connection to an object store.
pub const REMOTE_CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// A request to an object store, with its body and answer.
pub const REMOTE_REQUEST_TIME_MAX: Duration = Duration::from_secs(60);

/// A request to an object store is tried again so often, for the errors that pass.
pub const REMOTE_RETRIES_MAX: usize = 5;

/// After this time a request is not tried again, so that a flush fails and says why.
pub const REMOTE_RETRY_TIME_MAX: Duration = Duration::from_secs(90);

/// Hours of plain files that wait for their marker; of more, those farthest in the future get none.
pub const PLAIN_HOURS_MAX: usize = 10_000;

/// Progress files that plain files keep: a writer that is behind by fewer commits finds its next number taken.
pub const PLAIN_MANIFESTS_MAX: u64 = 16;

const _: () = assert!(REMOTE_REQUEST_TIME_MAX.as_secs() < REMOTE_RETRY_TIME_MAX.as_secs());
/// Compactions, vacuums and retentions (of different tables) that the loop runs at a time.
pub const MAINTENANCE_MAX: usize = 1;

/// Files that one compaction merges, at most.
pub const COMPACT_SOURCES_MAX: usize = 256;

/// A row group of a file that a compaction or deletion writes has about this many encoded bytes, at most.
pub const REWRITE_GROUP_BYTES_MAX: usize = 16 << 20;

/// Row groups of at least so many encoded bytes, on average, are merged as they are.
pub const COPIED_GROUP_BYTES_MIN: u64 = 4 << 20;

/// Rows are decoded in batches of about this many bytes by compactions and deletions, of one row at least.
pub const REWRITE_BATCH_BYTES: usize = 8 << 20;

/// The same in rows.
pub const REWRITE_BATCH_ROWS_MAX: usize = 1 << 13;

/// What an upload in parts keeps in memory: a part, so many at a time.
pub const REWRITE_PART_BYTES: usize = 8 << 20;

/// Parts of an upload on their way at a time.
pub const REWRITE_PARTS_MAX: usize = 2;

/// The longest `vacuum_after`: checkpoints of the log forget what was removed earlier (Delta's
/// `delta.deletedFileRetentionDuration`, a week).
pub const VACUUM_AFTER_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);

const _: () = assert!(REWRITE_BATCH_ROWS_MAX <= ROW_GROUP_ROWS_MAX && REWRITE_BATCH_ROWS_MAX > 0);
const _: () = assert!(COMPACT_SOURCES_MAX > 1);
const _: () = assert!(CHUNK_ROWS_MAX <= ROW_GROUP_ROWS_MAX);
const _: () = assert!(CHUNK_FAN_IN.is_power_of_two() && CHUNK_FAN_IN > 1);
const _: () = assert!(RETRY_WAIT_MIN.as_secs() <= RETRY_WAIT_MAX.as_secs());
