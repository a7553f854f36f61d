//! The maxima of the client; those of events and batches are in [`event::limits`].

use std::time::Duration;

use event::limits::{BATCH_BYTES_MAX, EVENT_BYTES_MAX};

/// Default of [`crate::ClientOptions::batch_bytes`].
pub const BATCH_BYTES: usize = 128 << 10;
/// Default of [`crate::ClientOptions::linger`].
pub const LINGER: Duration = Duration::from_millis(5);
/// Default of [`crate::ClientOptions::buffer_bytes_max`].
pub const BUFFER_BYTES_MAX: usize = 64 << 20;
/// Default of [`crate::ClientOptions::in_flight_bytes_max`].
pub const IN_FLIGHT_BYTES_MAX: usize = 16 << 20;
/// One answer of a server: a batch of a stream or a query, or the values of a store.
pub const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Keys that [`crate::RemoteStore`] asks for at a time; more are asked for in turn.
pub const STORE_KEYS_MAX: usize = 10_000;
/// Default of [`crate::ClientOptions::retry_min`].
pub const RETRY_MIN: Duration = Duration::from_millis(10);
/// Default of [`crate::ClientOptions::retry_max`].
pub const RETRY_MAX: Duration = Duration::from_secs(5);
/// Default of [`crate::ClientOptions::ack_timeout`].
pub const ACK_TIMEOUT: Duration = Duration::from_secs(30);
/// Default of [`crate::ClientOptions::return_after`].
pub const RETURN_AFTER: Duration = Duration::from_secs(60);
/// Endpoints of one client.
pub const ENDPOINTS_MAX: usize = 64;
/// A file with endpoints.
pub const ENDPOINTS_FILE_BYTES_MAX: u64 = 64 << 10;
/// Default of [`crate::SpoolOptions::bytes_max`].
pub const SPOOL_BYTES_MAX: u64 = 1 << 30;
/// A segment of a spool is followed by the next when it holds so many bytes, or a quarter of the spool.
pub const SPOOL_SEGMENT_BYTES_MAX: u64 = 16 << 20;
/// A batch in the spool with what stands around it.
pub const SPOOL_RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX + EVENT_BYTES_MAX;
/// Batches that a spool numbers over its life; files that say more are damaged.
pub const SPOOL_RECORDS_MAX: u64 = 1 << 62;
/// What of an event's text is diverted when it does not pass its check.
pub const DIVERTED_RAW_BYTES_MAX: usize = 64 << 10;
/// Default of [`crate::BatchFiles::bytes_max`].
pub const BATCH_FILE_BYTES_MAX: u64 = 128 << 20;
/// Default of [`crate::ClientOptions::flags_every`].
pub const FLAGS_EVERY: Duration = Duration::from_secs(30);

const _: () = assert!(BATCH_BYTES <= BATCH_BYTES_MAX);
const _: () = assert!(EVENT_BYTES_MAX < BUFFER_BYTES_MAX);
const _: () = assert!(BUFFER_BYTES_MAX < u32::MAX as usize);
