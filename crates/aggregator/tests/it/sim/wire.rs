//! Simulated TCP as the client and the server take it, with a cut now and then in the middle of what is sent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use turmoil::net::TcpStream;

use super::chance::Chance;

/// Whether connections are cut, and by what chance. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Scissors {
    pub(crate) on: Arc<AtomicBool>,
    pub(crate) cuts: Arc<AtomicU64>,
    chance: Arc<Mutex<Chance>>,
}

impl Scissors {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            on: Arc::default(),
            cuts: Arc::default(),
            chance: Arc::new(Mutex::new(chance)),
        }
    }

    /// How many bytes of a write still go out when the connection is cut there.
    fn cut(&self, side: Side, bytes: usize) -> Option<usize> {
        if !self.on.load(Ordering::SeqCst) {
            return None;
        }
        let mut chance = self.chance.lock().unwrap();
        chance.one_in(12).then(|| {
            self.cuts.fetch_add(1, Ordering::SeqCst);
            match side {
                Side::Client => chance.below(bytes as u64) as usize,
                Side::Server => chance.pick(&[0, 5, usize::MAX]).min(bytes),
            }
        })
    }
}

/// Which end of a connection it is. A server writes the date of the system's clock among its headers, in more or
/// fewer bytes: its writes are cut where that does not count, or else a world would not be the same each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One end of a connection.
pub(crate) struct Wire {
    /// `None` when it was cut.
    stream: Option<TcpStream>,
    side: Side,
    scissors: Scissors,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, side: Side, scissors: Scissors) -> Self {
        Self {
            stream: Some(stream),
            side,
            scissors,
        }
    }
}

impl Connected for Wire {
    type ConnectInfo = ();
    fn connect_info(&self) {}
}

fn was_cut<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            None => was_cut(),
            Some(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let cut = self.scissors.cut(self.side, bytes.len());
        let Some(stream) = &mut self.stream else {
            return was_cut();
        };
        match cut {
            None => Pin::new(stream).poll_write(context, bytes),
            Some(left) => {
                let _ = Pin::new(stream).poll_write(context, &bytes[..left]);
                self.stream = None;
                was_cut()
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            None => was_cut(),
            Some(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            None => was_cut(),
            Some(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
