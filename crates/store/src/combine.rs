//! Stores made of stores: each a named type that is again whatever port it can be, with [`StoreExt`] as sugar.

mod batched;
mod buffered;
mod cached;
mod fallback;
mod filtered;
mod map_keys;
mod map_values;
mod observed;
mod pivot;
mod ranges;
mod replicated;
mod retrying;
mod sharded;
mod through;
mod time_limited;

pub use batched::{BatchLimits, Batched};
pub use buffered::{Buffered, Pending};
pub use cached::{Cache, Cached, HeavyHitters, Lru, Ttl};
pub use fallback::{FirstPresent, OrElse};
pub use filtered::Filtered;
pub use map_keys::MapKeys;
pub use map_values::{ConvertValues, MapValues};
pub use observed::{Call, Observed, Operation};
pub use pivot::{Pivoted, Unpivoted};
pub use ranges::{Bucket, RangeLimits, Ranges};
pub use replicated::{Consistency, ReplicaOptions, Replicated, Stamp, Stamped};
pub use retrying::{Backoff, Retrying};
pub use sharded::Sharded;
pub use through::Through;
pub use time_limited::TimeLimited;

use std::sync::Arc;
use std::time::Duration;

use algebra::Semigroup;

use crate::{
    Clock, EmbeddedStore, ExpiringMemory, Key, MemoryStore, Mergeable, Result, SingleWriter, Store, Typed,
    Value,
};

/// The combinators as methods, on what is a store of some port: see [`Combinable`].
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use store::{Backoff, Lru, MemoryStore, MergeableExt, ReadableExt, StoreExt, TokioClock};
///
/// let counts = MemoryStore::<String, u64>::new()
///     .retrying(Backoff::default(), TokioClock::default())
///     .cached(Lru::new(10_000))
///     .map_keys(|word: &&str| Ok(word.to_lowercase()));
/// counts.merge("Ant", 2).await?;
/// assert_eq!(counts.merge("ant", 1).await?, Some(2));
/// assert_eq!(counts.get(&"ANT").await?, Some(3));
/// # Ok::<_, store::Error>(())
/// # }).unwrap();
/// ```
pub trait StoreExt: Sized {
    /// Values through a function that may fail: [`MapValues`].
    fn map_values<U, V, F: Fn(U) -> Result<V>>(self, map: F) -> MapValues<Self, U, F> {
        MapValues::new(self, map)
    }

    /// Values through a function each way: [`ConvertValues`].
    fn convert_values<U, V, D, E>(self, decode: D, encode: E) -> ConvertValues<Self, U, D, E>
    where
        D: Fn(U) -> Result<V>,
        E: Fn(V) -> Result<U>,
    {
        ConvertValues::new(self, decode, encode)
    }

    /// Keys through a function that may fail: [`MapKeys`].
    fn map_keys<K, J, F: Fn(&K) -> Result<J>>(self, map: F) -> MapKeys<Self, J, F> {
        MapKeys::new(self, map)
    }

    /// The pairs that a predicate takes: [`Filtered`].
    fn filtered<K, V, P: Fn(&K, &V) -> bool>(self, keep: P) -> Filtered<Self, P> {
        Filtered::new(self, keep)
    }

    /// Behind a cache: [`Cached`].
    fn cached<K: Key, V: Value, C: Cache<K, Option<V>>>(self, cache: C) -> Cached<K, V, Self, C> {
        Cached::new(self, cache)
    }

    /// Behind a cache that is a store: [`Through`].
    fn through<K: Key, C>(self, cache: C) -> Through<K, C, Self> {
        Through::new(cache, self)
    }

    /// Tried again: [`Retrying`].
    fn retrying<C: Clock>(self, backoff: Backoff, clock: C) -> Retrying<Self, C> {
        Retrying::new(self, backoff, clock)
    }

    /// Ended in time: [`TimeLimited`].
    fn time_limited<C: Clock>(self, time_max: Duration, clock: C) -> TimeLimited<Self, C> {
        TimeLimited::new(self, time_max, clock)
    }

    /// In small calls: [`Batched`].
    fn batched(self, limits: BatchLimits) -> Batched<Self> {
        Batched::new(self, limits)
    }

    /// Merges summed here first, up to `deltas_max`: [`Buffered`].
    fn buffered<K: Key, V: Semigroup + Value>(self, deltas_max: usize) -> Buffered<K, V, Self>
    where
        Self: Mergeable<K, V>,
    {
        Buffered::new(self, deltas_max)
    }

    /// Calls told to a hook: [`Observed`].
    fn observed<H: Fn(&Call), C: Clock>(self, hook: H, clock: C) -> Observed<Self, H, C> {
        Observed::new(self, hook, clock)
    }

    /// Another store for the keys that are absent: [`FirstPresent`].
    fn first_present<B>(self, second: B) -> FirstPresent<Self, B> {
        FirstPresent::new(self, second)
    }

    /// Another store for the keys that fail: [`OrElse`].
    fn or_else<B>(self, second: B) -> OrElse<Self, B> {
        OrElse::new(self, second)
    }

    /// The entries of its maps: [`Unpivoted`].
    fn unpivoted(self) -> Unpivoted<Self> {
        Unpivoted::new(self)
    }

    /// Sums over ranges: [`Ranges`].
    fn ranges(self, limits: RangeLimits) -> Ranges<Self> {
        Ranges::new(self, limits)
    }

    /// Maps of its pairs: [`Pivoted`].
    fn pivoted<I>(self, least: I, entries_max: usize) -> Pivoted<Self, I> {
        Pivoted::new(self, least, entries_max)
    }
}

impl<S: Combinable> StoreExt for S {}

/// Marks a store of some port as one that has the combinators of [`StoreExt`] as methods.
///
/// All stores here are; for one of yours write `impl Combinable for MyStore {}`. It is a mark and not just any type,
/// because `map_values` and `filtered` are methods of much that is no store.
pub trait Combinable: Sized {}

macro_rules! combinable {
    ($([$($generic:ident),*] $type:ty;)*) => {$(impl<$($generic),*> Combinable for $type {})*};
}

combinable! {
    [K, V] MemoryStore<K, V>;
    [K, V] Typed<K, V>;
    [] EmbeddedStore;
    [K, V, C] ExpiringMemory<K, V, C>;
    [K, V] SingleWriter<K, V>;
    [S] Batched<S>;
    [K, V, S] Buffered<K, V, S>;
    [K, V, S, C] Cached<K, V, S, C>;
    [A, B] FirstPresent<A, B>;
    [A, B] OrElse<A, B>;
    [S, P] Filtered<S, P>;
    [S, J, F] MapKeys<S, J, F>;
    [S, U, F] MapValues<S, U, F>;
    [S, U, D, E] ConvertValues<S, U, D, E>;
    [S, H, C] Observed<S, H, C>;
    [S, I] Pivoted<S, I>;
    [S] Unpivoted<S>;
    [S] Ranges<S>;
    [S, C] Replicated<S, C>;
    [S, C] Retrying<S, C>;
    [S, F] Sharded<S, F>;
    [K, C, S] Through<K, C, S>;
    [S, C] TimeLimited<S, C>;
    [S] crate::laws::Faulty<S>;
}

impl<K, V> Combinable for Arc<dyn Store<K, V>> {}
impl<S: Combinable> Combinable for Arc<S> {}
impl<S: Combinable> Combinable for &S {}

#[cfg(test)]
mod tests;
