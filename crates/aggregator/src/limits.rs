//! The maxima of the doors; those of events and batches are in [`event::limits`].

use std::time::Duration;

use event::limits::BATCH_BYTES_MAX;

/// One Flight message: a batch's payload, its header and the framing. Give it to the Flight service as
/// `max_decoding_message_size`, whose own default of 4 MiB is less than a batch may hold.
pub const FLIGHT_MESSAGE_BYTES_MAX: usize = BATCH_BYTES_MAX + (1 << 20);
/// Default of [`crate::AggregatorOptions::stream_bytes_max`]: payload that one `DoPut` stream may have in the
/// queue without an ack; at the limit the stream is not read on, so the sender waits.
pub const STREAM_BYTES_MAX: usize = 32 << 20;
/// What a batch without an ack counts at least towards [`STREAM_BYTES_MAX`], so that small ones are bounded too.
pub const STREAM_BATCH_BYTES_MIN: usize = 1 << 10;
/// Default of [`crate::AggregatorOptions::http_bytes_max`]: bodies that the text door holds at a time.
pub const HTTP_BYTES_MAX: usize = 256 << 20;
/// Default of [`crate::AggregatorOptions::datasets_max`].
pub const DATASETS_MAX: usize = 10_000;
/// Default of [`crate::AggregatorOptions::memory_bytes_max`].
pub const MEMORY_BYTES_MAX: usize = 64 << 20;
/// Default of [`crate::AggregatorOptions::visible_timeout`]; less than clients wait for an ack.
pub const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines that an answer of the text door explains.
pub const ERRORS_SHOWN_MAX: usize = 100;
/// An `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

const _: () = assert!(STREAM_BYTES_MAX > BATCH_BYTES_MAX);
const _: () = assert!(HTTP_BYTES_MAX >= 2 * BATCH_BYTES_MAX);
const _: () = assert!(MEMORY_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(STREAM_BATCH_BYTES_MIN < STREAM_BYTES_MAX);
