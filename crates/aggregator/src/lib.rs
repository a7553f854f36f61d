//! The doors that receive batches, append them to the queue, and ack.
//!
//! | name | what it is |
//! |---|---|
//! | [`Aggregator`] | checks a batch against the limits, appends it, answers with a [`event::wire::PutAck`]; counts per dataset |
//! | [`do_put`] | the binary door: a stream of Arrow Flight messages in, a stream of acks out |
//! | [`router`] | the text door: NDJSON, JSON arrays, CloudEvents, Segment's calls and OTLP logs by HTTP |
//!
//! Payloads are forwarded as they were sent: rows are not decoded, lines are only skimmed; other shapes are written
//! as NDJSON. An ack means that the queue has kept the batch.
//!
//! Not here: OTLP by gRPC, its traces and metrics; what browsers ask for before they send (CORS), and the handshake
//! of CloudEvents' webhooks; remembering single events: what is sent twice is known by its batch. SQL, decoding, validation against a schema, authentication, TLS, listening on a port.

mod aggregator;
mod counters;
mod error;
mod http;
mod ipc;
pub mod limits;
mod lines;
mod put;

pub use aggregator::{Aggregator, AggregatorOptions, Clock};
pub use counters::DatasetCounts;
pub use error::{Error, ErrorKind, Result};
pub use http::router;
pub use put::do_put;
