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
//! | [`Dataset`] | where events of one dataset go in; never blocks, never loses, says [`ErrorKind::Full`] |
//! | [`Client::stream`] | a dataset's rows, history and live, with positions to go on from |
//! | [`Client::query`] | the rows of an SQL query |
//! | [`RemoteStore`] | a store of the server as a [`store::Store`] of JSON bytes |
//!
//! What was emitted is sent until the server acks it, under the same batch key, so it counts once. It is given up
//! only when the server says that it can never take it; [`Client::flush`] and [`Client::stats`] tell.
//!
//! Not here: server code, files (what is not acked dies with the process), TLS, authentication.

mod client;
mod dataset;
mod error;
mod ledger;
pub mod limits;
mod outbox;
mod read;
mod remote_store;
mod rows;
mod sender;
mod stats;

pub use client::{Client, ClientOptions, Clock};
pub use dataset::Dataset;
pub use error::{Error, ErrorKind, Result};
pub use remote_store::RemoteStore;
pub use stats::{AckLatency, ClientStats};
