//! Where a client's connections come from, if not from the system's TCP.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::{BoxFuture, FutureExt};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::codegen::Service;
use tonic::transport::Uri;

/// Bytes in both directions.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<C: AsyncRead + AsyncWrite + Send + Unpin> Connection for C {}

/// Opens connections: a function from the address of an endpoint (`http://host:port`, as it was given) to a
/// connection. For a Unix socket, a proxy, or a simulated network.
///
/// A connection is opened when there is something to send and none is open, and given up after 5 s. When the
/// function fails, the client tries again, or the next endpoint, as after any failure.
///
/// ```no_run
/// # use client::{ClientOptions, Connector};
/// use tokio::net::UnixStream;
/// let options = ClientOptions {
///     connector: Some(Connector::new(|_| UnixStream::connect("/run/sanderling.sock"))),
///     ..ClientOptions::new("http://local:8081")
/// };
/// ```
#[derive(Clone)]
pub struct Connector(Arc<Open>);

type Open = dyn Fn(String) -> BoxFuture<'static, io::Result<TokioIo<Box<dyn Connection>>>> + Send + Sync;

impl Connector {
    /// A connector that calls a function.
    pub fn new<C, Opening>(open: impl Fn(String) -> Opening + Send + Sync + 'static) -> Self
    where
        C: Connection + 'static,
        Opening: Future<Output = io::Result<C>> + Send + 'static,
    {
        Self(Arc::new(move |address| {
            let opening = open(address);
            async move { Ok(TokioIo::new(Box::new(opening.await?) as Box<dyn Connection>)) }.boxed()
        }))
    }

    /// The connector for one address.
    pub(crate) fn to(&self, address: &str) -> Dial {
        Dial {
            connector: self.clone(),
            address: address.to_owned(),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// Opens connections to one address.
pub(crate) struct Dial {
    connector: Connector,
    address: String,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Box<dyn Connection>>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        (self.connector.0)(self.address.clone())
    }
}
