//! The laws of [`Store`] as a suite that each backend runs:
//!
//! ```
//! # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! store::laws::check::<u64, String, _>(async || Arc::new(store::MemoryStore::new())).await;
//! # });
//! ```
//!
//! What it cannot check in one process, survival of a crash, each durable backend tests by itself.

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Commit, ErrorKind, Progress, Result, Store};

/// A type of keys or values that the suite can make.
pub trait Sample: Clone + Debug + PartialEq + Send + Sync + 'static {
    /// The `n`-th value; different numbers give different values.
    fn sample(n: u64) -> Self;
}

impl Sample for u64 {
    fn sample(n: u64) -> Self {
        n
    }
}

impl Sample for i64 {
    fn sample(n: u64) -> Self {
        -(n as i64)
    }
}

impl Sample for String {
    fn sample(n: u64) -> Self {
        format!("\"n\"/ä {n}")
    }
}

/// The number's bytes without leading zeros, so that 0 is the empty key and value.
impl Sample for Bytes {
    fn sample(n: u64) -> Self {
        n.to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect()
    }
}

/// Checks every law on stores that `make` opens: each call must give a new, empty one.
///
/// # Panics
/// When a law does not hold; the text names it. Run it in a multi-threaded runtime: some laws are about races.
pub async fn check<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(make: impl AsyncFn() -> Arc<S>) {
    empty(&*make().await).await;
    read_your_commit(&*make().await).await;
    order_of_multi_get(&*make().await).await;
    last_write_wins(&*make().await).await;
    removal(&*make().await).await;
    fenced(&*make().await).await;
    progress_alone(&*make().await).await;
    scan(&*make().await).await;
    like_its_twin(&*make().await).await;
    one_of_two_writers(make().await).await;
    all_or_nothing(make().await).await;
}

fn at(offset: u64) -> Progress {
    Progress::from_iter([("0", offset), ("part/1", offset * 2)])
}

/// Writes by number, from progress number `from` (0 is none) to `to`.
fn step<K: Sample, V: Sample>(writes: &[(u64, Option<u64>)], from: u64, to: u64) -> Commit<K, V> {
    let write = |(key, value): &(u64, Option<u64>)| (K::sample(*key), value.map(V::sample));
    let expected = (from > 0).then(|| at(from));
    Commit {
        writes: writes.iter().map(write).collect(),
        expected,
        progress: at(to),
    }
}

async fn get<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized), keys: &[u64]) -> Vec<Option<V>> {
    let keys: Vec<K> = keys.iter().map(|key| K::sample(*key)).collect();
    store.multi_get(&keys).await.expect("multi_get answers")
}

fn values<V: Sample>(values: &[Option<u64>]) -> Vec<Option<V>> {
    values.iter().map(|value| value.map(V::sample)).collect()
}

async fn progress<K, V>(store: &(impl Store<K, V> + ?Sized)) -> Option<Progress> {
    store.progress().await.expect("progress answers")
}

fn is_conflict(result: Result<()>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::Conflict)
}

async fn empty<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    assert_eq!(
        progress(store).await,
        None,
        "empty: there is no progress before the first commit"
    );
    assert_eq!(
        get(store, &[]).await,
        values::<V>(&[]),
        "empty: no keys, no values"
    );
    assert_eq!(
        get(store, &[0, 1]).await,
        values::<V>(&[None, None]),
        "empty: no key has a value"
    );
    assert_eq!(
        store.scan(None, 10).await.expect("scan answers"),
        [],
        "empty: nothing to scan"
    );
    let after = K::sample(1);
    assert_eq!(
        store.scan(Some(&after), 10).await.expect("scan answers"),
        [],
        "empty: nothing to scan after a key"
    );
}

async fn read_your_commit<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    for n in 1..=20 {
        store
            .commit(step(&[(n, Some(n)), (0, Some(n))], n - 1, n))
            .await
            .expect("commit applies");
        assert_eq!(progress(store).await, Some(at(n)), "read your commit: progress");
        assert_eq!(
            get(store, &[n, 0]).await,
            values::<V>(&[Some(n), Some(n)]),
            "read your commit: multi_get"
        );
        let pairs = store.scan(None, usize::MAX).await.expect("scan answers");
        assert_eq!(pairs.len() as u64, n + 1, "read your commit: scan");
        assert!(
            pairs.contains(&(K::sample(0), V::sample(n))),
            "read your commit: scan shows the new value"
        );
    }
}

async fn order_of_multi_get<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    let writes: Vec<_> = (0..1_000).map(|n| (n * 2, Some(n))).collect();
    store.commit(step(&writes, 0, 1)).await.expect("commit applies");
    let keys = [6, 0, 7, 6, 1_998, 1, 0, 6];
    let expected = [Some(3), Some(0), None, Some(3), Some(999), None, Some(0), Some(3)];
    assert_eq!(
        get(store, &keys).await,
        values::<V>(&expected),
        "multi_get: in the order of the keys, also twice"
    );
    let keys: Vec<_> = (0..2_000).rev().collect();
    let expected: Vec<_> = keys.iter().map(|key| (key % 2 == 0).then_some(key / 2)).collect();
    assert_eq!(
        get(store, &keys).await,
        values::<V>(&expected),
        "multi_get: many keys"
    );
}

async fn last_write_wins<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    let writes = [
        (1, Some(1)),
        (2, Some(1)),
        (1, Some(2)),
        (2, None),
        (3, None),
        (1, Some(3)),
        (3, Some(7)),
        (4, Some(1)),
    ];
    let expected = values::<V>(&[Some(3), None, Some(7), Some(1)]);
    store.commit(step(&writes, 0, 1)).await.expect("commit applies");
    assert_eq!(
        get(store, &[1, 2, 3, 4]).await,
        expected,
        "last write wins: in a new store"
    );
    store.commit(step(&writes, 1, 2)).await.expect("commit applies");
    assert_eq!(
        get(store, &[1, 2, 3, 4]).await,
        expected,
        "last write wins: over older values"
    );
    assert_eq!(
        store.scan(None, 10).await.expect("scan answers").len(),
        3,
        "last write wins: a key is there once"
    );
}

async fn removal<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    store
        .commit(step(&[(1, Some(1)), (2, Some(2))], 0, 1))
        .await
        .expect("commit applies");
    store
        .commit(step(&[(1, None), (9, None)], 1, 2))
        .await
        .expect("commit applies, also with an absent key");
    assert_eq!(
        get(store, &[1, 2, 9]).await,
        values::<V>(&[None, Some(2), None]),
        "removal: no value any more"
    );
    let pairs = store.scan(None, 10).await.expect("scan answers");
    assert_eq!(
        pairs,
        [(K::sample(2), V::sample(2))],
        "removal: not scanned any more"
    );
    store
        .commit(step(&[(1, Some(3))], 2, 3))
        .await
        .expect("commit applies");
    assert_eq!(
        get(store, &[1]).await,
        values::<V>(&[Some(3)]),
        "removal: the key can be written again"
    );
}

async fn fenced<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    assert!(
        is_conflict(store.commit(step(&[(1, Some(9))], 1, 2)).await),
        "fenced: some expected, none held"
    );
    assert_eq!(progress(store).await, None, "fenced: a conflict changes nothing");

    store
        .commit(step(&[(1, Some(1))], 0, 1))
        .await
        .expect("the first commit applies");
    store
        .commit(step(&[(1, Some(9))], 0, 1))
        .await
        .expect("fenced: a retry of the first commit is fine");
    assert_eq!(
        get(store, &[1]).await,
        values::<V>(&[Some(1)]),
        "fenced: a retry changes nothing"
    );

    store
        .commit(step(&[(1, Some(2))], 1, 2))
        .await
        .expect("the second commit applies");
    store
        .commit(step(&[(1, Some(9)), (3, Some(9))], 1, 2))
        .await
        .expect("fenced: a retry is fine");
    for (from, to, why) in [
        (0, 3, "none"),
        (1, 3, "less than held"),
        (5, 6, "more than held"),
        (0, 1, "an old retry"),
    ] {
        let writes = [(1, Some(9)), (2, Some(9)), (3, Some(9))];
        assert!(
            is_conflict(store.commit(step(&writes, from, to)).await),
            "fenced: a conflict expects {why}"
        );
    }
    assert_eq!(
        progress(store).await,
        Some(at(2)),
        "fenced: a conflict leaves the progress"
    );
    assert_eq!(
        get(store, &[1, 2, 3]).await,
        values::<V>(&[Some(2), None, None]),
        "fenced: … and the values"
    );

    store
        .commit(step(&[(1, Some(3))], 2, 2))
        .await
        .expect("a commit that leaves the progress applies");
    assert_eq!(
        get(store, &[1]).await,
        values::<V>(&[Some(3)]),
        "fenced: expected is held, so it applies"
    );
}

async fn progress_alone<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    let none = Commit {
        writes: vec![],
        expected: None,
        progress: Progress::default(),
    };
    store
        .commit(none)
        .await
        .expect("a commit of the empty progress applies");
    assert_eq!(
        progress(store).await,
        Some(Progress::default()),
        "progress: the empty one is not none"
    );
    let next = Commit {
        writes: vec![],
        expected: Some(Progress::default()),
        progress: at(1),
    };
    store.commit(next).await.expect("a commit without writes applies");
    assert_eq!(
        progress(store).await,
        Some(at(1)),
        "progress: moves without writes"
    );
    assert_eq!(
        store.scan(None, 10).await.expect("scan answers"),
        [],
        "progress: is not among the pairs"
    );
}

async fn scan<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    let writes: Vec<_> = (0..120).map(|n| (n, Some(n + 1))).collect();
    store.commit(step(&writes, 0, 1)).await.expect("commit applies");
    let all = store.scan(None, usize::MAX).await.expect("scan answers");
    assert_eq!(all.len(), 120, "scan: every key once");
    for n in 0..120 {
        assert!(
            all.contains(&(K::sample(n), V::sample(n + 1))),
            "scan: every pair"
        );
    }
    for (place, (key, _)) in all.iter().enumerate() {
        for limit in [0, 1, 7, usize::MAX] {
            let end = all.len().min((place + 1).saturating_add(limit));
            let page = store.scan(Some(key), limit).await.expect("scan answers");
            assert_eq!(
                page,
                all[place + 1..end],
                "scan: up to limit={limit} after the key"
            );
        }
    }
    for limit in [0, 1, 119, 120, 121] {
        let page = store.scan(None, limit).await.expect("scan answers");
        assert_eq!(
            page,
            all[..limit.min(120)],
            "scan: up to limit={limit} from the start"
        );
    }
    let (gone, place) = (all[100].0.clone(), 101);
    let remove = Commit {
        writes: vec![(gone.clone(), None)],
        expected: Some(at(1)),
        progress: at(2),
    };
    store.commit(remove).await.expect("commit applies");
    let page = store.scan(Some(&gone), 5).await.expect("scan answers");
    assert_eq!(page, all[place..place + 5], "scan: after a key that is not there");
}

/// Pseudo-random commits, also wrong ones, give what a list of pairs gives.
async fn like_its_twin<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    const KEYS: u64 = 24;
    let mut twin: [Option<u64>; KEYS as usize] = [None; KEYS as usize];
    let (mut held, mut state) = (0, 0x2545_F491_4F6C_DD1D_u64);
    // Xorshift (Marsaglia, 2003): chance without a dependency, the same at each run.
    let mut below = |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) % end
    };
    for _ in 0..200 {
        let write = |below: &mut dyn FnMut(u64) -> u64| (below(KEYS), (below(3) > 0).then(|| below(1_000)));
        let writes: Vec<_> = (0..below(12)).map(|_| write(&mut below)).collect();
        let from = if below(4) == 0 { below(held + 2) } else { held };
        let to = from + 1;
        let answer = store.commit(step(&writes, from, to)).await;
        if from == held {
            answer.expect("twin: commit applies");
            writes
                .iter()
                .for_each(|(key, value)| twin[*key as usize] = *value);
            held = to;
        } else if to == held {
            answer.expect("twin: a retry is fine");
        } else {
            assert!(is_conflict(answer), "twin: a conflict");
        }
        let keys: Vec<_> = (0..KEYS).collect();
        assert_eq!(get(store, &keys).await, values::<V>(&twin), "twin: values");
        assert_eq!(
            progress(store).await,
            (held > 0).then(|| at(held)),
            "twin: progress"
        );
        let scanned = store.scan(None, usize::MAX).await.expect("scan answers").len();
        assert_eq!(scanned, twin.iter().flatten().count(), "twin: scan");
    }
}

async fn one_of_two_writers<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(store: Arc<S>) {
    for n in 0..50 {
        // From n, one goes to 2n+1 and the other to 2n+2: neither is a retry of the other.
        let run = |mine: u64| {
            let store = store.clone();
            let expected = if n == 0 {
                None
            } else {
                Some(Progress::from_iter([("0", n)]))
            };
            let writes = vec![
                (K::sample(1), Some(V::sample(mine))),
                (K::sample(2), Some(V::sample(mine))),
            ];
            let progress = Progress::from_iter([("0", n + 1), ("writer", mine)]);
            tokio::spawn(async move {
                store
                    .commit(Commit {
                        writes,
                        expected,
                        progress,
                    })
                    .await
            })
        };
        let (one, two) = (run(1), run(2));
        let (one, two) = (one.await.expect("no panic"), two.await.expect("no panic"));
        let won = if one.is_ok() { 1 } else { 2 };
        assert!(
            one.is_ok() != two.is_ok(),
            "fenced: of two writers one wins one={one:?} two={two:?}"
        );
        assert!(
            is_conflict(if won == 1 { two } else { one }),
            "fenced: the other has a conflict"
        );
        assert_eq!(
            get(&*store, &[1, 2]).await,
            values::<V>(&[Some(won), Some(won)]),
            "fenced: the winner's values"
        );
        let held = progress(&*store).await;
        let next = Commit {
            writes: vec![],
            expected: held,
            progress: Progress::from_iter([("0", n + 1)]),
        };
        store.commit(next).await.expect("commit applies");
    }
}

async fn all_or_nothing<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(store: Arc<S>) {
    const COMMITS: u64 = 200;
    let keys: Vec<u64> = (0..16).collect();
    let writer = tokio::spawn({
        let (store, keys) = (store.clone(), keys.clone());
        async move {
            for n in 1..=COMMITS {
                let writes: Vec<_> = keys.iter().map(|key| (*key, Some(n))).collect();
                store
                    .commit(step(&writes, n - 1, n))
                    .await
                    .expect("commit applies");
            }
        }
    });
    let last = V::sample(COMMITS);
    loop {
        let seen = get(&*store, &keys).await;
        assert!(
            seen.iter().all(|value| *value == seen[0]),
            "all or nothing: multi_get saw seen={seen:?}"
        );
        let pairs = store.scan(None, usize::MAX).await.expect("scan answers");
        let whole =
            pairs.is_empty() || pairs.len() == keys.len() && pairs.iter().all(|pair| pair.1 == pairs[0].1);
        assert!(whole, "all or nothing: scan saw pairs={pairs:?}");
        if seen[0].as_ref() == Some(&last) || writer.is_finished() {
            break;
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("the writer does not panic");
    assert_eq!(
        progress(&*store).await,
        Some(at(COMMITS)),
        "all or nothing: progress"
    );
}
