//! Laws of [`Readable`].

use std::sync::Arc;

use super::{Sample, read, values};
use crate::Readable;

/// Checks the laws of [`Readable`] on what `make` gives: it must hold the given pairs (each key once) and no other.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use store::{MemoryStore, laws};
/// laws::readable::<u64, String, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs))).await;
/// # });
/// ```
///
/// # Panics
/// When a law does not hold; the text names it.
pub async fn readable<K: Sample, V: Sample, S: Readable<K, V> + ?Sized>(
    make: impl AsyncFn(Vec<(K, V)>) -> Arc<S>,
) {
    let empty = make(Vec::new()).await;
    assert_eq!(
        read(&*empty, &[]).await,
        values::<V>(&[]),
        "readable: no keys, no answers"
    );
    let nothing = values::<V>(&[None, None]);
    assert_eq!(
        read(&*empty, &[0, 1]).await,
        nothing,
        "readable: absent keys are answered as such"
    );

    let pairs = (0..500).map(|n| (K::sample(n * 2), V::sample(n))).collect();
    let full = make(pairs).await;
    let keys = [6, 0, 7, 6, 998, 1, 0, 6];
    let expected = [Some(3), Some(0), None, Some(3), Some(499), None, Some(0), Some(3)];
    let text = "readable: an answer for each key, in order, also twice";
    assert_eq!(read(&*full, &keys).await, values::<V>(&expected), "{text}");
    let keys: Vec<_> = (0..1_100).rev().collect();
    let expected: Vec<_> = keys
        .iter()
        .map(|key| (key % 2 == 0 && *key < 1_000).then_some(key / 2))
        .collect();
    for _ in 0..2 {
        assert_eq!(
            read(&*full, &keys).await,
            values::<V>(&expected),
            "readable: many keys"
        );
    }
}
