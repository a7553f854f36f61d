//! The client's read beside a sum of events in plain collections: batch ⊕ live, gaps, and old batches dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use flow::{BatchId, ClientStore, ErrorKind, Live, SnapshotOptions, Snapshots};
use proptest::prelude::*;
use store::{Addition, Commit, Deltas, MemoryStore, Progress, Store};

use crate::faulty::{FaultyStore, faults};
use crate::kit::{Add, Fault, runtime};

/// Key, batch and text; in the order of arrival.
type Event = (u8, i64, String);

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0u8..4, 0i64..10, "[a-z]"), 0..40)
}

/// Adds all events after the store's progress, a few in each commit or addition, whatever fails.
async fn sum(store: &dyn Store<(u8, BatchId), String>, events: &[Event]) {
    loop {
        let expected = store.progress().await.unwrap();
        let from = expected.as_ref().map_or(0, |at| at.of("0")) as usize;
        let Some(rest) = events.get(from..).filter(|rest| !rest.is_empty()) else {
            return;
        };
        let progress = Progress::from_iter([("0", (from + rest.len().min(3)) as u64)]);
        if from.is_multiple_of(2) {
            let mut deltas = Deltas::default();
            for (key, batch, text) in &rest[..rest.len().min(3)] {
                deltas.add((*key, BatchId(*batch)), text.clone());
            }
            let addition = Addition {
                deltas,
                expected,
                progress,
            };
            if let Err(error) = store.add(addition).await {
                assert_ne!(error.kind(), store::ErrorKind::Conflict, "{error}");
            }
            continue;
        }
        let mut sums = BTreeMap::new();
        for (key, batch, text) in &rest[..rest.len().min(3)] {
            sums.entry((*key, BatchId(*batch)))
                .or_insert_with(String::new)
                .push_str(text);
        }
        let keys: Vec<_> = sums.keys().copied().collect();
        let befores = store.multi_get(&keys).await.unwrap();
        let after = |(before, (key, delta)): (Option<String>, (_, String))| {
            (key, Some(before.unwrap_or_default() + &delta))
        };
        let commit = Commit {
            writes: befores.into_iter().zip(sums).map(after).collect(),
            expected,
            progress,
        };
        if let Err(error) = store.commit(commit).await {
            assert_ne!(error.kind(), store::ErrorKind::Conflict, "{error}");
        }
    }
}

async fn publish(snapshots: &Snapshots<u8, String>, events: &[Event], end: i64) {
    let start = *snapshots.bounds().await.unwrap().last().unwrap();
    let build = snapshots.build(start..BatchId(end)).await.unwrap();
    let of_build = |(_, batch, _): &&Event| build.batches().contains(&BatchId(*batch));
    let events: Vec<_> = events.iter().filter(of_build).cloned().collect();
    sum(&build, &events).await;
    build.publish().await.unwrap();
}

#[derive(Clone, Debug)]
struct Case {
    events: Vec<Event>,
    /// The ends of snapshots, rising.
    cuts: Vec<i64>,
    dropped: Option<i64>,
    since: i64,
    live_batches_max: usize,
    faults: Vec<Fault>,
}

fn cases() -> impl Strategy<Value = Case> {
    let cuts = prop::collection::btree_set(1i64..11, 0..4);
    (
        events(),
        cuts,
        prop::option::of(0i64..11),
        -1i64..4,
        1usize..14,
        faults(),
    )
        .prop_map(|(events, cuts, dropped, since, live_batches_max, faults)| Case {
            events,
            cuts: cuts.into_iter().collect(),
            dropped,
            since,
            live_batches_max,
            faults,
        })
}

async fn check(case: Case) {
    let options = SnapshotOptions { keep: 2, prune: None };
    let snapshots = Snapshots::new(Arc::new(MemoryStore::new()), options).unwrap();
    snapshots.begin_empty(BatchId(0)).await.unwrap();
    let inner = Arc::new(MemoryStore::new());
    let faulty = FaultyStore::over(inner.clone(), &Arc::new(Mutex::new(case.faults.into())));
    let live = Live::new(faulty, BatchId(case.since));
    let client =
        ClientStore::new(snapshots.clone(), live.clone()).with_live_batches_max(case.live_batches_max);
    let half = case.events.len() / 2;
    sum(&live, &case.events[..half]).await;
    for cut in &case.cuts {
        publish(&snapshots, &case.events, *cut).await;
    }
    let mut whole = true;
    if let Some(dropped) = case.dropped {
        // A drop that was broken off is as good as a whole one, but for the space.
        whole = live.drop_before(BatchId(dropped)).await.is_ok();
        while live.floor().await.unwrap() < BatchId(dropped) {
            whole = live.drop_before(BatchId(dropped)).await.is_ok();
        }
    }
    sum(&live, &case.events).await;

    let floor = case.since.max(case.dropped.unwrap_or(i64::MIN));
    assert_eq!(live.floor().await.unwrap(), BatchId(floor));
    assert!(
        !whole || inner.entries().iter().all(|((_, batch), _)| batch.0 >= floor),
        "dropped batches are gone"
    );
    let bounds: Vec<_> = [0].into_iter().chain(case.cuts.iter().copied()).collect();
    let kept = &bounds[bounds.len().saturating_sub(2)..];
    for now in -2..12 {
        let answer = client.multi_get(&[0, 1, 2, 3, 4], BatchId(now)).await;
        let Some(bound) = kept.iter().rev().copied().find(|bound| *bound <= now + 1) else {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::NotFound);
            continue;
        };
        let answer = answer.unwrap();
        let first = bound
            .max(floor)
            .max(now + 1 - case.live_batches_max as i64)
            .min(now + 1);
        let covered = |batch: i64| batch < bound || (first..=now).contains(&batch);
        let mut events: Vec<_> = case
            .events
            .iter()
            .filter(|(_, batch, _)| covered(*batch))
            .collect();
        events.sort_by_key(|(_, batch, _)| *batch);
        let text = |key: u8| {
            let of_key = events.iter().filter(|(k, ..)| *k == key);
            of_key.map(|(.., text)| text.clone()).reduce(|a, b| a + &b)
        };
        assert_eq!(answer.values, (0..5).map(text).collect::<Vec<_>>(), "now={now}");
        let coverage = answer.coverage;
        assert_eq!(coverage.bound, BatchId(bound));
        assert_eq!(coverage.live, BatchId(first)..BatchId(now + 1));
        let missing: Vec<_> = (bound < first)
            .then_some(BatchId(bound)..BatchId(first))
            .into_iter()
            .collect();
        assert_eq!(
            (coverage.is_complete(), coverage.missing),
            (missing.is_empty(), missing)
        );
        let newest = kept.last().copied().unwrap().max(now + 1);
        assert_eq!(coverage.ahead, BatchId(now + 1)..BatchId(newest));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn any_answer_is_what_it_says_it_covers(case in cases()) {
        runtime().block_on(check(case));
    }
}

/// Snapshots are published and live batches dropped while somebody reads: never a gap, never a batch twice.
#[test]
fn no_gap_while_live_batches_are_dropped() {
    runtime().block_on(async {
        let options = SnapshotOptions { keep: 1, prune: None };
        let snapshots = Snapshots::<u8, Add>::new(Arc::new(MemoryStore::new()), options).unwrap();
        snapshots.begin_empty(BatchId(0)).await.unwrap();
        let live = Live::new(Arc::new(MemoryStore::new()), BatchId(0));
        let add = async |store: &dyn Store<(u8, BatchId), Add>, batch: i64| {
            let expected = store.progress().await.unwrap();
            let next = expected.as_ref().map_or(0, |at| at.of("0")) + 1;
            let commit = Commit {
                writes: vec![((7, BatchId(batch)), Some(Add(1)))],
                expected,
                progress: Progress::from_iter([("0", next)]),
            };
            store.commit(commit).await.unwrap();
        };
        const BATCHES: i64 = 1_000;
        for batch in 0..BATCHES {
            add(&live, batch).await;
        }
        let client =
            ClientStore::new(snapshots.clone(), live.clone()).with_live_batches_max(BATCHES as usize);
        let reader = tokio::spawn({
            let client = client.clone();
            async move {
                loop {
                    match client.get(&7, BatchId(BATCHES - 1)).await {
                        Ok((value, coverage)) => {
                            assert!(coverage.is_complete(), "{coverage:?}");
                            assert_eq!(value, Some(Add(BATCHES)), "{coverage:?}");
                            if coverage.bound.0 == BATCHES {
                                return;
                            }
                        }
                        Err(error) => assert_eq!(error.kind(), ErrorKind::Retry),
                    }
                }
            }
        });
        for batch in (0..BATCHES).step_by(10) {
            let build = snapshots
                .build(BatchId(batch)..BatchId(batch + 10))
                .await
                .unwrap();
            for batch in batch..batch + 10 {
                add(&build, batch).await;
            }
            build.publish().await.unwrap();
            client.drop_covered().await.unwrap();
        }
        reader.await.unwrap();
        assert_eq!(live.scan(None, 1).await.unwrap(), []);
        assert_eq!(live.late().await.unwrap(), 0);
        live.cover(BatchId(BATCHES + 2)).await.unwrap();
        add(&live, BATCHES + 1).await;
        assert_eq!(live.late().await.unwrap(), 1, "covered, and not dropped yet");
        assert_eq!(
            live.scan(None, 2).await.unwrap(),
            [((7, BatchId(BATCHES + 1)), Add(1))]
        );
        add(&live, 0).await;
        assert_eq!(live.late().await.unwrap(), 2);
        assert_eq!(live.scan(None, 2).await.unwrap().len(), 1, "dropped");
        let many: Vec<u8> = vec![0; 1 << 20];
        let error = client.multi_get(&many, BatchId(BATCHES + 1)).await.unwrap_err();
        assert!(error.to_string().contains("ask for fewer keys"), "{error}");
        assert_eq!(client.get(&8, BatchId(BATCHES)).await.unwrap().0, None);
    });
}

/// The floor rises while a job commits: the job does not notice.
#[test]
fn a_job_goes_on_while_live_batches_are_dropped() {
    runtime().block_on(async {
        let live = Live::<u8, Add>::new(Arc::new(MemoryStore::new()), BatchId(0));
        let job = tokio::spawn({
            let live = live.clone();
            async move {
                let mut expected = None;
                for n in 1..2_000 {
                    let progress = Progress::from_iter([("0", n)]);
                    let before = live.multi_get(&[(0, BatchId(9_999))]).await.unwrap()[0].unwrap_or_default();
                    let commit = Commit {
                        writes: vec![((0, BatchId(9_999)), Some(Add(before.0 + 1)))],
                        expected,
                        progress: progress.clone(),
                    };
                    while let Err(error) = live.commit(commit.clone()).await {
                        assert_eq!(error.kind(), store::ErrorKind::Retry, "{error}");
                    }
                    expected = Some(progress);
                }
            }
        });
        let mut bound = 0;
        while !job.is_finished() {
            bound += 1;
            match live.drop_before(BatchId(bound.min(9_999))).await {
                Ok(()) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
            }
        }
        job.await.unwrap();
        assert_eq!(
            live.multi_get(&[(0, BatchId(9_999))]).await.unwrap(),
            [Some(Add(1_999))]
        );
        assert_eq!(live.late().await.unwrap(), 0);
        let held = live.progress().await.unwrap();
        let late = Commit {
            writes: vec![((0, BatchId(0)), Some(Add(1)))],
            expected: held.clone(),
            progress: Progress::from_iter([("0", 2_000)]),
        };
        live.commit(late.clone()).await.unwrap();
        live.commit(late).await.unwrap();
        assert_eq!(live.late().await.unwrap(), 1, "a retry counts once");
        let foreign = Commit {
            writes: vec![],
            expected: None,
            progress: Progress::from_iter([("0", 7)]),
        };
        let error = live.commit(foreign).await.unwrap_err();
        assert_eq!(error.kind(), store::ErrorKind::Conflict);
    });
}
