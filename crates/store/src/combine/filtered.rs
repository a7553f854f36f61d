//! The pairs of a store that a predicate takes.

use async_trait::async_trait;

use crate::{Answers, Iterable, Key, Readable, Result, limits};

/// A store read without the pairs that `keep` refuses: they are absent.
pub struct Filtered<S, P> {
    inner: S,
    keep: P,
}

impl<S, P> Filtered<S, P> {
    /// The pairs of `inner` that `keep` takes.
    pub fn new(inner: S, keep: P) -> Self {
        Self { inner, keep }
    }
}

#[async_trait]
impl<K, V, S, P> Readable<K, V> for Filtered<S, P>
where
    K: Key,
    V: Send + 'static,
    S: Readable<K, V>,
    P: Fn(&K, &V) -> bool + Send + Sync,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let answers = self.inner.get_each(keys).await;
        let filter =
            |(key, answer): (&K, Result<Option<V>>)| Ok(answer?.filter(|value| (self.keep)(key, value)));
        keys.iter().zip(answers).map(filter).collect()
    }
}

#[async_trait]
impl<K, V, S, P> Iterable<K, V> for Filtered<S, P>
where
    K: Key,
    V: Send + Sync + 'static,
    S: Iterable<K, V>,
    P: Fn(&K, &V) -> bool + Send + Sync,
{
    /// Reads on until `limit` pairs are found, however many are refused.
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let mut found = Vec::new();
        let mut after = after.cloned();
        while found.len() < limit {
            let page = self.inner.page(after.as_ref(), limits::PAGE_KEYS).await?;
            let ended = page.len() < limits::PAGE_KEYS;
            after = page.last().map(|(key, _)| key.clone());
            let kept = page.into_iter().filter(|(key, value)| (self.keep)(key, value));
            found.extend(kept.take(limit - found.len()));
            if ended {
                break;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{MemoryStore, StoreExt, laws};

    /// The pairs, among as many others, large enough for several pages of the store below.
    fn among_others(pairs: Vec<(u64, u64)>) -> impl Readable<u64, u64> + Iterable<u64, u64> {
        let others = (0..3_000).map(|n| (1_000_000 + n, 7_777));
        let hidden = (2_000_000..2_000_010).map(|n| (n, 7_777));
        let kept = MemoryStore::from_iter(pairs.into_iter().chain(others).chain(hidden));
        kept.filtered(|_: &u64, value: &u64| *value != 7_777)
    }

    #[tokio::test]
    async fn laws() {
        laws::readable::<u64, u64, _>(async |pairs| Arc::new(among_others(pairs))).await;
        laws::iterable::<u64, u64, _>(async |pairs| Arc::new(among_others(pairs))).await;
    }

    #[tokio::test]
    async fn a_page_is_full_though_much_is_refused() {
        let kept = MemoryStore::from_iter((0..5_000_u64).map(|n| (n, n)));
        let few = kept.filtered(|_: &u64, value: &u64| value % 1_500 == 1_499);
        let page = few.page(None, 2).await.unwrap();
        assert_eq!(page, [(1_499, 1_499), (2_999, 2_999)]);
        assert_eq!(few.page(Some(&2_999), 2).await.unwrap(), [(4_499, 4_499)]);
    }
}
