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
/// Default of [`crate::AggregatorOptions::memory_bytes_max`]: bodies and batches without an ack, over all doors.
/// The dictionaries that open `DoPut` streams have sent, and what the system holds of connections, are beside it; and
/// where [`crate::Aggregator::meter`] is not used, a message for each stream that is being read.
pub const MEMORY_BYTES_MAX: usize = 512 << 20;
/// The least it may be: one body that is packed, unpacked and made into rows, and as much for others, since a
/// dataset gets no more than it leaves free.
pub const MEMORY_BYTES_MIN: usize = 2 * (2 * BATCH_BYTES_MAX + REQUEST_ROWS_BYTES_MAX);
/// Default of [`crate::AggregatorOptions::memory_wait_max`].
pub const MEMORY_WAIT_MAX: Duration = Duration::from_secs(10);
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
/// Default of [`crate::AggregatorOptions::early_bytes_max`].
pub const EARLY_BYTES_MAX: usize = 64 << 20;
/// Default of [`crate::AggregatorOptions::visible_timeout`]; less than clients wait for an ack.
pub const VISIBLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines that an answer of the text door explains.
pub const ERRORS_SHOWN_MAX: usize = 100;
/// Why an event is refused, in bytes; the rest is cut.
pub const REASON_BYTES_MAX: usize = 500;
/// An `Idempotency-Key`, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// Default of [`crate::RelayOptions::window_bytes`]: payload of one dataset under way to the upstream.
pub const RELAY_WINDOW_BYTES: usize = 16 << 20;
/// Default of [`crate::RelayOptions::held_bytes_max`]: payload of one dataset that a relay has not answered.
pub const RELAY_HELD_BYTES_MAX: usize = 64 << 20;
/// What a batch that a relay holds counts beside its payload.
pub const RELAY_BATCH_OVERHEAD_BYTES: usize = 256;
/// Default of [`crate::RelayOptions::spool_bytes_max`].
pub const RELAY_SPOOL_BYTES_MAX: u64 = 10 << 30;
/// Segments of a relay's spool: what is replayed is deleted in pieces of this size.
pub const RELAY_SEGMENT_BYTES: u64 = 16 << 20;
/// Default of [`crate::RelayOptions::spool_after`].
pub const RELAY_SPOOL_AFTER: Duration = Duration::from_secs(1);
/// Default of [`crate::RelayOptions::ack_timeout`].
pub const RELAY_ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Emitters whose turned away batch one dataset of a relay remembers, for [`RELAY_AWAITED_TIME`].
pub const RELAY_AWAITED_MAX: usize = 100_000;
/// How long such a batch is waited for at least: by then those behind it that were on their way have come. At most twice
/// that, from when nothing before it waits for its answer.
pub const RELAY_AWAITED_TIME: Duration = Duration::from_secs(10);

/// Default of [`crate::ServeOptions::connections_max`]. Each takes a file descriptor: see `ulimit -n`.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Default of [`crate::ServeOptions::connections_per_peer_max`].
pub const CONNECTIONS_PER_PEER_MAX: usize = 1_024;
/// Default of [`crate::ServeOptions::header_timeout`].
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`crate::ServeOptions::idle_timeout`].
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Default of [`crate::ServeOptions::body_timeout`].
pub const BODY_TIMEOUT: Duration = Duration::from_secs(15);
/// Default of [`crate::ServeOptions::body_rate_min`], in bytes a second.
pub const BODY_RATE_MIN: u32 = 1 << 10;
/// Default of [`crate::ServeOptions::write_timeout`].
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of [`crate::ServeOptions::handshake_timeout`].
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What a header of HTTP/1.1 may hold, in bytes; a larger one is answered with 431.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// What is read at a time of an HTTP/1.1 connection, in bytes.
pub const READ_BYTES_MAX: usize = 128 << 10;
/// Of the Flight door: how often a peer is pinged that sends nothing …
pub const PING_EVERY: Duration = Duration::from_secs(20);
/// … and how long it has to answer.
pub const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// Calls that one Flight connection may have open at a time; more wait at the client.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// When a silent TCP connection is first probed …
pub(crate) const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(60);
/// … and how often then.
pub(crate) const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Connections beyond the limit that are told so at a time; others are only closed.
pub(crate) const REFUSALS_MAX: usize = 64;
/// How long telling may take.
pub(crate) const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The wait after the system had no connection to give.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often files that are read again when they change are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked whether a stream's token is still good.
pub const ACCESS_LOOK_EVERY: Duration = Duration::from_secs(10);
/// Tokens of a file; a request is compared with each.
pub const TOKENS_MAX: usize = 1_000;
/// A file of tokens.
pub const TOKENS_BYTES_MAX: u64 = 1 << 20;
/// A file of certificates or keys.
pub const PEM_BYTES_MAX: u64 = 1 << 20;

const _: () = assert!(RELAY_HELD_BYTES_MAX >= RELAY_WINDOW_BYTES + BATCH_BYTES_MAX);
const _: () = assert!(STREAM_BYTES_MAX > BATCH_BYTES_MAX);
const _: () = assert!(EARLY_BYTES_MAX >= BATCH_BYTES_MAX);
const _: () = assert!(CONNECTIONS_PER_PEER_MAX <= CONNECTIONS_MAX);
const _: () = assert!(HEADER_BYTES_MAX <= READ_BYTES_MAX);
const _: () = assert!(MEMORY_BYTES_MAX >= MEMORY_BYTES_MIN);
const _: () = assert!(STREAM_BATCH_BYTES_MIN < STREAM_BYTES_MAX);
