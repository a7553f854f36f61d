//! The queue on disk: segment files with a checksum per record, and one fsync for all appends that wait.
//!
//! Layout: `path/<dataset>/dataset.meta` (number of partitions) and
//! `path/<dataset>/<partition>/<first offset, 20 digits>.log`; `path/<dataset>/consumers.meta` (who reads, and how
//! far it is); `path/lock` keeps a second process out.
//!
//! An append is decided at the call (`partition.rs`) and waits in its partition; a writer thread takes all that
//! waits there, writes it with one call, syncs once, shows it to readers and answers. Meanwhile the next ones
//! gather. A failed write or sync keeps nothing: its appends and all behind them are answered with `Retry`, the
//! segment is given up at its durable end, and the next write begins a new one.
//!
//! Retention (`retain.rs`) removes whole segments, oldest first; the head of each stands for all before it.
//!
//! Not here: compression (batches come compressed), one sync for several partitions, repair of damaged records,
//! systems other than Unix.

mod dataset;
mod disk;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_tests;
mod partition;
mod record;
mod recovery;
mod retain;
#[cfg(test)]
mod retain_tests;
mod scan;
mod segment;
mod tail;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
#[cfg(test)]
mod verify_tests;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;

use async_trait::async_trait;
use event::{Batch, DatasetName};
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::watch;

use self::dataset::DatasetFolder;
use self::disk::Disk;
use self::partition::{Budget, Opened, PartitionLog, Reply, closed};
pub use self::recovery::{Damage, Recovery, TornTail};
use crate::limits::{
    DATASETS_MAX, IN_FLIGHT_BYTES_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX, SEGMENT_BYTES_DEFAULT,
    SEGMENT_BYTES_MAX, WRITERS_MAX,
};
use crate::memory::{check_partitions, no_partition, too_many_datasets};
use crate::retention::Consumers;
use crate::{Error, ErrorKind, Offset, Partition, Queue, Receipt, Record, Result};

/// How a [`LogQueue`] is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Size in bytes at which a segment ends, up to 1 GiB; a larger batch gets a segment of its own. 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of batches appended but not yet durable; above it `append` answers `Retry` at once. 64 MiB.
    pub in_flight_bytes_max: usize,
    /// Partitions (1 to 64) of a dataset that is made by its first batch. 4.
    pub partitions: u32,
    /// Threads that write and sync (1 to 64); each partition belongs to one of them. 2.
    pub writers: usize,
    #[cfg(test)]
    pub(crate) disk: faults::TestDisk,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            in_flight_bytes_max: IN_FLIGHT_BYTES_MAX,
            partitions: PARTITIONS_DEFAULT,
            writers: 2,
            #[cfg(test)]
            disk: faults::TestDisk::default(),
        }
    }
}

impl LogOptions {
    #[cfg(not(test))]
    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(disk::RealDisk)
    }

    #[cfg(test)]
    fn disk(&self) -> Arc<dyn Disk> {
        self.disk.disk()
    }

    fn check(&self) -> Result<()> {
        let wrong = |what: &str| Err(Error::new(ErrorKind::Invalid, what));
        check_partitions(self.partitions)?;
        if !(1..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            return wrong("segments have 1 byte to 1 GiB, change segment_bytes");
        }
        if !(1..=WRITERS_MAX).contains(&self.writers) {
            return wrong("a log has 1 to 64 writers, change writers");
        }
        if self.in_flight_bytes_max == 0 {
            return wrong("nothing could ever be appended, raise in_flight_bytes_max");
        }
        Ok(())
    }
}

/// A queue in a folder of segment files; see the [crate] for the port and its laws.
///
/// `append` costs the caller a table look-up; the copy, checksum, write and sync are the writer's. `read` answers
/// from memory near the end, otherwise from disk on tokio's blocking threads, and checks every checksum.
///
/// Each partition with data holds one file open and up to 2 MiB of its newest batches in memory. Nothing is
/// deleted but by [`crate::Retain::retain`].
#[derive(Debug)]
pub struct LogQueue {
    path: PathBuf,
    options: LogOptions,
    disk: Arc<dyn Disk>,
    /// Held to read while files are deleted; says whether the queue is shut.
    shut: Arc<RwLock<bool>>,
    budget: Arc<Budget>,
    datasets: RwLock<Datasets>,
    names: watch::Sender<Vec<DatasetName>>,
    writers: Vec<Sender<Job>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    lock: Mutex<Option<File>>,
}

#[derive(Debug, Default)]
struct Datasets {
    open: BTreeMap<DatasetName, Arc<OpenDataset>>,
    closed: bool,
}

#[derive(Debug)]
struct OpenDataset {
    folder: Arc<DatasetFolder>,
    partitions: Vec<Arc<PartitionLog>>,
    consumers: Mutex<Consumers>,
    /// Held while the file of consumers changes, and while it says what may be deleted.
    changing: Arc<tokio::sync::Mutex<()>>,
}

/// What a writer thread is asked.
#[derive(Debug)]
enum Job {
    /// Write what is pending in a partition.
    Commit(Arc<PartitionLog>),
    /// End when nothing is pending.
    Stop,
}

impl LogQueue {
    /// Opens the log in a folder, which is made if it is not there, and says what it found. Reads the last
    /// segment of each partition.
    ///
    /// # Errors
    /// `Retry` when another process holds the folder or it cannot be read or written; `Corrupt` when a dataset's
    /// files are those of a later version; `Invalid` for options out of range. Damaged records and
    /// small files do not keep a log from opening.
    pub fn open(path: impl AsRef<Path>, options: LogOptions) -> Result<(Self, Recovery)> {
        options.check()?;
        let path = path.as_ref().to_owned();
        let disk = options.disk();
        let lock = lock(&*disk, &path)?;
        let budget = Arc::new(Budget {
            in_flight_bytes: AtomicUsize::new(0),
            in_flight_bytes_max: options.in_flight_bytes_max,
        });
        let (writers, receivers): (Vec<_>, Vec<_>) = (0..options.writers).map(|_| mpsc::channel()).unzip();
        let mut queue = Self {
            path,
            options,
            disk,
            shut: Arc::default(),
            budget,
            datasets: RwLock::default(),
            names: watch::Sender::default(),
            writers,
            threads: Mutex::default(),
            lock: Mutex::new(lock),
        };
        let recovery = queue.recover()?;
        queue.start(receivers)?;
        Ok((queue, recovery))
    }

    fn recover(&mut self) -> Result<Recovery> {
        let mut recovery = Recovery::default();
        let mut open = BTreeMap::new();
        for folder in recovery::datasets(&self.path, &self.disk, &mut recovery)? {
            let mut opened = Vec::new();
            for partition in (0..folder.partitions).map(Partition) {
                opened.push(recovery::partition(
                    &folder,
                    partition,
                    &self.options,
                    &mut recovery,
                )?);
            }
            let consumers = recovery::consumers(&folder, &mut recovery)?;
            let name = folder.name.clone();
            open.insert(name, Arc::new(self.assemble(folder, opened, consumers)));
        }
        recovery.datasets = open.len();
        self.names.send_replace(open.keys().cloned().collect());
        self.datasets = RwLock::new(Datasets { open, closed: false });
        Ok(recovery)
    }

    fn start(&mut self, receivers: Vec<Receiver<Job>>) -> Result<()> {
        for (i, (receiver, sender)) in receivers.into_iter().zip(&self.writers).enumerate() {
            let sender = sender.clone();
            let thread = std::thread::Builder::new().name(format!("queue-{i}"));
            let thread = thread.spawn(move || run(&receiver, &sender)).map_err(|error| {
                Error::new(
                    ErrorKind::Retry,
                    format_args!("writer thread cannot be started: {error}"),
                )
            })?;
            self.threads
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(thread);
        }
        Ok(())
    }

    fn assemble(&self, folder: DatasetFolder, opened: Vec<Opened>, consumers: Consumers) -> OpenDataset {
        let folder = Arc::new(folder);
        let hash = crc32fast::hash(folder.name.as_str().as_bytes()) as usize;
        let partition = |(i, opened): (usize, Opened)| {
            let writer = self.writers[hash.wrapping_add(i) % self.writers.len()].clone();
            let partition = Partition(i as u32);
            Arc::new(PartitionLog::new(
                folder.clone(),
                partition,
                opened,
                writer,
                self.budget.clone(),
            ))
        };
        let partitions = opened.into_iter().enumerate().map(partition).collect();
        OpenDataset {
            folder,
            partitions,
            consumers: Mutex::new(consumers),
            changing: Arc::default(),
        }
    }

    /// The dataset, made in memory if it is not there: it goes to disk with its first batch, or by `create`. So
    /// a disk that fails meets the same answer and the same order as any failed write.
    fn dataset(&self, name: &DatasetName, partitions: u32) -> Result<Arc<OpenDataset>> {
        if let Some(open) = self.find(name) {
            return Ok(open);
        }
        let mut datasets = self.datasets.write().unwrap_or_else(PoisonError::into_inner);
        if datasets.closed {
            return Err(closed());
        }
        if let Some(open) = datasets.open.get(name) {
            return Ok(open.clone());
        }
        if datasets.open.len() >= DATASETS_MAX {
            return Err(too_many_datasets());
        }
        let partitions = partitions.clamp(1, PARTITIONS_MAX);
        let folder = DatasetFolder::new(&self.path, name.clone(), partitions, self.disk.clone());
        let empty = |i| recovery::empty(folder.partition(Partition(i)), &self.disk, &self.options);
        let opened = (0..folder.partitions).map(empty).collect();
        let open = Arc::new(self.assemble(folder, opened, Consumers::default()));
        datasets.open.insert(name.clone(), open.clone());
        self.names.send_replace(datasets.open.keys().cloned().collect());
        Ok(open)
    }

    fn find(&self, name: &DatasetName) -> Option<Arc<OpenDataset>> {
        self.datasets
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .open
            .get(name)
            .cloned()
    }

    /// Takes no more appends, writes and answers those in flight, ends the threads and lets go of the folder.
    /// Blocks while it does. Readers get what is kept, then `Closed`. Dropping does the same.
    pub fn close(&self) {
        let partitions: Vec<_> = {
            let mut datasets = self.datasets.write().unwrap_or_else(PoisonError::into_inner);
            datasets.closed = true;
            datasets
                .open
                .values()
                .flat_map(|open| open.partitions.clone())
                .collect()
        };
        partitions.iter().for_each(|partition| partition.stop());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for writer in &self.writers {
            // A thread that has ended needs no telling.
            let _ = writer.send(Job::Stop);
        }
        for thread in threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a writer thread of the queue panicked");
            }
        }
        partitions.iter().for_each(|partition| partition.close());
        *self.shut.write().unwrap_or_else(PoisonError::into_inner) = true;
        self.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for LogQueue {
    fn drop(&mut self) {
        self.close();
    }
}

/// A writer: commits partitions in turn until it is told to stop and nothing is left.
fn run(jobs: &Receiver<Job>, again: &Sender<Job>) {
    let mut buffer = Vec::new();
    let mut stopping = false;
    loop {
        let job = if stopping {
            jobs.try_recv().ok()
        } else {
            jobs.recv().ok()
        };
        match job {
            Some(Job::Commit(partition)) => {
                // To the end of the line, so that a busy partition does not hold up the others.
                if partition.commit(&mut buffer) && again.send(Job::Commit(partition)).is_err() {
                    return;
                }
            }
            Some(Job::Stop) => stopping = true,
            None => return,
        }
    }
}

/// Makes a folder and those above it, durably.
fn make_root(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    // The path of a folder in the current one has an empty parent.
    let parent = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let mut missing = Vec::new();
    let mut at = path.to_owned();
    while disk.list(&at).is_err()
        && let Some(above) = parent(&at)
    {
        missing.push(above.clone());
        at = above;
    }
    disk.create_folder(path)?;
    missing
        .iter()
        .rev()
        .try_for_each(|folder| disk.sync_folder(folder))
}

fn lock(disk: &dyn Disk, path: &Path) -> Result<Option<File>> {
    let made = make_root(disk, path);
    made.and_then(|()| disk.lock(path)).map_err(|error| {
        let what = match error.kind() {
            io::ErrorKind::WouldBlock => "another process uses it, stop that one first".to_owned(),
            _ => error.to_string(),
        };
        Error::new(
            ErrorKind::Retry,
            format_args!("log cannot be opened: {what} path={}", path.display()),
        )
    })
}

#[async_trait]
impl Queue for LogQueue {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        let open = match self.dataset(&batch.dataset, self.options.partitions) {
            Ok(open) => open,
            Err(error) => return ready(Err(error)).boxed(),
        };
        let partition = Partition::of(batch.header.key.emitter, open.folder.partitions);
        match open.partitions[partition.0 as usize].append(batch) {
            Reply::Now(answer) => ready(answer).boxed(),
            Reply::Later(answer) => async move {
                let lost = |_| {
                    Err(Error::new(
                        ErrorKind::Retry,
                        "the queue's writer has ended, open it again",
                    ))
                };
                answer.await.unwrap_or_else(lost)
            }
            .boxed(),
        }
    }

    async fn create(&self, dataset: &DatasetName, partitions: u32) -> Result<u32> {
        check_partitions(partitions)?;
        let folder = self.dataset(dataset, partitions)?.folder.clone();
        let made = tokio::task::spawn_blocking(move || folder.make().map(|()| folder.partitions)).await;
        let made =
            made.map_err(|error| Error::new(ErrorKind::Retry, format_args!("create was given up: {error}")))?;
        made.map_err(|error| {
            Error::new(
                ErrorKind::Retry,
                format_args!("dataset cannot be made, try again later: {error} dataset={dataset}"),
            )
        })
    }

    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Record>> {
        let open = self
            .find(dataset)
            .ok_or_else(|| no_partition(dataset, partition))?;
        let log = open
            .partitions
            .get(partition.0 as usize)
            .ok_or_else(|| no_partition(dataset, partition))?;
        log.clone().read(from.0, bytes_max).await
    }

    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        let open = self.find(dataset);
        open.iter()
            .flat_map(|open| &open.partitions)
            .map(|log| Offset(log.end()))
            .collect()
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.names.subscribe()
    }
}
