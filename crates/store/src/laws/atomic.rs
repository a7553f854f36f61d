//! Laws about progress, the fence, and who sees what in a race.

use std::sync::Arc;

use super::{Sample, at, get, is_conflict, progress, step, values};
use crate::{Commit, Progress, Store};

pub(super) async fn fenced<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn progress_alone<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn one_of_two_writers<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(
    store: Arc<S>,
) {
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

pub(super) async fn all_or_nothing<K: Sample, V: Sample, S: Store<K, V> + ?Sized + 'static>(store: Arc<S>) {
    const COMMITS: u64 = 200;
    let keys: Vec<u64> = (0..64).collect();
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
        let held = progress(&*store).await.map_or(0, |held| held.of("0"));
        let seen = get(&*store, &keys).await;
        let of_a_later = (held..=COMMITS).any(|n| seen[0] == (n > 0).then(|| V::sample(n)));
        assert!(
            of_a_later,
            "all or nothing: values from before the progress held={held} seen={seen:?}"
        );
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
