//! The maxima of a server.

use std::time::Duration;

/// One message on Flight: a commit to a store at its largest; batches are smaller.
pub(crate) const FLIGHT_MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Pairs in one answer to `store.scan`.
pub(crate) const STORE_SCAN_PAIRS_MAX: usize = 10_000;
/// Keys that one query of a [`Remote::service`](crate::remote::Remote::service) asks for.
pub(crate) const SERVICE_KEYS_MAX: usize = 1_000;
/// How long a server that ends waits for its jobs to take what has been acked.
pub(crate) const DRAIN_WAIT_MAX: Duration = Duration::from_secs(20);
/// How often stores are made durable against a loss of power.
pub(crate) const STORES_PERSIST_EVERY: Duration = Duration::from_secs(1);
const _: () = assert!(aggregator::limits::FLIGHT_MESSAGE_BYTES_MAX <= FLIGHT_MESSAGE_BYTES_MAX);

/// Events that a tap holds for a client that is slow; further ones are dropped and counted.
pub(crate) const TAP_EVENTS_MAX: usize = 1_024;
