//! The law of [`Store::add`]: it is the commit of each value ⊕ its deltas.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use algebra::Semigroup;

use super::{Chance, Sample, at, get, is_conflict, progress};
use crate::{Addition, Deltas, Store};

/// Checks the laws of [`Store::add`] on stores that `make` opens: each call must give a new, empty one. For a backend
/// that has an `add` of its own, and for a store over another one.
///
/// # Panics
/// When a law does not hold; the text names it. Run it in a multi-threaded runtime.
pub async fn adding<K, V, S>(make: impl AsyncFn() -> Arc<S>)
where
    K: Sample + Hash + Eq + Ord,
    V: Sample + Semigroup + Debug,
    S: Store<K, V> + ?Sized + 'static,
{
    like_its_twin::<K, V>(&*make().await).await;
    large::<K, V>(&*make().await).await;
}

/// An addition of numbers, gathered in parts, from progress number `from` (0 is none) to `to`.
fn addition<K: Sample + Hash + Eq, V: Sample + Semigroup>(
    parts: &[Vec<(u64, u64)>],
    from: u64,
    to: u64,
) -> Addition<K, V> {
    let mut deltas = Deltas::default();
    for part in parts {
        let mut gathered = Deltas::default();
        part.iter()
            .for_each(|(key, delta)| gathered.add(K::sample(*key), V::sample(*delta)));
        deltas.append(gathered);
    }
    Addition {
        deltas,
        expected: (from > 0).then(|| at(from)),
        progress: at(to),
    }
}

fn add<V: Sample + Semigroup>(twin: &mut BTreeMap<u64, V>, parts: &[Vec<(u64, u64)>]) {
    for (key, delta) in parts.iter().flatten() {
        match twin.get_mut(key) {
            Some(value) => value.plus(V::sample(*delta)),
            None => drop(twin.insert(*key, V::sample(*delta))),
        }
    }
}

async fn like_its_twin<K, V>(store: &(impl Store<K, V> + ?Sized))
where
    K: Sample + Hash + Eq,
    V: Sample + Semigroup,
{
    const KEYS: u64 = 12;
    let (mut twin, mut held, mut chance) = (BTreeMap::<u64, V>::new(), 0, Chance::new());
    for _ in 0..100 {
        let part = |chance: &mut Chance| {
            (0..chance.below(6))
                .map(|_| (chance.below(KEYS), chance.below(9)))
                .collect()
        };
        let parts: Vec<Vec<_>> = (0..chance.below(3)).map(|_| part(&mut chance)).collect();
        let from = if chance.below(4) == 0 {
            chance.below(held + 2)
        } else {
            held
        };
        let to = from + 1;
        let answer = store.add(addition(&parts, from, to)).await;
        if from == held {
            answer.expect("adding: it applies");
            add(&mut twin, &parts);
            held = to;
        } else if to == held {
            answer.expect("adding: a retry is fine, and changes nothing");
        } else {
            assert!(is_conflict(answer), "adding: fenced, a conflict");
        }
        let keys: Vec<_> = (0..KEYS).collect();
        let values: Vec<_> = keys.iter().map(|key| twin.get(key).cloned()).collect();
        assert_eq!(
            get(store, &keys).await,
            values,
            "adding: values, in the order of the deltas"
        );
        assert_eq!(
            progress(store).await,
            (held > 0).then(|| at(held)),
            "adding: progress"
        );
        let scanned = store.scan(None, usize::MAX).await.expect("scan answers");
        assert_eq!(scanned.len(), twin.len(), "adding: scan");
    }
}

async fn large<K, V>(store: &(impl Store<K, V> + ?Sized))
where
    K: Sample + Hash + Eq + Ord,
    V: Sample + Semigroup,
{
    const KEYS: u64 = 20_000;
    let mut twin = BTreeMap::<u64, V>::new();
    for n in 0..2 {
        let part = |seed: u64| {
            (0..30_000)
                .map(|i| ((i * 7_919 + seed * 31) % KEYS, i % 5))
                .collect()
        };
        let parts: Vec<Vec<_>> = (0..3).map(|seed| part(seed + n)).collect();
        store
            .add(addition(&parts, n, n + 1))
            .await
            .expect("adding: it applies");
        add(&mut twin, &parts);
    }
    let mut pairs: Vec<_> = twin
        .into_iter()
        .map(|(key, value)| (K::sample(key), value))
        .collect();
    pairs.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
    let mut scanned = store.scan(None, usize::MAX).await.expect("scan answers");
    scanned.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
    assert!(scanned == pairs, "adding: large additions give the sums");
}
