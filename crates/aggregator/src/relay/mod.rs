//! An aggregator in front of another one: a [`Queue`] for appends that passes each batch on, and falls back to its disk.
//!
//! # What it promises
//!
//! A batch goes on under its own key, with its own times and encoding, and is answered when the upstream has acked it. When
//! the upstream is away for longer than [`RelayOptions::spool_after`], batches go to a log on the local disk, are
//! answered with [`Receipt::spooled`] when they are on it (fsync), and are replayed in their order when the upstream is
//! back. Order within an emitter holds throughout.
//!
//! **Exactly once across several relays** takes one thing of the sender: *whoever was answered with `spooled` stays with
//! that relay until it answers without it.* Otherwise: the queue does not know the emitter yet, whose batches 0 to 4 are
//! in the spool of this relay; the sender goes on with 5 at another one; the queue takes 5 as the emitter's first; and the
//! spooled ones, when they come, are duplicates to it and gone. Batches without any answer may go anywhere: they are
//! sent again under their keys. The library `client` keeps to this.
//!
//! # What comes back
//!
//! The upstream's refusal of a batch is that batch's answer, with the same [`ErrorKind`]; batches of other emitters on the
//! same stream are sent again on a new one. A batch of the spool was acked before, so when the upstream refuses it for
//! good it is written to `<spool>/<dataset>/refused/`, counted and logged. In conflict (an earlier batch of its emitter is
//! not there, another relay may hold it) it waits, and other emitters go on; when there is no more room to wait, it is
//! refused.
//!
//! Cost: a task a dataset; while it spools, a thread and an open file. A replay after a restart begins at the last deleted
//! segment, and the queue knows what it has.
//!
//! Not here: reads; sending refused batches again; a spool on several disks; progress of a replay to the batch.

mod awaited;
mod counts;
mod line;
#[cfg(test)]
mod line_tests;
mod replay;
mod route;
mod spool;
#[cfg(test)]
mod spool_tests;
mod task;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use client::Endpoints;
use event::{Batch, DatasetName};
use futures::FutureExt;
use futures::future::BoxFuture;
use queue::{Error, ErrorKind, Offset, Partition, Queue, Receipt, Record, Result};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

pub use self::counts::{RelayCounts, RelayState};

use self::counts::Counts;
use self::line::Entry;
use self::spool::{Spools, blocking, failed};
use self::task::{Came, Task};
use crate::limits;

/// How a [`Relay`] behaves.
#[derive(Clone)]
pub struct RelayOptions {
    /// The upstream aggregators' Flight doors, as `http://host:port`, the preferred one first: 1 to 64, all before one
    /// queue.
    pub upstreams: Vec<String>,
    /// A file with addresses to use in place of `upstreams`, one a line; read at each connection and every
    /// `return_after`. Default: none.
    pub upstreams_file: Option<PathBuf>,
    /// The folder of the spools, for this relay alone; made if it is not there.
    pub spool_dir: PathBuf,
    /// How long a batch waits for an upstream that answers nothing before it goes to the disk. Default: 1 s.
    pub spool_after: Duration,
    /// What all spools take of the disk, in bytes. A dataset takes at most as much as is left free, so one cannot take all.
    /// Beyond, batches are answered with `Retry`. Default: 10 GiB.
    pub spool_bytes_max: u64,
    /// Payload of one dataset under way to the upstream, in bytes. Default: 16 MiB.
    pub window_bytes: usize,
    /// Payload of one dataset that is held without an answer, in bytes; beyond, `Retry`. Default: 64 MiB.
    pub held_bytes_max: usize,
    /// How long an upstream may owe an ack before it counts as stalled and the next one has its turn. Default: 10 s.
    pub ack_timeout: Duration,
    /// How often the preferred upstream is asked whether it is there again, while another is in use. Default: 60 s.
    pub return_after: Duration,
    /// The first wait before an upstream is tried again; doubles with each failure. Default: 10 ms.
    pub retry_min: Duration,
    /// The longest such wait; also how often emitters in conflict are tried again. Default: 5 s.
    pub retry_max: Duration,
    /// The chance in these waits. Default: the system's.
    pub random: client::Random,
    /// Opens the connections to the upstreams. Default: TCP of the system.
    pub connector: Option<client::Connector>,
}

impl RelayOptions {
    /// The defaults, for an upstream and a folder.
    pub fn new(upstream: impl Into<String>, spool_dir: impl Into<PathBuf>) -> Self {
        Self {
            upstreams: vec![upstream.into()],
            upstreams_file: None,
            spool_dir: spool_dir.into(),
            spool_after: limits::RELAY_SPOOL_AFTER,
            spool_bytes_max: limits::RELAY_SPOOL_BYTES_MAX,
            window_bytes: limits::RELAY_WINDOW_BYTES,
            held_bytes_max: limits::RELAY_HELD_BYTES_MAX,
            ack_timeout: limits::RELAY_ACK_TIMEOUT,
            return_after: client::limits::RETURN_AFTER,
            retry_min: client::limits::RETRY_MIN,
            retry_max: client::limits::RETRY_MAX,
            random: Arc::new(|| Uuid::new_v4().as_u64_pair().1),
            connector: None,
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Invalid, what));
        if self.window_bytes == 0 || self.held_bytes_max < self.window_bytes {
            return wrong("held_bytes_max must be at least window_bytes, and that at least 1");
        }
        if self.ack_timeout.is_zero() || self.return_after.is_zero() || self.retry_max.is_zero() {
            return wrong("ack_timeout, return_after and retry_max must be longer than nothing");
        }
        Ok(())
    }
}

/// A queue whose batches are kept by another aggregator: see the head of this module. Reads answer `NotFound`.
pub struct Relay {
    shared: Arc<Shared>,
    runtime: Handle,
    lines: Mutex<Lines>,
    names: watch::Sender<Vec<DatasetName>>,
    /// Keeps a second relay out of the folder.
    lock: Mutex<Option<std::fs::File>>,
}

/// What the tasks of all datasets share.
pub(super) struct Shared {
    pub(super) options: RelayOptions,
    pub(super) endpoints: Endpoints,
    /// What all spools take of the disk.
    pub(super) spool_bytes: AtomicU64,
}

#[derive(Default)]
struct Lines {
    open: HashMap<DatasetName, LineHandle>,
    is_closed: bool,
}

struct LineHandle {
    batches: mpsc::UnboundedSender<Came>,
    held_bytes: Arc<AtomicUsize>,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

/// Answers a caller; gives back what its batch takes of the memory.
#[derive(Debug)]
pub(super) struct Answer {
    sender: oneshot::Sender<Result<Receipt>>,
    held: Held,
}

impl Answer {
    pub(super) fn tell(self, outcome: Result<Receipt>) {
        drop(self.held);
        // Who has dropped the future does not hear of it.
        let _ = self.sender.send(outcome);
    }
}

/// A share of the bytes that a dataset may hold.
#[derive(Debug)]
pub(super) struct Held {
    bytes: usize,
    of: Arc<AtomicUsize>,
}

impl Held {
    fn take(of: &Arc<AtomicUsize>, bytes: usize, bytes_max: usize) -> Option<Self> {
        let fits = |used: usize| Some(used + bytes).filter(|sum| *sum <= bytes_max || used == 0);
        of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Self {
            bytes,
            of: Arc::clone(of),
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.of.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Relay {
    /// Opens the folder and goes on with what an earlier process left in its spools. The upstream need not be there.
    ///
    /// # Errors
    /// `Invalid` for options out of range; `Retry` when the folder cannot be used or another relay has it, or when this
    /// is not called within a tokio runtime; `Corrupt` as [`queue::LogQueue::open`].
    pub async fn open(options: RelayOptions) -> Result<Self> {
        options.check()?;
        let runtime = Handle::try_current()
            .map_err(|_| Error::new(ErrorKind::Invalid, "no runtime, call this within a tokio runtime"))?;
        let endpoints = Endpoints::new(options.upstreams.clone(), options.upstreams_file.clone())
            .map_err(|error| Error::new(ErrorKind::Invalid, error))?
            .with_connector(options.connector.clone());
        let folder = options.spool_dir.clone();
        let (lock, recovered) = blocking(move || recover(&folder)).await??;
        let shared = Shared {
            options,
            endpoints,
            spool_bytes: AtomicU64::new(recovered.iter().map(|(_, spools)| spools.bytes()).sum()),
        };
        let relay = Self {
            shared: Arc::new(shared),
            runtime,
            lines: Mutex::default(),
            names: watch::Sender::default(),
            lock: Mutex::new(Some(lock)),
        };
        for (dataset, spools) in recovered {
            let handle = relay.start(dataset.clone(), spools);
            relay.lines().open.insert(dataset, handle);
        }
        relay.tell_names(&relay.lines());
        Ok(relay)
    }

    /// What was counted so far, by dataset.
    pub fn counts(&self) -> BTreeMap<DatasetName, RelayCounts> {
        let counts = |(name, line): (&DatasetName, &LineHandle)| (name.clone(), line.counts.counts());
        self.lines().open.iter().map(counts).collect()
    }

    /// Takes no more batches, and returns when those taken are answered: by the upstream, or by the spool after
    /// `spool_after`. What is in the spools stays there for the next start.
    pub async fn close(&self) {
        let lines: Vec<LineHandle> = {
            let mut lines = self.lines();
            lines.is_closed = true;
            lines.open.drain().map(|(_, line)| line).collect()
        };
        for line in lines {
            drop(line.batches);
            if line.task.await.is_err() {
                tracing::error!("the task of a dataset of the relay ended before its work");
            }
        }
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_names(&self, lines: &Lines) {
        let mut names: Vec<_> = lines.open.keys().cloned().collect();
        names.sort_unstable();
        self.names.send_replace(names);
    }

    fn start(&self, dataset: DatasetName, spools: Spools) -> LineHandle {
        let (sender, batches) = mpsc::unbounded_channel();
        let counts = Arc::new(Counts::default());
        let task = Task::new(
            Arc::clone(&self.shared),
            dataset,
            spools,
            Arc::clone(&counts),
            batches,
        );
        LineHandle {
            batches: sender,
            held_bytes: Arc::default(),
            counts,
            task: self.runtime.spawn(task.run()),
        }
    }

    /// Hands a batch to its dataset's task; the place in the order is taken here.
    fn hand_over(&self, batch: Batch) -> Result<oneshot::Receiver<Result<Receipt>>> {
        let mut lines = self.lines();
        if lines.is_closed {
            return Err(closed());
        }
        if !lines.open.contains_key(&batch.dataset) {
            if lines.open.len() >= queue::limits::DATASETS_MAX {
                return Err(Error::new(
                    ErrorKind::Retry,
                    format_args!(
                        "too many datasets, use those there are datasets_max={}",
                        queue::limits::DATASETS_MAX
                    ),
                ));
            }
            let name = batch.dataset.clone();
            let spools = Spools::none(self.shared.options.spool_dir.join(name.as_str()), name.clone());
            let handle = self.start(name.clone(), spools);
            lines.open.insert(name, handle);
            self.tell_names(&lines);
        }
        let line = lines.open.get(&batch.dataset).ok_or_else(closed)?;
        let (bytes, bytes_max) = (batch.payload.len(), self.shared.options.held_bytes_max);
        let bytes = bytes + limits::RELAY_BATCH_OVERHEAD_BYTES;
        let Some(held) = Held::take(&line.held_bytes, bytes, bytes_max) else {
            // An error would mean that the task is gone; then nothing comes behind this batch.
            let _ = line.batches.send(Came::TurnedAway(batch.header.key));
            return Err(Error::new(
                ErrorKind::Retry,
                format_args!(
                    "relay is busy, send the batch again later dataset={} held_bytes_max={bytes_max}",
                    batch.dataset
                ),
            ));
        };
        let (sender, receiver) = oneshot::channel();
        let answer = Answer { sender, held };
        let came = Came::Batch(Entry { batch, answer });
        line.batches.send(came).map_err(|_| closed())?;
        Ok(receiver)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "relay is shut, open it again")
}

/// Locks the folder, and opens the spools of all datasets that have some.
fn recover(folder: &PathBuf) -> Result<(std::fs::File, Vec<(DatasetName, Spools)>)> {
    let wrong = |error: std::io::Error| failed(folder, &error);
    std::fs::create_dir_all(folder).map_err(wrong)?;
    let lock = std::fs::File::create(folder.join(".lock")).map_err(wrong)?;
    lock.try_lock().map_err(|error| {
        Error::new(
            ErrorKind::Retry,
            format_args!(
                "spool cannot be locked, stop the other process that uses it: {error} path={}",
                folder.display()
            ),
        )
    })?;
    let mut recovered = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let name = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(dataset) = name.filter(|_| entry.path().is_dir()) else {
            continue;
        };
        let dataset: DatasetName = dataset;
        let spools = Spools::recover(entry.path(), dataset.clone())?;
        if spools.first().is_some() {
            recovered.push((dataset, spools));
        }
    }
    Ok((lock, recovered))
}

#[async_trait]
impl Queue for Relay {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        match self.hand_over(batch) {
            Err(error) => std::future::ready(Err(error)).boxed(),
            Ok(answer) => async move { answer.await.unwrap_or_else(|_| Err(closed())) }.boxed(),
        }
    }

    async fn create(&self, _: &DatasetName, partitions: u32) -> Result<u32> {
        if !(1..=queue::limits::PARTITIONS_MAX).contains(&partitions) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format_args!(
                    "a dataset has 1 to {} partitions partitions={partitions}",
                    queue::limits::PARTITIONS_MAX
                ),
            ));
        }
        // The upstream makes the dataset with its first batch, by its own settings.
        Ok(partitions)
    }

    async fn read(&self, dataset: &DatasetName, _: Partition, _: Offset, _: usize) -> Result<Vec<Record>> {
        Err(Error::new(
            ErrorKind::NotFound,
            format_args!(
                "this server keeps nothing, ask its upstream dataset={dataset} upstream={}",
                self.shared.endpoints.list().0.join(",")
            ),
        ))
    }

    fn ends(&self, _: &DatasetName) -> Vec<Offset> {
        Vec::new()
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.names.subscribe()
    }
}
