//! Merges that are summed here before they go to the store.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use algebra::Semigroup;
use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::grouped::joined;
use crate::ports::complete;
use crate::{Answers, Error, ErrorKind, Iterable, Key, Mergeable, Readable, Result, Value, Writable};

/// A mergeable whose merges are summed by key until they go to the store in one call: when there are
/// `deltas_max`, before each read, write and page through it, at [`flush`](Self::flush), and at
/// [`merge_each`](Mergeable::merge_each), which waits for its answers. Calls to the store go one after the other;
/// what comes meanwhile is the next one, so many tasks that merge at once share calls.
///
/// Every delta's value before is true, as if each had been merged alone; also those of a key that was absent.
/// [`add`](Self::add) does not wait: until its [`Pending`] answers, its deltas are in memory only.
pub struct Buffered<K, V, S> {
    inner: S,
    deltas_max: usize,
    open: Mutex<Open<K, V>>,
    /// Held while a call is at the store, so that deltas of a key arrive in their order.
    flushing: tokio::sync::Mutex<()>,
}

struct Open<K, V> {
    sums: BTreeMap<K, Sum<V>>,
    deltas: usize,
    /// A failure that nobody waited for.
    unseen: Option<Error>,
}

/// The answer to a delta.
type Before<V> = Result<Option<V>>;

struct Sum<V> {
    sum: V,
    /// For each delta of the sum: the sum before it, and who waits.
    parts: Vec<(Option<V>, oneshot::Sender<Before<V>>)>,
}

/// The answers to deltas that were [added](Buffered::add). When it is dropped, a failure is told by the next
/// [`Buffered::flush`].
#[must_use = "it tells whether the deltas were merged"]
pub struct Pending<V>(Vec<oneshot::Receiver<Before<V>>>);

impl<V> Pending<V> {
    /// The value before each delta, once they are in the store. Does not flush: something else must.
    pub async fn befores(self) -> Answers<Option<V>> {
        let mut answers = Vec::with_capacity(self.0.len());
        for answer in self.0 {
            answers.push(answer.await.unwrap_or_else(|_| Err(dropped())));
        }
        answers
    }
}

fn dropped() -> Error {
    let text = "the buffer, or the call that flushed it, was dropped: read before merging again";
    Error::new(ErrorKind::Doubt, text)
}

/// A call at the store. When it is dropped there, nobody may be waiting who could be told.
struct Sent<'a, K, V> {
    open: &'a Mutex<Open<K, V>>,
}

impl<K, V> Drop for Sent<'_, K, V> {
    fn drop(&mut self) {
        if let Ok(mut open) = self.open.lock() {
            open.unseen = Some(dropped());
        }
    }
}

impl<K: Key, V: Semigroup + Value, S: Mergeable<K, V>> Buffered<K, V, S> {
    /// `inner` with up to `deltas_max` deltas held back (more only when one call has more).
    pub fn new(inner: S, deltas_max: usize) -> Self {
        Self {
            inner,
            deltas_max,
            open: Mutex::new(Open {
                sums: BTreeMap::new(),
                deltas: 0,
                unseen: None,
            }),
            flushing: tokio::sync::Mutex::default(),
        }
    }

    /// Sums deltas here; flushes first when there is no room.
    pub async fn add(&self, deltas: Vec<(K, V)>) -> Pending<V> {
        while !self.has_room(deltas.len()) {
            self.send().await;
        }
        let mut open = self.open();
        open.deltas += deltas.len();
        let add = |(key, delta): (K, V)| {
            let (sender, receiver) = oneshot::channel();
            match open.sums.get_mut(&key) {
                Some(sum) => {
                    sum.parts.push((Some(sum.sum.clone()), sender));
                    sum.sum.plus(delta);
                }
                None => {
                    let parts = vec![(None, sender)];
                    open.sums.insert(key, Sum { sum: delta, parts });
                }
            }
            receiver
        };
        Pending(deltas.into_iter().map(add).collect())
    }

    /// Sends all that is held back to the store.
    ///
    /// # Errors
    /// Of deltas whose [`Pending`] was dropped, the last failure since the flush before; `Doubt` also when a call was
    /// dropped while it flushed.
    pub async fn flush(&self) -> Result<()> {
        self.send().await;
        self.open().unseen.take().map_or(Ok(()), Err)
    }

    async fn send(&self) {
        let _flushing = self.flushing.lock().await;
        let sums = {
            let mut open = self.open();
            open.deltas = 0;
            std::mem::take(&mut open.sums)
        };
        if sums.is_empty() {
            return;
        }
        let (deltas, parts): (Vec<_>, Vec<_>) = sums
            .into_iter()
            .map(|(key, sum)| ((key, sum.sum), sum.parts))
            .unzip();
        let sent = Sent { open: &self.open };
        let answers = complete(deltas.len(), self.inner.merge_each(deltas).await);
        std::mem::forget(sent);
        for (parts, answer) in parts.into_iter().zip(answers) {
            for (prior, waiting) in parts {
                let before = answer.clone().map(|held| joined(held, prior));
                if let Err(Err(unseen)) = waiting.send(before) {
                    self.open().unseen = Some(unseen);
                }
            }
        }
    }

    fn has_room(&self, deltas: usize) -> bool {
        let held = self.open().deltas;
        held == 0 || held.saturating_add(deltas) <= self.deltas_max
    }

    fn open(&self) -> MutexGuard<'_, Open<K, V>> {
        self.open
            .lock()
            .expect("nothing but a key's or value's own code can panic while it holds the lock")
    }
}

#[async_trait]
impl<K: Key, V: Semigroup + Value, S: Mergeable<K, V>> Mergeable<K, V> for Buffered<K, V, S> {
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let pending = self.add(deltas).await;
        self.send().await;
        pending.befores().await
    }
}

#[async_trait]
impl<K, V, S> Readable<K, V> for Buffered<K, V, S>
where
    K: Key,
    V: Semigroup + Value,
    S: Readable<K, V> + Mergeable<K, V>,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        self.send().await;
        self.inner.get_each(keys).await
    }
}

#[async_trait]
impl<K, V, S> Writable<K, V> for Buffered<K, V, S>
where
    K: Key,
    V: Semigroup + Value,
    S: Writable<K, V> + Mergeable<K, V>,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        self.send().await;
        self.inner.put_each(writes).await
    }
}

#[async_trait]
impl<K, V, S> Iterable<K, V> for Buffered<K, V, S>
where
    K: Key,
    V: Semigroup + Value,
    S: Iterable<K, V> + Mergeable<K, V>,
{
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.send().await;
        self.inner.page(after, limit).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::laws::{self, Fault, Faulty};
    use crate::{MemoryStore, MergeableExt, ReadableExt, StoreExt, WritableExt};

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        for deltas_max in [0, 1, 7, 1_000] {
            laws::mergeable::<u64, String, _>(async || Arc::new(MemoryStore::new().buffered(deltas_max)))
                .await;
        }
        laws::writable::<u64, u64, _>(async || Arc::new(MemoryStore::new().buffered(10))).await;
        laws::iterable::<u64, u64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs).buffered(10)))
            .await;
    }

    async fn befores(pending: Pending<u64>) -> Vec<Option<u64>> {
        pending.befores().await.into_iter().map(Result::unwrap).collect()
    }

    #[tokio::test]
    async fn befores_are_true_also_of_absent_keys() {
        let kept = MemoryStore::from_iter([("old", 10_u64)]);
        let store = Arc::new(Faulty::new(kept.clone(), []));
        let buffered = store.clone().buffered(100);
        let one = buffered.add(vec![("new", 1), ("old", 1)]).await;
        let two = buffered.add(vec![("new", 2), ("new", 4), ("old", 2)]).await;
        assert_eq!(store.calls(), 0);
        assert_eq!(buffered.get(&"new").await.unwrap(), Some(7), "a read flushes");
        assert_eq!(store.calls(), 2, "in one call");
        assert_eq!(befores(one).await, [None, Some(10)]);
        assert_eq!(
            befores(two).await,
            [Some(1), Some(3), Some(11)],
            "the second one of an absent key"
        );
    }

    #[tokio::test]
    async fn it_is_bounded() {
        let kept = MemoryStore::new();
        let buffered = kept.clone().buffered(3);
        let mut pending = Vec::new();
        for n in 0..10_u64 {
            pending.push(buffered.add(vec![(n, 1_u64)]).await);
            assert!(buffered.open().deltas <= 3 && buffered.open().sums.len() <= 3);
        }
        assert_eq!(kept.entries().len(), 9);
        pending.push(buffered.add((0..5).map(|n| (n, 1)).collect()).await);
        assert_eq!(
            kept.entries().len(),
            10,
            "a large call waits for room, then is taken whole"
        );
        buffered.flush().await.unwrap();
        assert_eq!(kept.entries().iter().map(|pair| pair.1).sum::<u64>(), 15);
        drop(pending);
    }

    #[tokio::test]
    async fn a_put_comes_after_what_was_added_before_it() {
        let buffered = MemoryStore::new().buffered(100);
        let pending = buffered.add(vec![(1, 5_u64)]).await;
        buffered.put(1, 100).await.unwrap();
        assert_eq!(buffered.merge(1, 1).await.unwrap(), Some(100));
        assert_eq!(befores(pending).await, [None]);
    }

    #[tokio::test]
    async fn failures_reach_who_waits_or_the_next_flush() {
        let store = Faulty::new(MemoryStore::new(), [(0, Fault::Before), (1, Fault::After)]);
        let buffered = store.buffered(100);
        let (seen, dropped) = (
            buffered.add(vec![(1, 5_u64)]).await,
            buffered.add(vec![(2, 5)]).await,
        );
        drop(dropped);
        assert_eq!(buffered.flush().await.unwrap_err().kind(), ErrorKind::Retry);
        assert_eq!(
            seen.befores().await[0].as_ref().unwrap_err().kind(),
            ErrorKind::Retry
        );
        buffered.flush().await.unwrap();
        assert_eq!(buffered.merge(1, 1).await.unwrap_err().kind(), ErrorKind::Doubt);
        buffered.flush().await.expect("it was told");
        assert_eq!(buffered.merge(1, 1).await.unwrap(), Some(1));
    }

    /// Takes a while for a call; and counts them.
    #[derive(Default)]
    struct Slow(MemoryStore<u64, u64>, AtomicUsize);

    impl crate::Combinable for Slow {}

    #[async_trait]
    impl Mergeable<u64, u64> for Slow {
        async fn merge_each(&self, deltas: Vec<(u64, u64)>) -> Answers<Option<u64>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            self.0.merge_each(deltas).await
        }
    }

    #[tokio::test]
    async fn many_tasks_share_calls() {
        let slow = Arc::new(Slow::default());
        let buffered = slow.clone().buffered(1_000);
        let merges = (0..100).map(|n| buffered.merge(n % 5, 1_u64));
        let befores = futures::future::join_all(merges).await;
        assert_eq!(
            befores
                .into_iter()
                .filter(|before| matches!(before, Ok(None)))
                .count(),
            5
        );
        assert_eq!(
            slow.1.load(Ordering::Relaxed),
            2,
            "the first one, and all that came meanwhile"
        );
    }

    #[tokio::test]
    async fn a_flush_that_is_dropped_is_told() {
        let buffered = Arc::new(Slow::default()).buffered(1_000);
        let (seen, unseen) = (
            buffered.add(vec![(1, 1_u64)]).await,
            buffered.add(vec![(2, 1)]).await,
        );
        drop(unseen);
        tokio::select! {
            biased;
            _ = buffered.flush() => panic!("it waits"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(
            seen.befores().await[0].as_ref().unwrap_err().kind(),
            ErrorKind::Doubt
        );
        assert_eq!(buffered.flush().await.unwrap_err().kind(), ErrorKind::Doubt);
        assert_eq!(buffered.merge(1, 1).await.unwrap(), None);
    }
}
