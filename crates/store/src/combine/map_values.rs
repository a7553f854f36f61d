//! Values of another type than the store keeps.

use std::marker::PhantomData;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::grouped::Writes;
use crate::ports::Parts;
use crate::{Answers, Error, ErrorKind, Iterable, Key, Mergeable, Readable, Result, Value, Writable};

/// A store of `K → U` read as `K → V`: each value present goes once through a function that may fail, which
/// fails its key alone.
pub struct MapValues<S, U, F> {
    inner: S,
    map: F,
    from: PhantomData<fn(U)>,
}

impl<S, U, F> MapValues<S, U, F> {
    /// Values of `inner` through `map`.
    pub fn new(inner: S, map: F) -> Self {
        Self {
            inner,
            map,
            from: PhantomData,
        }
    }
}

#[async_trait]
impl<K, U, V, S, F> Readable<K, V> for MapValues<S, U, F>
where
    K: Key,
    U: Send + 'static,
    V: Send + 'static,
    S: Readable<K, U>,
    F: Fn(U) -> Result<V> + Send + Sync,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let answers = self.inner.get_each(keys).await;
        answers
            .into_iter()
            .map(|answer| answer?.map(&self.map).transpose())
            .collect()
    }
}

#[async_trait]
impl<K, U, V, S, F> Iterable<K, V> for MapValues<S, U, F>
where
    K: Key,
    U: Send + 'static,
    V: Send + 'static,
    S: Iterable<K, U>,
    F: Fn(U) -> Result<V> + Send + Sync,
{
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let pairs = self.inner.page(after, limit).await?;
        pairs
            .into_iter()
            .map(|(key, value)| Ok((key, (self.map)(value)?)))
            .collect()
    }
}

/// A store of `K → U` read and written as `K → V`, by a function each way; each may fail its key alone.
///
/// It merges where the way in keeps sums: `encode(a ⊕ b) = encode(a) ⊕ encode(b)`.
pub struct ConvertValues<S, U, D, E> {
    read: MapValues<S, U, D>,
    encode: E,
}

impl<S, U, D, E> ConvertValues<S, U, D, E> {
    /// Values of `inner` through `decode`, and into it through `encode`.
    pub fn new(inner: S, decode: D, encode: E) -> Self {
        Self {
            read: MapValues::new(inner, decode),
            encode,
        }
    }
}

#[async_trait]
impl<K, U, V, S, D, E> Readable<K, V> for ConvertValues<S, U, D, E>
where
    K: Key,
    U: Send + 'static,
    V: Send + 'static,
    S: Readable<K, U>,
    D: Fn(U) -> Result<V> + Send + Sync,
    E: Send + Sync,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        self.read.get_each(keys).await
    }
}

#[async_trait]
impl<K, U, V, S, D, E> Iterable<K, V> for ConvertValues<S, U, D, E>
where
    K: Key,
    U: Send + 'static,
    V: Send + 'static,
    S: Iterable<K, U>,
    D: Fn(U) -> Result<V> + Send + Sync,
    E: Send + Sync,
{
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.read.page(after, limit).await
    }
}

#[async_trait]
impl<K, U, V, S, D, E> Writable<K, V> for ConvertValues<S, U, D, E>
where
    K: Key,
    U: Value,
    V: Value,
    S: Writable<K, U>,
    D: Send + Sync,
    E: Fn(V) -> Result<U> + Send + Sync,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        // The last write first: were it the one that cannot be written, an earlier one of its key must not count.
        let (lasts, writes) = Writes::last(writes);
        let encode = |(key, value): (K, Option<V>)| Ok((key, value.map(&self.encode).transpose()?));
        let (encoded, parts) = Parts::of(lasts.into_iter().map(encode));
        writes.answers(parts.answers(self.read.inner.put_each(encoded).await))
    }
}

#[async_trait]
impl<K, U, V, S, D, E> Mergeable<K, V> for ConvertValues<S, U, D, E>
where
    K: Key,
    U: Value,
    V: Semigroup + Value,
    S: Mergeable<K, U>,
    D: Fn(U) -> Result<V> + Send + Sync,
    E: Fn(V) -> Result<U> + Send + Sync,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let encode = |(key, delta)| Ok((key, (self.encode)(delta)?));
        let (encoded, parts) = Parts::of(deltas.into_iter().map(encode));
        let answers = self.read.inner.merge_each(encoded).await;
        let decode = |before: U| {
            (self.read.map)(before).map_err(|cause| {
                let text = "merged, but the value before cannot be read: do not merge again";
                Error::new(ErrorKind::Doubt, format!("{text} cause={cause}")).with_source(cause)
            })
        };
        parts.answers(
            answers
                .into_iter()
                .map(|answer| answer?.map(decode).transpose())
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{MemoryStore, MergeableExt, ReadableExt, StoreExt, laws};

    fn decode(text: String) -> Result<u64> {
        text.parse()
            .map_err(|cause| Error::new(ErrorKind::Corrupt, "not a number").with_source(cause))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        laws::readable::<u64, u64, _>(async |pairs| {
            let texts = pairs
                .into_iter()
                .map(|(key, value): (u64, u64)| (key, value.to_string()));
            Arc::new(MemoryStore::from_iter(texts).map_values(decode))
        })
        .await;
        laws::writable::<u64, u64, _>(async || {
            let encode = |value: u64| Ok(value.to_string());
            Arc::new(MemoryStore::new().convert_values(decode, encode))
        })
        .await;
        laws::iterable::<u64, u64, _>(async |pairs| {
            let texts = pairs
                .into_iter()
                .map(|(key, value): (u64, u64)| (key, value.to_string()));
            Arc::new(MemoryStore::from_iter(texts).map_values(decode))
        })
        .await;
        laws::mergeable::<u64, u64, _>(async || {
            let (decode, encode) = (|value: i64| Ok(-value as u64), |value: u64| Ok(-(value as i64)));
            Arc::new(MemoryStore::new().convert_values(decode, encode))
        })
        .await;
    }

    #[tokio::test]
    async fn a_value_is_mapped_once_and_fails_alone() {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let texts = MemoryStore::from_iter([(1, "1".to_owned()), (2, "two".to_owned()), (3, "3".to_owned())]);
        let numbers = texts.map_values(move |text| {
            counted.fetch_add(1, Ordering::Relaxed);
            decode(text)
        });
        let answers: Vec<_> = numbers.get_each(&[1, 2, 3, 4]).await;
        let kinds: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.map_err(|error| error.kind()))
            .collect();
        assert_eq!(
            kinds,
            [Ok(Some(1)), Err(ErrorKind::Corrupt), Ok(Some(3)), Ok(None)]
        );
        assert_eq!(
            calls.load(Ordering::Relaxed),
            3,
            "eager, and once for each value present"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_written_fails_alone() {
        let kept = MemoryStore::new();
        let small = kept.clone().convert_values(
            |value: u64| Ok(value),
            |value: u64| {
                if value < 10 {
                    Ok(value)
                } else {
                    Err(Error::new(ErrorKind::Invalid, "too large"))
                }
            },
        );
        let answers = small
            .put_each(vec![(1, Some(1)), (2, Some(2)), (1, Some(99)), (3, None)])
            .await;
        assert_eq!(
            answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [false, true, false, true]
        );
        assert_eq!(
            kept.entries(),
            [(2, 2)],
            "an earlier write of the key does not count either"
        );
        assert_eq!(small.merge(2, 99).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(small.get(&2).await.unwrap(), Some(2));
    }

    #[tokio::test]
    async fn merged_with_an_unreadable_before_is_in_doubt() {
        let kept = MemoryStore::from_iter([(1, "x".to_owned())]);
        let numbers = kept
            .clone()
            .convert_values(decode, |value: u64| Ok(value.to_string()));
        assert_eq!(numbers.merge(1, 5).await.unwrap_err().kind(), ErrorKind::Doubt);
        assert_eq!(kept.entries(), [(1, "x5".to_owned())]);
    }
}
