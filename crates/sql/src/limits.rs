//! The maxima of queries and doors.

use std::time::Duration;

/// Bytes of a query's text.
pub const QUERY_BYTES_MAX: usize = 1 << 20;

/// Bytes of an HTTP body: a query, as text or quoted in JSON.
pub const BODY_BYTES_MAX: usize = 2 << 20;

/// Memory that all running queries hold together, by default; beyond it they spill or fail.
pub const QUERIES_MEMORY_BYTES: usize = 1 << 30;

/// Memory that one query holds, by default; beyond it its steps go on on disk, and those that cannot fail.
pub const QUERY_MEMORY_BYTES: usize = 512 << 20;

/// What all running queries have on disk, by default.
pub const SPILL_BYTES: u64 = 10 << 30;

/// How long a query runs, by default.
pub const QUERY_TIMEOUT: Duration = Duration::from_secs(300);

/// Queries that run at once, by default; one more is told to try again.
pub const QUERIES_RUNNING: usize = 64;

/// Characters of a query's text that a list of queries shows.
pub(crate) const QUERY_SHOWN_CHARS: usize = 10_000;

/// Postgres connections at once; one more is closed.
pub const POSTGRES_CONNECTIONS_MAX: usize = 256;

/// Bytes of a message of a Postgres client that was not let in yet.
pub(crate) const POSTGRES_STARTUP_BYTES_MAX: usize = 64 << 10;

/// Bytes of a message of a Postgres client: a query, or its parameters.
pub const POSTGRES_MESSAGE_BYTES_MAX: usize = 4 << 20;

/// How long a Postgres client may take to be let in.
pub(crate) const POSTGRES_STARTUP_TIMEOUT: Duration = Duration::from_secs(60);

/// Bytes of the parameters of a query by Flight SQL.
pub const PARAMETERS_BYTES_MAX: usize = 4 << 20;

/// The wait after a connection of the Postgres door that could not be accepted.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Pairs of a store that a query reads at once.
pub const STORE_PAGE_ROWS: usize = 4096;

/// Parts that `approx_quantiles` divides values into.
pub const QUANTILES_MAX: usize = 10_000;

/// Operators in a query's text: a thread's stack holds the tree that a chain of them makes.
pub const OPERATORS_MAX: usize = 4_000;

/// Arrays, structs and brackets in a query's text, for the same reason.
pub const TYPES_MAX: usize = 500;

const _: () = assert!(QUERY_BYTES_MAX < BODY_BYTES_MAX, "a body quotes a query");
const _: () = assert!(
    QUERY_BYTES_MAX < POSTGRES_MESSAGE_BYTES_MAX,
    "a message holds a query"
);
const _: () = assert!(
    QUERY_MEMORY_BYTES <= QUERIES_MEMORY_BYTES,
    "one query is one of all"
);
