//! A store whose calls are told to a hook, for metrics.

use std::time::Duration;

use algebra::Semigroup;
use async_trait::async_trait;

use crate::{
    Answers, Clock, Commit, Error, Iterable, Key, Mergeable, Progress, Readable, Result, Store, Value,
    Writable,
};

/// What was asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// [`Readable::get_each`], or a [`Store`]'s `multi_get`.
    Get,
    /// [`Writable::put_each`].
    Put,
    /// [`Mergeable::merge_each`].
    Merge,
    /// [`Iterable::page`], or a [`Store`]'s scan.
    Page,
    /// [`Store::commit`].
    Commit,
}

/// One call to a store, when it has ended: `asked = present + absent + failed + dropped`, but for a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// Keys asked, also those that came twice; of a page, its limit.
    pub asked: usize,
    /// Keys with a value (for a merge, before it); writes done; pairs of a page.
    pub present: usize,
    /// Keys without a value (for a merge, before it).
    pub absent: usize,
    /// Keys that failed; 1 for a page that did.
    pub failed: usize,
    /// Keys of a call that was dropped before it was answered; 1 for a page.
    pub dropped: usize,
    /// How long it took.
    pub took: Duration,
}

/// A store that tells each of its calls to `hook`, once, also those that fail or are dropped.
pub struct Observed<S, H, C> {
    inner: S,
    hook: H,
    clock: C,
}

impl<S, H: Fn(&Call), C: Clock> Observed<S, H, C> {
    /// `inner` with a hook that is quick and does not panic; times by `clock`.
    pub fn new(inner: S, hook: H, clock: C) -> Self {
        Self { inner, hook, clock }
    }

    fn begin(&self, operation: Operation, asked: usize) -> Begun<'_, S, H, C> {
        Begun {
            observed: self,
            started: self.clock.now(),
            call: Call {
                operation,
                asked,
                present: 0,
                absent: 0,
                failed: 0,
                dropped: if operation == Operation::Page { 1 } else { asked },
                took: Duration::ZERO,
            },
        }
    }
}

/// A call under way; told when it is dropped.
struct Begun<'a, S, H: Fn(&Call), C: Clock> {
    observed: &'a Observed<S, H, C>,
    started: Duration,
    call: Call,
}

impl<S, H: Fn(&Call), C: Clock> Begun<'_, S, H, C> {
    fn end<T>(mut self, answers: Answers<T>, is_present: impl Fn(&T) -> bool) -> Answers<T> {
        self.call.dropped = 0;
        for answer in &answers {
            match answer {
                Ok(value) if is_present(value) => self.call.present += 1,
                Ok(_) => self.call.absent += 1,
                Err(_) => self.call.failed += 1,
            }
        }
        answers
    }
}

impl<S, H: Fn(&Call), C: Clock> Begun<'_, S, H, C> {
    fn end_whole(&mut self, present: usize) {
        self.call.dropped = 0;
        self.call.present = present;
        self.call.absent = self.call.asked.saturating_sub(present);
    }

    fn fail(&mut self, failed: usize) {
        self.call.dropped = 0;
        self.call.failed = failed;
    }

    fn end_page(&mut self, pairs: Result<usize, &Error>) {
        self.call.dropped = 0;
        match pairs {
            Ok(pairs) => self.call.present = pairs,
            Err(_) => self.call.failed = 1,
        }
    }
}

impl<S, H: Fn(&Call), C: Clock> Drop for Begun<'_, S, H, C> {
    fn drop(&mut self) {
        self.call.took = self.observed.clock.now().saturating_sub(self.started);
        (self.observed.hook)(&self.call);
    }
}

#[async_trait]
impl<K, V, S, H, C> Readable<K, V> for Observed<S, H, C>
where
    K: Key,
    V: Value,
    S: Readable<K, V>,
    H: Fn(&Call) + Send + Sync,
    C: Clock,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let call = self.begin(Operation::Get, keys.len());
        call.end(self.inner.get_each(keys).await, Option::is_some)
    }
}

#[async_trait]
impl<K, V, S, H, C> Writable<K, V> for Observed<S, H, C>
where
    K: Key,
    V: Value,
    S: Writable<K, V>,
    H: Fn(&Call) + Send + Sync,
    C: Clock,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let call = self.begin(Operation::Put, writes.len());
        call.end(self.inner.put_each(writes).await, |()| true)
    }
}

#[async_trait]
impl<K, V, S, H, C> Mergeable<K, V> for Observed<S, H, C>
where
    K: Key,
    V: Semigroup + Value,
    S: Mergeable<K, V>,
    H: Fn(&Call) + Send + Sync,
    C: Clock,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let call = self.begin(Operation::Merge, deltas.len());
        call.end(self.inner.merge_each(deltas).await, Option::is_some)
    }
}

#[async_trait]
impl<K, V, S, H, C> Iterable<K, V> for Observed<S, H, C>
where
    K: Key,
    V: Value,
    S: Iterable<K, V>,
    H: Fn(&Call) + Send + Sync,
    C: Clock,
{
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let mut call = self.begin(Operation::Page, limit);
        let page = self.inner.page(after, limit).await;
        call.end_page(page.as_ref().map(Vec::len));
        page
    }
}

/// Its progress is read untold.
#[async_trait]
impl<K, V, S, H, C> Store<K, V> for Observed<S, H, C>
where
    K: Key,
    V: Value,
    S: Store<K, V>,
    H: Fn(&Call) + Send + Sync,
    C: Clock,
{
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let mut call = self.begin(Operation::Get, keys.len());
        let values = self.inner.multi_get(keys).await;
        match &values {
            Ok(values) => call.end_whole(values.iter().flatten().count()),
            Err(_) => call.fail(keys.len()),
        }
        values
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        let asked = commit.writes.len();
        let mut call = self.begin(Operation::Commit, asked);
        let done = self.inner.commit(commit).await;
        match &done {
            Ok(()) => call.end_whole(asked),
            Err(_) => call.fail(asked),
        }
        done
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.inner.progress().await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let mut call = self.begin(Operation::Page, limit);
        let page = self.inner.scan(after, limit).await;
        call.end_page(page.as_ref().map(Vec::len));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::laws::{self, Fault, Faulty};
    use crate::{ManualClock, MemoryStore, StoreExt};

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        let silent = |_: &Call| ();
        laws::readable::<u64, u64, _>(async |pairs| {
            Arc::new(MemoryStore::from_iter(pairs).observed(silent, ManualClock::default()))
        })
        .await;
        laws::writable::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().observed(silent, ManualClock::default()))
        })
        .await;
        laws::check::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().observed(silent, ManualClock::default()))
        })
        .await;
        laws::mergeable::<u64, u64, _>(async || {
            Arc::new(MemoryStore::new().observed(silent, ManualClock::default()))
        })
        .await;
        laws::iterable::<u64, u64, _>(async |pairs| {
            Arc::new(MemoryStore::from_iter(pairs).observed(silent, ManualClock::default()))
        })
        .await;
    }

    /// Takes a second for each read, and never ends for key 9.
    struct Slow(Faulty<MemoryStore<u64, u64>>, ManualClock);

    impl crate::Combinable for Slow {}

    #[async_trait]
    impl Readable<u64, u64> for Slow {
        async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
            self.1.advance(Duration::from_secs(1));
            if keys.contains(&9) {
                std::future::pending::<()>().await;
            }
            self.0.get_each(keys).await
        }
    }

    #[tokio::test]
    async fn each_call_is_told_once() {
        let (calls, clock) = (Arc::new(Mutex::new(Vec::new())), ManualClock::default());
        let told = calls.clone();
        let kept = Faulty::new(MemoryStore::from_iter([(1, 10)]), [(1, Fault::Before)]);
        let store = Slow(kept, clock.clone());
        let observed = store.observed(move |call: &Call| told.lock().unwrap().push(*call), clock);
        drop(observed.get_each(&[1, 2, 3]).await);
        drop(observed.get_each(&[1, 2]).await);
        tokio::select! {
            biased;
            _ = observed.get_each(&[9]) => {}
            () = std::future::ready(()) => {}
        }
        let call = |asked, present, absent, failed, dropped| Call {
            operation: Operation::Get,
            asked,
            present,
            absent,
            failed,
            dropped,
            took: Duration::from_secs(1),
        };
        let expected = [call(3, 1, 2, 0, 0), call(2, 0, 0, 2, 0), call(1, 0, 0, 0, 1)];
        assert_eq!(*calls.lock().unwrap(), expected);

        let told = calls.clone();
        let kept = MemoryStore::from_iter([(1, 10_u64), (2, 20)]);
        let observed = kept.observed(
            move |call: &Call| told.lock().unwrap().push(*call),
            ManualClock::default(),
        );
        drop(observed.merge_each(vec![(1_u64, 1), (7, 1)]).await);
        drop(observed.put_each(vec![(1, None)]).await);
        drop(observed.page(None, 10).await);
        drop(observed.multi_get(&[2, 1, 3]).await);
        let commit = |offset| Commit {
            writes: vec![(1, Some(1)), (2, None)],
            expected: None,
            progress: Progress::from_iter([("0", offset)]),
        };
        observed.commit(commit(1)).await.unwrap();
        observed.commit(commit(2)).await.unwrap_err();
        let last: Vec<_> = calls.lock().unwrap()[3..]
            .iter()
            .map(|call| (call.operation, call.asked, call.present, call.absent, call.failed))
            .collect();
        let expected = [
            (Operation::Merge, 2, 1, 1, 0),
            (Operation::Put, 1, 1, 0, 0),
            (Operation::Page, 10, 2, 0, 0),
            (Operation::Get, 3, 1, 2, 0),
            (Operation::Commit, 2, 2, 0, 0),
            (Operation::Commit, 2, 0, 0, 2),
        ];
        assert_eq!(last, expected);
    }
}
