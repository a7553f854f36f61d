//! The client: a connection, an emitter, and the outboxes of its datasets.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use event::limits::BATCH_BYTES_MAX;
use event::{DatasetName, EmitterId};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::dataset::Gate;
use crate::endpoints::Endpoints;
use crate::options::OnSpoolFull;
use crate::outbox::Outbox;
use crate::sender::{self, SenderOptions};
use crate::spool::Spool;
use crate::stats::Counts;
use crate::{
    ClientStats, Connector, Dataset, DatasetOptions, DatasetStats, Error, ErrorKind, OnFull, Result, limits,
};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Gives random bits.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How a [`Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// The server's Flight door, as `http://host:port`.
    pub endpoint: String,
    /// Further servers before the same queue, to which sending moves when the ones before them fail. While the last ack
    /// said that the batch is on its server's own disk ([`event::wire::PutAck::spooled`]), sending of that dataset
    /// stays with that server and waits for it: its next batch must not be in the queue before. Default: none.
    pub fallbacks: Vec<String>,
    /// A file with the servers to use in place of `endpoint` and `fallbacks`, one address a line, the preferred
    /// one first. It is read whenever a connection is made, and every `return_after`; while it cannot be used,
    /// the last list that could is. Default: none.
    pub endpoints_file: Option<PathBuf>,
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
}

impl ClientOptions {
    /// The defaults, for a server.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            fallbacks: Vec::new(),
            endpoints_file: None,
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
        Ok(())
    }
}

/// A client of one server, and one emitter: its datasets' batches are numbered under one id. Clones share
/// everything. When the last clone and the last [`Dataset`] are dropped, what is left is sent in the background
/// for as long as the runtime lives.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    options: ClientOptions,
    emitter: EmitterId,
    /// Of what is asked rather than sent.
    channel: Channel,
    endpoints: Arc<Endpoints>,
    runtime: Handle,
    room: Arc<Semaphore>,
    outboxes: Mutex<Outboxes>,
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
    /// `Invalid`: an option is out of range, the endpoint is not an `http://` address, or this is not called
    /// within a tokio runtime.
    pub fn connect(options: ClientOptions) -> Result<Self> {
        options.check()?;
        let runtime = Handle::try_current()
            .map_err(|_| Error::invalid("no runtime, call this within a tokio runtime"))?;
        let mut list = vec![options.endpoint.clone()];
        list.extend(options.fallbacks.iter().cloned());
        let endpoints = Endpoints::new(list, options.endpoints_file.clone())?;
        let endpoints = Arc::new(endpoints.with_connector(options.connector.clone()));
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
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
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
        if let Some(outbox) = self.outboxes_now()?.by_name.get(name) {
            return Ok(Dataset::new(Arc::clone(outbox), self.clone()));
        }
        let parts = Parts {
            gate: Gate::default(),
            spool: None,
        };
        self.start(name.clone(), parts)
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
            .map(|outbox| async move { outbox.flush().await });
        futures::future::join_all(flushes).await.into_iter().collect()
    }

    /// Takes no more events and returns when all that was emitted is acked, or given up.
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
        self.flush().await
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
        let stats = |outbox: Arc<Outbox>| (outbox.name.clone(), outbox.counts.stats());
        self.outboxes().into_iter().map(stats).collect()
    }

    pub(crate) fn buffer_bytes_max(&self) -> usize {
        self.inner.options.buffer_bytes_max
    }

    pub(crate) fn channel(&self) -> Channel {
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
}

impl Parts {
    fn open(name: &DatasetName, options: &DatasetOptions) -> Result<Self> {
        let gate = Gate::new(name, options)?;
        let spool = match &options.on_full {
            OnFull::Spool(spool) => Some((Spool::open(spool, name.as_str())?, spool.on_full)),
            OnFull::Refuse | OnFull::DropNewest => None,
        };
        Ok(Self { gate, spool })
    }
}

impl Inner {
    fn start(&self, name: DatasetName, parts: Parts) -> Arc<Outbox> {
        let counts = Arc::new(Counts::default());
        let room = Arc::clone(&self.room);
        let outbox = Arc::new(Outbox::new(name, &self.options, room, counts).with_gate(parts.gate));
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
            spool,
        };
        self.runtime.spawn(sender::run(Arc::clone(&outbox), options));
        outbox
    }
}
