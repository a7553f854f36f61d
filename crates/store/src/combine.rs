//! Stores made of stores: each a named type that is again whatever port it can be, with [`StoreExt`] as sugar.

mod batched;
mod cached;
mod filtered;
mod map_keys;
mod map_values;
mod retrying;
mod sharded;

pub use batched::{BatchLimits, Batched};
pub use cached::{Cache, Cached, HeavyHitters, Lru, Ttl};
pub use filtered::Filtered;
pub use map_keys::MapKeys;
pub use map_values::{ConvertValues, MapValues};
pub use retrying::{Backoff, Retrying};
pub use sharded::Sharded;

use crate::{Clock, Key, Result, Value};

/// The combinators as methods, on whatever is a store of some port.
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

    /// Tried again: [`Retrying`].
    fn retrying<C: Clock>(self, backoff: Backoff, clock: C) -> Retrying<Self, C> {
        Retrying::new(self, backoff, clock)
    }

    /// In small calls: [`Batched`].
    fn batched(self, limits: BatchLimits) -> Batched<Self> {
        Batched::new(self, limits)
    }
}

impl<S: Sized> StoreExt for S {}
