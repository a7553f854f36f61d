//! The maxima of the processor.

/// Rows of history in one batch of a dataset's stream.
pub(crate) const STREAM_BATCH_ROWS_MAX: usize = 8_192;
/// Payload taken from the queue at once for a dataset's stream, in bytes.
pub(crate) const STREAM_READ_BYTES_MAX: usize = 1 << 20;

/// Steps of a chain.
pub const CHAIN_STEPS_MAX: usize = 32;
/// The name of a step, in bytes.
pub const STEP_NAME_BYTES_MAX: usize = 128;
/// Rows given to a step in one call.
pub const CALL_ROWS_MAX: usize = 8_192;
/// Calls made to find the bad rows of one call that failed by rows; about `2 · bad · log₂(rows)` are needed.
pub const CALLS_MAX: usize = 1_024;
/// Rows that may come out of one call.
pub const CALL_OUT_ROWS_MAX: usize = 1 << 20;
/// Bytes of values that may come out of a step for one batch, those that go on unchanged among them.
pub const STEP_OUT_BYTES_MAX: usize = 256 << 20;
/// Threads for calls that are kept while they have nothing to do.
pub(crate) const CALL_THREADS_IDLE_MAX: usize = 16;
/// Versions of a dataset's chain that are remembered, for streams that are behind.
pub(crate) const CHAIN_VERSIONS_MAX: usize = 64;
/// Events that wait in a tap.
pub const TAP_EVENTS_MAX: usize = 1_000;
/// One event in a tap, in bytes of memory; larger ones are dropped and counted.
pub const TAP_EVENT_BYTES_MAX: usize = 64 << 10;
/// Rows of a chain's test that are aligned for its report; of more the report goes by place.
pub(crate) const FIXTURE_ROWS_ALIGNED_MAX: usize = 2_000;
/// Events of one replay of rejects.
pub const REPLAY_EVENTS_MAX: usize = 10_000;
/// Raw bytes of one replay of rejects.
pub const REPLAY_BYTES_MAX: usize = 32 << 20;
/// Raw bytes of one batch of a replay.
pub(crate) const REPLAY_BATCH_BYTES_MAX: usize = 1 << 20;

const _: () = assert!(event::limits::REJECT_RAW_BYTES_MAX <= REPLAY_BATCH_BYTES_MAX);
// A plan is one batch.
const _: () = assert!(
    REPLAY_EVENTS_MAX * (512 + event::limits::DATASET_NAME_CHARS_MAX) <= event::limits::BATCH_BYTES_MAX
);
const _: () = assert!(CALL_ROWS_MAX <= CALL_OUT_ROWS_MAX);
const _: () = assert!(CALLS_MAX >= 2 * 14); // one bad row of a full call is found
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
