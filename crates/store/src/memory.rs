//! A store in memory: the meaning of [`Store`] and of the small ports.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};

use algebra::Semigroup;
use async_trait::async_trait;

use crate::{Answers, Commit, Mergeable, Progress, Result, Store, Writable, fence};

/// A map from key to value with its progress, behind one lock. Clones are handles of the same store.
///
/// Ends with its last handle; has no limits; keys are in their own order. Also [`Writable`] and [`Mergeable`], by
/// any number of callers at once; these leave the progress as it is.
pub struct MemoryStore<K, V>(Arc<Mutex<Kept<K, V>>>);

struct Kept<K, V> {
    values: BTreeMap<K, V>,
    progress: Option<Progress>,
}

impl<K, V> MemoryStore<K, V> {
    /// An empty store.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Kept {
            values: BTreeMap::new(),
            progress: None,
        })))
    }

    fn kept(&self) -> MutexGuard<'_, Kept<K, V>> {
        self.0
            .lock()
            .expect("nothing but a key's or value's own code can panic while it holds the lock")
    }
}

impl<K: Clone, V: Clone> MemoryStore<K, V> {
    /// All pairs, in the order of the keys.
    pub fn entries(&self) -> Vec<(K, V)> {
        self.kept()
            .values
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

/// A store of these pairs, without progress.
impl<K: Ord, V> FromIterator<(K, V)> for MemoryStore<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(Arc::new(Mutex::new(Kept {
            values: pairs.into_iter().collect(),
            progress: None,
        })))
    }
}

impl<K, V> Clone for MemoryStore<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for MemoryStore<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl<K: Ord + Clone + Send + Sync, V: Clone + Send + Sync> Store<K, V> for MemoryStore<K, V> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let kept = self.kept();
        Ok(keys.iter().map(|key| kept.values.get(key).cloned()).collect())
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        let mut kept = self.kept();
        if fence::is_retry(
            "memory",
            kept.progress.as_ref(),
            commit.expected.as_ref(),
            &commit.progress,
        )? {
            return Ok(());
        }
        for (key, value) in commit.writes {
            match value {
                Some(value) => kept.values.insert(key, value),
                None => kept.values.remove(&key),
            };
        }
        kept.progress = Some(commit.progress);
        Ok(())
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.kept().progress.clone())
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let kept = self.kept();
        let pairs = kept.values.range((from, Bound::Unbounded)).take(limit);
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[async_trait]
impl<K: Ord + Send + Sync, V: Send + Sync> Writable<K, V> for MemoryStore<K, V> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let mut kept = self.kept();
        let mut put = |(key, value)| {
            match value {
                Some(value) => kept.values.insert(key, value),
                None => kept.values.remove(&key),
            };
            Ok(())
        };
        writes.into_iter().map(&mut put).collect()
    }
}

#[async_trait]
impl<K: Ord + Send + Sync, V: Semigroup + Clone + Send + Sync> Mergeable<K, V> for MemoryStore<K, V> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let mut kept = self.kept();
        let mut merge = |(key, delta)| {
            let before = kept.values.get(&key).cloned();
            match kept.values.get_mut(&key) {
                Some(value) => value.plus(delta),
                None => drop(kept.values.insert(key, delta)),
            }
            Ok(before)
        };
        deltas.into_iter().map(&mut merge).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        crate::laws::check::<u64, i64, _>(async || Arc::new(MemoryStore::new())).await;
        crate::laws::check::<String, String, _>(async || Arc::new(MemoryStore::new())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws_of_the_small_ports() {
        crate::laws::readable::<u64, i64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs))).await;
        crate::laws::writable::<String, u64, _>(async || Arc::new(MemoryStore::new())).await;
        crate::laws::mergeable::<String, String, _>(async || Arc::new(MemoryStore::new())).await;
        crate::laws::iterable::<u64, i64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs))).await;
    }

    #[tokio::test]
    async fn clones_are_one_store() {
        let store = MemoryStore::new();
        let progress = Progress::from_iter([("0", 1)]);
        let writes = vec![("b", Some(2)), ("a", Some(1))];
        store
            .clone()
            .commit(Commit {
                writes,
                expected: None,
                progress,
            })
            .await
            .unwrap();
        assert_eq!(store.entries(), [("a", 1), ("b", 2)]);
    }
}
