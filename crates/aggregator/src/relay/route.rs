//! Which upstream a dataset's batches go to, and when.

use std::time::Duration;

use client::{PutStream, back_off, is_there};
use event::DatasetName;
use event::wire::PutAck;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tonic::Status;

use super::Shared;

/// The stream to the upstream whose turn it is, and the times of what comes next.
#[derive(Default)]
pub(super) struct Route {
    stream: Option<PutStream>,
    pub(super) upstream: String,
    turn: usize,
    /// Failures since the last answer.
    pub(super) failures: u32,
    pub(super) retry_at: Option<Instant>,
    /// When the stream is given up, unless an ack comes before.
    pub(super) ack_due: Option<Instant>,
    pub(super) return_at: Option<Instant>,
    probe: Option<BoxFuture<'static, bool>>,
    /// The preferred upstream is there: what is under way is waited for, then sending moves.
    pub(super) is_returning: bool,
    /// The last ack said `spooled`: the upstream is a relay itself, and nothing goes elsewhere until it acks without.
    pub(super) is_bound: bool,
}

impl Route {
    /// The open stream, or a new one to the upstream whose turn it is.
    pub(super) fn stream(
        &mut self,
        shared: &Shared,
        dataset: &DatasetName,
    ) -> client::Result<&mut PutStream> {
        if self.stream.is_none() {
            let list = shared.endpoints.list().0;
            let at = self.turn % list.len().max(1);
            if !self.is_bound {
                self.upstream = list.into_iter().nth(at).unwrap_or_default();
            }
            let channel = shared.endpoints.channel(&self.upstream)?;
            self.return_at = (at != 0 || shared.endpoints.may_change())
                .then(|| Instant::now() + shared.options.return_after);
            self.stream = Some(PutStream::open(channel, dataset.as_str()));
        }
        let name = self.upstream.as_str();
        self.stream
            .as_mut()
            .ok_or_else(|| client::Error::from(Status::internal(format!("no stream upstream={name}"))))
    }

    pub(super) fn drop_stream(&mut self) {
        self.stream = None;
        self.ack_due = None;
    }

    /// The next upstream has its turn, after a wait.
    pub(super) fn back_off(&mut self, shared: &Shared) {
        let upstreams = shared.endpoints.list().0.len().max(1);
        let waits = (shared.options.retry_min, shared.options.retry_max);
        let wait = back_off(self.failures, upstreams, waits, (shared.options.random)());
        self.retry_at = Some(Instant::now() + wait);
        self.failures = self.failures.saturating_add(1);
        if !self.is_bound {
            self.turn = (self.turn + 1) % upstreams;
        }
        self.is_returning = false;
    }

    /// Something was answered.
    pub(super) fn answered(&mut self, is_under_way: bool, ack_timeout: Duration) {
        self.failures = 0;
        self.ack_due = is_under_way.then(|| Instant::now() + ack_timeout);
    }

    /// Asks the preferred upstream, if it is not the one in use, whether it is there.
    pub(super) fn ask_preferred(&mut self, shared: &Shared) {
        self.return_at = Some(Instant::now() + shared.options.return_after);
        let preferred = shared.endpoints.list().0.into_iter().next().unwrap_or_default();
        if preferred != self.upstream
            && !self.is_bound
            && let Ok(channel) = shared.endpoints.channel(&preferred)
        {
            self.probe = Some(is_there(channel, shared.options.ack_timeout).boxed());
        }
    }

    pub(super) fn probed(&mut self, is_there: bool) {
        self.probe = None;
        self.is_returning = is_there && !self.is_bound;
    }

    /// Moves to the preferred upstream; nothing is under way.
    pub(super) fn move_back(&mut self) {
        self.is_returning = false;
        self.drop_stream();
        self.turn = 0;
    }

    /// The next answer of the stream and the outcome of the probe, whichever is first. Never, if there is neither.
    pub(super) async fn heard(&mut self) -> Heard {
        let answer = async {
            match &mut self.stream {
                None => std::future::pending().await,
                Some(stream) => Heard::Answer(stream.answer().await),
            }
        };
        let probed = async {
            match &mut self.probe {
                None => std::future::pending().await,
                Some(probe) => Heard::Probed(probe.await),
            }
        };
        tokio::select! {
            heard = answer => heard,
            heard = probed => heard,
        }
    }
}

/// What an upstream said.
pub(super) enum Heard {
    Answer(Result<PutAck, Status>),
    Probed(bool),
}

/// Returns at a time; never, without one.
pub(super) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
