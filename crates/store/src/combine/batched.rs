//! A store asked in calls of bounded size.

use algebra::Semigroup;
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt};

use crate::grouped::{Deltas, Writes};
use crate::ports::complete;
use crate::{Answers, Iterable, Key, Mergeable, Readable, Result, Value, Writable};

/// How large the calls are that a store is asked in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// Keys in a call to the store; 0 counts as 1.
    pub keys_max: usize,
    /// Calls to the store under way at once, of one call from above; 0 counts as 1.
    pub calls_max: usize,
}

/// A store whose large calls are divided into calls of up to `keys_max` keys, `calls_max` at a time.
///
/// A key that comes twice in a call is sent once (its last write, the sum of its deltas), so that the parts of a
/// call, which have no order among them, hold different keys. A page is read in pages.
pub struct Batched<S> {
    inner: S,
    limits: BatchLimits,
}

impl<S> Batched<S> {
    /// `inner` in calls within `limits`.
    pub fn new(inner: S, limits: BatchLimits) -> Self {
        let limits = BatchLimits {
            keys_max: limits.keys_max.max(1),
            calls_max: limits.calls_max.max(1),
        };
        Self { inner, limits }
    }

    async fn all<T: Send>(&self, calls: Vec<(usize, BoxFuture<'_, Answers<T>>)>) -> Answers<T> {
        let calls: Vec<BoxFuture<'_, Answers<T>>> = calls.into_iter().map(whole).collect();
        let answers: Vec<Answers<T>> = stream::iter(calls)
            .buffered(self.limits.calls_max)
            .collect()
            .await;
        answers.into_iter().flatten().collect()
    }

    fn divided<T>(&self, items: Vec<T>) -> Vec<Vec<T>> {
        let mut items = items.into_iter().peekable();
        let mut parts = Vec::new();
        while items.peek().is_some() {
            parts.push(items.by_ref().take(self.limits.keys_max).collect());
        }
        parts
    }
}

/// A call with as many answers as it asks for.
fn whole<'a, T: Send + 'a>((asked, call): (usize, BoxFuture<'a, Answers<T>>)) -> BoxFuture<'a, Answers<T>> {
    Box::pin(async move { complete(asked, call.await) })
}

#[async_trait]
impl<K: Key, V: Value, S: Readable<K, V>> Readable<K, V> for Batched<S> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let parts = keys.chunks(self.limits.keys_max);
        self.all(
            parts
                .map(|part| (part.len(), self.inner.get_each(part)))
                .collect(),
        )
        .await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Iterable<K, V>> Iterable<K, V> for Batched<S> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let mut pairs: Vec<(K, V)> = Vec::new();
        while pairs.len() < limit {
            let after = pairs.last().map(|(key, _)| key).or(after);
            let wanted = self.limits.keys_max.min(limit - pairs.len());
            let page = self.inner.page(after, wanted).await?;
            let ended = page.len() < wanted;
            pairs.extend(page);
            if ended {
                break;
            }
        }
        Ok(pairs)
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Writable<K, V>> Writable<K, V> for Batched<S> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let parts = self.divided(lasts).into_iter();
        let calls = parts
            .map(|part| (part.len(), self.inner.put_each(part)))
            .collect();
        writes.answers(self.all(calls).await)
    }
}

#[async_trait]
impl<K: Key, V: Semigroup + Value, S: Mergeable<K, V>> Mergeable<K, V> for Batched<S> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        let parts = self.divided(sums).into_iter();
        let calls = parts
            .map(|part| (part.len(), self.inner.merge_each(part)))
            .collect();
        deltas.befores(self.all(calls).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{MemoryStore, StoreExt, laws};

    const FEW: BatchLimits = BatchLimits {
        keys_max: 3,
        calls_max: 2,
    };

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        laws::readable::<u64, u64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs).batched(FEW)))
            .await;
        laws::writable::<u64, u64, _>(async || Arc::new(MemoryStore::new().batched(FEW))).await;
        laws::mergeable::<u64, String, _>(async || {
            let one = BatchLimits {
                keys_max: 0,
                calls_max: 0,
            };
            Arc::new(MemoryStore::new().batched(one))
        })
        .await;
        laws::iterable::<u64, u64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs).batched(FEW)))
            .await;
    }

    /// Notes the largest call and the most calls at once.
    #[derive(Default)]
    struct Watched {
        keys: AtomicUsize,
        now: AtomicUsize,
        most: AtomicUsize,
        calls: AtomicUsize,
    }

    impl crate::Combinable for Watched {}

    #[async_trait]
    impl Readable<u64, u64> for Watched {
        async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
            self.keys.fetch_max(keys.len(), Ordering::Relaxed);
            self.calls.fetch_add(1, Ordering::Relaxed);
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::task::yield_now().await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            keys.iter().map(|key| Ok(Some(*key))).collect()
        }
    }

    #[tokio::test]
    async fn calls_are_small_and_few_at_once() {
        let watched = Arc::new(Watched::default());
        let keys: Vec<u64> = (0..100).collect();
        let answers = watched.clone().batched(FEW).get_each(&keys).await;
        let values: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.unwrap().unwrap())
            .collect();
        assert_eq!(values, keys);
        let seen = [&watched.keys, &watched.most, &watched.calls].map(|seen| seen.load(Ordering::Relaxed));
        assert_eq!(seen, [3, 2, 34]);
    }
}
