//! A store without zeros.

use std::sync::Arc;

use algebra::Monoid;
use async_trait::async_trait;

use crate::{Commit, Key, Progress, Result, Store, Value};

/// A store that keeps no zero: a key whose value becomes [zero](algebra::Monoid::is_zero) is removed, so a store of sums
/// that take back what they added does not grow with what has been there once.
///
/// So a zero is the same as nothing: what a job finds before a key that was removed, and what it hands on as the value
/// before, is `None` and not the zero. For a monoid both mean the same, as `zero ⊕ delta = delta`. Zeros that are
/// already in `inner` are absent as well, and go when their key is next written.
///
/// Laws: those of [`Store`] for values that are not zero; a commit of zero is the commit of a removal; a sum in it is the
/// sum in `inner` without the zeros.
///
/// Costs nothing but the look at each value; a page of `scan` reads on while it is short.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use store::{Commit, MemoryStore, Progress, Sparse, Store};
///
/// let present = Sparse::<String, i64>::new(std::sync::Arc::new(MemoryStore::new()));
/// let writes = vec![("ant".to_owned(), Some(1)), ("bee".to_owned(), Some(0))];
/// let progress = Progress::from_iter([("0", 2)]);
/// present.commit(Commit { writes, expected: None, progress }).await?;
/// assert_eq!(present.multi_get(&["ant".to_owned(), "bee".to_owned()]).await?, [Some(1), None]);
/// # Ok::<_, store::Error>(())
/// # }).unwrap();
/// ```
pub struct Sparse<K, V>(Arc<dyn Store<K, V>>);

impl<K, V> Sparse<K, V> {
    /// `inner` without zeros; nothing else may write to it.
    pub fn new(inner: Arc<dyn Store<K, V>>) -> Self {
        Self(inner)
    }
}

impl<K, V> Clone for Sparse<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[async_trait]
impl<K: Key, V: Monoid + Value> Store<K, V> for Sparse<K, V> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let values = self.0.multi_get(keys).await?;
        Ok(values.into_iter().map(without_zero).collect())
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        let writes = commit.writes.into_iter();
        let writes = writes.map(|(key, value)| (key, without_zero(value))).collect();
        self.0.commit(Commit { writes, ..commit }).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress().await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let (mut found, mut last) = (Vec::new(), after.cloned());
        while found.len() < limit {
            let page = self.0.scan(last.as_ref(), limit - found.len()).await?;
            let Some((end, _)) = page.last() else { break };
            last = Some(end.clone());
            found.extend(page.into_iter().filter(|(_, value)| !value.is_zero()));
        }
        Ok(found)
    }
}

fn without_zero<V: Monoid>(value: Option<V>) -> Option<V> {
    value.filter(|value| !value.is_zero())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use algebra::Semigroup;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::laws::{self, Sample};
    use crate::{Embedded, MemoryStore, Typed};

    /// A number whose samples are not zero.
    #[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Number(i64);

    impl Semigroup for Number {
        fn plus(&mut self, right: Self) {
            self.0 += right.0;
        }
    }

    impl Monoid for Number {
        fn zero() -> Self {
            Self(0)
        }
        fn is_zero(&self) -> bool {
            self.0 == 0
        }
    }

    impl Sample for Number {
        fn sample(n: u64) -> Self {
            Self(n as i64 + 1)
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn laws() {
        laws::check::<u64, Number, _>(async || Arc::new(Sparse::new(Arc::new(MemoryStore::new())))).await;
        let folder = tempfile::tempdir().unwrap();
        let stores = Embedded::open(folder.path()).unwrap();
        let opened = std::sync::atomic::AtomicUsize::new(0);
        laws::check::<u64, Number, _>(async || {
            let n = opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let bytes: Arc<dyn Store<Bytes, Bytes>> = stores.store(&format!("s{n}")).unwrap();
            Arc::new(Sparse::new(Arc::new(Typed::new("sums", bytes))))
        })
        .await;
    }

    proptest! {
        /// Sums like those of a map that is cleared of zeros, and nothing else is kept below.
        #[test]
        fn sums_without_zeros(deltas in prop::collection::vec((0u8..4, -2i64..3), 0..40), old_zero in 0u8..6) {
            let inner = MemoryStore::from_iter([(old_zero, Number(0))]);
            let sparse = Sparse::new(Arc::new(inner.clone()));
            let mut twin = BTreeMap::<u8, i64>::new();
            tokio::runtime::Runtime::new().unwrap().block_on(async {
                for (n, (key, delta)) in deltas.into_iter().enumerate() {
                    let before = sparse.multi_get(&[key]).await.unwrap()[0];
                    prop_assert_eq!(before.map(|Number(n)| n), twin.get(&key).copied());
                    let after = Number(before.map_or(0, |Number(n)| n) + delta);
                    let expected = sparse.progress().await.unwrap();
                    let progress = Progress::from_iter([("0", n as u64 + 1)]);
                    let commit = Commit { writes: vec![(key, Some(after))], expected, progress };
                    sparse.commit(commit).await.unwrap();
                    *twin.entry(key).or_default() += delta;
                    twin.retain(|_, sum| *sum != 0);
                    let page = sparse.scan(None, 2).await.unwrap();
                    let first: Vec<_> = twin.iter().take(2).map(|(key, sum)| (*key, Number(*sum))).collect();
                    prop_assert_eq!(page, first);
                }
                let kept: BTreeMap<_, _> = inner.entries().into_iter().map(|(key, Number(n))| (key, n)).collect();
                let others = kept.iter().filter(|(key, _)| **key != old_zero || twin.contains_key(key));
                prop_assert_eq!(others.map(|(key, n)| (*key, *n)).collect::<BTreeMap<_, _>>(), twin);
                Ok(())
            })?;
        }
    }
}
