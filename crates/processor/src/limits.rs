//! The maxima of the processor.

/// Rows of history in one batch of a dataset's stream.
pub(crate) const STREAM_BATCH_ROWS_MAX: usize = 8_192;
/// Payload taken from the queue at once for a dataset's stream, in bytes.
pub(crate) const STREAM_READ_BYTES_MAX: usize = 1 << 20;
/// Chunks of work that run too long and are no longer counted, of all jobs.
pub(crate) const OVERDUE_TURNS_MAX: usize = 128;
/// Reads of a partition of which is noted when they began.
pub(crate) const NOTED_READS_MAX: usize = 64;
/// Workers of all jobs at most, whatever the options say.
pub(crate) const WORKERS_MAX: usize = 256;

const _: () = assert!(
    WORKERS_MAX + OVERDUE_TURNS_MAX < 512,
    "there are threads left of those that tokio has for blocking work by default"
);
