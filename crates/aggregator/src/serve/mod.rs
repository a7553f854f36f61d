//! Listening: who gets a connection, how many, and for how long without doing anything.
//!
//! | what a peer does | HTTP door ([`serve_http`]) | Flight door ([`flight_incoming`]) |
//! |---|---|---|
//! | connects, when the door or the peer's share is full | 503 with `Retry-After` (TLS: closed) | closed |
//! | does not end its TLS handshake | closed after `handshake_timeout` | the same |
//! | sends nothing at first | closed after `header_timeout` | the same, until the HTTP/2 preface is there |
//! | sends its header slowly | closed after `header_timeout` | ended by the ping, or an open stream |
//! | has had an answer and asks no more | closed after `idle_timeout` | may stay while it answers pings |
//! | pauses in a body, or sends it too slowly | 408 after `body_timeout`, or under `body_rate_min` | see below |
//! | does not read its answer | closed after `write_timeout` | ended by the ping |
//! | is gone without a word | TCP keep-alive | ping ([`limits::PING_EVERY`]), and TCP keep-alive |
//!
//! An open `DoPut` that sends nothing is legal: that is a calm client. One that stops in the middle of a message
//! holds its own stream and what it has sent of that message, nothing else; it stays as long as it answers pings, and
//! counts as one of its peer's connections.

mod body;
mod connection;
mod gate;
mod http;
mod incoming;
mod tls;

use std::time::Duration;

pub use connection::Connection;
pub use http::serve_http;
pub use incoming::flight_incoming;
pub use tls::{Tls, TlsOptions};

use crate::limits;

/// How a door treats its connections. Each door counts its own.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Connections that a door has at a time. Default: [`limits::CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// How many of them may come from one address (of IPv6: from one /64). Default:
    /// [`limits::CONNECTIONS_PER_PEER_MAX`].
    pub connections_per_peer_max: usize,
    /// From the first byte of a request (of a new connection: from its beginning) to the end of its header.
    /// Default: [`limits::HEADER_TIMEOUT`].
    pub header_timeout: Duration,
    /// From an answer's end to the next request; no shorter than `header_timeout`. Default: [`limits::IDLE_TIMEOUT`].
    pub idle_timeout: Duration,
    /// The longest pause in a body. Default: [`limits::BODY_TIMEOUT`].
    pub body_timeout: Duration,
    /// The bytes a second that a body must come with, after a first `body_timeout`; only time in which the
    /// server waits for the client counts. Default: [`limits::BODY_RATE_MIN`].
    pub body_rate_min: u32,
    /// The longest pause in which a client takes nothing of its answer. Default: [`limits::WRITE_TIMEOUT`].
    pub write_timeout: Duration,
    /// How long a TLS handshake may take. Default: [`limits::HANDSHAKE_TIMEOUT`].
    pub handshake_timeout: Duration,
    /// Speak TLS, and nothing else. Default: none.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: limits::CONNECTIONS_MAX,
            connections_per_peer_max: limits::CONNECTIONS_PER_PEER_MAX,
            header_timeout: limits::HEADER_TIMEOUT,
            idle_timeout: limits::IDLE_TIMEOUT,
            body_timeout: limits::BODY_TIMEOUT,
            body_rate_min: limits::BODY_RATE_MIN,
            write_timeout: limits::WRITE_TIMEOUT,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            tls: None,
        }
    }
}
