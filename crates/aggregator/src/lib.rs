//! The doors that receive batches, append them to the queue, and ack.
//!
//! | name | what it is |
//! |---|---|
//! | [`Aggregator`] | checks a batch against the limits, appends it, answers with a [`event::wire::PutAck`]; counts per dataset |
//! | [`do_put`] | the binary door: a stream of Arrow Flight messages in, a stream of acks out |
//! | [`Relay`] | a queue that passes batches on to another aggregator, and spools them while that is away |
//! | [`router`] | the text door: NDJSON, JSON arrays, CloudEvents, Segment's calls and OTLP logs by HTTP |
//!
//! Payloads are forwarded as they were sent: rows are not decoded, lines are only skimmed; other shapes are written
//! as NDJSON. An ack means that the queue has kept the batch, unless [`event::Durability`] says less or more.
//! [`Visibility`] is the port that knows what queries see.
//!
//! Not here: OTLP by gRPC, its traces and metrics; what browsers ask for before they send (CORS), and the handshake of
//! CloudEvents' webhooks; remembering single events: what is sent twice is known by its batch; SQL, decoding,
//! validation against a schema.

pub mod access;
mod aggregator;
mod append;
mod counters;
mod error;
mod http;
mod ipc;
pub mod limits;
mod lines;
mod memory;
mod put;
mod rate;
mod relay;
mod reloaded;
mod serve;

pub use aggregator::{Aggregator, AggregatorOptions, Clock, ReceivedAt};
pub use append::Visibility;
pub use counters::DatasetCounts;
pub use error::{Error, ErrorKind, Result};
pub use http::router;
pub use put::do_put;
pub use rate::Rate;
pub use relay::{Relay, RelayCounts, RelayOptions, RelayState};
pub use serve::{Connection, ServeOptions, Tls, TlsOptions, flight_incoming, serve_http};
