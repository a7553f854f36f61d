//! Laws of [`Writable`] and [`Expiring`].

use std::sync::Arc;
use std::time::Duration;

use super::{Chance, Sample, read, values};
use crate::{Expiring, ManualClock, Readable, Writable};

async fn put<K: Sample, V: Sample>(store: &(impl Writable<K, V> + ?Sized), writes: &[(u64, Option<u64>)]) {
    let write = |(key, value): &(u64, Option<u64>)| (K::sample(*key), value.map(V::sample));
    let answers = store.put_each(writes.iter().map(write).collect()).await;
    assert_eq!(answers.len(), writes.len(), "writable: an answer for each write");
    answers
        .into_iter()
        .for_each(|answer| answer.expect("put_each answers"));
}

/// Checks the laws of [`Writable`], read back, on stores that `make` opens: each call must give a new, empty one.
///
/// # Panics
/// When a law does not hold; the text names it. Run it in a multi-threaded runtime: one law is about races.
pub async fn writable<K: Sample, V: Sample, S>(make: impl AsyncFn() -> Arc<S>)
where
    S: Readable<K, V> + Writable<K, V> + ?Sized + 'static,
{
    read_your_writes::<K, V>(&*make().await).await;
    like_its_twin::<K, V>(&*make().await).await;
    writers_apart::<K, V, S>(make().await).await;
}

async fn read_your_writes<K: Sample, V: Sample>(store: &(impl Readable<K, V> + Writable<K, V> + ?Sized)) {
    put::<K, V>(store, &[]).await;
    assert_eq!(
        read(store, &[1, 2]).await,
        values::<V>(&[None, None]),
        "writable: empty"
    );
    put::<K, V>(store, &[(1, Some(1)), (2, Some(2))]).await;
    let both = values::<V>(&[Some(2), None, Some(1)]);
    assert_eq!(read(store, &[2, 3, 1]).await, both, "writable: read your writes");
    let writes = [
        (1, Some(5)),
        (2, Some(6)),
        (1, Some(7)),
        (2, None),
        (3, None),
        (3, Some(8)),
        (1, Some(9)),
    ];
    put::<K, V>(store, &writes).await;
    let last = values::<V>(&[Some(9), None, Some(8)]);
    assert_eq!(
        read(store, &[1, 2, 3]).await,
        last,
        "writable: the last write of a key counts"
    );
    put::<K, V>(store, &[(1, None), (9, None)]).await;
    let gone = values::<V>(&[None, Some(8), None]);
    assert_eq!(
        read(store, &[1, 3, 9]).await,
        gone,
        "writable: none removes, also what is absent"
    );
    put::<K, V>(store, &[(1, Some(3))]).await;
    assert_eq!(
        read(store, &[1]).await,
        values::<V>(&[Some(3)]),
        "writable: again after removal"
    );
}

async fn like_its_twin<K: Sample, V: Sample>(store: &(impl Readable<K, V> + Writable<K, V> + ?Sized)) {
    const KEYS: u64 = 24;
    let mut twin: [Option<u64>; KEYS as usize] = [None; KEYS as usize];
    let mut chance = Chance::new();
    for _ in 0..200 {
        let writes: Vec<_> = (0..chance.below(12))
            .map(|_| {
                (
                    chance.below(KEYS),
                    (chance.below(3) > 0).then_some(chance.below(1_000)),
                )
            })
            .collect();
        put::<K, V>(store, &writes).await;
        writes
            .iter()
            .for_each(|(key, value)| twin[*key as usize] = *value);
        let keys: Vec<_> = (0..KEYS).filter(|_| chance.below(2) == 0).collect();
        let expected: Vec<_> = keys.iter().map(|key| twin[*key as usize]).collect();
        assert_eq!(
            read(store, &keys).await,
            values::<V>(&expected),
            "writable: like its twin"
        );
    }
}

/// Writers of one key each do not disturb each other, and readers see no value that goes back.
async fn writers_apart<K: Sample, V: Sample, S>(store: Arc<S>)
where
    S: Readable<K, V> + Writable<K, V> + ?Sized + 'static,
{
    const WRITES: u64 = 60;
    let write = |key: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 0..=WRITES {
                put::<K, V>(&*store, &[(key, Some(n))]).await;
                let seen = read::<K, V>(&*store, &[key]).await;
                assert_eq!(
                    seen,
                    values::<V>(&[Some(n)]),
                    "writable: each reads its own writes"
                );
            }
        })
    };
    let watch = |key: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            let samples: Vec<Option<V>> = [None]
                .into_iter()
                .chain((0..=WRITES).map(Some))
                .map(|n| n.map(V::sample))
                .collect();
            let mut at = 0;
            while at <= WRITES as usize {
                let seen = read::<K, V>(&*store, &[key]).await;
                let found = samples[at..].iter().position(|sample| *sample == seen[0]);
                at += found.expect("writable: a reader sees no older value after a newer one");
                tokio::task::yield_now().await;
            }
        })
    };
    let tasks: Vec<_> = (0..4).map(write).chain((0..4).map(watch)).collect();
    for task in tasks {
        task.await.expect("writable: no task panics");
    }
    let last = [Some(WRITES); 4];
    assert_eq!(
        read(&*store, &[0, 1, 2, 3]).await,
        values::<V>(&last),
        "writable: the last values stay"
    );
}

/// Checks the laws of [`Expiring`] on stores that `make` opens over a clock: each call must give a new, empty one.
///
/// # Panics
/// When a law does not hold; the text names it.
pub async fn expiring<K: Sample, V: Sample, S>(make: impl AsyncFn(ManualClock) -> Arc<S>)
where
    S: Readable<K, V> + Expiring<K, V> + ?Sized,
{
    let clock = ManualClock::default();
    let store = make(clock.clone()).await;
    let second = Duration::from_secs(1);
    let put = async |key: u64, value: u64, seconds: u32| {
        let answers = store
            .put_each_for(vec![(K::sample(key), V::sample(value))], second * seconds)
            .await;
        assert!(
            matches!(&answers[..], [Ok(())]),
            "expiring: an answer for each write"
        );
    };
    put(1, 1, 2).await;
    put(2, 2, 5).await;
    put(3, 3, 0).await;
    assert_eq!(
        read(&*store, &[1, 2, 3]).await,
        values::<V>(&[Some(1), Some(2), None]),
        "expiring: no time is none"
    );
    clock.advance(second);
    assert_eq!(
        read(&*store, &[1, 2]).await,
        values::<V>(&[Some(1), Some(2)]),
        "expiring: not before its time"
    );
    put(2, 4, 1).await;
    put(4, 4, 3).await;
    clock.advance(second);
    let now = read(&*store, &[1, 2, 4]).await;
    assert_eq!(
        now,
        values::<V>(&[None, None, Some(4)]),
        "expiring: at its time, of the last write, on read"
    );
    clock.advance(second * 1_000);
    assert_eq!(
        read(&*store, &[1, 2, 4]).await,
        values::<V>(&[None, None, None]),
        "expiring: for good"
    );
}
