//! Sugar: single keys on the ports, and the combinators as methods.

use async_trait::async_trait;

use crate::{Answers, Error, ErrorKind, Iterable, Mergeable, Readable, Result, Writable};

fn only<T>(answers: Answers<T>) -> Result<T> {
    let mut answers = crate::ports::complete(1, answers);
    answers
        .pop()
        .unwrap_or_else(|| Err(Error::new(ErrorKind::Corrupt, "no answer")))
}

/// Single keys of a [`Readable`].
#[async_trait]
pub trait ReadableExt<K: Clone + Send + Sync + 'static, V: Send + 'static>: Readable<K, V> {
    /// The value of a key.
    async fn get(&self, key: &K) -> Result<Option<V>> {
        only(self.get_each(std::slice::from_ref(key)).await)
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + 'static, S: Readable<K, V> + ?Sized> ReadableExt<K, V>
    for S
{
}

/// Single keys of a [`Writable`].
#[async_trait]
pub trait WritableExt<K: Send + Sync + 'static, V: Send + 'static>: Writable<K, V> {
    /// Sets a key to a value.
    async fn put(&self, key: K, value: V) -> Result<()> {
        only(self.put_each(vec![(key, Some(value))]).await)
    }

    /// Removes a key.
    async fn remove(&self, key: K) -> Result<()> {
        only(self.put_each(vec![(key, None)]).await)
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static, S: Writable<K, V> + ?Sized> WritableExt<K, V> for S {}

/// Single keys of a [`Mergeable`].
#[async_trait]
pub trait MergeableExt<K: Send + Sync + 'static, V: Send + 'static>: Mergeable<K, V> {
    /// Merges a delta into a key; the value before.
    async fn merge(&self, key: K, delta: V) -> Result<Option<V>> {
        only(self.merge_each(vec![(key, delta)]).await)
    }
}

impl<K: Send + Sync + 'static, V: Send + 'static, S: Mergeable<K, V> + ?Sized> MergeableExt<K, V> for S {}

/// An [`Iterable`] page by page.
#[async_trait]
pub trait IterableExt<K: Clone + Send + Sync + 'static, V: Send + Sync + 'static>: Iterable<K, V> {
    /// All pairs, read in pages of [`PAGE_KEYS`](crate::limits::PAGE_KEYS). What is written meanwhile may be in it
    /// or not.
    ///
    /// # Errors
    /// `Invalid` when there are more than `pairs_max`; what a page answers.
    async fn all(&self, pairs_max: usize) -> Result<Vec<(K, V)>> {
        let mut pairs: Vec<(K, V)> = Vec::new();
        loop {
            let after = pairs.last().map(|(key, _)| key.clone());
            let page = self.page(after.as_ref(), crate::limits::PAGE_KEYS).await?;
            let ended = page.len() < crate::limits::PAGE_KEYS;
            pairs.extend(page);
            if pairs.len() > pairs_max {
                let text = "the store has more pairs than were asked for: read it page by page";
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("{text} pairs_max={pairs_max}"),
                ));
            }
            if ended {
                return Ok(pairs);
            }
        }
    }
}

impl<K: Clone + Send + Sync + 'static, V: Send + Sync + 'static, S: Iterable<K, V> + ?Sized> IterableExt<K, V>
    for S
{
}
