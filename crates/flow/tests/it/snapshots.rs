//! Batch stores beside maps: builds of generated parts, with faults at every commit; readers meanwhile; the laws.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flow::{BatchId, Build, Error, ErrorKind, Live, SnapshotOptions, Snapshots, Versions};
use proptest::prelude::*;
use store::{Commit, Embedded, MemoryStore, Progress, Store, Typed};

use crate::faulty::{FaultyStore, faults};
use crate::kit::{Add, Fault, Script, Text, runtime};

type Sums = BTreeMap<u8, String>;
/// Key, batch within the build, and text.
type Part = (u8, i64, String);

/// One build: how many batches, what comes in them, in how large commits, and whether it is taken back at first.
#[derive(Clone, Debug)]
struct Plan {
    batches: i64,
    parts: Vec<Part>,
    chunk: usize,
    taken_back: bool,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan =
        (1i64..4, 1usize..5, prop::bool::weighted(0.2)).prop_flat_map(|(batches, chunk, taken_back)| {
            prop::collection::vec((0u8..4, 0..batches, "[a-z]"), 0..12).prop_map(move |parts| Plan {
                batches,
                parts,
                chunk,
                taken_back,
            })
        });
    prop::collection::vec(plan, 1..6)
}

/// Calls until nothing fails any more.
async fn again<T>(mut call: impl AsyncFnMut() -> flow::Result<T>) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) if [ErrorKind::Retry, ErrorKind::Corrupt].contains(&error.kind()) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn string(text: &str) -> String {
    text.to_owned()
}

/// Commits parts from where the build is, as a job would, up to `until`.
async fn feed(build: &Build<u8, String>, plan: &Plan, until: usize) -> flow::Result<()> {
    loop {
        let expected = build.progress().await?;
        let from = expected.as_ref().map_or(0, |at| at.of("0")) as usize;
        if from >= until {
            return Ok(());
        }
        let next = until.min(from + plan.chunk);
        let mut sums = BTreeMap::new();
        for (key, batch, text) in &plan.parts[from..next] {
            let batch = BatchId(build.batches().start.0 + batch);
            sums.entry((*key, batch))
                .or_insert_with(String::new)
                .push_str(text);
        }
        let keys: Vec<_> = sums.keys().copied().collect();
        let befores = build.multi_get(&keys).await?;
        let after = |(before, (key, delta)): (Option<String>, (_, String))| {
            (key, Some(before.unwrap_or_default() + &delta))
        };
        let writes = befores.into_iter().zip(sums).map(after).collect();
        let progress = Progress::from_iter([("0", next as u64)]);
        let commit = Commit {
            writes,
            expected,
            progress,
        };
        build.commit(commit).await?;
    }
}

/// The newest and each kept snapshot say what the maps say.
async fn check(snapshots: &Snapshots<u8, String>, twins: &[(BatchId, Sums)], keep: usize) {
    let kept = &twins[twins.len().saturating_sub(keep)..];
    let bounds: Vec<_> = kept.iter().map(|(bound, _)| *bound).collect();
    assert_eq!(snapshots.bounds().await.unwrap(), bounds);
    let keys: Vec<u8> = (0..5).collect();
    for (bound, sums) in kept {
        let read = snapshots.multi_get_until(&keys, *bound).await.unwrap();
        let values: Vec<_> = keys.iter().map(|key| sums.get(key).cloned()).collect();
        assert_eq!((read.bound, read.values), (*bound, values));
    }
    assert_eq!(
        snapshots.multi_get(&keys).await.unwrap().bound,
        *bounds.last().unwrap()
    );
    let before = snapshots.multi_get_until(&keys, bounds[0].previous()).await;
    assert_eq!(before.unwrap_err().kind(), ErrorKind::NotFound);
}

fn pruned(key: u8, value: &str, bound: BatchId) -> bool {
    key == 3 && (value.len() as i64) < bound.0
}

async fn run(inner: Arc<dyn Store<u8, Versions<String>>>, plans: Vec<Plan>, script: &Script, keep: usize) {
    let options = SnapshotOptions {
        keep,
        prune: Some(Arc::new(|key: &u8, value: &String, bound| {
            pruned(*key, value, bound)
        })),
    };
    let snapshots = Snapshots::new(FaultyStore::over(inner, script), options).unwrap();
    let given: Sums = (0..2).map(|key| (key, format!("<{key}>"))).collect();
    let mut twins = vec![(BatchId(-2), given.clone())];
    again(async || snapshots.begin_with(BatchId(-2), given.clone()).await).await;
    for plan in plans {
        check(&snapshots, &twins, keep).await;
        let (bound, mut sums) = twins.last().unwrap().clone();
        let batches = bound..BatchId(bound.0 + plan.batches);
        if plan.taken_back {
            let some = plan.parts.len() / 2;
            again(async || feed(&snapshots.build(batches.clone()).await?, &plan, some).await).await;
            again(async || snapshots.abandon().await).await;
            check(&snapshots, &twins, keep).await;
        }
        again(async || {
            let build = snapshots.build(batches.clone()).await?;
            if !build.is_closed().await? {
                feed(&build, &plan, plan.parts.len()).await?;
                // Nobody sees what is not published.
                check(&snapshots, &twins, keep).await;
            }
            build.publish().await
        })
        .await;
        let mut parts = plan.parts.clone();
        parts.sort_by_key(|(_, batch, _)| *batch);
        for (key, _, text) in &parts {
            sums.entry(*key).or_default().push_str(text);
        }
        sums.retain(|key, value| !pruned(*key, value, batches.end));
        twins.push((batches.end, sums));
    }
    check(&snapshots, &twins, keep).await;
}

fn script(faults: Vec<Fault>) -> Script {
    Arc::new(Mutex::new(faults.into()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_builds_with_any_faults(plans in plans(), faults in faults(), keep in 1usize..4) {
        runtime().block_on(run(Arc::new(MemoryStore::new()), plans, &script(faults), keep));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn on_disk(plans in plans(), faults in faults()) {
        let folder = tempfile::tempdir().unwrap();
        let bytes = Embedded::open(folder.path()).unwrap().store("sums").unwrap();
        runtime().block_on(run(Arc::new(Typed::new("sums", bytes)), plans, &script(faults), 2));
    }
}

#[test]
fn readers_see_one_bound_while_snapshots_are_published() {
    runtime().block_on(async {
        let options = SnapshotOptions { keep: 1, prune: None };
        let snapshots = Snapshots::<u8, Add>::new(Arc::new(MemoryStore::new()), options).unwrap();
        snapshots.begin_empty(BatchId(0)).await.unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let reader = tokio::spawn({
            let (snapshots, over) = (snapshots.clone(), over.clone());
            async move {
                let mut seen = 0;
                while !over.load(Ordering::Relaxed) {
                    match snapshots.multi_get(&[0, 1, 2, 3]).await {
                        Ok(read) => {
                            let sum = (read.bound.0 > 0).then_some(Add(read.bound.0));
                            assert_eq!(read.values, [sum; 4], "bound={}", read.bound);
                            seen = seen.max(read.bound.0);
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
                    }
                }
                seen
            }
        });
        for bound in 0..2_000 {
            let build = snapshots.build(BatchId(bound)..BatchId(bound + 1)).await.unwrap();
            let writes = (0..4).map(|key| ((key, BatchId(bound)), Some(Add(1)))).collect();
            let commit = Commit {
                writes,
                expected: None,
                progress: Progress::default(),
            };
            build.commit(commit).await.unwrap();
            build.publish().await.unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(reader.await.unwrap() > 0);
    });
}

/// A key's list does not grow with the snapshots there have been.
#[test]
fn old_changes_are_joined() {
    runtime().block_on(async {
        let inner = Arc::new(MemoryStore::new());
        let snapshots = Snapshots::<u8, Add>::new(inner.clone(), SnapshotOptions::default()).unwrap();
        snapshots.begin_empty(BatchId(0)).await.unwrap();
        for start in (0..60).step_by(3) {
            let build = snapshots.build(batches(start..start + 3)).await.unwrap();
            let writes = (start..start + 3).map(|batch| ((7, BatchId(batch)), Some(Add(1))));
            let commit = Commit {
                writes: writes.collect(),
                expected: None,
                progress: Progress::default(),
            };
            build.commit(commit).await.unwrap();
            build.publish().await.unwrap();
            let changes = format!("{:?}", inner.entries()).matches("BatchId").count();
            assert!(changes <= 2 + 3, "changes={changes}");
        }
        assert_eq!(snapshots.multi_get(&[7]).await.unwrap().values, [Some(Add(60))]);
    });
}

async fn fresh() -> Snapshots<u64, Text> {
    let snapshots = Snapshots::new(Arc::new(MemoryStore::new()), SnapshotOptions::default()).unwrap();
    snapshots.begin_empty(BatchId(0)).await.unwrap();
    snapshots
}

fn batches(range: Range<i64>) -> Range<BatchId> {
    BatchId(range.start)..BatchId(range.end)
}

#[test]
fn what_does_not_fit_is_told() {
    runtime().block_on(async {
        let snapshots =
            Snapshots::<u64, Text>::new(Arc::new(MemoryStore::new()), SnapshotOptions::default()).unwrap();
        let told = |error: Error, kind, part: &str| {
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains(part), "{error}");
        };
        let error = snapshots.build(batches(0..1)).await.err().unwrap();
        told(error, ErrorKind::NotFound, "begin with an empty or a given one");

        let snapshots = fresh().await;
        for (range, part) in [
            (1..2, "no holes"),
            (-1..1, "no holes"),
            (0..0, "one batch at least"),
            (0..1_025, "too many batches"),
        ] {
            let error = snapshots.build(batches(range)).await.err().unwrap();
            told(error, ErrorKind::Invalid, part);
        }
        let build = snapshots.build(batches(0..2)).await.unwrap();
        let error = snapshots.build(batches(0..3)).await.err().unwrap();
        told(error, ErrorKind::Invalid, "build=0..2");
        let error = build.multi_get(&[(7, BatchId(2))]).await.unwrap_err();
        told(error.into(), ErrorKind::Invalid, "a batch that is not built");

        build.publish().await.unwrap();
        build.publish().await.unwrap();
        let again = snapshots.build(batches(0..2)).await.unwrap();
        assert!(again.is_closed().await.unwrap());
        let writes = vec![((7, BatchId(1)), Some(Text(string("late"))))];
        let commit = Commit {
            writes,
            expected: None,
            progress: Progress::default(),
        };
        let error = again.commit(commit).await.unwrap_err();
        told(error.into(), ErrorKind::Invalid, "the snapshot is published");

        let build = snapshots.build(batches(2..3)).await.unwrap();
        snapshots.abandon().await.unwrap();
        snapshots.abandon().await.unwrap();
        let error = build.progress().await.unwrap_err();
        told(error.into(), ErrorKind::Conflict, "taken back");
    });
}

/// From the moment on that the job is done, nothing is added, also when publishing was broken off.
#[test]
fn a_closed_build_takes_no_more() {
    runtime().block_on(async {
        // First snapshot (two), begin, close, publish.
        let mut faults = vec![Fault::None; 4];
        faults.push(Fault::Crash { applied: false });
        let inner = FaultyStore::over(Arc::new(MemoryStore::new()), &script(faults));
        let snapshots = Snapshots::<u8, Add>::new(inner, SnapshotOptions::default()).unwrap();
        snapshots.begin_empty(BatchId(0)).await.unwrap();
        let build = snapshots.build(batches(0..1)).await.unwrap();
        assert!(!build.is_closed().await.unwrap());
        assert_eq!(build.publish().await.unwrap_err().kind(), ErrorKind::Corrupt);
        let build = snapshots.build(batches(0..1)).await.unwrap();
        assert!(build.is_closed().await.unwrap());
        let commit = Commit {
            writes: vec![((7, BatchId(0)), Some(Add(1)))],
            expected: None,
            progress: Progress::default(),
        };
        assert_eq!(
            build.commit(commit).await.unwrap_err().kind(),
            store::ErrorKind::Invalid
        );
        assert_eq!(snapshots.bounds().await.unwrap(), [BatchId(0)]);
        build.publish().await.unwrap();
        assert_eq!(snapshots.bounds().await.unwrap(), [BatchId(0), BatchId(1)]);
    });
}

/// A store by key and batch as one of `u64 → V`: three batches a key.
struct Numbered<V>(Arc<dyn Store<(u64, BatchId), V>>);

fn numbered(n: u64) -> (u64, BatchId) {
    (n / 3, BatchId((n % 3) as i64))
}

#[async_trait]
impl<V: flow::Value> Store<u64, V> for Numbered<V> {
    async fn multi_get(&self, keys: &[u64]) -> store::Result<Vec<Option<V>>> {
        let keys: Vec<_> = keys.iter().map(|n| numbered(*n)).collect();
        self.0.multi_get(&keys).await
    }
    async fn commit(&self, commit: Commit<u64, V>) -> store::Result<()> {
        let writes = commit
            .writes
            .into_iter()
            .map(|(n, value)| (numbered(n), value))
            .collect();
        let (expected, progress) = (commit.expected, commit.progress);
        let commit = Commit {
            writes,
            expected,
            progress,
        };
        self.0.commit(commit).await
    }
    async fn progress(&self) -> store::Result<Option<Progress>> {
        self.0.progress().await
    }
    async fn scan(&self, after: Option<&u64>, limit: usize) -> store::Result<Vec<(u64, V)>> {
        let pairs = self.0.scan(after.map(|n| numbered(*n)).as_ref(), limit).await?;
        let number = |((key, batch), value): ((u64, BatchId), V)| (key * 3 + batch.0 as u64, value);
        Ok(pairs.into_iter().map(number).collect())
    }
}

async fn building() -> Build<u64, String> {
    let snapshots = Snapshots::new(Arc::new(MemoryStore::new()), SnapshotOptions::default()).unwrap();
    snapshots.begin_empty(BatchId(0)).await.unwrap();
    snapshots.build(batches(0..3)).await.unwrap()
}

#[test]
fn a_live_store_is_a_store() {
    runtime().block_on(async {
        let live = async || Arc::new(Live::new(Arc::new(MemoryStore::new()), BatchId(0)));
        store::laws::check::<u64, String, _>(async || Arc::new(Numbered(live().await))).await;
    });
}

#[test]
fn a_build_is_a_store() {
    runtime().block_on(async {
        store::laws::check::<u64, String, _>(async || Arc::new(Numbered(Arc::new(building().await)))).await;
        store::laws::check::<u64, String, _>(async || Arc::new(building().await.totals())).await;
    });
}
