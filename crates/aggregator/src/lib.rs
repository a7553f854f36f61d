//! The doors that receive batches, append them to the queue, and ack.
//!
//! | name | what it is |
//! |---|---|
//! | [`Aggregator`] | checks a batch against the limits, appends it, answers with a [`event::wire::PutAck`]; counts per dataset |
//! | [`do_put`] | the binary door: a stream of Arrow Flight messages in, a stream of acks out |
//! | [`Relay`] | a queue that passes batches on to another aggregator, and spools them while that is away |
//! | [`router`] | the text door: `POST /v1/datasets/{dataset}/events` with NDJSON or a JSON array |
//!
//! Payloads are forwarded as they were sent: rows are not decoded, lines are only skimmed. An ack means that the
//! queue has kept the batch; one that says `spooled` comes from a [`Relay`], and means that its own disk has.
//!
//! Not here: SQL, decoding, validation against a schema, authentication, TLS, listening on a port.

mod aggregator;
mod counters;
mod error;
mod http;
mod ipc;
pub mod limits;
mod lines;
mod put;
mod relay;

pub use aggregator::{Aggregator, AggregatorOptions, Clock, ReceivedAt};
pub use counters::DatasetCounts;
pub use error::{Error, ErrorKind, Result};
pub use http::router;
pub use put::do_put;
pub use relay::{Relay, RelayCounts, RelayOptions, RelayState};
