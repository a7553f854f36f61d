//! Laws of [`Mergeable`].

use std::sync::Arc;

use algebra::Semigroup;

use super::{Chance, Sample, read};
use crate::{Mergeable, Readable};

/// Merges by number; the values before.
pub(super) async fn merge<K: Sample, V: Sample>(
    store: &(impl Mergeable<K, V> + ?Sized),
    deltas: &[(u64, u64)],
) -> Vec<Option<V>> {
    let delta = |(key, delta): &(u64, u64)| (K::sample(*key), V::sample(*delta));
    let answers = store.merge_each(deltas.iter().map(delta).collect()).await;
    assert_eq!(answers.len(), deltas.len(), "mergeable: an answer for each delta");
    answers
        .into_iter()
        .map(|answer| answer.expect("merge_each answers"))
        .collect()
}

/// `value ⊕ delta`.
pub(super) fn after<V: Semigroup>(value: Option<V>, delta: V) -> Option<V> {
    Some(match value {
        None => delta,
        Some(mut value) => {
            value.plus(delta);
            value
        }
    })
}

/// Checks the laws of [`Mergeable`], read back, on stores that `make` opens: each call must give a new, empty one.
/// `V`'s samples from 1 on must have partial sums that all differ, as those of `u64`, `i64` and `String` do.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().build().unwrap().block_on(async {
/// use std::sync::Arc;
/// store::laws::mergeable::<String, u64, _>(async || Arc::new(store::MemoryStore::new())).await;
/// # });
/// ```
///
/// # Panics
/// When a law does not hold; the text names it. Run it in a multi-threaded runtime: one law is about races.
pub async fn mergeable<K: Sample, V: Sample + Semigroup, S>(make: impl AsyncFn() -> Arc<S>)
where
    S: Readable<K, V> + Mergeable<K, V> + ?Sized + 'static,
{
    befores::<K, V>(&*make().await).await;
    like_its_twin::<K, V>(&*make().await).await;
    chains::<K, V, S>(make().await).await;
}

async fn befores<K: Sample, V: Sample + Semigroup>(store: &(impl Readable<K, V> + Mergeable<K, V> + ?Sized)) {
    let sum = |deltas: &[u64]| V::sum(deltas.iter().map(|delta| V::sample(*delta)));
    assert_eq!(
        merge::<K, V>(store, &[]).await,
        [],
        "mergeable: no deltas, no answers"
    );
    assert_eq!(
        merge(store, &[(1, 1)]).await,
        [sum(&[])],
        "mergeable: nothing before the first"
    );
    assert_eq!(
        merge(store, &[(1, 2)]).await,
        [sum(&[1])],
        "mergeable: the value before"
    );
    let before = merge(store, &[(2, 5), (1, 3), (2, 6), (3, 9), (2, 7)]).await;
    let expected = [sum(&[]), sum(&[1, 2]), sum(&[5]), sum(&[]), sum(&[5, 6])];
    assert_eq!(
        before, expected,
        "mergeable: of a key that comes again in a call, also when it was absent"
    );
    let held = read(store, &[3, 2, 1, 0]).await;
    let expected = [sum(&[9]), sum(&[5, 6, 7]), sum(&[1, 2, 3]), sum(&[])];
    assert_eq!(
        held, expected,
        "mergeable: read your merges, summed in their order"
    );
}

async fn like_its_twin<K: Sample, V: Sample + Semigroup>(
    store: &(impl Readable<K, V> + Mergeable<K, V> + ?Sized),
) {
    const KEYS: u64 = 12;
    let mut twin: Vec<Option<V>> = vec![None; KEYS as usize];
    let mut chance = Chance::new();
    for _ in 0..100 {
        let deltas: Vec<_> = (0..chance.below(10))
            .map(|_| (chance.below(KEYS), 1 + chance.below(100)))
            .collect();
        let mut expected = Vec::new();
        for (key, delta) in &deltas {
            let value = &mut twin[*key as usize];
            expected.push(value.clone());
            *value = after(value.take(), V::sample(*delta));
        }
        assert_eq!(
            merge(store, &deltas).await,
            expected,
            "mergeable: like its twin, before"
        );
        let keys: Vec<_> = (0..KEYS).collect();
        assert_eq!(read(store, &keys).await, twin, "mergeable: like its twin, after");
    }
}

/// Many tasks merge the same keys: the befores and deltas of each key form one chain from nothing to the last value,
/// so none is lost, none counts twice, and each before is true.
async fn chains<K: Sample, V: Sample + Semigroup, S>(store: Arc<S>)
where
    S: Readable<K, V> + Mergeable<K, V> + ?Sized + 'static,
{
    const TASKS: u64 = 8;
    const CALLS: u64 = 25;
    let run = |task: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut merged: Vec<(u64, Option<V>, V)> = Vec::new();
            for call in 0..CALLS {
                // All share key 0; each call has one key twice.
                let n = 1 + task * CALLS + call;
                let deltas = [(0, n), (1 + n % 3, n), (0, n + 1_000)];
                let befores = merge::<K, V>(&*store, &deltas).await;
                let made = deltas.iter().zip(befores);
                merged.extend(made.map(|((key, delta), before)| (*key, before, V::sample(*delta))));
                tokio::task::yield_now().await;
            }
            merged
        })
    };
    let tasks: Vec<_> = (0..TASKS).map(run).collect();
    let mut merged = Vec::new();
    for task in tasks {
        merged.extend(task.await.expect("mergeable: no task panics"));
    }
    for key in 0..4 {
        let mut links: Vec<_> = merged.iter().filter(|link| link.0 == key).collect();
        let mut value = None;
        while !links.is_empty() {
            let next = links.iter().position(|(_, before, _)| *before == value);
            let next =
                next.unwrap_or_else(|| panic!("mergeable: a chain key={key} breaks at value={value:?}"));
            let (_, before, delta) = links.swap_remove(next);
            value = after(before.clone(), delta.clone());
        }
        let held = read(&*store, &[key]).await;
        assert_eq!(
            held,
            [value],
            "mergeable: the last value is the sum of the deltas"
        );
    }
}
