//! Laws about what is read after commits, one after another.

use super::{Chance, Sample, at, get, is_conflict, progress, step, values};
use crate::{Commit, Store};

pub(super) async fn empty<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn read_your_commit<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn order_of_multi_get<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn last_write_wins<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn removal<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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

pub(super) async fn scan<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
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
pub(super) async fn like_its_twin<K: Sample, V: Sample>(store: &(impl Store<K, V> + ?Sized)) {
    const KEYS: u64 = 24;
    let mut twin: [Option<u64>; KEYS as usize] = [None; KEYS as usize];
    let (mut held, mut chance) = (0, Chance::new());
    let mut below = |end| chance.below(end);
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
