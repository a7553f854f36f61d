//! Keys of another type than the store keeps.

use std::marker::PhantomData;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::grouped::Writes;
use crate::ports::Parts;
use crate::{Answers, Key, Mergeable, Readable, Result, Value, Writable};

/// A store of `J → V` as one of `K → V`, by a function from `K` to `J`, which may fail its key alone.
///
/// The function must give different keys different ones, unless several keys are to share a value.
pub struct MapKeys<S, J, F> {
    inner: S,
    map: F,
    to: PhantomData<fn() -> J>,
}

impl<S, J, F> MapKeys<S, J, F> {
    /// Keys of `inner` by `map`.
    pub fn new(inner: S, map: F) -> Self {
        Self {
            inner,
            map,
            to: PhantomData,
        }
    }
}

#[async_trait]
impl<K, J, V, S, F> Readable<K, V> for MapKeys<S, J, F>
where
    K: Key,
    J: Key,
    V: Send + 'static,
    S: Readable<J, V>,
    F: Fn(&K) -> Result<J> + Send + Sync,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let (inner, parts) = Parts::of(keys.iter().map(&self.map));
        parts.answers(self.inner.get_each(&inner).await)
    }
}

#[async_trait]
impl<K, J, V, S, F> Writable<K, V> for MapKeys<S, J, F>
where
    K: Key,
    J: Key,
    V: Value,
    S: Writable<J, V>,
    F: Fn(&K) -> Result<J> + Send + Sync,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let map = |(key, value)| Ok(((self.map)(&key)?, value));
        let (inner, parts) = Parts::of(lasts.into_iter().map(map));
        writes.answers(parts.answers(self.inner.put_each(inner).await))
    }
}

#[async_trait]
impl<K, J, V, S, F> Mergeable<K, V> for MapKeys<S, J, F>
where
    K: Key,
    J: Key,
    V: Semigroup + Value,
    S: Mergeable<J, V>,
    F: Fn(&K) -> Result<J> + Send + Sync,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let map = |(key, delta)| Ok(((self.map)(&key)?, delta));
        let (inner, parts) = Parts::of(deltas.into_iter().map(map));
        parts.answers(self.inner.merge_each(inner).await)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Error, ErrorKind, MemoryStore, StoreExt, laws};

    fn even(key: &u64) -> Result<String> {
        match key % 2 {
            0 => Ok(format!("key/{key}")),
            _ => Err(Error::new(ErrorKind::Invalid, "odd")),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        let name = |key: &u64| Ok(format!("key/{key}"));
        laws::readable::<u64, u64, _>(async |pairs| {
            let named = pairs
                .into_iter()
                .map(|(key, value)| (format!("key/{key}"), value));
            Arc::new(MemoryStore::from_iter(named).map_keys(name))
        })
        .await;
        laws::writable::<u64, u64, _>(async || Arc::new(MemoryStore::new().map_keys(name))).await;
        laws::mergeable::<u64, String, _>(async || Arc::new(MemoryStore::new().map_keys(name))).await;
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_mapped_fails_alone() {
        let kept = MemoryStore::from_iter([("key/2".to_owned(), 2)]);
        let evens = kept.clone().map_keys(even);
        let answers: Answers<Option<i32>> = evens.get_each(&[1, 2, 4]).await;
        assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(
            (answers[1].clone().unwrap(), answers[2].clone().unwrap()),
            (Some(2), None)
        );
        let answers = evens.put_each(vec![(3, Some(3)), (4, Some(4))]).await;
        assert_eq!(
            answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [false, true]
        );
        let answers = evens.merge_each(vec![(4, 1), (5, 1), (4, 1)]).await;
        assert_eq!(answers[2].clone().unwrap(), Some(5));
        assert!(answers[1].is_err());
    }
}
