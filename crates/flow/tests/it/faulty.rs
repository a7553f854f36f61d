//! Stores of any types that fail by a script.

use std::sync::Arc;

use async_trait::async_trait;
use proptest::prelude::*;
use store::{Commit, Progress, Store};

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

#[async_trait]
impl<K: Send + Sync, V: Send + Sync> Store<K, V> for FaultyStore<K, V> {
    async fn multi_get(&self, keys: &[K]) -> store::Result<Vec<Option<V>>> {
        self.inner.multi_get(keys).await
    }
    async fn commit(&self, commit: Commit<K, V>) -> store::Result<()> {
        let fault = self.script.lock().unwrap().pop_front().unwrap_or(Fault::None);
        if let Fault::None | Fault::Retry { applied: true } | Fault::Crash { applied: true } = fault {
            self.inner.commit(commit).await?;
        }
        match fault {
            Fault::None => Ok(()),
            Fault::Retry { .. } => Err(store::Error::new(store::ErrorKind::Retry, "the store is away")),
            Fault::Crash { .. } => Err(store::Error::new(store::ErrorKind::Corrupt, "crash")),
        }
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
