//! The client: a connection, an emitter, and the outboxes of its datasets.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use event::limits::BATCH_BYTES_MAX;
use event::{DatasetName, Durability, EmitterId};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::credentials::{ClientTls, Dialed, Secret};
use crate::dataset::Gate;
use crate::endpoints::{Dial, Endpoints};
use crate::files::{self, FilesOptions};
use crate::flags::{self, Known};
use crate::options::{Delivery, OnSpoolFull};
use crate::outbox::Outbox;
use crate::sender::{self, SenderOptions};
use crate::spool::Spool;
use crate::stats::Counts;
use crate::switch::{HasFiles, Now, Route};
use crate::tracers;
use crate::{
    BatchFiles, ClientStats, Connector, Dataset, DatasetOptions, DatasetStats, Error, ErrorKind, FlagSource,
    OnFull, Result, limits,
};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Gives random bits.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a [`Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// The server's Flight door, as `http://host:port`, or `https://host:port` if it speaks TLS.
    pub endpoint: String,
    /// Further servers before the same queue, to which sending moves when the ones before them fail. While the last ack
    /// said that the batch is on its server's own disk ([`event::wire::PutAck::spooled`]), sending of that dataset
    /// stays with that server and waits for it: its next batch must not be in the queue before. Default: none.
    pub fallbacks: Vec<String>,
    /// A file with the servers to use in place of `endpoint` and `fallbacks`, one address a line, the preferred
    /// one first. It is read whenever a connection is made, and every `return_after`; while it cannot be used,
    /// the last list that could is. Default: none.
    pub endpoints_file: Option<PathBuf>,
    /// What every call shows, to a server that asks who it is. Default: none.
    pub token: Option<Secret>,
    /// How servers with `https://` addresses are believed. Default: as the system believes others.
    pub tls: Option<ClientTls>,
    /// How long a batch under way may be without any ack before the server counts as stalled and sending moves
    /// on. Default: 30 s.
    pub ack_timeout: Duration,
    /// How often the preferred server is asked whether it is there again, while another is in use. Default: 60 s.
    pub return_after: Duration,
    /// How long a batch waits for more events. Default: 5 ms.
    pub linger: Duration,
    /// A batch is sealed when it holds so many bytes, 1 to 16 MiB. Default: 128 KiB.
    pub batch_bytes: usize,
    /// What is held without an ack, over all datasets, in bytes (under 4 GiB). Default: 64 MiB.
    pub buffer_bytes_max: usize,
    /// What one dataset has on the wire without an ack, in bytes. Default: 16 MiB.
    pub in_flight_bytes_max: usize,
    /// The first wait before a connection is tried again; doubles with each failure. Default: 10 ms.
    pub retry_min: Duration,
    /// The longest such wait. Default: 5 s.
    pub retry_max: Duration,
    /// The clock of the events' generated time. Default: the system's.
    pub clock: Clock,
    /// The chance in the waits between attempts. Default: the system's.
    pub random: Random,
    /// Opens the connections to the endpoints. Default: TCP of the system.
    pub connector: Option<Connector>,
    /// The options of datasets that are opened without any.
    pub dataset: DatasetOptions,
    /// Where flags come from; the first source that has some wins, and the last ones known stay when none has.
    /// Files and texts are read when the client is made, before the first event; servers soon after. Default: no
    /// source, all goes to the server.
    pub flags: Vec<FlagSource>,
    /// How often they are read, give or take a quarter. Default: 30 s.
    pub flags_every: Duration,
    /// Where files are written to, for the modes that have files. Default: nowhere; those modes are then
    /// [`event::flags::Mode::Stream`], and [`DatasetStats::flags_error`] says so.
    pub batch_files: Option<BatchFiles>,
    /// How often a row about each dataset goes into the dataset `sanderling_tracers`: `host`, `process`, `emitter`,
    /// `dataset`, `at`, `sequence` (of the tracer), `events`, `bytes`, `acked`, `dropped` (so far),
    /// `events_per_second`, and the medians `batch_generation_ms` and `ack_ms` (since the one before). They are sent
    /// at best effort, and neither a flush nor a close waits for them. Default: never.
    pub tracers: Option<Duration>,
}

impl ClientOptions {
    /// The defaults, for a server.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            fallbacks: Vec::new(),
            endpoints_file: None,
            token: None,
            tls: None,
            ack_timeout: limits::ACK_TIMEOUT,
            return_after: limits::RETURN_AFTER,
            linger: limits::LINGER,
            batch_bytes: limits::BATCH_BYTES,
            buffer_bytes_max: limits::BUFFER_BYTES_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            retry_min: limits::RETRY_MIN,
            retry_max: limits::RETRY_MAX,
            clock: Arc::new(Timestamp::now),
            random: Arc::new(|| Uuid::new_v4().as_u64_pair().1),
            connector: None,
            dataset: DatasetOptions::default(),
            flags: Vec::new(),
            flags_every: limits::FLAGS_EVERY,
            batch_files: None,
            tracers: None,
        }
    }

    fn check(&self) -> Result<()> {
        if self.batch_bytes == 0 || self.batch_bytes > BATCH_BYTES_MAX {
            return Err(Error::invalid(format_args!(
                "batch_bytes must be 1 to {BATCH_BYTES_MAX} batch_bytes={}",
                self.batch_bytes
            )));
        }
        if u32::try_from(self.buffer_bytes_max).is_err() {
            return Err(Error::invalid(format_args!(
                "buffer must be under 4 GiB buffer_bytes_max={}",
                self.buffer_bytes_max
            )));
        }
        if self.in_flight_bytes_max == 0 || self.buffer_bytes_max == 0 {
            return Err(Error::invalid(
                "in_flight_bytes_max and buffer_bytes_max must be at least 1",
            ));
        }
        if self.ack_timeout.is_zero() || self.return_after.is_zero() {
            return Err(Error::invalid(
                "ack_timeout and return_after must be longer than nothing",
            ));
        }
        if self.flags_every.is_zero() || self.tracers.is_some_and(|every| every.is_zero()) {
            return Err(Error::invalid(
                "flags_every and tracers must be longer than nothing",
            ));
        }
        Ok(())
    }
}

/// A client of one server, and one emitter: its datasets' batches are numbered under one id. Clones share
/// everything. When the last clone and the last [`Dataset`] are dropped, what is left is sent in the background
/// for as long as the runtime lives.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) options: ClientOptions,
    emitter: EmitterId,
    /// Of what is asked rather than sent.
    pub(crate) channel: Dialed,
    endpoints: Arc<Endpoints>,
    runtime: Handle,
    room: Arc<Semaphore>,
    outboxes: Mutex<Outboxes>,
    pub(crate) flags: Mutex<Known>,
    made: Instant,
}

#[derive(Default)]
struct Outboxes {
    by_name: HashMap<DatasetName, Arc<Outbox>>,
    closed: bool,
}

impl Drop for Inner {
    fn drop(&mut self) {
        let outboxes = self.outboxes.get_mut().expect("no holder of the lock panics");
        for outbox in outboxes.by_name.values() {
            outbox.close();
        }
    }
}

impl Client {
    /// A client; it connects when there is something to send or to ask, and again whenever it must.
    ///
    /// # Errors
    /// `Invalid`: an option is out of range, the endpoint is not an `http://` or `https://` address, TLS cannot be
    /// set up for it, or this is not called within a tokio runtime.
    pub fn connect(options: ClientOptions) -> Result<Self> {
        options.check()?;
        let runtime = Handle::try_current()
            .map_err(|_| Error::invalid("no runtime, call this within a tokio runtime"))?;
        let mut list = vec![options.endpoint.clone()];
        list.extend(options.fallbacks.iter().cloned());
        let dial = Dial {
            token: options.token.clone(),
            tls: options.tls.clone(),
            connector: options.connector.clone(),
        };
        let endpoints = Arc::new(Endpoints::new(list, options.endpoints_file.clone(), &dial)?);
        let channel = endpoints.channel(&options.endpoint)?;
        let room = Arc::new(Semaphore::new(options.buffer_bytes_max));
        let inner = Inner {
            options,
            emitter: EmitterId(Uuid::now_v7()),
            channel,
            endpoints,
            runtime,
            room,
            outboxes: Mutex::default(),
            flags: Mutex::default(),
            made: Instant::now(),
        };
        flags::begin(&inner.options.flags, &inner.flags);
        let inner = Arc::new(inner);
        if !inner.options.flags.is_empty() {
            inner.runtime.spawn(flags::run(Arc::downgrade(&inner)));
        }
        if inner.options.tracers.is_some() {
            inner.runtime.spawn(tracers::run(Arc::downgrade(&inner)));
        }
        Ok(Self { inner })
    }

    /// The id that this client's batches carry; those of a dataset with a spool carry that of the spool.
    pub fn emitter(&self) -> EmitterId {
        self.inner.emitter
    }

    /// The handle of a dataset: the one that is open, or one with the options of [`ClientOptions::dataset`]. If
    /// these have a spool, it blocks while that is read; [`Client::dataset_with`] does not.
    ///
    /// # Errors
    /// `Invalid` when it is not a dataset's name; `Closed` after [`Client::close`]; those of
    /// [`Client::dataset_with`].
    pub fn dataset(&self, name: &str) -> Result<Dataset> {
        let name: DatasetName = name.parse()?;
        if let Some(outbox) = self.outboxes_now()?.by_name.get(&name) {
            return Ok(Dataset::new(Arc::clone(outbox), self.clone()));
        }
        let parts = Parts::open(&name, &self.inner.options.dataset)?;
        self.start(name, parts)
    }

    /// The handle of a dataset with options of its own. If it has a spool, what that holds is sent first.
    ///
    /// # Errors
    /// `Invalid`: not a dataset's name, or an option is out of range. `Conflict`: the dataset is open already, or
    /// another process has the spool. `Corrupt`: the spool is not what was written. `Retry`: its folder cannot be
    /// used. `Closed` after [`Client::close`].
    pub async fn dataset_with(&self, name: &str, options: DatasetOptions) -> Result<Dataset> {
        let name: DatasetName = name.parse()?;
        let is_open = || {
            Error::new(
                ErrorKind::Conflict,
                format_args!("dataset is open already, set its options before dataset={name}"),
            )
        };
        if self.outboxes_now()?.by_name.contains_key(&name) {
            return Err(is_open());
        }
        let opened = name.clone();
        let parts = tokio::task::spawn_blocking(move || Parts::open(&opened, &options)).await;
        let parts = parts.map_err(|error| Error::new(ErrorKind::Closed, error))??;
        if self.outboxes_now()?.by_name.contains_key(&name) {
            return Err(is_open());
        }
        self.start(name, parts)
    }

    fn start(&self, name: DatasetName, parts: Parts) -> Result<Dataset> {
        let mut outboxes = self.outboxes_now()?;
        let outbox = outboxes
            .by_name
            .entry(name.clone())
            .or_insert_with(|| self.inner.start(name, parts));
        Ok(Dataset::new(Arc::clone(outbox), self.clone()))
    }

    /// The dataset that takes what does not pass the check of another; it has no check itself.
    pub(crate) fn diverted(&self, name: &DatasetName) -> Result<Dataset> {
        self.beside(name.clone(), Delivery::Acked)
    }

    /// The dataset that takes the copies of the mode `shadow`.
    pub(crate) fn shadow(&self, of: &DatasetName) -> Result<Arc<Outbox>> {
        let shadow = self.beside(format!("{of}_shadow").parse()?, Delivery::BestEffort)?;
        Ok(shadow.outbox)
    }

    /// The dataset of the tracers.
    pub(crate) fn tracers(&self) -> Result<Dataset> {
        self.beside(tracers::DATASET.parse()?, Delivery::BestEffort)
    }

    /// How long ago it was made.
    pub(crate) fn age(&self) -> Duration {
        self.inner.made.elapsed()
    }

    /// A dataset that the client has for purposes of its own.
    fn beside(&self, name: DatasetName, delivery: Delivery) -> Result<Dataset> {
        if let Some(outbox) = self.outboxes_now()?.by_name.get(&name) {
            return Ok(Dataset::new(Arc::clone(outbox), self.clone()));
        }
        let options = DatasetOptions {
            delivery,
            ..DatasetOptions::default()
        };
        let parts = Parts::open(&name, &options)?;
        self.start(name, parts)
    }

    fn outboxes_now(&self) -> Result<MutexGuard<'_, Outboxes>> {
        let outboxes = self.inner.outboxes.lock().expect("no holder of the lock panics");
        if outboxes.closed {
            return Err(Error::new(ErrorKind::Closed, "client is closed"));
        }
        Ok(outboxes)
    }

    /// Returns when all that was emitted before the call is acked, or given up. It waits as long as the server
    /// cannot be reached; bound it with a timeout if it must end.
    ///
    /// # Errors
    /// `Invalid`: the server refused events for good since the last flush; the text says how many and why.
    pub async fn flush(&self) -> Result<()> {
        let flushes = self
            .outboxes()
            .into_iter()
            .filter(|outbox| outbox.name.as_str() != tracers::DATASET)
            .map(|outbox| async move { outbox.flush().await });
        futures::future::join_all(flushes).await.into_iter().collect()
    }

    /// Takes no more events and returns when all that was emitted is acked, or given up, and files have their names.
    ///
    /// # Errors
    /// As [`Client::flush`].
    pub async fn close(&self) -> Result<()> {
        self.inner
            .outboxes
            .lock()
            .expect("no holder of the lock panics")
            .closed = true;
        for outbox in self.outboxes() {
            outbox.close();
        }
        let outcome = self.flush().await;
        for outbox in self.outboxes() {
            outbox.files_ended().await;
        }
        outcome
    }

    /// What has been counted so far, over all datasets.
    pub fn stats(&self) -> ClientStats {
        let free = self.inner.room.available_permits();
        let mut stats = ClientStats {
            buffered_bytes: self.inner.options.buffer_bytes_max.saturating_sub(free) as u64,
            ..ClientStats::default()
        };
        for dataset in self.dataset_stats().into_values() {
            stats.add(&dataset);
            stats.last_error = dataset.last_error.or(stats.last_error);
        }
        stats
    }

    /// What has been counted so far, by dataset.
    pub fn dataset_stats(&self) -> BTreeMap<DatasetName, DatasetStats> {
        let stats = |outbox: Arc<Outbox>| (outbox.name.clone(), outbox.stats());
        self.outboxes().into_iter().map(stats).collect()
    }

    pub(crate) fn buffer_bytes_max(&self) -> usize {
        self.inner.options.buffer_bytes_max
    }

    pub(crate) fn channel(&self) -> Dialed {
        self.inner.channel.clone()
    }

    fn outboxes(&self) -> Vec<Arc<Outbox>> {
        self.inner
            .outboxes
            .lock()
            .expect("no holder of the lock panics")
            .by_name
            .values()
            .cloned()
            .collect()
    }
}

/// What a dataset is opened with.
struct Parts {
    gate: Gate,
    spool: Option<(Spool, OnSpoolFull)>,
    delivery: Delivery,
    durability: Option<Durability>,
}

impl Parts {
    fn open(name: &DatasetName, options: &DatasetOptions) -> Result<Self> {
        let gate = Gate::new(name, options)?;
        let spool = match &options.on_full {
            OnFull::Spool(spool) => Some((Spool::open(spool, name.as_str())?, spool.on_full)),
            OnFull::Refuse | OnFull::DropNewest => None,
        };
        Ok(Self {
            gate,
            spool,
            delivery: options.delivery,
            durability: options.durability,
        })
    }
}

impl Inner {
    fn start(&self, name: DatasetName, parts: Parts) -> Arc<Outbox> {
        let counts = Arc::new(Counts::default());
        let room = Arc::clone(&self.room);
        let files = self.start_files(&name, &counts);
        let outbox = Outbox::new(name, &self.options, room, counts).with(parts.gate, files);
        let outbox = Arc::new(outbox);
        outbox.switch.set(self.flags_of(&outbox));
        let spool = parts.spool;
        if let Some((spool, _)) = &spool {
            outbox.recovered(spool.len());
            if spool.cut_bytes > 0 {
                let text = format!(
                    "{}: spool had a torn end, cut bytes={}",
                    outbox.name, spool.cut_bytes
                );
                tracing::warn!("{text}");
                outbox.counts.went_wrong(text);
            }
        }
        let options = SenderOptions {
            endpoints: Arc::clone(&self.endpoints),
            emitter: spool.as_ref().map_or(self.emitter, |(spool, _)| spool.emitter()),
            in_flight_bytes_max: self.options.in_flight_bytes_max,
            retry_min: self.options.retry_min,
            retry_max: self.options.retry_max,
            ack_timeout: self.options.ack_timeout,
            return_after: self.options.return_after,
            random: Arc::clone(&self.options.random),
            delivery: parts.delivery,
            durability: parts.durability,
            spool,
        };
        self.runtime.spawn(sender::run(Arc::clone(&outbox), options));
        outbox
    }

    /// The loop that writes a dataset's files, if there is a folder for them.
    fn start_files(&self, name: &DatasetName, counts: &Arc<Counts>) -> Option<Arc<Outbox>> {
        let files = self.options.batch_files.clone()?;
        let (room, own_counts) = (Arc::clone(&self.room), Arc::default());
        let outbox = Arc::new(Outbox::new(name.clone(), &self.options, room, own_counts));
        let options = FilesOptions {
            files,
            emitter: self.emitter,
            clock: Arc::clone(&self.options.clock),
            retry_after: self.options.retry_max,
            counts: Arc::clone(counts),
        };
        self.runtime.spawn(files::run(Arc::clone(&outbox), options));
        Some(outbox)
    }

    pub(crate) fn flags(&self) -> MutexGuard<'_, Known> {
        self.flags.lock().expect("no holder of the lock panics")
    }

    /// What the flags mean for a dataset.
    fn flags_of(&self, outbox: &Outbox) -> Now {
        let known = self.flags();
        let flags = known.flags.of(&outbox.name);
        let has_files = match outbox.files {
            Some(_) => HasFiles::Yes,
            None => HasFiles::No,
        };
        let route = Route::new(flags, self.emitter, has_files);
        let mut error = known.error();
        if route.mode != flags.mode {
            let text = format!(
                "mode has files and there is no folder for them, all goes to the server, set batch_files mode={:?}",
                flags.mode
            );
            error = Some(error.map_or(text.clone(), |error| format!("{text}; {error}")));
        }
        Now {
            route,
            share: flags.sample.share,
            etag: known.etag.clone(),
            error,
        }
    }

    /// The flags that are known now hold for all datasets.
    pub(crate) fn apply_flags(&self) {
        let outboxes = self.outboxes.lock().expect("no holder of the lock panics");
        for outbox in outboxes.by_name.values() {
            outbox.switch.set(self.flags_of(outbox));
        }
    }
}
