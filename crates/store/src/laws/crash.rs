//! The law that a merge counts once, whichever call to the store below is lost.

use std::sync::Arc;

use algebra::Semigroup;

use super::mergeable::after;
use super::{Fault, Faulty, Sample, get};
use crate::{ErrorKind, Mergeable, Result, Store};

/// Merges made at each crash point.
const MERGES: u64 = 5;
/// Attempts at a merge: more than there are calls lost.
const ATTEMPTS_MAX: usize = 20;
/// Calls to the store that a merge may cost, at most.
const CALLS_MAX: u64 = 200;

/// Checks a [`Mergeable`] that commits to a [`Store`]: loses each of its calls to the store in turn, before and
/// after it is done, alone and together with the next ones, and opens it again in between. What was answered is in
/// the store once, what was refused is not, and what is in doubt once or not.
///
/// `make` gives a new, empty store; `open` opens the mergeable over one, with a number that is new each time.
///
/// ```
/// # tokio::runtime::Runtime::new().unwrap().block_on(async {
/// use std::sync::Arc;
/// use store::{MemoryStore, SingleWriter, laws};
/// let make = async || Arc::new(MemoryStore::new());
/// laws::crash_points::<u64, String, _, _>(make, async |store, id| SingleWriter::open(store, id).await).await;
/// # });
/// ```
///
/// # Panics
/// When the law does not hold.
pub async fn crash_points<K, V, S, M>(
    make: impl AsyncFn() -> Arc<S>,
    open: impl AsyncFn(Arc<dyn Store<K, V>>, u64) -> Result<M>,
) where
    K: Sample,
    V: Sample + Semigroup,
    S: Store<K, V> + ?Sized + 'static,
    M: Mergeable<K, V>,
{
    for fault in [Fault::Before, Fault::After] {
        for lost in 1..=3 {
            for point in 0..CALLS_MAX {
                let store = make().await;
                let faults = (point..point + lost).map(|call| (call, fault));
                let faulty = Arc::new(Faulty::new(Shared(store.clone()), faults));
                run(&*store, faulty.clone(), &open).await;
                if faulty.calls() <= point {
                    assert!(point > 0, "crash points: the mergeable does not use the store");
                    break;
                }
            }
        }
    }
}

async fn run<K: Sample, V: Sample + Semigroup, M: Mergeable<K, V>>(
    store: &(impl Store<K, V> + ?Sized),
    faulty: Arc<dyn Store<K, V>>,
    open: &impl AsyncFn(Arc<dyn Store<K, V>>, u64) -> Result<M>,
) {
    let mut opened = None;
    let mut ids = 0;
    // What the key may hold: two values while a merge is in doubt.
    let mut possible: Vec<Option<V>> = vec![None];
    for n in 1..=MERGES {
        let mut attempts = 0;
        loop {
            attempts += 1;
            assert!(
                attempts <= ATTEMPTS_MAX,
                "crash points: a merge goes on failing after the calls that were lost"
            );
            // The third begins after a crash.
            if n == 3 && ids == 1 {
                opened = None;
            }
            let merger = match opened.take() {
                Some(merger) => merger,
                None => {
                    ids += 1;
                    match open(faulty.clone(), ids).await {
                        Ok(merger) => merger,
                        Err(_) => continue,
                    }
                }
            };
            let answers = merger.merge_each(vec![(K::sample(1), V::sample(n))]).await;
            opened = Some(merger);
            let merged = |value: &Option<V>| after(value.clone(), V::sample(n));
            match answers
                .into_iter()
                .next()
                .expect("crash points: an answer for each delta")
            {
                Ok(before) => {
                    assert!(
                        possible.contains(&before),
                        "crash points: the value before is true before={before:?}"
                    );
                    possible = vec![after(before, V::sample(n))];
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Doubt => {
                    possible.extend(possible.iter().map(merged).collect::<Vec<_>>());
                    break;
                }
                Err(_) => {}
            }
        }
    }
    let held = get(store, &[1]).await.pop().expect("one key was asked");
    assert!(
        possible.contains(&held),
        "crash points: each merge counts once held={held:?} possible={possible:?}"
    );
}

/// A handle of a store, as a store.
struct Shared<S: ?Sized>(Arc<S>);

#[async_trait::async_trait]
impl<K: Sample, V: Sample, S: Store<K, V> + ?Sized> Store<K, V> for Shared<S> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        self.0.multi_get(keys).await
    }

    async fn commit(&self, commit: crate::Commit<K, V>) -> Result<()> {
        self.0.commit(commit).await
    }

    async fn progress(&self) -> Result<Option<crate::Progress>> {
        self.0.progress().await
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.0.scan(after, limit).await
    }
}
