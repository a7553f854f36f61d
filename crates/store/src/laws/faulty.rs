//! A store that fails on purpose.

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Mutex;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::ports::all_failed;
use crate::{
    Addition, Answers, Commit, Error, ErrorKind, Iterable, Mergeable, Progress, Readable, Result, Store,
    Writable,
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not done, and says so: `Retry`.
    Before,
    /// It is done, but its answer is lost: `Retry`, and for a merge `Doubt`.
    After,
}

/// A store of any port whose calls, counted from 0, fail where it is told.
pub struct Faulty<S> {
    inner: S,
    plan: Mutex<(u64, BTreeMap<u64, Fault>)>,
}

impl<S> Faulty<S> {
    /// A store that fails at these calls.
    pub fn new(inner: S, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        Self {
            inner,
            plan: Mutex::new((0, faults.into_iter().collect())),
        }
    }

    /// The calls so far.
    pub fn calls(&self) -> u64 {
        self.plan
            .lock()
            .expect("nothing panics while it holds the lock")
            .0
    }

    fn next(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().expect("nothing panics while it holds the lock");
        let fault = plan.1.get(&plan.0).copied();
        plan.0 += 1;
        fault
    }

    async fn whole<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match self.next() {
            None => call.await,
            Some(fault) => {
                if fault == Fault::After {
                    drop(call.await);
                }
                Err(failure(ErrorKind::Retry))
            }
        }
    }

    async fn each<T>(
        &self,
        asked: usize,
        lost: ErrorKind,
        call: impl Future<Output = Answers<T>>,
    ) -> Answers<T> {
        match self.next() {
            None => call.await,
            Some(Fault::Before) => all_failed(asked, &failure(ErrorKind::Retry)),
            Some(Fault::After) => {
                drop(call.await);
                all_failed(asked, &failure(lost))
            }
        }
    }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "a fault on purpose")
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Store<K, V>> Store<K, V> for Faulty<S> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        self.whole(self.inner.multi_get(keys)).await
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        self.whole(self.inner.commit(commit)).await
    }

    async fn add(&self, addition: Addition<K, V>) -> Result<()>
    where
        K: Hash + Eq,
        V: Semigroup,
    {
        self.whole(self.inner.add(addition)).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.whole(self.inner.progress()).await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.whole(self.inner.scan(after, limit)).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Readable<K, V>> Readable<K, V> for Faulty<S> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        self.each(keys.len(), ErrorKind::Retry, self.inner.get_each(keys))
            .await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Iterable<K, V>> Iterable<K, V> for Faulty<S> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.whole(self.inner.page(after, limit)).await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Writable<K, V>> Writable<K, V> for Faulty<S> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        self.each(writes.len(), ErrorKind::Retry, self.inner.put_each(writes))
            .await
    }
}

#[async_trait]
impl<K: Send + Sync + 'static, V: Send + Sync + 'static, S: Mergeable<K, V>> Mergeable<K, V> for Faulty<S> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        self.each(deltas.len(), ErrorKind::Doubt, self.inner.merge_each(deltas))
            .await
    }
}
