//! One Postgres connection, from its first byte to its end.
//!
//! What it may send in one message is bounded before anything of it is kept: little before it is let in, a query's
//! text and parameters after. When its client goes away while a query runs, the query ends with it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use datafusion_postgres::pgwire::api::{ClientInfo, NoopHandler, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{ErrorInfo, PgWireError};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use datafusion_postgres::pgwire::tokio::TlsAcceptor;
use datafusion_postgres::pgwire::tokio::server::{
    MaybeTls, PgWireMessageServerCodec, negotiate_tls, process_error, process_message,
};
use futures::StreamExt;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, FramedParts};

use super::handler::{Handlers, Prepared};
use crate::limits::{POSTGRES_MESSAGE_BYTES_MAX, POSTGRES_STARTUP_BYTES_MAX, POSTGRES_STARTUP_TIMEOUT};

type Socket = Framed<Bounded<MaybeTls>, PgWireMessageServerCodec<Prepared>>;

/// Serves one connection.
pub(crate) async fn serve(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    handlers: Arc<Handlers>,
) -> io::Result<()> {
    let socket = socket.into_std()?;
    let (watched, socket) = (
        TcpStream::from_std(socket.try_clone()?)?,
        TcpStream::from_std(socket)?,
    );
    let late = tokio::time::sleep(POSTGRES_STARTUP_TIMEOUT);
    tokio::pin!(late);
    let socket = tokio::select! {
        () = &mut late => return Ok(()),
        socket = negotiate_tls::<Prepared>(socket, tls) => socket?,
    };
    let Some(socket) = socket else { return Ok(()) };
    let old = socket.into_parts();
    let mut parts = FramedParts::new::<PgWireBackendMessage>(Bounded::new(old.io), old.codec);
    parts.read_buf = old.read_buf;
    parts.write_buf = old.write_buf;
    let mut socket = Framed::from_parts(parts);
    loop {
        let starting = is_starting(&socket);
        socket.get_mut().next_message(match starting {
            true => POSTGRES_STARTUP_BYTES_MAX,
            false => POSTGRES_MESSAGE_BYTES_MAX,
        });
        let message = tokio::select! {
            () = &mut late, if starting => return Ok(()),
            message = socket.next() => message,
        };
        match message {
            None | Some(Ok(PgWireFrontendMessage::Terminate(_))) => return Ok(()),
            Some(Ok(message)) => {
                // A request to cancel may come from a client that does not wait for its end.
                tokio::select! {
                    done = answer(message, &mut socket, &handlers) => done?,
                    () = gone(&watched), if !starting => return Ok(()),
                }
            }
            Some(Err(error)) => {
                let told = ErrorInfo::new("FATAL".to_owned(), "08P01".to_owned(), error.to_string());
                return process_error(&mut socket, PgWireError::UserError(Box::new(told)), false).await;
            }
        }
    }
}

fn is_starting(socket: &Socket) -> bool {
    use PgWireConnectionState as S;
    matches!(
        socket.state(),
        S::AwaitingSslRequest | S::AwaitingStartup | S::AuthenticationInProgress
    )
}

async fn answer(
    message: PgWireFrontendMessage,
    socket: &mut Socket,
    handlers: &Arc<Handlers>,
) -> io::Result<()> {
    let is_extended = message.is_extended_query();
    let answered = process_message(
        message,
        socket,
        handlers.startup(),
        handlers.queries(),
        handlers.queries(),
        Arc::new(NoopHandler),
        handlers.connections(),
    );
    match answered.await {
        Ok(()) => Ok(()),
        Err(error) => process_error(socket, error, is_extended).await,
    }
}

/// Done when the other side sends nothing more. It sees the same socket, and takes nothing that is for its reader.
async fn gone(socket: &TcpStream) {
    loop {
        match socket.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {
                // Something else came: wait for the next.
                let again: io::Result<()> =
                    socket.try_io(Interest::READABLE, || Err(io::ErrorKind::WouldBlock.into()));
                drop(again);
            }
            _ => return,
        }
    }
}

/// A socket that gives no more than so many bytes between two messages, and what its reader has room for.
struct Bounded<T> {
    inner: T,
    left: usize,
    bytes_max: usize,
}

impl<T> Bounded<T> {
    fn new(inner: T) -> Self {
        Self {
            inner,
            left: 0,
            bytes_max: 0,
        }
    }

    /// The message before is done with; the next may have so many bytes.
    fn next_message(&mut self, bytes_max: usize) {
        self.left = bytes_max;
        self.bytes_max = bytes_max;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Bounded<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let text = format!("a message is too long bytes_max={}", self.bytes_max);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        read
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Bounded<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
