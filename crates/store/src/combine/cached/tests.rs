//! The laws behind each cache, what each cache keeps, and reads that overlap writes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;
use crate::laws::{self, Fault, Faulty};
use crate::{ManualClock, MemoryStore, MergeableExt, ReadableExt, StoreExt, WritableExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn laws() {
    laws::readable::<u64, u64, _>(async |pairs| {
        Arc::new(MemoryStore::from_iter(pairs).cached(Lru::new(100)))
    })
    .await;
    laws::writable::<u64, u64, _>(async || Arc::new(MemoryStore::new().cached(Lru::new(5)))).await;
    laws::writable::<u64, String, _>(async || {
        Arc::new(MemoryStore::new().cached(Ttl::new(5, SECOND, ManualClock::default())))
    })
    .await;
    laws::writable::<u64, u64, _>(async || {
        Arc::new(MemoryStore::new().cached(HeavyHitters::new(Lru::new(5), 4)))
    })
    .await;
    laws::mergeable::<u64, String, _>(async || Arc::new(MemoryStore::new().cached(Lru::new(3)))).await;
    laws::mergeable::<u64, u64, _>(async || Arc::new(MemoryStore::new().cached(Lru::new(0)))).await;
}

#[test]
fn lru_keeps_what_was_used_last() {
    let mut cache = Lru::new(2);
    cache.put(1, "a");
    cache.put(2, "b");
    assert_eq!(cache.get(&1), Some("a"));
    cache.put(3, "c");
    assert_eq!(
        [cache.get(&1), cache.get(&2), cache.get(&3)],
        [Some("a"), None, Some("c")]
    );
    cache.put(3, "d");
    assert_eq!(
        [cache.get(&1), cache.get(&3)],
        [Some("a"), Some("d")],
        "the same key takes one place"
    );
    cache.remove(&1);
    cache.put(4, "e");
    assert_eq!([cache.get(&3), cache.get(&4)], [Some("d"), Some("e")]);
    assert_eq!((cache.values.len(), cache.order.len()), (2, 2));
}

#[test]
fn ttl_ends_on_read_used_or_not() {
    let clock = ManualClock::default();
    let mut cache = Ttl::new(2, 3 * SECOND, clock.clone());
    cache.put(1, "a");
    for _ in 0..2 {
        clock.advance(SECOND);
        assert_eq!(cache.get(&1), Some("a"));
    }
    clock.advance(SECOND);
    assert_eq!(
        cache.get(&1),
        None,
        "though it was used, and nothing has been written since"
    );
    assert_eq!((cache.values.len(), cache.order.len()), (0, 0));

    cache.put(1, "a");
    clock.advance(SECOND);
    cache.put(2, "b");
    cache.put(3, "c");
    assert_eq!(
        [cache.get(&1), cache.get(&2), cache.get(&3)],
        [None, Some("b"), Some("c")],
        "first to end"
    );
    clock.advance(3 * SECOND);
    cache.put(4, "d");
    assert_eq!(
        (cache.values.len(), cache.order.len()),
        (1, 1),
        "a put drops what has ended"
    );
}

#[test]
fn heavy_hitters_alone_are_kept() {
    let mut cache = HeavyHitters::new(Lru::new(100), 9);
    for n in 0..1_000_u64 {
        for key in [n + 10, 1, n + 5_000, n + 9_000, 2] {
            if Cache::<u64, u64>::get(&mut cache, &key).is_none() {
                cache.put(key, key);
            }
        }
        assert!(cache.counts.len() <= 9);
    }
    let kept: Vec<_> = cache.cache.values.keys().copied().collect();
    assert!([1, 2].iter().all(|key| kept.contains(key)), "{kept:?}");
    assert!(kept.len() < 10, "of 3000 rare keys hardly one is kept {kept:?}");
    cache.remove(&1);
    assert_eq!(Cache::<u64, u64>::get(&mut cache, &1), None);
}

#[tokio::test]
async fn what_is_cached_is_not_asked_again() {
    let kept = Arc::new(Faulty::new(MemoryStore::from_iter([(1, 10)]), []));
    let clock = ManualClock::default();
    let cached = kept.clone().cached(Ttl::new(10, SECOND, clock.clone()));
    for _ in 0..3 {
        let answers = cached.get_each(&[1, 2, 1]).await;
        let values: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
        assert_eq!(values, [Some(10), None, Some(10)], "absence too");
    }
    assert_eq!(kept.calls(), 1);
    clock.advance(SECOND);
    cached.get(&1).await.unwrap();
    assert_eq!(kept.calls(), 2);
    cached.put(1, 11).await.unwrap();
    assert_eq!(cached.merge(1, 1).await.unwrap(), Some(11));
    assert_eq!(
        cached.get(&1).await.unwrap(),
        Some(12),
        "writes and merges fill the cache"
    );
    assert_eq!(kept.calls(), 4);
}

#[tokio::test]
async fn failures_are_not_cached() {
    let faults = [(0, Fault::Before), (2, Fault::After), (4, Fault::After)];
    let cached = Faulty::new(MemoryStore::from_iter([(1, 10)]), faults).cached(Lru::new(10));
    assert!(cached.get(&1).await.is_err());
    assert_eq!(cached.get(&1).await.unwrap(), Some(10));
    assert!(cached.put(1, 11).await.is_err());
    assert_eq!(
        cached.get(&1).await.unwrap(),
        Some(11),
        "a failed write leaves no older value in the cache"
    );
    assert!(cached.merge(1, 1).await.is_err());
    assert_eq!(cached.get(&1).await.unwrap(), Some(12));
    assert!(cached.state().busy.is_empty());
}

/// Reads at once, and answers when it is released.
struct SlowReads(MemoryStore<u64, u64>, Arc<Semaphore>);

impl crate::Combinable for SlowReads {}

#[async_trait]
impl Readable<u64, u64> for SlowReads {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
        let answers = self.0.get_each(keys).await;
        self.1.acquire().await.unwrap().forget();
        answers
    }
}

#[async_trait]
impl Writable<u64, u64> for SlowReads {
    async fn put_each(&self, writes: Vec<(u64, Option<u64>)>) -> Answers<()> {
        self.0.put_each(writes).await
    }
}

#[tokio::test]
async fn a_slow_read_does_not_cache_over_a_newer_write() {
    let released = Arc::new(Semaphore::new(0));
    let cached = SlowReads(MemoryStore::from_iter([(1, 10)]), released.clone()).cached(Lru::new(10));
    let write = async {
        tokio::task::yield_now().await;
        cached.put(1, 11).await.unwrap();
        released.add_permits(1);
    };
    let (read, ()) = tokio::join!(cached.get(&1), write);
    assert_eq!(read.unwrap(), Some(10), "it was read before the write");
    released.add_permits(1);
    assert_eq!(cached.get(&1).await.unwrap(), Some(11), "but is not kept");
    assert!(cached.state().busy.is_empty());
}

#[tokio::test]
async fn a_dropped_call_leaves_nothing_behind() {
    let released = Arc::new(Semaphore::new(0));
    let cached = SlowReads(MemoryStore::from_iter([(1, 10)]), released.clone()).cached(Lru::new(10));
    tokio::select! {
        biased;
        _ = cached.get(&1) => panic!("it waits"),
        () = tokio::task::yield_now() => {}
    }
    assert!(cached.state().busy.is_empty());
    released.add_permits(1);
    assert_eq!(cached.get(&1).await.unwrap(), Some(10));
}
