//! The client: a connection, an emitter, and the outboxes of its datasets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event::limits::BATCH_BYTES_MAX;
use event::{DatasetName, EmitterId};
use jiff::Timestamp;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::outbox::Outbox;
use crate::sender::{self, SenderOptions};
use crate::stats::Counts;
use crate::{ClientStats, Dataset, Error, ErrorKind, Result, limits};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How a [`Client`] behaves.
#[derive(Clone)]
pub struct ClientOptions {
    /// The server's Flight door, as `http://host:port`.
    pub endpoint: String,
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
}

impl ClientOptions {
    /// The defaults, for a server.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoint: endpoint.into(),
            linger: limits::LINGER,
            batch_bytes: limits::BATCH_BYTES,
            buffer_bytes_max: limits::BUFFER_BYTES_MAX,
            in_flight_bytes_max: limits::IN_FLIGHT_BYTES_MAX,
            retry_min: limits::RETRY_MIN,
            retry_max: limits::RETRY_MAX,
            clock: Arc::new(Timestamp::now),
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
    channel: Channel,
    runtime: Handle,
    room: Arc<Semaphore>,
    counts: Arc<Counts>,
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
        let bad = |error: &dyn std::fmt::Display| {
            Error::invalid(format_args!(
                "not an endpoint, use http://host:port endpoint={:?}: {error}",
                options.endpoint
            ))
        };
        if !options.endpoint.starts_with("http://") {
            return Err(bad(&"it must start with http://"));
        }
        let channel = Endpoint::from_shared(options.endpoint.clone())
            .map_err(|error| bad(&error))?
            .tcp_nodelay(true)
            .connect_timeout(Duration::from_secs(5))
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .connect_lazy();
        let room = Arc::new(Semaphore::new(options.buffer_bytes_max));
        let inner = Inner {
            options,
            emitter: EmitterId(Uuid::now_v7()),
            channel,
            runtime,
            room,
            counts: Arc::new(Counts::new()),
            outboxes: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The id that this client's batches carry.
    pub fn emitter(&self) -> EmitterId {
        self.inner.emitter
    }

    /// The handle of a dataset.
    ///
    /// # Errors
    /// `Invalid` when it is not a dataset's name; `Closed` after [`Client::close`].
    pub fn dataset(&self, name: &str) -> Result<Dataset> {
        let name: DatasetName = name.parse()?;
        let mut outboxes = self.inner.outboxes.lock().expect("no holder of the lock panics");
        if outboxes.closed {
            return Err(Error::new(ErrorKind::Closed, "client is closed"));
        }
        let outbox = outboxes
            .by_name
            .entry(name.clone())
            .or_insert_with(|| self.inner.start(name));
        Ok(Dataset::new(
            Arc::clone(outbox),
            self.inner.options.buffer_bytes_max,
            self.clone(),
        ))
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

    /// What has been counted so far.
    pub fn stats(&self) -> ClientStats {
        let free = self.inner.room.available_permits();
        self.inner
            .counts
            .stats(self.inner.options.buffer_bytes_max.saturating_sub(free) as u64)
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

impl Inner {
    fn start(&self, name: DatasetName) -> Arc<Outbox> {
        let outbox = Outbox::new(
            name,
            &self.options,
            Arc::clone(&self.room),
            Arc::clone(&self.counts),
        );
        let outbox = Arc::new(outbox);
        let options = SenderOptions {
            channel: self.channel.clone(),
            emitter: self.emitter,
            in_flight_bytes_max: self.options.in_flight_bytes_max,
            retry_min: self.options.retry_min,
            retry_max: self.options.retry_max,
        };
        self.runtime.spawn(sender::run(Arc::clone(&outbox), options));
        outbox
    }
}
