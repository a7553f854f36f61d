//! The maxima of the doors; those of events and batches are in [`event::limits`].

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
/// The least of [`crate::AggregatorOptions::http_bytes_max`]: one body that is packed, unpacked and made into rows.
pub const HTTP_BYTES_MIN: usize = 64 << 20;
/// Rows that one request of the text door is made into; only log records, which each repeat what is said of
/// their resource, can be more than was sent.
pub const REQUEST_ROWS_BYTES_MAX: usize = 32 << 20;
/// Datasets that the events of one request may belong to.
pub const REQUEST_DATASETS_MAX: usize = 100;
/// The window of a zstd body, as the logarithm of its bytes.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 24;
/// Bodies that are unpacked at a time; each may hold a window of up to 16 MiB beside what it makes.
pub const UNPACKING_MAX: usize = 16;
/// One event of the Segment door, in bytes.
pub const SEGMENT_EVENT_BYTES_MAX: usize = 32 << 10;
/// One body of the Segment door, in bytes.
pub const SEGMENT_BODY_BYTES_MAX: usize = 500 << 10;
/// Fields of one object of the Segment door, at the top level.
pub const SEGMENT_FIELDS_MAX: usize = 1_000;
/// How deep the values of a log record may nest.
pub const LOG_VALUE_DEPTH_MAX: usize = 32;
/// What is said of a resource or a scope of log records, as JSON in bytes: each record repeats it.
pub const LOG_CONTEXT_BYTES_MAX: usize = 256 << 10;
/// Default of [`crate::AggregatorOptions::datasets_max`].
pub const DATASETS_MAX: usize = 10_000;
/// Lines that an answer of the text door explains.
pub const ERRORS_SHOWN_MAX: usize = 100;
/// Why an event is refused, in bytes; the rest is cut.
pub const REASON_BYTES_MAX: usize = 500;
/// An `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

const _: () = assert!(STREAM_BYTES_MAX > BATCH_BYTES_MAX);
const _: () = assert!(HTTP_BYTES_MAX >= HTTP_BYTES_MIN);
const _: () = assert!(HTTP_BYTES_MIN >= 2 * BATCH_BYTES_MAX + REQUEST_ROWS_BYTES_MAX);
const _: () = assert!(STREAM_BATCH_BYTES_MIN < STREAM_BYTES_MAX);
