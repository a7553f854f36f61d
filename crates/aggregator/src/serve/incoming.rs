//! Accepting: limits, socket settings and TLS handshakes, the same for every door.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures::Stream;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::ServeOptions;
use super::connection::{Connection, Io};
use super::gate::{Full, Gate};
use crate::limits::{ACCEPT_PAUSE, KEEP_ALIVE_AFTER, KEEP_ALIVE_EVERY, REFUSAL_TIMEOUT, REFUSALS_MAX};

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
content-type: application/json\r\ncontent-length: 53\r\n\r\n{\"error\":\"too many connections, connect again later\"}";

/// What a door speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    Http2,
}

/// Connections as they come, each within the limits of [`ServeOptions`], for tonic's `serve_with_incoming_shutdown`.
/// Give the server [`crate::limits::PING_EVERY`], [`crate::limits::PING_TIMEOUT`] and
/// [`crate::limits::STREAMS_PER_CONNECTION_MAX`] too. The stream does not end; dropping it closes the listener.
///
/// ```no_run
/// # use aggregator::{limits, ServeOptions, flight_incoming};
/// # async fn example(listener: tokio::net::TcpListener, router: tonic::service::Routes) -> Result<(), tonic::transport::Error> {
/// tonic::transport::Server::builder()
///     .http2_keepalive_interval(Some(limits::PING_EVERY))
///     .http2_keepalive_timeout(Some(limits::PING_TIMEOUT))
///     .max_concurrent_streams(limits::STREAMS_PER_CONNECTION_MAX)
///     .add_routes(router)
///     .serve_with_incoming_shutdown(flight_incoming(listener, ServeOptions::default()), std::future::pending())
///     .await
/// # }
/// ```
pub fn flight_incoming(
    listener: TcpListener,
    options: ServeOptions,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let incoming = Incoming::new(listener, options, Speaks::Http2);
    futures::stream::unfold(incoming, |mut incoming| async move {
        let connection = incoming.next().await;
        Some((Ok(connection), incoming))
    })
}

/// A listener with its limits.
pub(super) struct Incoming {
    listener: TcpListener,
    pub(super) options: ServeOptions,
    speaks: Speaks,
    gate: Arc<Gate>,
    handshakes: JoinSet<Option<Connection>>,
    refusals: JoinSet<()>,
    /// Set when the system had no connection to give.
    pause: bool,
}

impl Incoming {
    pub(super) fn new(listener: TcpListener, options: ServeOptions, speaks: Speaks) -> Self {
        Self {
            listener,
            speaks,
            gate: Gate::new(&options),
            options,
            handshakes: JoinSet::new(),
            refusals: JoinSet::new(),
            pause: false,
        }
    }

    /// The next one. May be dropped at any time.
    pub(super) async fn next(&mut self) -> Connection {
        loop {
            if self.pause {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                self.pause = false;
            }
            tokio::select! {
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return connection;
                    }
                }
                Some(_) = self.refusals.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        if let Some(connection) = self.let_in(stream, peer) {
                            return connection;
                        }
                    }
                    Err(error) if is_of_the_peer(&error) => {}
                    // Out of descriptors or memory: what is open may end.
                    Err(error) => {
                        tracing::warn!(%error, "connections cannot be accepted, trying again");
                        self.pause = true;
                    }
                },
            }
        }
    }

    fn let_in(&mut self, stream: TcpStream, peer: SocketAddr) -> Option<Connection> {
        let place = match self.gate.enter(peer.ip()) {
            Ok(place) => place,
            Err(full) => {
                self.refuse(stream, peer, full);
                return None;
            }
        };
        if let Err(error) = set_up(&stream) {
            tracing::debug!(%peer, %error, "a connection keeps the system's settings");
        }
        let addresses = stream.connect_info();
        let Some(tls) = &self.options.tls else {
            return Some(
                self.speaks
                    .connection(Io::Plain(stream), addresses, place, &self.options),
            );
        };
        let acceptor = match self.speaks {
            Speaks::Http1 => tls.http_acceptor(),
            Speaks::Http2 => tls.flight_acceptor(),
        };
        let (options, speaks) = (self.options.clone(), self.speaks);
        self.handshakes.spawn(async move {
            match timeout(options.handshake_timeout, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => {
                    Some(speaks.connection(Io::Tls(Box::new(stream)), addresses, place, &options))
                }
                Ok(Err(error)) => {
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    None
                }
                Err(_) => {
                    tracing::debug!(%peer, "TLS handshake took too long");
                    None
                }
            }
        });
        None
    }

    /// Tells whoever speaks plain HTTP/1.1 to come again, if few others are being told.
    fn refuse(&mut self, mut stream: TcpStream, peer: SocketAddr, full: Full) {
        tracing::debug!(%peer, ?full, "too many connections, one is closed");
        if self.speaks == Speaks::Http2 || self.options.tls.is_some() || self.refusals.len() >= REFUSALS_MAX {
            return;
        }
        self.refusals.spawn(async move {
            let refusal = async {
                stream.write_all(BUSY).await?;
                stream.shutdown().await?;
                // Closed with bytes unread, the connection would be reset, and the answer lost.
                let mut rest = [0; 1 << 10];
                while stream.read(&mut rest).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(REFUSAL_TIMEOUT, refusal).await;
        });
    }
}

impl Speaks {
    fn connection(
        self,
        io: Io,
        addresses: TcpConnectInfo,
        place: super::gate::Place,
        options: &ServeOptions,
    ) -> Connection {
        match self {
            Self::Http1 => Connection::http1(io, addresses, place, options),
            Self::Http2 => Connection::http2(io, addresses, place, options),
        }
    }
}

/// Acks are small, so nothing is held back to be sent together; a peer that is gone without a word is found out.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keep_alive = TcpKeepalive::new()
        .with_time(KEEP_ALIVE_AFTER)
        .with_interval(KEEP_ALIVE_EVERY);
    SockRef::from(stream).set_tcp_keepalive(&keep_alive)
}

/// The peer has gone again.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(
        error.kind(),
        K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused | K::Interrupted
    )
}
