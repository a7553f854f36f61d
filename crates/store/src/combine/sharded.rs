//! One store of many, divided by key.

use algebra::Semigroup;
use async_trait::async_trait;
use futures::future::{BoxFuture, join_all};

use crate::ports::complete;
use crate::{Answers, Error, ErrorKind, Iterable, Key, Mergeable, Readable, Result, Value, Writable};

/// Stores that hold the keys among them: `shard_of` says which one holds a key, always the same for the same key.
///
/// A shard that is missing, or that there is not, fails its keys (`NotFound`) and no others. All shards of a call
/// are asked at once. Pages go through one shard after the other.
pub struct Sharded<S, F> {
    shards: Vec<Option<S>>,
    shard_of: F,
}

impl<S, F> Sharded<S, F> {
    /// The stores by number, `None` where one is missing.
    pub fn new(shards: impl IntoIterator<Item = Option<S>>, shard_of: F) -> Self {
        Self {
            shards: shards.into_iter().collect(),
            shard_of,
        }
    }

    fn shard(&self, number: usize) -> Result<&S> {
        self.shards.get(number).and_then(Option::as_ref).ok_or_else(|| {
            let text = "the shard of this key is missing: open it, or mend the function from key to shard";
            let shards = self.shards.len();
            Error::new(
                ErrorKind::NotFound,
                format!("{text} shard={number} shards={shards}"),
            )
        })
    }

    /// Each shard's items in their order, its places among all, and the store.
    fn divided<T>(&self, items: impl IntoIterator<Item = (usize, T)>) -> Divided<'_, S, T> {
        let mut divided = Divided {
            parts: Vec::new(),
            missing: Vec::new(),
            items: 0,
        };
        let mut part_of = std::collections::BTreeMap::new();
        for (number, item) in items {
            let place = divided.items;
            divided.items += 1;
            match self.shard(number) {
                Err(error) => divided.missing.push((place, error)),
                Ok(store) => {
                    let part = *part_of.entry(number).or_insert(divided.parts.len());
                    if part == divided.parts.len() {
                        divided.parts.push((store, Vec::new(), Vec::new()));
                    }
                    divided.parts[part].1.push(place);
                    divided.parts[part].2.push(item);
                }
            }
        }
        divided
    }
}

struct Divided<'a, S, T> {
    parts: Vec<(&'a S, Vec<usize>, Vec<T>)>,
    missing: Vec<(usize, Error)>,
    items: usize,
}

impl<'a, S, T> Divided<'a, S, T> {
    /// Asks all shards at once.
    async fn ask<A: Send>(
        self,
        ask: impl Fn(&'a S, Vec<T>) -> BoxFuture<'a, Answers<A>> + Send,
    ) -> Answers<A> {
        let mut answers: Vec<Option<Result<A>>> = (0..self.items).map(|_| None).collect();
        for (place, error) in self.missing {
            answers[place] = Some(Err(error));
        }
        let (places, calls): (Vec<_>, Vec<_>) = self
            .parts
            .into_iter()
            .map(|(store, places, items)| (places, ask(store, items)))
            .unzip();
        for (places, got) in places.into_iter().zip(join_all(calls).await) {
            for (place, answer) in places.iter().zip(complete(places.len(), got)) {
                answers[*place] = Some(answer);
            }
        }
        answers.into_iter().flatten().collect()
    }
}

#[async_trait]
impl<K, V, S, F> Readable<K, V> for Sharded<S, F>
where
    K: Key,
    V: Value,
    S: Readable<K, V>,
    F: Fn(&K) -> usize + Send + Sync,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let items = keys.iter().map(|key| ((self.shard_of)(key), key.clone()));
        self.divided(items)
            .ask(|store, keys| Box::pin(async move { store.get_each(&keys).await }))
            .await
    }
}

#[async_trait]
impl<K, V, S, F> Writable<K, V> for Sharded<S, F>
where
    K: Key,
    V: Value,
    S: Writable<K, V>,
    F: Fn(&K) -> usize + Send + Sync,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let items = writes.into_iter().map(|write| ((self.shard_of)(&write.0), write));
        self.divided(items)
            .ask(|store, writes| store.put_each(writes))
            .await
    }
}

#[async_trait]
impl<K, V, S, F> Mergeable<K, V> for Sharded<S, F>
where
    K: Key,
    V: Semigroup + Value,
    S: Mergeable<K, V>,
    F: Fn(&K) -> usize + Send + Sync,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let items = deltas.into_iter().map(|delta| ((self.shard_of)(&delta.0), delta));
        self.divided(items)
            .ask(|store, deltas| store.merge_each(deltas))
            .await
    }
}

#[async_trait]
impl<K, V, S, F> Iterable<K, V> for Sharded<S, F>
where
    K: Key,
    V: Value,
    S: Iterable<K, V>,
    F: Fn(&K) -> usize + Send + Sync,
{
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let mut pairs = Vec::new();
        let first = after.map_or(0, |key| (self.shard_of)(key));
        for number in first..self.shards.len() {
            if pairs.len() == limit {
                break;
            }
            let after = after.filter(|_| number == first);
            pairs.extend(self.shard(number)?.page(after, limit - pairs.len()).await?);
        }
        Ok(pairs)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{IterableExt, MemoryStore, MergeableExt, laws};

    fn by_rest(key: &u64) -> usize {
        (key % 3) as usize
    }

    fn three<V: Value>(pairs: &[(u64, V)]) -> impl Iterator<Item = Option<MemoryStore<u64, V>>> {
        (0..3).map(|n| {
            let mine = pairs.iter().filter(|(key, _)| by_rest(key) == n).cloned();
            Some(MemoryStore::from_iter(mine))
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        laws::readable::<u64, u64, _>(async |pairs| Arc::new(Sharded::new(three(&pairs), by_rest))).await;
        laws::writable::<u64, u64, _>(async || Arc::new(Sharded::new(three(&[]), by_rest))).await;
        laws::mergeable::<u64, String, _>(async || Arc::new(Sharded::new(three(&[]), by_rest))).await;
        laws::iterable::<u64, u64, _>(async |pairs| Arc::new(Sharded::new(three(&pairs), by_rest))).await;
    }

    #[tokio::test]
    async fn a_missing_shard_fails_its_keys_alone() {
        let mut shards: Vec<_> = three(&[(0, 10), (1, 11), (2, 12)]).collect();
        shards[1] = None;
        // Keys from 100 on have a shard that there is not.
        let store = Sharded::new(shards, |key: &u64| if *key < 100 { by_rest(key) } else { 7 });
        let answers: Answers<Option<u64>> = store.get_each(&[2, 1, 3, 100, 0]).await;
        let kinds: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.map_err(|error| error.kind()))
            .collect();
        let missing = Err(ErrorKind::NotFound);
        assert_eq!(kinds, [Ok(Some(12)), missing, Ok(None), missing, Ok(Some(10))]);
        let error = store.merge(1, 1).await.unwrap_err();
        assert!(error.to_string().contains("shard=1 shards=3"), "{error}");
        assert_eq!(store.merge(2, 1).await.unwrap(), Some(12));
        assert_eq!(
            store.all(10).await.unwrap_err().kind(),
            ErrorKind::NotFound,
            "a walk is whole or fails"
        );
    }
}
