//! A store behind a cache that is itself a store, a faster one: read-through and write-through.

mod locks;

use std::collections::BTreeMap;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::grouped::{Deltas, Writes, joined};
use crate::ports::{Parts, complete};
use crate::{Answers, Error, ErrorKind, Key, Mergeable, Readable, Result, Value, Writable};

use locks::KeyLocks;

/// A slow store whose present values are also put in a fast one, and read from there. ([`Cached`](crate::Cached) is
/// for a cache in this process.)
///
/// Reads: what the cache does not have, or fails to answer, is read from the store and put in the cache, by one of
/// the readers of a key, while the others wait for it. That the cache fails is never a reader's failure.
///
/// Writes and merges: the key is first removed from the cache, then written to the store, then put in the cache. A
/// key that cannot be removed from the cache is not written (`Retry`), since readers would go on to see the older
/// value. So through one object no older value is read after a newer one. Others that write to the same store
/// should do so through a cache object too, and are seen when the cache forgets the key.
pub struct Through<K, C, S> {
    cache: C,
    inner: S,
    locks: KeyLocks<K>,
}

impl<K: Key, C, S> Through<K, C, S> {
    /// `inner` behind `cache`.
    pub fn new(cache: C, inner: S) -> Self {
        Self {
            cache,
            inner,
            locks: KeyLocks::default(),
        }
    }

    /// Puts in the cache what is known; as well as it can.
    async fn fill<V: Value>(&self, known: Vec<(K, Option<V>)>)
    where
        C: Writable<K, V>,
    {
        if !known.is_empty() {
            drop(self.cache.put_each(known).await);
        }
    }

    /// Removes keys from the cache: for each, whether it may be written.
    async fn forget<V: Value>(&self, keys: &[K]) -> Answers<()>
    where
        C: Writable<K, V>,
    {
        let removals = keys.iter().map(|key| (key.clone(), None)).collect();
        let removed = complete(keys.len(), self.cache.put_each(removals).await);
        let kept = |cause: Error| {
            let text =
                "not written, since the cache cannot be told to forget the key: try again, or mend the cache";
            Error::new(ErrorKind::Retry, format!("{text} cause={cause}")).with_source(cause)
        };
        removed.into_iter().map(|removed| removed.map_err(kept)).collect()
    }
}

#[async_trait]
impl<K, V, C, S> Readable<K, V> for Through<K, C, S>
where
    K: Key,
    V: Value,
    C: Readable<K, V> + Writable<K, V>,
    S: Readable<K, V>,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let cached = complete(keys.len(), self.cache.get_each(keys).await);
        let mut found: BTreeMap<&K, Result<Option<V>>> = BTreeMap::new();
        let mut missed = Vec::new();
        for (key, answer) in keys.iter().zip(cached) {
            match answer {
                Ok(Some(value)) => drop(found.insert(key, Ok(Some(value)))),
                _ => missed.push(key.clone()),
            }
        }
        missed.sort_unstable();
        missed.dedup();
        let read = self.read(missed).await;
        keys.iter()
            .map(|key| {
                found
                    .get(key)
                    .or_else(|| read.get(key))
                    .cloned()
                    .unwrap_or(Ok(None))
            })
            .collect()
    }
}

impl<K: Key, C, S> Through<K, C, S> {
    /// What the cache did not have: looked up there once more, since another reader may have put it there
    /// meanwhile, then in the store.
    async fn read<V: Value>(&self, missed: Vec<K>) -> BTreeMap<K, Result<Option<V>>>
    where
        C: Readable<K, V> + Writable<K, V>,
        S: Readable<K, V>,
    {
        let mut read = BTreeMap::new();
        if missed.is_empty() {
            return read;
        }
        let _locked = self.locks.lock(&missed).await;
        let cached = complete(missed.len(), self.cache.get_each(&missed).await);
        let mut open = Vec::new();
        for (key, answer) in missed.into_iter().zip(cached) {
            match answer {
                Ok(Some(value)) => drop(read.insert(key, Ok(Some(value)))),
                _ => open.push(key),
            }
        }
        if open.is_empty() {
            return read;
        }
        let answers = complete(open.len(), self.inner.get_each(&open).await);
        let mut known = Vec::new();
        for (key, answer) in open.into_iter().zip(answers) {
            if let Ok(Some(value)) = &answer {
                known.push((key.clone(), Some(value.clone())));
            }
            read.insert(key, answer);
        }
        self.fill(known).await;
        read
    }
}

#[async_trait]
impl<K, V, C, S> Writable<K, V> for Through<K, C, S>
where
    K: Key,
    V: Value,
    C: Writable<K, V>,
    S: Writable<K, V>,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let keys: Vec<K> = lasts.iter().map(|(key, _)| key.clone()).collect();
        let _locked = self.locks.lock(&keys).await;
        let forgotten = self.forget::<V>(&keys).await;
        let ready = lasts.into_iter().zip(forgotten);
        let (ready, parts) = Parts::of(ready.map(|(write, forgotten)| forgotten.map(|()| write)));
        let answers = complete(ready.len(), self.inner.put_each(ready.clone()).await);
        let done = ready
            .into_iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_ok());
        self.fill(
            done.map(|(write, _)| write)
                .filter(|(_, value)| value.is_some())
                .collect(),
        )
        .await;
        writes.answers(parts.answers(answers))
    }
}

#[async_trait]
impl<K, V, C, S> Mergeable<K, V> for Through<K, C, S>
where
    K: Key,
    V: Semigroup + Value,
    C: Writable<K, V>,
    S: Mergeable<K, V>,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        let keys: Vec<K> = sums.iter().map(|(key, _)| key.clone()).collect();
        let _locked = self.locks.lock(&keys).await;
        let forgotten = self.forget::<V>(&keys).await;
        let ready = sums.into_iter().zip(forgotten);
        let (ready, parts) = Parts::of(ready.map(|(delta, forgotten)| forgotten.map(|()| delta)));
        let answers = complete(ready.len(), self.inner.merge_each(ready.clone()).await);
        let done = ready
            .into_iter()
            .zip(&answers)
            .filter_map(|((key, sum), answer)| {
                let before = answer.as_ref().ok()?;
                Some((key, joined(before.clone(), Some(sum))))
            });
        self.fill(done.collect()).await;
        deltas.befores(parts.answers(answers))
    }
}

#[cfg(test)]
mod tests;
