//! The limits of this crate.

use std::time::Duration;

/// Functions that are called within one another before their elements are gathered and the stack begins anew.
pub(crate) const FUSED_NODES_MAX: usize = 64;

/// Default of [`crate::JobOptions::epoch_bytes_max`].
pub(crate) const EPOCH_BYTES_MAX: usize = 8 << 20;

/// Counters of a job by name; what goes to more is counted together.
pub(crate) const COUNTERS_MAX: usize = 1000;

/// Work of at most this many bytes runs on the job's own task.
pub(crate) const INLINE_BYTES_MAX: usize = 32 << 10;

/// A thread is given at least so many bytes of an epoch, however many threads there may be.
pub(crate) const CHUNK_BYTES_MIN: usize = 4 << 10;

/// Default of [`crate::JobOptions::conflicts_max`].
pub(crate) const CONFLICTS_MAX: u32 = 5;

/// The batches of one build of a snapshot: each may stand by itself under a key until the snapshot is published.
pub const BUILD_BATCHES_MAX: usize = 1_024;

/// The snapshots that a batch store keeps.
pub const SNAPSHOTS_MAX: usize = 64;

/// Default of the live batches that a [`crate::ClientStore`] adds to a snapshot.
pub const LIVE_BATCHES_MAX: usize = 256;

/// The live values of one read of a [`crate::ClientStore`]: its keys times its live batches.
pub const LIVE_VALUES_MAX: usize = 1 << 20;

/// Keys that are changed in one commit while all keys are gone through.
pub(crate) const SWEEP_KEYS: usize = 1_024;

/// Old generations that are to be dropped yet, of one job.
pub(crate) const GENERATIONS_DROPPED_MAX: usize = 16;

/// Default of [`crate::Closing::idleness`].
pub(crate) const IDLENESS: Duration = Duration::from_secs(3600);

/// How often a reader tries again when what it reads is given up meanwhile.
pub(crate) const READ_ATTEMPTS_MAX: usize = 16;

/// How often a commit is tried again when facts beside the job's progress have changed meanwhile.
pub(crate) const FRAMED_ATTEMPTS_MAX: usize = 16;

const _: () = assert!(
    CHUNK_BYTES_MIN < INLINE_BYTES_MAX && INLINE_BYTES_MAX < EPOCH_BYTES_MAX,
    "an epoch of the default size runs on all cores"
);

/// Hopping windows that one time is in.
pub(crate) const WINDOWS_OF_A_TIME_MAX: i64 = 1_000;

/// Filters that a planner makes one of, or part of a function.
pub(crate) const COMPOSED_FILTERS_MAX: usize = 64;

/// How often a planner calls its rules for each node and rule before it gives up; own rules take less than 20.
pub(crate) const RULE_CALLS_PER_NODE_MAX: usize = 200;
