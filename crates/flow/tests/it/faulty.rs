//! Stores of any types that fail by a script.

use std::hash::Hash;
use std::sync::Arc;

use algebra::Semigroup;
use async_trait::async_trait;
use proptest::prelude::*;
use store::{Addition, Commit, Progress, Store};

use crate::kit::{Fault, Script};

/// A store whose commits fail by a script, which others may share.
pub(crate) struct FaultyStore<K, V> {
    pub(crate) inner: Arc<dyn Store<K, V>>,
    pub(crate) script: Script,
}

impl<K: Send + Sync + 'static, V: Send + Sync + 'static> FaultyStore<K, V> {
    pub(crate) fn over(inner: Arc<dyn Store<K, V>>, script: &Script) -> Arc<dyn Store<K, V>> {
        let script = script.clone();
        Arc::new(Self { inner, script })
    }
}

impl<K, V> FaultyStore<K, V> {
    async fn fail(&self, change: impl Future<Output = store::Result<()>>) -> store::Result<()> {
        let fault = self.script.lock().unwrap().pop_front().unwrap_or(Fault::None);
        if let Fault::None | Fault::Retry { applied: true } | Fault::Crash { applied: true } = fault {
            change.await?;
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Retry { .. } => Err(store::Error::new(store::ErrorKind::Retry, "the store is away")),
            Fault::Crash { .. } => Err(store::Error::new(store::ErrorKind::Corrupt, "crash")),
        }
    }
}

#[async_trait]
impl<K: Send + Sync, V: Send + Sync> Store<K, V> for FaultyStore<K, V> {
    async fn multi_get(&self, keys: &[K]) -> store::Result<Vec<Option<V>>> {
        self.inner.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<K, V>) -> store::Result<()> {
        self.fail(self.inner.commit(commit)).await
    }
    async fn add(&self, addition: Addition<K, V>) -> store::Result<()>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Semigroup + Send + Sync + 'static,
    {
        self.fail(self.inner.add(addition)).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.inner.progress().await
    }
    async fn scan(&self, after: Option<&K>, limit: usize) -> store::Result<Vec<(K, V)>> {
        self.inner.scan(after, limit).await
    }
}

/// Faults for the first commits.
pub(crate) fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let fault = prop_oneof![
        4 => Just(Fault::None),
        1 => any::<bool>().prop_map(|applied| Fault::Retry { applied }),
        2 => any::<bool>().prop_map(|applied| Fault::Crash { applied }),
    ];
    prop::collection::vec(fault, 0..40)
}
