//! The durable ordered log of batches, per dataset and partition.
//!
//! The port is [`Queue`]; [`MemoryQueue`] is its meaning, [`LogQueue`] keeps it in segment files, and [`laws`] is
//! the suite that each backend runs.
//!
//! Not here: decoding of payloads, jobs, HTTP, removing old batches (nothing is ever deleted yet).

mod dedup;
mod error;
pub mod laws;
pub mod limits;
mod log;
mod memory;

pub use error::{Error, ErrorKind, Result};
pub use log::{Damage, LogOptions, LogQueue, Recovery, TornTail};
pub use memory::MemoryQueue;

use async_trait::async_trait;
use event::{Batch, DatasetName, EmitterId};
use futures::future::BoxFuture;
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
///   the one expected, and an older epoch is `Closed`; a later epoch begins with 0. The first batch of an emitter
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
    /// `NotFound` when the dataset or partition does not exist or `from` has been deleted; `Corrupt` when a
    /// record's bytes are not what was written.
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
