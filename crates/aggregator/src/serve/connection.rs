//! One connection: bytes in and out, with time-outs on both, and its place at the door.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::ServeOptions;
use super::gate::Place;

/// What HTTP/2 begins with, in bytes (RFC 9113, section 3.4).
const PREFACE_BYTES: usize = 24;

/// A connection that a door has let in. Dropping it closes it and frees its place.
#[derive(Debug)]
pub struct Connection {
    io: Io,
    addresses: TcpConnectInfo,
    phase: Arc<Phase>,
    /// Bytes after which the head counts as read; `None`: whoever answers the request says so.
    head_left: Option<usize>,
    header_timeout: Duration,
    head: Option<Pin<Box<Sleep>>>,
    write_timeout: Option<Duration>,
    write: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

#[derive(Debug)]
pub(super) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is read of a connection now, shared with whoever answers.
#[derive(Debug)]
pub(super) struct Phase(AtomicU8);

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;

impl Phase {
    /// A request is being answered: its body has time-outs of its own.
    pub(super) fn busy(&self) {
        self.0.store(BUSY, Ordering::Relaxed);
    }

    /// The answer is over; the next byte begins a head.
    pub(super) fn idle(&self) {
        self.0.store(IDLE, Ordering::Relaxed);
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Connection {
    pub(super) fn http1(io: Io, addresses: TcpConnectInfo, place: Place, options: &ServeOptions) -> Self {
        Self {
            io,
            addresses,
            phase: Arc::new(Phase(AtomicU8::new(HEAD))),
            head_left: None,
            header_timeout: options.header_timeout,
            head: Some(Box::pin(tokio::time::sleep(options.header_timeout))),
            write_timeout: Some(options.write_timeout),
            write: None,
            _place: place,
        }
    }

    /// Its writes have no time-out: whoever takes nothing answers no ping.
    pub(super) fn http2(io: Io, addresses: TcpConnectInfo, place: Place, options: &ServeOptions) -> Self {
        Self {
            head_left: Some(PREFACE_BYTES),
            write_timeout: None,
            ..Self::http1(io, addresses, place, options)
        }
    }

    pub(super) fn phase(&self) -> Arc<Phase> {
        Arc::clone(&self.phase)
    }

    /// The address at the other end.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.addresses.remote_addr
    }

    fn read_bytes(&mut self, bytes: usize) {
        if self.phase.now() == IDLE && bytes > 0 {
            self.phase.0.store(HEAD, Ordering::Relaxed);
            self.head = Some(Box::pin(tokio::time::sleep(self.header_timeout)));
        }
        if let Some(left) = &mut self.head_left {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.phase.busy();
            }
        }
    }

    fn write_ended<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write = None;
            return polled;
        }
        let Some(timeout) = self.write_timeout else {
            return Poll::Pending;
        };
        let timer = self
            .write
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(timed_out("client does not read its answer")))
    }
}

fn timed_out(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if let Poll::Ready(outcome) = polled {
            self.read_bytes(buf.filled().len() - before);
            return Poll::Ready(outcome);
        }
        if self.phase.now() != HEAD {
            self.head = None;
            return Poll::Pending;
        }
        if let Some(head) = &mut self.head {
            ready!(head.as_mut().poll(cx));
            return Poll::Ready(Err(timed_out("header did not come in time")));
        }
        Poll::Pending
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Io::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        self.write_ended(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        self.write_ended(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Io::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        self.write_ended(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.io {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        };
        self.write_ended(cx, polled)
    }
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.addresses.clone()
    }
}
