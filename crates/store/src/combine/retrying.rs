//! A store asked again where it said to try again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use algebra::Semigroup;
use async_trait::async_trait;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::grouped::{Deltas, Writes};
use crate::ports::complete;
use crate::{
    Answers, Clock, Commit, Error, ErrorKind, Iterable, Key, Mergeable, Progress, Readable, Result, Store,
    Value, Writable,
};

/// How often and after what waits a call is tried again: `first`, twice that, four times …, at most `longest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Attempts in all, the first included.
    pub attempts_max: u32,
    /// The wait before the second attempt.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// The seed of chance, which takes up to half off each wait so that callers do not come back all at once;
    /// `None` waits the whole time.
    pub jitter: Option<u64>,
}

impl Default for Backoff {
    /// Five attempts in about a second and a half.
    fn default() -> Self {
        Self {
            attempts_max: 5,
            first: Duration::from_millis(100),
            longest: Duration::from_secs(10),
            jitter: None,
        }
    }
}

/// A store whose answers of the kind `Retry` are asked for again, by [`Backoff`]: those keys alone.
///
/// A [`Store`] is tried again too, call by call. A merge in `Doubt` is not tried again, since it may have happened. A key that comes twice in a call is sent once
/// (its last write, the sum of its deltas), so that trying again does not change the order.
pub struct Retrying<S, C> {
    inner: S,
    backoff: Backoff,
    clock: C,
    chance: AtomicU64,
}

impl<S, C: Clock> Retrying<S, C> {
    /// `inner` tried again by `backoff`, waiting by `clock`.
    pub fn new(inner: S, backoff: Backoff, clock: C) -> Self {
        Self {
            inner,
            chance: AtomicU64::new(backoff.jitter.unwrap_or(0)),
            backoff,
            clock,
        }
    }

    /// Asks for `parts`, and again for those answered `Retry`.
    async fn each<'a, P: Clone + Send + Sync, T: Send>(
        &'a self,
        parts: Vec<P>,
        ask: impl Fn(Vec<P>) -> BoxFuture<'a, Answers<T>> + Send + Sync,
    ) -> Answers<T> {
        let mut answers: Vec<Option<Result<T>>> = parts.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..parts.len()).collect();
        let mut attempt = 1;
        loop {
            let asked: Vec<P> = open.iter().map(|place| parts[*place].clone()).collect();
            let got = complete(open.len(), ask(asked).await);
            let again = attempt < self.backoff.attempts_max;
            let mut failed = Vec::new();
            for (place, answer) in open.into_iter().zip(got) {
                match answer {
                    Err(error) if error.kind() == ErrorKind::Retry && again => failed.push(place),
                    Err(error) => answers[place] = Some(Err(given_up(error, attempt))),
                    answer => answers[place] = Some(answer),
                }
            }
            if failed.is_empty() {
                break;
            }
            self.wait(attempt).await;
            open = failed;
            attempt += 1;
        }
        answers.into_iter().flatten().collect()
    }

    /// Asks until the whole call is answered.
    async fn whole<'a, T: Send>(
        &'a self,
        ask: impl Fn() -> BoxFuture<'a, Result<T>> + Send + Sync,
    ) -> Result<T> {
        let mut attempt = 1;
        loop {
            match ask().await {
                Err(error) if error.kind() == ErrorKind::Retry && attempt < self.backoff.attempts_max => {}
                Err(error) => return Err(given_up(error, attempt)),
                answer => return answer,
            }
            self.wait(attempt).await;
            attempt += 1;
        }
    }

    async fn wait(&self, attempt: u32) {
        let factor = 2_u32.saturating_pow(attempt - 1);
        let mut wait = self
            .backoff
            .first
            .saturating_mul(factor)
            .min(self.backoff.longest);
        if self.backoff.jitter.is_some() {
            // SplitMix64 (Steele, Lea, Flood, 2014).
            let mut chance = self.chance.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
            chance = (chance ^ (chance >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            chance = (chance ^ (chance >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            wait -= wait.mul_f64((chance >> 33) as f64 / (1_u64 << 32) as f64);
        }
        self.clock.sleep(wait).await;
    }
}

fn given_up(error: Error, attempts: u32) -> Error {
    if attempts == 1 {
        return error;
    }
    let text = format!("{error} (attempts={attempts})");
    Error::new(error.kind(), text).with_source(error)
}

#[async_trait]
impl<K: Key, V: Value, S: Readable<K, V>, C: Clock> Readable<K, V> for Retrying<S, C> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let get = |keys: Vec<K>| async move { self.inner.get_each(&keys).await }.boxed();
        self.each(keys.to_vec(), get).await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Iterable<K, V>, C: Clock> Iterable<K, V> for Retrying<S, C> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.whole(|| self.inner.page(after, limit)).await
    }
}

#[async_trait]
impl<K: Key, V: Value, S: Writable<K, V>, C: Clock> Writable<K, V> for Retrying<S, C> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        writes.answers(self.each(lasts, |writes| self.inner.put_each(writes)).await)
    }
}

#[async_trait]
impl<K: Key, V: Semigroup + Value, S: Mergeable<K, V>, C: Clock> Mergeable<K, V> for Retrying<S, C> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        deltas.befores(self.each(sums, |sums| self.inner.merge_each(sums)).await)
    }
}

/// A commit is safe to try again: the store knows it by its progress.
#[async_trait]
impl<K: Key, V: Value, S: Store<K, V>, C: Clock> Store<K, V> for Retrying<S, C> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        self.whole(|| self.inner.multi_get(keys)).await
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        self.whole(|| self.inner.commit(commit.clone())).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.whole(|| self.inner.progress()).await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.whole(|| self.inner.scan(after, limit)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::laws::{self, Fault, Faulty};
    use crate::{ManualClock, MemoryStore, MergeableExt, ReadableExt, StoreExt, WritableExt};

    /// Fails every call but each third.
    fn often() -> impl Iterator<Item = (u64, Fault)> {
        (0..200_000)
            .filter(|call| call % 3 < 2)
            .map(|call| (call, Fault::Before))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws_over_a_store_that_often_fails() {
        // Under concurrent callers one may meet many failures in a row.
        let backoff = Backoff {
            attempts_max: 200,
            ..Backoff::default()
        };
        laws::readable::<u64, u64, _>(async |pairs| {
            let store = Faulty::new(MemoryStore::from_iter(pairs), often());
            Arc::new(store.retrying(backoff.clone(), ManualClock::default()))
        })
        .await;
        laws::writable::<u64, u64, _>(async || {
            Arc::new(
                Faulty::new(MemoryStore::new(), often()).retrying(backoff.clone(), ManualClock::default()),
            )
        })
        .await;
        laws::mergeable::<u64, String, _>(async || {
            Arc::new(
                Faulty::new(MemoryStore::new(), often()).retrying(backoff.clone(), ManualClock::default()),
            )
        })
        .await;
        laws::iterable::<u64, u64, _>(async |pairs| {
            let store = Faulty::new(MemoryStore::from_iter(pairs), often());
            Arc::new(store.retrying(backoff.clone(), ManualClock::default()))
        })
        .await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws_of_a_whole_store() {
        let backoff = Backoff {
            attempts_max: 200,
            ..Backoff::default()
        };
        // Answers are lost too: a commit that is tried again is applied once.
        let lost = || {
            (0..200_000)
                .filter(|call| call % 3 < 2)
                .map(|call| (call, Fault::After))
        };
        laws::check::<u64, u64, _>(async || {
            Arc::new(
                Faulty::new(MemoryStore::new(), lost()).retrying(backoff.clone(), ManualClock::default()),
            )
        })
        .await;
    }

    #[tokio::test]
    async fn waits_double_up_to_the_longest_and_it_gives_up() {
        let (second, clock) = (Duration::from_secs(1), ManualClock::default());
        let backoff = Backoff {
            attempts_max: 5,
            first: second,
            longest: 3 * second,
            jitter: None,
        };
        let faults = (0..100).map(|call| (call, Fault::Before));
        let store = Arc::new(Faulty::new(MemoryStore::<u64, u64>::new(), faults));
        let retrying = store.clone().retrying(backoff.clone(), clock.clone());
        let error = retrying.get(&1).await.unwrap_err();
        assert_eq!((store.calls(), clock.now()), (5, (1 + 2 + 3 + 3) * second));
        assert_eq!(error.kind(), ErrorKind::Retry);
        assert!(error.to_string().ends_with("(attempts=5)"), "{error}");

        let jittered = store.retrying(
            Backoff {
                jitter: Some(7),
                ..backoff
            },
            clock.clone(),
        );
        let before = clock.now();
        jittered.get(&1).await.unwrap_err();
        let waited = clock.now() - before;
        assert!(waited > 9 * second / 2 && waited < 9 * second, "{waited:?}");
    }

    #[tokio::test]
    async fn a_merge_in_doubt_is_not_made_again() {
        let kept = MemoryStore::new();
        let store = Faulty::new(
            kept.clone(),
            [(0, Fault::After), (1, Fault::Before), (3, Fault::After)],
        );
        let retrying = store.retrying(Backoff::default(), ManualClock::default());
        assert_eq!(retrying.merge(1, 5).await.unwrap_err().kind(), ErrorKind::Doubt);
        assert_eq!(
            retrying.merge(1, 2).await.unwrap(),
            Some(5),
            "a merge that was refused is"
        );
        assert_eq!(kept.entries(), [(1, 7)]);
        retrying.put(1, 3).await.unwrap();
        assert_eq!(kept.entries(), [(1, 3)], "and a put whose answer was lost");
    }

    /// Fails key 2 the first time, and notes what it is asked.
    #[derive(Default)]
    struct Picky(Mutex<Vec<Vec<u64>>>);

    impl crate::Combinable for Picky {}

    #[async_trait]
    impl Writable<u64, u64> for Picky {
        async fn put_each(&self, writes: Vec<(u64, Option<u64>)>) -> Answers<()> {
            let mut asked = self.0.lock().unwrap();
            asked.push(
                writes
                    .iter()
                    .flat_map(|(key, value)| [*key, value.unwrap_or(0)])
                    .collect(),
            );
            let first = asked.len() == 1;
            let busy = || Error::new(ErrorKind::Retry, "busy");
            let answer = |(key, _): &(u64, Option<u64>)| match key {
                2 if first => Err(busy()),
                3 => Err(Error::new(ErrorKind::Invalid, "never")),
                _ => Ok(()),
            };
            writes.iter().map(answer).collect()
        }
    }

    #[tokio::test]
    async fn failed_keys_alone_are_tried_again() {
        let picky = Arc::new(Picky::default());
        let retrying = picky.clone().retrying(Backoff::default(), ManualClock::default());
        let writes = vec![(2, Some(1)), (1, Some(5)), (3, Some(6)), (2, Some(7))];
        let answers = retrying.put_each(writes).await;
        assert_eq!(
            answers.iter().map(Result::is_ok).collect::<Vec<_>>(),
            [true, true, false, true]
        );
        assert_eq!(*picky.0.lock().unwrap(), [vec![2, 7, 1, 5, 3, 6], vec![2, 7]]);
    }
}
