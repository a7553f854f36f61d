//! The client library: emit events, read a dataset's stream, query, reach a server's stores.
//!
//! ```no_run
//! # async fn example() -> client::Result<()> {
//! let client = client::Client::connect(client::ClientOptions::new("http://127.0.0.1:8081"))?;
//! let orders = client.dataset("orders")?;
//! orders.emit(&serde_json::json!({ "order": 1, "price": 9.5 }))?;
//! client.flush().await?; // kept by the server
//! # Ok(())
//! # }
//! ```
//!
//! | name | what it is |
//! |---|---|
//! | [`Client`] | a connection (made lazily, made again when lost), one emitter, its memory bound and its counts |
//! | [`Dataset`] | where events of one dataset go in; `emit` never blocks |
//! | [`Client::stream`] | a dataset's rows, history and live, with positions to go on from |
//! | [`Client::query`] | the rows of an SQL query |
//! | [`Connector`] | where connections come from, if not from the system's TCP |
//! | [`RemoteStore`] | a store of the server as a [`store::Store`] of JSON bytes |
//! | [`DatasetOptions`] | what one dataset does when memory is full (refuse, drop, [spool](SpoolOptions)), how its events are checked, what their acks promise, and whether they are sent again |
//! | [`Acked`] | the ack of the batch that an event is in, as a future |
//! | [`FlagSource`] | where a client reads, again and again, where its events go ([`event::flags`]) |
//! | [`DatasetStats`] | what was counted of one dataset |
//! | [`Endpoints`], [`PutStream`] | a list of servers and one call of `DoPut`, for programs that pass on batches of others |
//!
//! What was emitted is sent until a server acks it, under the same batch key, so it counts once. It is given up
//! only when the server says that it can never take it, or when an option ([`Delivery::BestEffort`] above all) or
//! a flag says so; [`Client::flush`], [`Client::stats`] and [`Acked`] tell.
//!
//! A failure, or an ack that does not come in time, moves sending on to the next endpoint, where all that has no
//! ack is sent again, in order, under its keys; later it goes back to the first. *Once* holds as long as all
//! endpoints lead to one queue. If each has a queue of its own, what one had kept without an ack is kept by the
//! other as well. A server that acks with `spooled` (an edge whose queue is away) is not left until it acks without
//! that; with a spool not by the next process either.
//!
//! Without a spool, what is not acked dies with the process. With one, what was sealed is sent by the next process
//! that opens the folder, under the keys it had.
//!
//! A server may ask for a token ([`ClientOptions::token`]) and speak TLS (`https://` addresses, [`ClientTls`]). While it
//! does not let the client in, nothing is given up: the client goes on trying, and says so in its counts and the log.
//!
//! Not here: server code, tokens and certificates that change while the client lives, failover of reads, stores and
//! flags (they ask the first endpoint given), emitting with an [`Acked`] that also waits for room, files that a crash
//! left as `.tmp` (they stay: whole lines up to the last).

mod acked;
mod client;
mod connector;
mod credentials;
mod dataset;
mod endpoints;
mod error;
mod files;
mod flags;
mod ledger;
pub mod limits;
mod options;
mod outbox;
mod put;
mod read;
mod remote_store;
mod routed;
mod rows;
mod sender;
mod spool;
mod stats;
mod switch;
mod tracers;

pub use acked::{Acked, BatchAck};
pub use client::{Client, ClientOptions, Clock, Random};
pub use connector::{Connection, Connector};
pub use credentials::{ClientIdentity, ClientTls, Dialed, Secret};
pub use dataset::Dataset;
pub use endpoints::{Dial, Endpoints, back_off, is_there};
pub use error::{Error, ErrorKind, Result};
pub use flags::FlagSource;
pub use options::{
    DatasetOptions, Delivery, OnFull, OnInvalid, OnSpoolFull, SpoolOptions, SpoolSync, Validation,
    ValidationSchema,
};
pub use put::PutStream;
pub use remote_store::RemoteStore;
pub use stats::{ClientStats, DatasetStats, Dropped, Histogram, Times};
pub use switch::BatchFiles;
