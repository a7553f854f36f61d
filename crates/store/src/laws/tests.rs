//! The laws catch stores that break them: among these the mistakes that stores of this kind have had.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;

use super::*;
use crate::{
    Addition, Answers, Backoff, Call, Deltas, Error, ExpiringMemory, Iterable, ManualClock, MemoryStore,
    Mergeable, Readable, SingleWriter, Sparse, StoreExt, Typed, Writable, laws,
};

/// The text of the law that is found broken.
async fn broken(check: impl Future<Output = ()>) -> String {
    let panic = AssertUnwindSafe(check)
        .catch_unwind()
        .await
        .expect_err("the law should not hold");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().expect("a panic has a text").to_string(),
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Mistake {
    /// Reads, then writes, and others may come between.
    LosesUpdates,
    /// Of a key that was absent when the call began, all deltas are told that there was nothing before.
    SaysAbsent,
    /// Answers with the value after.
    SaysAfter,
    /// Answers a put before it is done.
    PutsLater,
    /// The first write to a key in a call wins.
    FirstWrite,
    /// Keeps what is removed.
    KeepsRemoved,
    /// Gives present keys only.
    LeavesOutAbsent,
    /// Gives answers in the order of the keys' values.
    Sorts,
    /// A page begins with the key it is to begin after.
    IncludesAfter,
    /// A page holds one pair more than asked.
    OverLimit,
}
use Mistake::*;

struct Wrong(MemoryStore<u64, u64>, Mistake);

fn wrong(mistake: Mistake) -> Arc<Wrong> {
    Arc::new(Wrong(MemoryStore::new(), mistake))
}

#[async_trait]
impl Readable<u64, u64> for Wrong {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
        let mut keys = keys.to_vec();
        if self.1 == Sorts {
            keys.sort_unstable();
        }
        let mut answers = self.0.get_each(&keys).await;
        if self.1 == LeavesOutAbsent {
            answers.retain(|answer| !matches!(answer, Ok(None)));
        }
        answers
    }
}

#[async_trait]
impl Writable<u64, u64> for Wrong {
    async fn put_each(&self, mut writes: Vec<(u64, Option<u64>)>) -> Answers<()> {
        let asked = writes.len();
        match self.1 {
            FirstWrite => writes.reverse(),
            KeepsRemoved => writes.retain(|(_, value)| value.is_some()),
            _ => {}
        }
        let store = self.0.clone();
        let put = async move { drop(store.put_each(writes).await) };
        if self.1 == PutsLater {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                put.await;
            });
        } else {
            put.await;
        }
        (0..asked).map(|_| Ok(())).collect()
    }
}

#[async_trait]
impl Mergeable<u64, u64> for Wrong {
    async fn merge_each(&self, deltas: Vec<(u64, u64)>) -> Answers<Option<u64>> {
        let mut befores = Vec::new();
        let absent: Vec<u64> = self.0.entries().into_iter().map(|(key, _)| key).collect();
        for (key, delta) in deltas {
            let before = self.0.get_each(&[key]).await.remove(0).unwrap();
            if self.1 == LosesUpdates {
                // Long enough for others to come between, on a busy machine too.
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.0
                    .put_each(vec![(key, Some(before.unwrap_or(0) + delta))])
                    .await
                    .remove(0)
                    .unwrap();
            } else {
                self.0.merge_each(vec![(key, delta)]).await.remove(0).unwrap();
            }
            befores.push(Ok(match self.1 {
                SaysAbsent if !absent.contains(&key) => None,
                SaysAfter => Some(before.unwrap_or(0) + delta),
                _ => before,
            }));
        }
        befores
    }
}

#[async_trait]
impl Iterable<u64, u64> for Wrong {
    async fn page(&self, after: Option<&u64>, limit: usize) -> Result<Vec<(u64, u64)>> {
        let from = after.map_or(0, |after| {
            if self.1 == IncludesAfter {
                *after
            } else {
                after + 1
            }
        });
        let limit = if self.1 == OverLimit {
            limit.saturating_add(1)
        } else {
            limit
        };
        Ok(self
            .0
            .entries()
            .into_iter()
            .filter(|(key, _)| *key >= from)
            .take(limit)
            .collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_merges_are_found() {
    for (mistake, law) in [
        (LosesUpdates, "a chain"),
        (SaysAbsent, "also when it was absent"),
        (SaysAfter, "nothing before the first"),
    ] {
        let text = broken(async move { mergeable::<u64, u64, _>(async || wrong(mistake)).await }).await;
        assert!(text.contains(law), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_reads_and_writes_are_found() {
    for (mistake, law) in [
        (PutsLater, "read your writes"),
        (FirstWrite, "the last write"),
        (KeepsRemoved, "the last write"),
        (LeavesOutAbsent, "an answer for each key"),
    ] {
        let text = broken(async move { writable::<u64, u64, _>(async || wrong(mistake)).await }).await;
        assert!(text.contains(law), "{text}");
    }
    let make = async |pairs| Arc::new(Wrong(MemoryStore::from_iter(pairs), Sorts));
    let text = broken(async move { readable::<u64, u64, _>(make).await }).await;
    assert!(text.contains("in order"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pages_are_found() {
    for (mistake, law) in [(IncludesAfter, "after a key"), (OverLimit, "from the start")] {
        let make = async move |pairs| Arc::new(Wrong(MemoryStore::from_iter(pairs), mistake));
        let text = broken(async move { iterable::<u64, u64, _>(make).await }).await;
        assert!(text.contains(law), "{text}");
    }
}

/// Reads what was there first, as a cache does that is not told of writes.
#[derive(Default)]
struct Stale(MemoryStore<u64, u64>, Mutex<BTreeMap<u64, u64>>);

#[async_trait]
impl Readable<u64, u64> for Stale {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
        let answers = self.0.get_each(keys).await;
        let mut seen = self.1.lock().unwrap();
        let first = |(key, answer): (&u64, Result<Option<u64>>)| {
            Ok(answer?.map(|value| *seen.entry(*key).or_insert(value)))
        };
        keys.iter().zip(answers).map(first).collect()
    }
}

#[async_trait]
impl Writable<u64, u64> for Stale {
    async fn put_each(&self, writes: Vec<(u64, Option<u64>)>) -> Answers<()> {
        self.0.put_each(writes).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stale_reads_are_found() {
    let text = broken(async { writable::<u64, u64, _>(async || Arc::new(Stale::default())).await }).await;
    assert!(text.contains("the last write"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_do_not_end_are_found() {
    // Its clock is not the one that moves.
    let make = async |_| Arc::new(ExpiringMemory::new(ManualClock::default()));
    let text = broken(async move { expiring::<u64, u64, _>(make).await }).await;
    assert!(text.contains("at its time"), "{text}");
}

/// Takes a failed commit for one that did not happen (`Retry`), or for one that did.
struct Hasty {
    store: Arc<dyn Store<u64, u64>>,
    id: u64,
    commits: Mutex<u64>,
    fails_as_done: bool,
}

#[async_trait]
impl Mergeable<u64, u64> for Hasty {
    async fn merge_each(&self, deltas: Vec<(u64, u64)>) -> Answers<Option<u64>> {
        let (key, delta) = deltas[0];
        let merge = async {
            let before = self.store.multi_get(&[key]).await?.remove(0);
            let expected = self.store.progress().await?;
            let number = {
                let mut commits = self.commits.lock().unwrap();
                *commits += 1;
                *commits
            };
            let progress = Progress::from_iter([(format!("{}-{number}", self.id), 1)]);
            let writes = vec![(key, Some(before.unwrap_or(0) + delta))];
            let commit = Commit {
                writes,
                expected,
                progress,
            };
            let done = self.store.commit(commit).await;
            if self.fails_as_done {
                Ok(before)
            } else {
                done.map(|()| before)
            }
        };
        vec![merge.await]
    }
}

#[tokio::test]
async fn merges_that_count_twice_or_never_are_found() {
    for fails_as_done in [false, true] {
        let check = async move {
            let open = async |store, id| {
                let commits = Mutex::new(0);
                Ok::<_, Error>(Hasty {
                    store,
                    id,
                    commits,
                    fails_as_done,
                })
            };
            crash_points::<u64, u64, _, _>(async || Arc::new(MemoryStore::new()), open).await;
        };
        let text = broken(check).await;
        assert!(text.contains("crash points: "), "{text}");
    }
}

/// A store that applies no fence, under what relies on it.
struct Unfenced(MemoryStore<u64, u64>);

#[async_trait]
impl Store<u64, u64> for Unfenced {
    async fn multi_get(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        self.0.multi_get(keys).await
    }

    async fn commit(&self, mut commit: Commit<u64, u64>) -> Result<()> {
        commit.expected = self.0.progress().await?;
        self.0.commit(commit).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress().await
    }

    async fn scan(&self, after: Option<&u64>, limit: usize) -> Result<Vec<(u64, u64)>> {
        self.0.scan(after, limit).await
    }
}

#[tokio::test]
async fn a_store_without_a_fence_is_found() {
    let text =
        broken(async { laws::check::<u64, u64, _>(async || Arc::new(Unfenced(MemoryStore::new()))).await });
    assert!(text.await.starts_with("fenced"));
    SingleWriter::open(Arc::new(Unfenced(MemoryStore::new())), 1)
        .await
        .unwrap();
}

/// A store over another one adds through it; where it fails, what was lost is tried again, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn additions_through_other_stores() {
    let inner = || Faulty::new(MemoryStore::<u64, u64>::new(), often());
    laws::adding::<u64, u64, _>(async || Arc::new(patient(inner()))).await;
    laws::adding::<u64, u64, _>(async || Arc::new(patient(patient(inner())))).await;
    let time_max = Duration::from_secs(3_600);
    laws::adding::<u64, u64, _>(async || {
        Arc::new(patient(inner()).time_limited(time_max, ManualClock::default()))
    })
    .await;
    let silent = |_: &Call| {};
    laws::adding::<u64, u64, _>(async || Arc::new(patient(inner()).observed(silent, ManualClock::default())))
        .await;
    laws::adding::<u64, u64, _>(async || {
        Arc::new(Typed::<u64, u64>::new("sums", Arc::new(MemoryStore::new())))
    })
    .await;
}

/// The same as [`Store::add`] by hand, for a sum that takes back: no zero is left.
#[tokio::test]
async fn an_addition_to_zero_removes_the_key() {
    let inner = MemoryStore::<&str, i64>::new();
    let sparse = Sparse::new(Arc::new(inner.clone()));
    let add = async |pairs: &[(&'static str, i64)], from: u64| {
        let mut deltas = Deltas::default();
        pairs.iter().for_each(|(key, delta)| deltas.add(*key, *delta));
        let expected = (from > 0).then(|| at(from));
        let progress = at(from + 1);
        sparse
            .add(Addition {
                deltas,
                expected,
                progress,
            })
            .await
            .unwrap();
    };
    add(&[("ant", 2), ("bee", 1)], 0).await;
    add(&[("ant", -2), ("bee", 1), ("cat", 0)], 1).await;
    add(&[("ant", -2), ("bee", 1), ("cat", 0)], 1).await;
    assert_eq!(inner.entries(), [("bee", 2)]);
}

/// Tries again at once.
fn patient<S: crate::Combinable>(store: S) -> crate::Retrying<S, ManualClock> {
    let backoff = Backoff {
        first: Duration::ZERO,
        ..Backoff::default()
    };
    store.retrying(backoff, ManualClock::default())
}

/// Of three calls the first is lost on the way there, and the second on the way back.
fn often() -> impl Iterator<Item = (u64, Fault)> {
    (0..3_000)
        .map(|n| (3 * n, Fault::Before))
        .chain((0..3_000).map(|n| (3 * n + 1, Fault::After)))
}
