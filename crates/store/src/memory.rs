//! A store in memory: the meaning of [`Store`] and of the small ports.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

use algebra::Semigroup;
use async_trait::async_trait;

mod kept;

use self::kept::Kept;
use crate::limits::ADDED_HERE_MAX;
use crate::{
    Addition, Answers, Commit, Error, ErrorKind, Mergeable, Progress, Result, Store, Writable, fence,
};

/// A map from key to value with its progress, behind one lock. Clones are handles of the same store.
///
/// Ends with its last handle; has no limits; keys are in their own order. Also [`Writable`] and [`Mergeable`], by
/// any number of callers at once; these leave the progress as it is.
///
/// Cost: a hash and a probe for each key read or written. The first page of a [`scan`](Store::scan) sorts all keys
/// and keeps that order, which takes a copy of each; from then on the pages find their keys in it, and each
/// new key costs its insertion into it at the next scan. [`entries`](Self::entries) sorts without keeping the order. A
/// large [`add`](Store::add) works on as many threads as gathered its deltas, where there is a tokio runtime on its
/// blocking threads.
///
/// When a value's own `⊕` panics in the middle of an addition, what is held is neither before nor after it: from then on
/// each call is `Corrupt`, and the methods that give no `Result` panic.
pub struct MemoryStore<K, V>(Arc<Mutex<Kept<K, V>>>);

impl<K, V> MemoryStore<K, V> {
    /// An empty store.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Kept::new())))
    }

    fn kept(&self) -> Result<MutexGuard<'_, Kept<K, V>>> {
        let torn =
            "the code of a key or a value panicked while the store changed: mend it and fill a new store";
        self.0
            .lock()
            .map_err(|_| Error::new(ErrorKind::Corrupt, format!("{torn} store=memory")))
    }
}

impl<K: Ord + Clone, V: Clone> MemoryStore<K, V> {
    /// All pairs, in the order of the keys.
    pub fn entries(&self) -> Vec<(K, V)> {
        let mut pairs: Vec<_> = self.kept().expect(NOT_TORN).pairs().cloned().collect();
        pairs.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        pairs
    }
}

const NOT_TORN: &str = "nothing but a key's or value's own code can panic while it holds the lock";

/// A store of these pairs, without progress.
impl<K: Ord + Hash + Clone, V> FromIterator<(K, V)> for MemoryStore<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let mut kept = Kept::new();
        for (key, value) in pairs {
            kept.set(key, Some(value));
        }
        Self(Arc::new(Mutex::new(kept)))
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

impl<K: Ord + Hash + Clone + Send + Sync, V: Clone + Send + Sync> MemoryStore<K, V> {
    /// Changes the store if a commit between these applies; see [`fence::is_retry`].
    fn step(
        &self,
        expected: Option<Progress>,
        progress: Progress,
        change: impl FnOnce(&mut Kept<K, V>),
    ) -> Result<()> {
        let mut kept = self.kept()?;
        if !fence::is_retry("memory", kept.progress.as_ref(), expected.as_ref(), &progress)? {
            change(&mut kept);
            kept.progress = Some(progress);
        }
        Ok(())
    }
}

#[async_trait]
impl<K: Ord + Hash + Clone + Send + Sync + 'static, V: Clone + Send + Sync + 'static> Store<K, V>
    for MemoryStore<K, V>
{
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let kept = self.kept()?;
        Ok(keys.iter().map(|key| kept.get(key).cloned()).collect())
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        self.step(commit.expected, commit.progress, |kept| {
            for (key, value) in commit.writes {
                kept.set(key, value);
            }
        })
    }

    async fn add(&self, addition: Addition<K, V>) -> Result<()>
    where
        V: Semigroup,
    {
        let Addition {
            deltas,
            expected,
            progress,
        } = addition;
        let large = deltas.len() > ADDED_HERE_MAX;
        let store = self.clone();
        let add = move || store.step(expected, progress, |kept| kept.add(deltas));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if large => match runtime.spawn_blocking(add).await {
                Ok(added) => added,
                Err(cause) => match cause.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(cause) => {
                        Err(Error::new(ErrorKind::Retry, "the runtime is shutting down").with_source(cause))
                    }
                },
            },
            _ => add(),
        }
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.kept()?.progress.clone())
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        Ok(self.kept()?.page(after, limit))
    }
}

#[async_trait]
impl<K: Ord + Hash + Clone + Send + Sync, V: Send + Sync> Writable<K, V> for MemoryStore<K, V> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let mut kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => return crate::ports::all_failed(writes.len(), &error),
        };
        let put = |(key, value)| {
            kept.set(key, value);
            Ok(())
        };
        writes.into_iter().map(put).collect()
    }
}

#[async_trait]
impl<K: Ord + Hash + Clone + Send + Sync, V: Semigroup + Clone + Send + Sync> Mergeable<K, V>
    for MemoryStore<K, V>
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let mut kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => return crate::ports::all_failed(deltas.len(), &error),
        };
        let merge = |(key, delta)| Ok(kept.merge(key, delta));
        deltas.into_iter().map(merge).collect()
    }
}

#[cfg(test)]
mod tests;
