//! Keyed stores whose values and progress change together.
//!
//! The port is [`Store`]; [`MemoryStore`] is its meaning, [`Embedded`] keeps stores on disk (fjall), and
//! [`laws`] is the suite that each backend runs. [`Typed`] puts types over a store of bytes with the JSON codec
//! of [`codec`].
//!
//! A store has one writer at a time, the run of one job: [`Commit::expected`] fences a second one.
//!
//! Not here: jobs, merging (the engine merges, the store keeps), the wire.

mod clock;
pub mod codec;
mod combine;
mod embedded;
mod error;
mod expiring;
mod ext;
mod fence;
mod grouped;
pub mod laws;
pub mod limits;
mod memory;
mod ports;
mod progress;
mod single_writer;
mod typed;

pub use clock::{Clock, ManualClock, TokioClock};
pub use combine::{
    Backoff, BatchLimits, Batched, Bucket, Buffered, Cache, Cached, Call, Consistency, ConvertValues,
    Filtered, FirstPresent, HeavyHitters, Lru, MapKeys, MapValues, Observed, Operation, OrElse, Pending,
    Pivoted, RangeLimits, Ranges, ReplicaOptions, Replicated, Retrying, Sharded, Stamp, Stamped, StoreExt,
    Ttl, Unpivoted,
};
pub use embedded::{Embedded, EmbeddedStore};
pub use error::{Error, ErrorKind, Result};
pub use expiring::ExpiringMemory;
pub use ext::{IterableExt, MergeableExt, ReadableExt, WritableExt};
pub use memory::MemoryStore;
pub use ports::{Answers, Expiring, Iterable, Key, Mergeable, Queryable, Readable, Value, Writable};
pub use progress::Progress;
pub use single_writer::SingleWriter;
pub use typed::Typed;

use async_trait::async_trait;

/// Pairs of key and value, and the progress of the job that wrote them, changed together or not at all.
///
/// Laws (checked by [`laws::check`]):
/// * *read your commit*: after `commit` returns, `multi_get`, `scan` and `progress` show all of it;
/// * *all or nothing*: whatever happens during `commit`, a reader or a restart sees all of it or none;
/// * *fenced*: a commit whose `expected` is not the progress held changes nothing and is a `Conflict`, unless
///   the progress held is already the commit's own: then it was a retry, changes nothing and is `Ok`;
/// * *last write wins*: of several writes to one key in a commit, the last one counts.
#[async_trait]
pub trait Store<K, V>: Send + Sync {
    /// The value of each key, in the order of the keys; `None` where there is none.
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>>;

    /// Changes values and progress in one atomic step.
    async fn commit(&self, commit: Commit<K, V>) -> Result<()>;

    /// The progress of the last commit; `None` before the first.
    async fn progress(&self) -> Result<Option<Progress>>;

    /// Up to `limit` pairs after the key `after` (from the start if `None`), in the store's key order.
    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>>;
}

/// One atomic change of a [`Store`].
#[derive(Clone, Debug, PartialEq)]
pub struct Commit<K, V> {
    /// Key and new value; `None` removes the key.
    pub writes: Vec<(K, Option<V>)>,
    /// The progress that the store must hold for this commit to apply.
    pub expected: Option<Progress>,
    /// The progress it holds afterwards.
    pub progress: Progress,
}
