//! Keyed stores: ports, what they are in memory and on disk, stores made of stores, and the laws of each.
//!
//! | port | what |
//! |---|---|
//! | [`Store`] | reads and atomic commits of values **with the progress** of the job that writes them |
//! | [`Readable`] | key → present, absent or failed, each key by itself |
//! | [`Writable`] | key ← value, or removed |
//! | [`Mergeable`] | key ← value ⊕ delta, atomically, answered with the true value before |
//! | [`Iterable`] | pairs, page by page |
//! | [`Expiring`] | key ← value for a time |
//! | [`Queryable`] | question → value |
//!
//! | store | is |
//! |---|---|
//! | [`MemoryStore`], [`ExpiringMemory`] | the meaning of the ports, in memory |
//! | [`Embedded`] | stores on disk (fjall), of bytes |
//! | [`Typed`] | types over a store of bytes, by the JSON codec of [`codec`] |
//! | [`Sparse`] | a [`Store`] that keeps no zero |
//! | [`SingleWriter`] | a [`Store`] as writable and mergeable, by one object |
//!
//! | combinator | gives a store … | is |
//! |---|---|---|
//! | [`MapValues`], [`ConvertValues`] | of other values, by functions that may fail | R I, R W M I |
//! | [`MapKeys`] | of other keys, by a function that may fail | R W M |
//! | [`Filtered`] | of the pairs that a predicate takes | R I |
//! | [`Cached`] | behind a cache ([`Lru`], [`Ttl`], [`HeavyHitters`]), read-through and write-through | R W M |
//! | [`Through`] | behind a cache that is itself a store, read-through and write-through | R W M |
//! | [`Buffered`] | whose merges are summed before they are sent | R W M I |
//! | [`Batched`] | asked in calls of bounded size, so many at once | R W M I |
//! | [`Retrying`] | tried again by [`Backoff`] | R W M I |
//! | [`TimeLimited`] | whose calls end in time | R W M I |
//! | [`Sharded`] | of several stores, divided by key | R W M I |
//! | [`Replicated`] | of several stores that hold the same; one, quorum or all; read repair | R W |
//! | [`FirstPresent`], [`OrElse`] | of two, the second for what is absent or fails in the first | R |
//! | [`Unpivoted`], [`Pivoted`] | of pairs of keys from maps; of maps from pairs of keys | R W M, R |
//! | [`Ranges`] | merged at numbers, asked for sums over ranges of them | M, [`Queryable`] |
//! | [`Observed`] | whose calls are told to a hook, with counts and times | R W M I |
//!
//! (R [`Readable`], W [`Writable`], M [`Mergeable`], I [`Iterable`].) [`StoreExt`] has them as methods. Each passes
//! the laws of its ports, which [`laws`] has as functions to run on a new backend.
//!
//! What is to be added to a [`Store`] gathers in [`Deltas`], by any number of threads, and goes there in one [`Addition`].
//!
//! A [`Store`] has one writer at a time, the run of one job: [`Commit::expected`] fences a second one. Nothing here
//! reads a clock or waits by itself: times come from the [`Clock`] that is given.
//!
//! Not here: jobs, the wire, backends over a network; merges and pages of replicas, and the forgetting of what was removed
//! there; pages of mapped keys, of caches and of pivots; transactions over several keys of the small ports; additions in
//! place other than in memory.

mod clock;
pub mod codec;
mod combine;
mod deltas;
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
mod sparse;
mod typed;

pub use clock::{Clock, ManualClock, TokioClock};
pub use combine::{
    Backoff, BatchLimits, Batched, Bucket, Buffered, Cache, Cached, Call, Combinable, Consistency,
    ConvertValues, Filtered, FirstPresent, HeavyHitters, Lru, MapKeys, MapValues, Observed, Operation,
    OrElse, Pending, Pivoted, RangeLimits, Ranges, ReplicaOptions, Replicated, Retrying, Sharded, Stamp,
    Stamped, StoreExt, Through, TimeLimited, Ttl, Unpivoted,
};
pub use deltas::Deltas;
pub use embedded::{Embedded, EmbeddedStore};
pub use error::{Error, ErrorKind, Result};
pub use expiring::ExpiringMemory;
pub use ext::{IterableExt, MergeableExt, ReadableExt, WritableExt};
pub use memory::MemoryStore;
pub use ports::{Answers, Expiring, Iterable, Key, Mergeable, Queryable, Readable, Value, Writable};
pub use progress::Progress;
pub use single_writer::SingleWriter;
pub use sparse::Sparse;
pub use typed::Typed;

use std::hash::Hash;

use algebra::Semigroup;
use async_trait::async_trait;

/// Pairs of key and value, and the progress of the job that wrote them, changed together or not at all.
///
/// Laws (checked by [`laws::check`]):
/// * *read your commit*: after `commit` returns, `multi_get`, `scan` and `progress` show all of it;
/// * *all or nothing*: whatever happens during `commit`, a reader or a restart sees all of it or none; so who reads the
///   progress and then values has those of that progress, or of a later one;
/// * *fenced*: a commit whose `expected` is not the progress held changes nothing and is a `Conflict`, unless
///   the progress held is already the commit's own: then it was a retry, changes nothing and is `Ok`;
/// * *last write wins*: of several writes to one key in a commit, the last one counts.
#[async_trait]
pub trait Store<K, V>: Send + Sync {
    /// The value of each key, in the order of the keys; `None` where there is none.
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>>;

    /// Changes values and progress in one atomic step.
    async fn commit(&self, commit: Commit<K, V>) -> Result<()>;

    /// Adds deltas to values and changes progress, in one atomic step: the commit of each `value ⊕ delta`, an absent
    /// value becoming the delta. Fenced as a commit. For a caller that does not need the values before.
    ///
    /// What is provided reads the values and commits the sums. A store that can add where a value is does better;
    /// then [`laws::adding`] is its suite.
    async fn add(&self, addition: Addition<K, V>) -> Result<()>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Semigroup + Send + Sync + 'static,
    {
        let (keys, deltas): (Vec<K>, Vec<V>) = addition.deltas.into_pairs().into_iter().unzip();
        let befores = match keys.is_empty() {
            true => Vec::new(),
            false => self.multi_get(&keys).await?,
        };
        if befores.len() != keys.len() {
            let (got, asked) = (befores.len(), keys.len());
            let text = format!("multi_get must give a value for each key got={got} keys={asked}");
            return Err(Error::new(ErrorKind::Corrupt, text));
        }
        let sum = |(before, delta): (Option<V>, V)| match before {
            None => delta,
            Some(mut value) => {
                value.plus(delta);
                value
            }
        };
        let afters = befores.into_iter().zip(deltas).map(|pair| Some(sum(pair)));
        self.commit(Commit {
            writes: keys.into_iter().zip(afters).collect(),
            expected: addition.expected,
            progress: addition.progress,
        })
        .await
    }

    /// The progress of the last commit; `None` before the first.
    async fn progress(&self) -> Result<Option<Progress>>;

    /// Up to `limit` pairs after the key `after` (from the start if `None`), in the store's key order.
    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>>;
}

/// What is added to a [`Store`] in one atomic change.
#[derive(Clone, Debug)]
pub struct Addition<K, V> {
    /// What is added to which keys.
    pub deltas: Deltas<K, V>,
    /// The progress that the store must hold for this addition to apply.
    pub expected: Option<Progress>,
    /// The progress it holds afterwards.
    pub progress: Progress,
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
