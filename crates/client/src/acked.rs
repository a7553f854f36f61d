//! The ack of one batch, as a future that each of its events can have.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use event::{DatasetName, Durability, EmitterId, Epoch, Sequence};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::Shared;

use crate::{Error, ErrorKind, Result};

/// A batch that the server has acked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchAck {
    /// Its dataset: that of the handle, or `<dataset>_invalid` for an event that was diverted.
    pub dataset: DatasetName,
    /// Whose batch it is.
    pub emitter: EmitterId,
    /// In which epoch of the emitter it was kept.
    pub epoch: Epoch,
    /// As which batch.
    pub sequence: Sequence,
    /// How many events it holds.
    pub events: u32,
    /// Whether an earlier send had brought it.
    pub duplicate: bool,
    /// What the ack promises.
    pub durability: Durability,
}

/// A future of the ack of what was emitted: of the batch that holds the event or, for rows that were cut into
/// several batches, of the last one, when all are acked. Dropping it takes nothing back.
///
/// It waits as long as the batch is sent again; bound it with a timeout if it must end.
///
/// # Errors
/// The first of its batches that is not acked ends it. `Invalid` and its like: the server refused the batch for
/// good. [`ErrorKind::NotSent`]: an option or a flag says that the event is not sent, or not again; the text says
/// which. `Closed`: the client's runtime has ended; with a spool, the next process sends the batch.
#[derive(Clone, Debug)]
#[must_use = "a future does nothing unless it is awaited; `emit` is cheaper when nobody waits"]
pub struct Acked {
    parts: VecDeque<Part>,
    refused: Option<Error>,
}

type Part = Shared<oneshot::Receiver<Result<BatchAck>>>;

impl Acked {
    pub(crate) fn of(parts: impl IntoIterator<Item = Acked>) -> Self {
        let parts = parts.into_iter().flat_map(|acked| acked.parts).collect();
        Self { parts, refused: None }
    }

    /// Of an event that is not sent.
    pub(crate) fn not_sent(why: impl std::fmt::Display) -> Self {
        Self {
            parts: VecDeque::new(),
            refused: Some(Error::new(ErrorKind::NotSent, why)),
        }
    }
}

impl Future for Acked {
    type Output = Result<BatchAck>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        while let Some(part) = self.parts.front_mut() {
            let outcome = ready!(part.poll_unpin(context));
            let outcome = outcome.unwrap_or_else(|_| Err(ended()));
            self.parts.pop_front();
            if outcome.is_err() || self.parts.is_empty() {
                return Poll::Ready(outcome);
            }
        }
        Poll::Ready(Err(self.refused.clone().unwrap_or_else(ended)))
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "client has ended before the ack came")
}

/// The sender's end of the [`Acked`]s of one batch. Dropped, they end as `Closed`.
#[derive(Debug)]
pub(crate) struct Notice(oneshot::Sender<Result<BatchAck>>);

impl Notice {
    pub(crate) fn new() -> (Self, Acked) {
        let (sender, receiver) = oneshot::channel();
        let acked = Acked {
            parts: VecDeque::from([receiver.shared()]),
            refused: None,
        };
        (Self(sender), acked)
    }

    /// Whether somebody may still wait for it.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.0.is_canceled()
    }

    pub(crate) fn tell(self, outcome: Result<BatchAck>) {
        // Nobody waits any more: all the futures were dropped.
        let _ = self.0.send(outcome);
    }
}
