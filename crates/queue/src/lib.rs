//! The durable ordered log of batches, per dataset and partition.
//!
//! | name | what it is |
//! |---|---|
//! | [`Queue`] | the port: append batches, read records by offset |
//! | [`Seek`] | the first offset there is, and the first one received at or after a time |
//! | [`Retain`] | consumers by name with their progress, and deleting what is old or too much |
//! | [`QueueExt`] | reading past damaged records, on any queue |
//! | [`MemoryQueue`] | the meaning of the ports, in memory |
//! | [`LogQueue`] | segment files on disk |
//! | [`verify`] | checks the files of a log and explains them; never writes |
//! | [`laws`] | the suites that each backend runs |
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use queue::{LogOptions, LogQueue, Offset, Partition, Queue, laws::batch};
//! # let folder = tempfile::tempdir().unwrap(); let path = folder.path();
//! let clicks = "clicks".parse().unwrap();
//! let (queue, _) = LogQueue::open(path, LogOptions::default()).unwrap();
//! queue.create(&clicks, 1).await.unwrap();
//! queue.append(batch(&clicks, 7, 0, 0)).await.unwrap(); // on disk when this is answered
//! let records = queue.read(&clicks, Partition(0), Offset(0), 1 << 20).await.unwrap();
//! assert_eq!(records[0].batch, batch(&clicks, 7, 0, 0));
//! # });
//! ```
//!
//! Not here: decoding of payloads, jobs, HTTP; copies on other machines; deleting single batches (retention takes
//! whole segments), and a clock: who calls [`Retain::retain`] brings the time.

mod dedup;
mod error;
mod ext;
pub mod laws;
pub mod limits;
mod log;
mod memory;
mod retention;

pub use error::{Error, ErrorKind, Result};
pub use ext::{QueueExt, Read};
pub use log::verify::{Finding, Problem, Report, SegmentReport, verify};
pub use log::{Damage, LogOptions, LogQueue, Recovery, TornTail};
pub use memory::MemoryQueue;
pub use retention::{Consumer, ConsumerName, Deleted, Retention, Untaken};

use async_trait::async_trait;
use event::{Batch, DatasetName, EmitterId};
use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

/// Where a batch stands in its partition: 0, 1, 2 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// One of a dataset's partitions: 0, 1, 2 …
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition(pub u32);

impl Partition {
    /// The partition of an emitter's batches, among `partitions` (at least 1). The choice is frozen: a retry
    /// must meet its twin, so it depends on the emitter alone.
    pub fn of(emitter: EmitterId, partitions: u32) -> Self {
        let folded = emitter.0.as_u128() ^ (emitter.0.as_u128() >> 64);
        Self(((folded as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as u32 % partitions.max(1))
    }
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the batch stands; for a duplicate `None`, since only its having been kept is remembered.
    pub offset: Option<Offset>,
    /// Whether it had been kept before, by an earlier append.
    pub duplicate: bool,
    /// Whether it is kept on this machine only until the queue it is meant for can be reached. No queue of this crate
    /// answers so.
    pub spooled: bool,
}

/// A batch with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its partition.
    pub partition: Partition,
    /// Its place in the partition.
    pub offset: Offset,
    /// The batch, as it was appended.
    pub batch: Batch,
}

/// A durable ordered log of batches per dataset and partition.
///
/// Laws (checked by [`laws::check`]):
/// * *kept*: when `append` has answered, the batch survives a crash of the process and of the machine
///   (`MemoryQueue`: until it is dropped), and readers see it;
/// * *ordered*: batches of one emitter are read in the order of the calls of `append`; offsets count 0, 1, 2 …;
/// * *once*: a batch whose key was kept before is answered as a duplicate and not kept again, also after a
///   restart; while its twin is still being written, the answer waits for the twin;
/// * *no holes*: of a known emitter and epoch the next sequence is taken; a later one is a `Conflict` that names
///   the one expected, and an older epoch is `Fenced`; a later epoch begins with 0. The first batch of an emitter
///   that is not known (new, or forgotten) is taken with whatever sequence it has; if it is refused or its write
///   fails, those behind it are `Conflict`s until it is sent again;
/// * *same partition*: all batches of an emitter are in partition `Partition::of(emitter, partitions)`.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Takes a batch; the future answers when it is kept. The place in the order is taken by the call itself,
    /// not by the first poll. A dataset that is not known is made, with the default number of partitions.
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>>;

    /// Makes a dataset with a number of partitions (1 to 64), or returns the number it already has.
    async fn create(&self, dataset: &DatasetName, partitions: u32) -> Result<u32>;

    /// Records of a partition from `from` on, in order: waits until there is one, then returns up to
    /// `bytes_max` bytes of payload, but at least one record. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `NotFound` when the dataset or partition does not exist or `from` has been deleted; `Corrupt` when the
    /// bytes of the record at `from` are not what was written. [`Error::next`] is where to go on in both cases.
    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Record>>;

    /// Each partition's offset after its last kept batch. Empty when the dataset does not exist.
    fn ends(&self, dataset: &DatasetName) -> Vec<Offset>;

    /// The datasets there are, by name, and word of each new one.
    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>>;
}

/// Offsets by what is kept and by time: where a replay begins.
///
/// Laws (checked by [`laws::check_retention`]):
/// * *first*: no offset before `starts` can be read, each from there up to `ends` can (apart from damage);
/// * *at a time*: `find` answers the first offset whose batch was received at or after the time, whatever the
///   order of the times; the end when there is none.
#[async_trait]
pub trait Seek: Queue {
    /// Each partition's first offset that has not been deleted; its end when there is none. Empty when the
    /// dataset does not exist.
    fn starts(&self, dataset: &DatasetName) -> Vec<Offset>;

    /// The first offset there is whose batch was received at or after a time, else the end.
    ///
    /// # Errors
    /// `NotFound` when the dataset or partition does not exist; `Retry` when the disk cannot be read.
    async fn find(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        received_at: Timestamp,
    ) -> Result<Offset>;
}

/// Deleting what is old or too much, but nothing that a registered consumer has not taken, unless told to.
///
/// Laws (checked by [`laws::check_retention`]):
/// * *a prefix*: what is deleted of a partition is what comes first; offsets stay as they are, and a read of a
///   deleted one is `NotFound` and names the first there is;
/// * *only what is due*: a batch is deleted only if the [`Retention`] allows it;
/// * *not before it is taken*: with [`Untaken::Keep`] no batch that a consumer has yet to take is deleted, also
///   when the queue was opened again; with [`Untaken::Delete`] each such batch is counted, for each consumer;
/// * *once*: the table of emitters outlives the batches, so a deleted batch sent again is a duplicate.
#[async_trait]
pub trait Retain: Queue {
    /// A consumer has taken all before `progress` (one offset a partition) and will not ask for it again.
    /// The first time it registers the consumer, which is durable when this answers. Progress never goes back: a
    /// lower offset changes nothing. Later progress is in memory until the next [`Retain::retain`]; after a crash
    /// an older one holds, which keeps more.
    ///
    /// # Errors
    /// `NotFound` for a dataset that does not exist; `Invalid` for another number of partitions, or when there
    /// are too many consumers; `Retry` when a new one cannot be written.
    async fn advance(
        &self,
        dataset: &DatasetName,
        consumer: &ConsumerName,
        progress: &[Offset],
    ) -> Result<()>;

    /// Removes a consumer: nothing is kept for it any more. Says whether there was one.
    async fn forget(&self, dataset: &DatasetName, consumer: &ConsumerName) -> Result<bool>;

    /// The registered consumers of a dataset, by name.
    fn consumers(&self, dataset: &DatasetName) -> Vec<Consumer>;

    /// Deletes what the retention does not want kept; `now` is the time against which ages are counted.
    ///
    /// # Errors
    /// `NotFound` for a dataset that does not exist; `Retry` when the disk fails: what was deleted by then stays
    /// deleted; `Corrupt` when it is not known who the consumers are.
    async fn retain(&self, dataset: &DatasetName, retention: &Retention, now: Timestamp) -> Result<Deleted>;
}
