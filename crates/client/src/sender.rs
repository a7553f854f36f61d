//! The loop that sends one dataset's batches and takes their acks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use event::EmitterId;
use event::wire::PutAck;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::client::Random;
use crate::endpoints::{Endpoints, back_off, is_there};
use crate::ledger::{Ledger, Numbered};
use crate::options::OnSpoolFull;
use crate::outbox::{Outbox, Sealed};
use crate::put::PutStream;
use crate::spool::{Refusal, Spool};
use crate::stats::add;
use crate::{Error, ErrorKind};

/// What a sender needs to know.
pub(crate) struct SenderOptions {
    pub(crate) endpoints: Arc<Endpoints>,
    pub(crate) emitter: EmitterId,
    pub(crate) in_flight_bytes_max: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) return_after: Duration,
    pub(crate) random: Random,
    /// The spool, and what is done with what it does not take.
    pub(crate) spool: Option<(Spool, OnSpoolFull)>,
}

/// Sends until the outbox is over and all is acked or given up.
pub(crate) async fn run(outbox: Arc<Outbox>, mut options: SenderOptions) {
    let (spool, on_full) = match options.spool.take() {
        Some((spool, on_full)) => (Some(spool), on_full),
        None => (None, OnSpoolFull::Wait),
    };
    let bound_to = spool
        .as_ref()
        .and_then(|spool| spool.bound_to().map(str::to_owned));
    let sender = Sender {
        outbox,
        options,
        ledger: Ledger::default(),
        has_spool: spool.is_some(),
        spool,
        on_full,
        unspooled: VecDeque::new(),
        spool_at: None,
        read_at: None,
        stream: None,
        is_bound: bound_to.is_some(),
        endpoint: bound_to.unwrap_or_default(),
        turn: 0,
        attempts: 0,
        retry_at: None,
        ack_due: None,
        return_at: None,
        probe: None,
        returning: false,
    };
    if sender.run().await.is_none() {
        tracing::debug!("sender ends with its runtime");
    }
}

struct Sender {
    outbox: Arc<Outbox>,
    options: SenderOptions,
    ledger: Ledger,
    has_spool: bool,
    /// Away while a thread works on it.
    spool: Option<Spool>,
    on_full: OnSpoolFull,
    /// Sealed batches that the spool has not taken yet.
    unspooled: VecDeque<Sealed>,
    /// When a disk that failed to write is tried again.
    spool_at: Option<Instant>,
    /// When one that failed to read is: what can be read is sent though nothing can be written.
    read_at: Option<Instant>,
    stream: Option<PutStream>,
    /// Where the stream leads.
    endpoint: String,
    /// Which endpoint of the list is next.
    turn: usize,
    /// Failures since the last ack.
    attempts: u32,
    retry_at: Option<Instant>,
    /// When the stream is given up, unless an ack comes before.
    ack_due: Option<Instant>,
    /// When the preferred endpoint is asked whether it is there.
    return_at: Option<Instant>,
    probe: Option<BoxFuture<'static, bool>>,
    /// The preferred endpoint is there: what is under way is waited for, then sending moves.
    returning: bool,
    /// The last ack said `spooled`: the endpoint in use has on its own disk what it acked, so nothing goes to another
    /// one until it acks without that.
    is_bound: bool,
}

impl Sender {
    /// `None` when the runtime ends first.
    async fn run(mut self) -> Option<()> {
        loop {
            self.take().await?;
            self.move_back();
            self.send(Instant::now());
            if self.is_over() {
                return self.on_spool(|spool| spool.close()).await.map(|_| ());
            }
            let (due, retry_at, ack_due) = (self.outbox.due(), self.retry_at, self.ack_due);
            let (spool_at, read_at, return_at) = (self.spool_at, self.read_at, self.return_at);
            // In this order, so that a run can be repeated. What comes first is done with when it has come once; an
            // ack that is there is not late.
            tokio::select! {
                biased;
                () = until(due) => {}
                () = until(retry_at) => self.retry_at = None,
                () = until(spool_at) => self.spool_at = None,
                () = until(read_at) => self.read_at = None,
                () = until(return_at) => self.ask_preferred(),
                is_there = probed(&mut self.probe) => self.probed(is_there),
                answer = next_answer(&mut self.stream) => self.answered(answer).await?,
                () = until(ack_due) => self.timed_out().await?,
                () = self.outbox.woken() => {}
            }
        }
    }

    fn is_over(&self) -> bool {
        self.ledger.is_empty()
            && self.unspooled.is_empty()
            && !self.spool.as_ref().is_some_and(Spool::has_unread)
            && self.outbox.is_over()
    }

    /// Takes what is sealed: into the spool if there is one, and from there or at once into the ledger.
    async fn take(&mut self) -> Option<()> {
        let sealed = self.outbox.take(Instant::now());
        if !self.has_spool {
            for batch in sealed {
                self.ledger.push(batch);
            }
            return Some(());
        }
        if self.spool_at.is_none()
            && self.spool.as_ref().is_some_and(Spool::is_unsettled)
            && let Some(Err(error)) = self.on_spool(Spool::settle).await?
        {
            self.spool_at = Some(self.spool_failed(&Error::new(ErrorKind::Retry, error)));
        }
        self.unspooled.extend(sealed);
        if self.spool_at.is_none() && !self.unspooled.is_empty() {
            self.fill_spool().await?;
        }
        self.read_spool().await
    }

    /// Fills the ledger from the spool, up to what may be under way.
    async fn read_spool(&mut self) -> Option<()> {
        let bytes_max = self
            .options
            .in_flight_bytes_max
            .saturating_sub(self.ledger.bytes());
        let is_due = bytes_max > 0 && self.read_at.is_none();
        if !is_due || !self.spool.as_ref().is_some_and(Spool::has_unread) {
            return Some(());
        }
        let (read, error) = self.on_spool(move |spool| spool.read_up_to(bytes_max)).await??;
        for read in read {
            self.ledger.push_numbered(Numbered {
                epoch: read.epoch,
                sequence: read.sequence,
                record: Some(read.record),
                batch: read.batch,
                sends: 0,
            });
        }
        if let Some(error) = error {
            self.read_at = Some(self.spool_failed(&error));
        }
        Some(())
    }

    async fn fill_spool(&mut self) -> Option<()> {
        loop {
            let mut batches = std::mem::take(&mut self.unspooled);
            let sizes: Vec<usize> = batches.iter().map(|batch| batch.bytes).collect();
            let (outcome, left) = self
                .on_spool(move |spool| (spool.append(&mut batches), batches))
                .await??;
            let taken = sizes.len() - left.len();
            self.outbox.release(sizes[..taken].iter().sum());
            add(&self.outbox.counts.spooled, taken as u64);
            self.unspooled = left;
            match outcome {
                Ok(()) => return Some(()),
                Err(Refusal::Full) => self
                    .outbox
                    .counts
                    .went_wrong(format!("{}: spool is full", self.outbox.name)),
                Err(Refusal::Disk(error)) => {
                    let error =
                        Error::new(ErrorKind::Retry, format_args!("spool cannot be written: {error}"));
                    self.spool_at = Some(self.spool_failed(&error));
                }
            }
            match self.on_full {
                // Room comes with an ack, and a disk that failed is tried again in time.
                OnSpoolFull::Wait => return Some(()),
                OnSpoolFull::DropNewest => match self.unspooled.pop_front() {
                    None => return Some(()),
                    Some(batch) => {
                        add(&self.outbox.counts.spool_dropped, u64::from(batch.events));
                        self.outbox.release(batch.bytes);
                        self.outbox.finish(&batch, None);
                    }
                },
            }
        }
    }

    /// Counts a failure of the disk, and says when to try again.
    fn spool_failed(&self, error: &Error) -> Instant {
        add(&self.outbox.counts.spool_errors, 1);
        self.outbox
            .counts
            .went_wrong(format!("{}: {error}", self.outbox.name));
        Instant::now() + self.options.retry_max
    }

    /// Does something with the spool on a thread that may block. The outer `None`: the runtime ends; the inner:
    /// there is no spool.
    async fn on_spool<T: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Spool) -> T + Send + 'static,
    ) -> Option<Option<T>> {
        let Some(mut spool) = self.spool.take() else {
            return Some(None);
        };
        let work = tokio::task::spawn_blocking(move || {
            let outcome = act(&mut spool);
            (spool, outcome)
        });
        let (spool, outcome) = work.await.ok()?;
        let bytes = spool.bytes();
        self.outbox
            .counts
            .spool_bytes
            .store(bytes, std::sync::atomic::Ordering::Relaxed);
        self.spool = Some(spool);
        Some(Some(outcome))
    }

    fn send(&mut self, now: Instant) {
        let must_settle = self.spool.as_ref().is_some_and(Spool::is_between_epochs);
        if !self.ledger.has_unsent()
            || (self.returning && !self.is_bound)
            || must_settle
            || self.retry_at.is_some_and(|at| at > now)
        {
            return;
        }
        self.retry_at = None;
        if self.stream.is_none() {
            match self.connect() {
                Ok(stream) => self.stream = Some(stream),
                Err(error) => {
                    self.outbox
                        .counts
                        .went_wrong(format!("{}: {error}", self.outbox.name));
                    return self.back_off();
                }
            }
        }
        let was_idle = !self.ledger.is_under_way();
        let Some(stream) = &mut self.stream else {
            return;
        };
        while let Some(numbered) = self.ledger.send(self.options.in_flight_bytes_max) {
            if numbered.sends > 1 {
                add(&self.outbox.counts.retried, 1);
            }
            stream.send(self.options.emitter, numbered);
        }
        if was_idle && self.ledger.is_under_way() {
            self.ack_due = Some(now + self.options.ack_timeout);
        }
    }

    /// A stream to the endpoint whose turn it is.
    fn connect(&mut self) -> crate::Result<PutStream> {
        let list = self.endpoints();
        let at = self.turn % list.len().max(1);
        if !self.is_bound {
            self.endpoint = list.get(at).cloned().unwrap_or_default();
        }
        let is_preferred = list.first() == Some(&self.endpoint);
        let channel = self.options.endpoints.channel(&self.endpoint)?;
        self.outbox.counts.sends_to(&self.endpoint);
        self.return_at = (!is_preferred || self.options.endpoints.may_change())
            .then(|| Instant::now() + self.options.return_after);
        Ok(PutStream::open(channel, self.outbox.name.as_str()))
    }

    fn endpoints(&self) -> Vec<String> {
        let (list, wrong) = self.options.endpoints.list();
        if let Some(error) = wrong {
            self.outbox.counts.went_wrong(error.to_string());
        }
        list
    }

    /// Asks the preferred endpoint, if it is not the one in use, for anything: its answer shows that it is there.
    fn ask_preferred(&mut self) {
        self.return_at = Some(Instant::now() + self.options.return_after);
        let preferred = self.endpoints().into_iter().next().unwrap_or_default();
        if preferred == self.endpoint || self.is_bound {
            return;
        }
        if let Ok(channel) = self.options.endpoints.channel(&preferred) {
            self.probe = Some(is_there(channel, self.options.ack_timeout).boxed());
        }
    }

    fn probed(&mut self, is_there: bool) {
        self.probe = None;
        self.returning = is_there;
    }

    /// Moves to the preferred endpoint when nothing is under way any more.
    fn move_back(&mut self) {
        if self.returning && !self.is_bound && !self.ledger.is_under_way() {
            self.returning = false;
            self.stream = None;
            self.turn = 0;
        }
    }

    async fn answered(&mut self, answer: Result<PutAck, Status>) -> Option<()> {
        match answer {
            Ok(ack) => match self.ledger.ack(&ack) {
                Some(numbered) => {
                    self.bind(ack.spooled).await?;
                    self.acked(&numbered, &ack);
                    self.finish(&numbered, None);
                    Some(())
                }
                None => {
                    let text = format!("ack is not of the oldest batch sequence={}", ack.sequence.0);
                    self.failed(Status::internal(text)).await
                }
            },
            Err(status) => self.failed(status).await,
        }
    }

    /// Stays with the endpoint that has the batch on its own disk, or is free to go. Written down before the batch counts
    /// as acked, if there is a spool.
    async fn bind(&mut self, spooled: bool) -> Option<()> {
        if self.is_bound == spooled {
            return Some(());
        }
        self.is_bound = spooled;
        let endpoint = spooled.then(|| self.endpoint.clone());
        if let Some(Err(error)) = self.on_spool(move |spool| spool.bind(endpoint)).await? {
            self.spool_failed(&Error::new(ErrorKind::Retry, error));
        }
        Some(())
    }

    fn acked(&mut self, numbered: &Numbered, ack: &PutAck) {
        let counts = &self.outbox.counts;
        self.attempts = 0;
        self.ack_due = self
            .ledger
            .is_under_way()
            .then(|| Instant::now() + self.options.ack_timeout);
        add(&counts.acked, u64::from(numbered.batch.events));
        add(&counts.batches, 1);
        add(&counts.bytes, numbered.batch.bytes as u64);
        add(&counts.duplicates, u64::from(ack.duplicate));
        counts.ack_us.took(numbered.batch.emitted.elapsed());
    }

    /// The batch is acked or given up: it goes from the spool, or its room goes back.
    fn finish(&mut self, numbered: &Numbered, refused: Option<Error>) {
        match numbered.record {
            None => self.outbox.release(numbered.batch.bytes),
            Some(record) => {
                if let Some(spool) = &mut self.spool {
                    spool.finish(record);
                }
            }
        }
        self.outbox.finish(&numbered.batch, refused);
    }

    async fn timed_out(&mut self) -> Option<()> {
        add(&self.outbox.counts.timeouts, 1);
        // The connection may be dead without saying so.
        self.options.endpoints.forget(&self.endpoint);
        let text = format!("no ack for {:?}", self.options.ack_timeout);
        self.failed(Status::deadline_exceeded(text)).await
    }

    /// The stream has ended. Acks come in order, so the failure is about the oldest batch under way, if it is
    /// about a batch at all.
    async fn failed(&mut self, status: Status) -> Option<()> {
        self.stream = None;
        self.ack_due = None;
        if !self.ledger.is_under_way() {
            // A stream that nothing was sent on: the server has gone, or has had enough of waiting.
            return Some(());
        }
        let (name, code) = (&self.outbox.name, status.code());
        let text = format!(
            "{name}: {} code={code:?} endpoint={}",
            status.message(),
            self.endpoint
        );
        tracing::debug!("put stream ended: {text}");
        self.outbox.counts.went_wrong(text);
        match code {
            Code::InvalidArgument | Code::OutOfRange => {
                let refused = self.ledger.refuse();
                self.ledger.lost_stream();
                if let Some(numbered) = refused {
                    add(&self.outbox.counts.refused, u64::from(numbered.batch.events));
                    self.finish(&numbered, Some(Error::from(status)));
                }
            }
            Code::FailedPrecondition if self.ledger.in_conflict().is_some() => self.renumber().await?,
            _ => {
                self.ledger.lost_stream();
                self.back_off();
            }
        }
        Some(())
    }

    /// A new epoch for all that is not acked; in the spool before anything is sent in it.
    async fn renumber(&mut self) -> Option<()> {
        let record = self.ledger.in_conflict().and_then(|oldest| oldest.record);
        let epoch = match record {
            None => self.ledger.next_epoch(),
            Some(record) => match self.on_spool(move |spool| spool.renumber(record)).await?? {
                Ok(epoch) => epoch,
                Err(error) => {
                    self.outbox.counts.went_wrong(format!("spool: {error}"));
                    self.ledger.lost_stream();
                    self.back_off();
                    return Some(());
                }
            },
        };
        self.ledger.renumber(epoch);
        add(&self.outbox.counts.epochs, 1);
        Some(())
    }

    /// The next endpoint has its turn, after a wait; the same one while it alone has batches that it acked.
    fn back_off(&mut self) {
        let endpoints = self.options.endpoints.list().0.len().max(1);
        let waits = (self.options.retry_min, self.options.retry_max);
        let wait = back_off(self.attempts, endpoints, waits, (self.options.random)());
        self.retry_at = Some(Instant::now() + wait);
        self.attempts = self.attempts.saturating_add(1);
        if !self.is_bound {
            self.turn = (self.turn + 1) % endpoints;
        }
        self.returning = false;
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn next_answer(stream: &mut Option<PutStream>) -> Result<PutAck, Status> {
    match stream {
        None => std::future::pending().await,
        Some(stream) => stream.answer().await,
    }
}

async fn probed(probe: &mut Option<BoxFuture<'static, bool>>) -> bool {
    match probe {
        None => std::future::pending().await,
        Some(probe) => probe.await,
    }
}
