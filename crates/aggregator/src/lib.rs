//! The doors that receive batches, append them to the queue, and ack.
//!
//! | name | what it is |
//! |---|---|
//! | [`Aggregator`] | checks a batch against the limits, appends it, answers with a [`event::wire::PutAck`]; counts per dataset |
//! | [`do_put`] | the binary door: a stream of Arrow Flight messages in, a stream of acks out |
//! | [`Relay`] | a queue that passes batches on to another aggregator, and spools them while that is away |
//! | [`router`] | the text door: NDJSON, JSON arrays, CloudEvents, Segment's calls and OTLP logs by HTTP |
//! | [`serve_http`], [`flight_incoming`] | listening, with time-outs and limits of connections ([`ServeOptions`]), and [`Tls`] |
//! | [`access`] | who may come in: tokens, scopes |
//!
//! Payloads are forwarded as they were sent: rows are not decoded, lines are only skimmed; other shapes are written
//! as NDJSON. An ack means that the queue has kept the batch, unless [`event::Durability`] says less or more; one that
//! says `spooled` comes from a [`Relay`], and means that its own disk has. [`Visibility`] is the port that knows what
//! queries see.
//!
//! What the doors hold in memory has one bound, shared fairly among datasets
//! ([`AggregatorOptions::memory_bytes_max`]); a dataset may have a [`Rate`].
//!
//! Not here: HTTP/2 at the text door, a time-out for what a handler does; OTLP by gRPC, its traces and metrics; what
//! browsers ask for before they send (CORS), and the handshake of CloudEvents' webhooks; remembering single events: what
//! is sent twice is known by its batch; SQL, decoding, validation against a schema.

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
