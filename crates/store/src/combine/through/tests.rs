//! The laws, over caches that fail and forget, and the number of calls that reach the store.

use std::sync::Arc;

use super::*;
use crate::laws::{self, Fault, Faulty};
use crate::{MemoryStore, MergeableExt, ReadableExt, StoreExt, WritableExt};

/// A cache that takes no puts of values, but removals.
struct Forgetful(MemoryStore<u64, u64>);

#[async_trait]
impl Readable<u64, u64> for Forgetful {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
        self.0.get_each(keys).await
    }
}

#[async_trait]
impl Writable<u64, u64> for Forgetful {
    async fn put_each(&self, writes: Vec<(u64, Option<u64>)>) -> Answers<()> {
        let put = |(key, value): (u64, Option<u64>)| match (key + value.unwrap_or(0)) % 2 {
            0 => (key, None),
            _ => (key, value),
        };
        self.0.put_each(writes.into_iter().map(put).collect()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn laws() {
    laws::readable::<u64, u64, _>(async |pairs| {
        let failing = Faulty::new(MemoryStore::new(), (0..1_000).map(|call| (call, Fault::Before)));
        Arc::new(MemoryStore::from_iter(pairs).through(failing))
    })
    .await;
    laws::writable::<u64, u64, _>(async || Arc::new(MemoryStore::new().through(MemoryStore::new()))).await;
    laws::writable::<u64, u64, _>(async || {
        Arc::new(MemoryStore::new().through(Forgetful(MemoryStore::new())))
    })
    .await;
    laws::mergeable::<u64, String, _>(async || Arc::new(MemoryStore::new().through(MemoryStore::new())))
        .await;
    laws::mergeable::<u64, u64, _>(async || {
        Arc::new(MemoryStore::new().through(Forgetful(MemoryStore::new())))
    })
    .await;
}

#[tokio::test]
async fn what_the_cache_has_does_not_reach_the_store() {
    let store = Arc::new(Faulty::new(MemoryStore::from_iter([(1_u64, 10_u64)]), []));
    let cache = MemoryStore::new();
    let through = store.clone().through(cache.clone());
    for _ in 0..3 {
        let answers = through.get_each(&[1, 1]).await;
        assert!(answers.iter().all(|answer| *answer.as_ref().unwrap() == Some(10)));
    }
    assert_eq!(store.calls(), 1);
    through.put(2, 20).await.unwrap();
    assert_eq!(through.merge(2, 1).await.unwrap(), Some(20));
    assert_eq!(through.get(&2).await.unwrap(), Some(21));
    through.remove(1).await.unwrap();
    assert_eq!(store.calls(), 4);
    assert_eq!(cache.entries(), [(2, 21)]);
    assert!(through.locks.is_empty());
}

#[tokio::test]
async fn readers_of_a_missing_key_share_a_call() {
    let store = Arc::new(Faulty::new(MemoryStore::from_iter([(1_u64, 10_u64)]), []));
    let through = Slow(store.clone()).through(MemoryStore::new());
    let readers = (0..50).map(|_| through.get(&1));
    for value in futures::future::join_all(readers).await {
        assert_eq!(value.unwrap(), Some(10));
    }
    assert_eq!(store.calls(), 1);
    assert!(through.locks.is_empty());
}

/// Lets others run before it answers.
struct Slow<S>(S);

impl<S> crate::Combinable for Slow<S> {}

#[async_trait]
impl<S: Readable<u64, u64>> Readable<u64, u64> for Slow<S> {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<u64>> {
        tokio::task::yield_now().await;
        self.0.get_each(keys).await
    }
}

#[tokio::test]
async fn what_the_cache_cannot_forget_is_not_written() {
    let (kept, cache) = (
        MemoryStore::from_iter([(1_u64, 10_u64)]),
        MemoryStore::from_iter([(1, 10)]),
    );
    let through = kept
        .clone()
        .through(Faulty::new(cache, [(0, Fault::Before), (1, Fault::Before)]));
    assert_eq!(through.put(1, 11).await.unwrap_err().kind(), ErrorKind::Retry);
    assert_eq!(through.merge(1, 1).await.unwrap_err().kind(), ErrorKind::Retry);
    assert_eq!(kept.entries(), [(1, 10)], "else readers would see 10 for good");
    through.put(1, 11).await.unwrap();
    assert_eq!(through.get(&1).await.unwrap(), Some(11));
}

#[tokio::test]
async fn a_failed_write_is_not_cached() {
    let store = Faulty::new(
        MemoryStore::from_iter([(1_u64, 10_u64)]),
        [(0, Fault::After), (2, Fault::After)],
    );
    let through = store.through(MemoryStore::from_iter([(1, 10)]));
    assert!(through.put(1, 11).await.is_err());
    assert_eq!(through.get(&1).await.unwrap(), Some(11), "it had happened");
    assert_eq!(through.merge(1, 1).await.unwrap_err().kind(), ErrorKind::Doubt);
    assert_eq!(through.get(&1).await.unwrap(), Some(12));
}

#[tokio::test]
async fn a_dropped_call_lets_go_of_its_keys() {
    let store = Slow(MemoryStore::from_iter([(1_u64, 10_u64)]));
    let through = store.through(MemoryStore::new());
    {
        let holder = through.get(&1);
        let waiter = through.get(&1);
        tokio::pin!(holder, waiter);
        assert!(futures::poll!(&mut holder).is_pending());
        assert!(futures::poll!(&mut waiter).is_pending());
        assert!(!through.locks.is_empty());
    }
    assert!(
        through.locks.is_empty(),
        "the one that held it, and the one that waited"
    );
    assert_eq!(through.get(&1).await.unwrap(), Some(10));
}
