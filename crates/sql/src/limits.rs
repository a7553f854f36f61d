//! The maxima of queries and doors.

use std::time::Duration;

/// Bytes of a query's text.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// Bytes of an HTTP body: a query, as text or quoted in JSON.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// Memory that all running queries hold together, by default; beyond it they spill or fail.
pub const QUERY_MEMORY_BYTES: usize = 1 << 30;

/// Queries that run at once, by default; one more is told to try again.
pub const QUERIES_RUNNING: usize = 64;

/// Postgres connections at once; one more is closed.
pub const POSTGRES_CONNECTIONS_MAX: usize = 256;

/// The wait after a connection of the Postgres door that could not be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Pairs of a store that a query reads at once.
pub const STORE_PAGE_ROWS: usize = 4096;

/// Parts that `approx_quantiles` divides values into.
pub const QUANTILES_MAX: usize = 10_000;

const _: () = assert!(QUERY_BYTES_MAX < BODY_BYTES_MAX, "a body quotes a query");
