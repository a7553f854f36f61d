//! The laws over memory and disk, crash points, take-over, and calls that are dropped half way.

use super::*;
use crate::{Embedded, MemoryStore, MergeableExt, ReadableExt, Typed, WritableExt, laws};

#[tokio::test(flavor = "multi_thread")]
async fn laws_over_memory() {
    let new = async || Arc::new(SingleWriter::open(Arc::new(MemoryStore::new()), 7).await.unwrap());
    laws::writable::<u64, String, _>(new).await;
    laws::mergeable::<String, u64, _>(async || {
        Arc::new(SingleWriter::open(Arc::new(MemoryStore::new()), 7).await.unwrap())
    })
    .await;
    laws::mergeable::<u64, String, _>(new).await;
    laws::iterable::<u64, String, _>(async |pairs| {
        Arc::new(
            SingleWriter::open(Arc::new(MemoryStore::from_iter(pairs)), 7)
                .await
                .unwrap(),
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_on_disk() {
    let folder = tempfile::tempdir().unwrap();
    let stores = Embedded::open(folder.path()).unwrap();
    let names = std::sync::atomic::AtomicU64::new(0);
    laws::mergeable::<u64, String, _>(async || {
        let name = format!("s{}", names.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let typed = Typed::new("laws", stores.store(&name).unwrap());
        Arc::new(SingleWriter::open(Arc::new(typed), 1).await.unwrap())
    })
    .await;
}

#[tokio::test]
async fn crash_points() {
    let make = async || Arc::new(MemoryStore::new());
    laws::crash_points::<u64, String, _, _>(make, async |store, id| SingleWriter::open(store, id).await)
        .await;
}

#[tokio::test]
async fn in_doubt_a_put_may_be_made_again_and_a_merge_not() {
    // Opening takes two calls; then the commit's answer is lost, and the store cannot be asked.
    for (lost, kind) in [(2, ErrorKind::Retry), (3, ErrorKind::Doubt)] {
        let faults = [(lost, laws::Fault::After), (lost + 1, laws::Fault::Before)];
        let store = Arc::new(laws::Faulty::new(MemoryStore::<u64, u64>::new(), faults));
        let writer = SingleWriter::open(store.clone(), 1).await.unwrap();
        assert_eq!(store.calls(), 2);
        let failed = match kind {
            ErrorKind::Retry => writer.put(1, 5).await.map(|()| None),
            _ => writer.merge(1, 5).await,
        };
        assert_eq!(failed.unwrap_err().kind(), kind);
        assert_eq!(writer.merge(1, 1).await.unwrap(), Some(5), "it had happened");
    }
}

#[tokio::test]
async fn a_second_writer_takes_over() {
    let store = Arc::new(MemoryStore::new());
    let one = SingleWriter::<&str, u64>::open(store.clone(), 1).await.unwrap();
    one.merge("a", 1).await.unwrap();
    let two = SingleWriter::open(store.clone(), 2).await.unwrap();
    assert_eq!(one.merge("a", 10).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(one.put("a", 10).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(two.merge("a", 2).await.unwrap(), Some(1));
    assert_eq!(
        one.merge("a", 10).await.unwrap_err().kind(),
        ErrorKind::Conflict,
        "for good"
    );
    assert_eq!(two.get(&"a").await.unwrap(), Some(3));
}

#[tokio::test]
async fn the_store_of_a_job_is_refused() {
    let store = Arc::new(MemoryStore::<u64, u64>::new());
    let commit = Commit {
        writes: vec![],
        expected: None,
        progress: Progress::from_iter([("tweets/0", 7)]),
    };
    store.commit(commit).await.unwrap();
    let error = SingleWriter::open(store, 1).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("part=tweets/0"), "{error}");
}

/// Commits late: when it is released, though the caller has gone.
struct Late(MemoryStore<u64, u64>, Arc<tokio::sync::Semaphore>);

#[async_trait]
impl Store<u64, u64> for Late {
    async fn multi_get(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        Store::multi_get(&self.0, keys).await
    }

    async fn commit(&self, commit: Commit<u64, u64>) -> Result<()> {
        let (store, released) = (self.0.clone(), self.1.clone());
        let work = async move {
            released.acquire().await.unwrap().forget();
            store.commit(commit).await
        };
        tokio::spawn(work).await.unwrap()
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress().await
    }

    async fn scan(&self, after: Option<&u64>, limit: usize) -> Result<Vec<(u64, u64)>> {
        Store::scan(&self.0, after, limit).await
    }
}

/// Fails a commit of writes the first time, but keeps it, to apply it later.
#[derive(Default)]
struct Straggling(MemoryStore<u64, u64>, std::sync::Mutex<Option<Commit<u64, u64>>>);

#[async_trait]
impl Store<u64, u64> for Straggling {
    async fn multi_get(&self, keys: &[u64]) -> Result<Vec<Option<u64>>> {
        self.0.multi_get(keys).await
    }

    async fn commit(&self, commit: Commit<u64, u64>) -> Result<()> {
        {
            let mut kept = self.1.lock().unwrap();
            if kept.is_none() && !commit.writes.is_empty() {
                *kept = Some(commit);
                return Err(Error::new(ErrorKind::Retry, "the connection was lost"));
            }
        }
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
async fn a_merge_that_was_refused_does_not_happen_later() {
    let store = Arc::new(Straggling::default());
    let writer = SingleWriter::open(store.clone(), 1).await.unwrap();
    assert_eq!(writer.merge(1, 5).await.unwrap_err().kind(), ErrorKind::Retry);
    let straggler = store.1.lock().unwrap().clone().unwrap();
    assert_eq!(
        store.0.commit(straggler).await.unwrap_err().kind(),
        ErrorKind::Conflict
    );
    assert_eq!(writer.merge(1, 5).await.unwrap(), None);
    assert_eq!(store.0.entries(), [(1, 5)]);
}

/// Lets the other tasks run so often.
async fn turns(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_late_commit_of_a_dropped_call_is_met() {
    let released = Arc::new(tokio::sync::Semaphore::new(1));
    let store = Arc::new(Late(MemoryStore::new(), released.clone()));
    let writer = SingleWriter::open(store, 1).await.unwrap();
    tokio::select! {
        _ = writer.merge(1, 5) => panic!("the commit waits to be released"),
        () = turns(10) => {}
    }
    // The next call settles on the progress before the late commit, which then comes first.
    let next = writer.merge(1, 7);
    let release = async {
        turns(10).await;
        released.add_permits(10);
    };
    let (before, ()) = tokio::join!(next, release);
    assert_eq!(
        before.unwrap(),
        Some(5),
        "it is seen, and is not taken for another writer's"
    );
    assert_eq!(writer.get(&1).await.unwrap(), Some(12));
}
