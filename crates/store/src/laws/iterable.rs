//! Laws of [`Iterable`].

use std::sync::Arc;

use super::Sample;
use crate::Iterable;

/// Checks the laws of [`Iterable`] on what `make` gives: it must hold the given pairs (each key once) and no other.
///
/// # Panics
/// When a law does not hold; the text names it.
pub async fn iterable<K: Sample, V: Sample, S: Iterable<K, V> + ?Sized>(
    make: impl AsyncFn(Vec<(K, V)>) -> Arc<S>,
) {
    let empty = make(Vec::new()).await;
    assert_eq!(
        empty.page(None, 10).await.expect("page answers"),
        [],
        "iterable: nothing"
    );
    let after = K::sample(1);
    let none = empty.page(Some(&after), 10).await.expect("page answers");
    assert_eq!(none, [], "iterable: nothing after a key");

    let pair = |n: u64| (K::sample(n), V::sample(n + 1));
    let full = make((0..120).map(pair).collect()).await;
    let all = full.page(None, usize::MAX).await.expect("page answers");
    assert_eq!(all.len(), 120, "iterable: every key once");
    assert!((0..120).all(|n| all.contains(&pair(n))), "iterable: every pair");
    for limit in [0, 1, 7, 119, 120, 121] {
        let page = full.page(None, limit).await.expect("page answers");
        assert_eq!(
            page,
            all[..limit.min(120)],
            "iterable: limit={limit} from the start"
        );
    }
    for (place, (key, _)) in all.iter().enumerate() {
        for limit in [0, 1, 7, usize::MAX] {
            let end = all.len().min((place + 1).saturating_add(limit));
            let page = full.page(Some(key), limit).await.expect("page answers");
            assert_eq!(page, all[place + 1..end], "iterable: limit={limit} after a key");
        }
    }
}
