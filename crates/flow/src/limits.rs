//! The limits of this crate.

/// Functions that are called within one another before their elements are gathered and the stack begins anew.
pub(crate) const FUSED_NODES_MAX: usize = 64;

/// Default of [`crate::JobOptions::epoch_bytes_max`].
pub(crate) const EPOCH_BYTES_MAX: usize = 8 << 20;

/// Counters of a job by name; what goes to more is counted together.
pub(crate) const COUNTERS_MAX: usize = 1000;

/// Work of at most this many bytes runs on the job's own task.
pub(crate) const INLINE_BYTES_MAX: usize = 32 << 10;

/// Default of [`crate::JobOptions::conflicts_max`].
pub(crate) const CONFLICTS_MAX: u32 = 5;

const _: () = assert!(
    INLINE_BYTES_MAX < EPOCH_BYTES_MAX,
    "an epoch of the default size runs on all cores"
);
