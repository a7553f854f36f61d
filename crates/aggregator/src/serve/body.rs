//! Bodies on the clock: one that is being sent, and the answer after which a connection is idle.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::time::{Instant, Sleep};

use super::connection::Phase;

/// A request's body that ends with an error when it comes too slowly. Only the time counts in which the server
/// waits for the client: a handler that reads slowly, or not yet, is not the client's fault.
pub(super) struct Paced {
    body: Incoming,
    pause_max: Duration,
    rate_min: u32,
    bytes: u64,
    waited: Duration,
    /// When the wait for the next bytes began, and what ends it.
    waiting: Option<(Instant, Pin<Box<Sleep>>)>,
    too_slow: Arc<AtomicBool>,
}

/// The client sends its body too slowly.
#[derive(Debug)]
pub(super) struct TooSlow;

impl fmt::Display for TooSlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("body comes too slowly, send it in smaller requests")
    }
}

impl std::error::Error for TooSlow {}

impl Paced {
    /// `too_slow` is set when it was.
    pub(super) fn new(body: Incoming, pause_max: Duration, rate_min: u32, too_slow: Arc<AtomicBool>) -> Self {
        Self {
            body,
            pause_max,
            rate_min,
            bytes: 0,
            waited: Duration::ZERO,
            waiting: None,
            too_slow,
        }
    }

    /// How long the next bytes may take.
    fn patience(&self) -> Duration {
        let by_rate = match self.rate_min {
            0 => Duration::MAX,
            rate => Duration::from_millis(self.bytes.saturating_mul(1_000) / u64::from(rate)),
        };
        let left = self.pause_max.saturating_add(by_rate).saturating_sub(self.waited);
        left.min(self.pause_max)
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            if let Some((since, _)) = self.waiting.take() {
                self.waited += since.elapsed();
            }
            if let Some(Ok(frame)) = &frame {
                self.bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = self.patience();
        let (_, timer) = self
            .waiting
            .get_or_insert_with(|| (Instant::now(), Box::pin(tokio::time::sleep(patience))));
        match timer.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body; when it is dropped, the connection is idle.
pub(super) struct Answer {
    pub(super) body: Body,
    pub(super) phase: Arc<Phase>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.phase.idle();
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
