//! The maxima of the processor.

/// Rows of history in one batch of a dataset's stream.
pub(crate) const STREAM_BATCH_ROWS_MAX: usize = 8_192;
/// Payload taken from the queue at once for a dataset's stream, in bytes.
pub(crate) const STREAM_READ_BYTES_MAX: usize = 1 << 20;
