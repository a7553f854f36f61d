//! A store whose calls end in time.

use std::time::Duration;

use algebra::Semigroup;
use async_trait::async_trait;
use futures::future::{Either, select};

use crate::ports::all_failed;
use crate::{
    Answers, Clock, Commit, Error, ErrorKind, Iterable, Key, Mergeable, Progress, Readable, Result, Store,
    Value, Writable,
};

/// A store whose calls fail when they take longer than a time: `Retry`; a merge with `Doubt`, since it may still
/// happen. The call to the store is dropped then.
pub struct TimeLimited<S, C> {
    inner: S,
    time_max: Duration,
    clock: C,
}

impl<S, C: Clock> TimeLimited<S, C> {
    /// `inner` with up to `time_max` for each call, by `clock`.
    pub fn new(inner: S, time_max: Duration, clock: C) -> Self {
        Self {
            inner,
            time_max,
            clock,
        }
    }

    async fn in_time<T>(&self, late: ErrorKind, call: impl Future<Output = T> + Send + Unpin) -> Result<T> {
        match select(call, self.clock.sleep(self.time_max)).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(_) => {
                let text = match late {
                    ErrorKind::Doubt => "a merge did not end in time: read before merging again",
                    _ => "a store did not answer in time: try again, or raise the limit",
                };
                Err(Error::new(late, format!("{text} time_max={:?}", self.time_max)))
            }
        }
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Readable<K, V>, C: Clock> Readable<K, V> for TimeLimited<S, C> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let answers = self.in_time(ErrorKind::Retry, self.inner.get_each(keys)).await;
        answers.unwrap_or_else(|late| all_failed(keys.len(), &late))
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Iterable<K, V>, C: Clock> Iterable<K, V> for TimeLimited<S, C> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.in_time(ErrorKind::Retry, self.inner.page(after, limit))
            .await?
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Writable<K, V>, C: Clock> Writable<K, V> for TimeLimited<S, C> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let asked = writes.len();
        let answers = self.in_time(ErrorKind::Retry, self.inner.put_each(writes)).await;
        answers.unwrap_or_else(|late| all_failed(asked, &late))
    }
}

#[async_trait]
impl<K: Key, V: Semigroup + Value, S: Mergeable<K, V>, C: Clock> Mergeable<K, V> for TimeLimited<S, C> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let asked = deltas.len();
        let answers = self
            .in_time(ErrorKind::Doubt, self.inner.merge_each(deltas))
            .await;
        answers.unwrap_or_else(|late| all_failed(asked, &late))
    }
}

/// A commit that was late is safe to make again: the store knows it by its progress.
#[async_trait]
impl<K: Key, V: Value, S: Store<K, V>, C: Clock> Store<K, V> for TimeLimited<S, C> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        self.in_time(ErrorKind::Retry, self.inner.multi_get(keys)).await?
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        self.in_time(ErrorKind::Retry, self.inner.commit(commit)).await?
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.in_time(ErrorKind::Retry, self.inner.progress()).await?
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.in_time(ErrorKind::Retry, self.inner.scan(after, limit))
            .await?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        ManualClock, MemoryStore, MergeableExt, ReadableExt, StoreExt, TokioClock, WritableExt, laws,
    };

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        laws::writable::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().time_limited(HOUR, TokioClock::default()))
        })
        .await;
        laws::check::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().time_limited(HOUR, TokioClock::default()))
        })
        .await;
        laws::mergeable::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().time_limited(HOUR, TokioClock::default()))
        })
        .await;
        laws::iterable::<u64, u64, _>(async |pairs| {
            Arc::new(MemoryStore::from_iter(pairs).time_limited(HOUR, TokioClock::default()))
        })
        .await;
    }

    /// Never answers.
    struct Stuck;

    impl crate::Combinable for Stuck {}

    #[async_trait]
    impl Readable<u64, u64> for Stuck {
        async fn get_each(&self, _: &[u64]) -> Answers<Option<u64>> {
            std::future::pending().await
        }
    }

    #[async_trait]
    impl Writable<u64, u64> for Stuck {
        async fn put_each(&self, _: Vec<(u64, Option<u64>)>) -> Answers<()> {
            std::future::pending().await
        }
    }

    #[async_trait]
    impl Mergeable<u64, u64> for Stuck {
        async fn merge_each(&self, _: Vec<(u64, u64)>) -> Answers<Option<u64>> {
            std::future::pending().await
        }
    }

    #[tokio::test]
    async fn what_does_not_answer_is_late() {
        let clock = ManualClock::default();
        let stuck = Stuck.time_limited(HOUR, clock.clone());
        assert_eq!(stuck.get(&1).await.unwrap_err().kind(), ErrorKind::Retry);
        assert_eq!(clock.now(), HOUR);
        assert_eq!(stuck.put(1, 1).await.unwrap_err().kind(), ErrorKind::Retry);
        assert_eq!(stuck.merge(1, 1).await.unwrap_err().kind(), ErrorKind::Doubt);
        let answers = stuck.get_each(&[1, 2]).await;
        assert_eq!(answers.len(), 2);
    }
}
