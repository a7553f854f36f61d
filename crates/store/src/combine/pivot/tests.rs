//! The laws of maps as pairs, failures of their writes, and pairs as maps.

use std::sync::Arc;

use super::*;
use crate::laws::{self, Fault, Faulty};
use crate::{MemoryStore, MergeableExt, ReadableExt, StoreExt, WritableExt};

fn pair(key: &u64) -> Result<(u64, u64)> {
    Ok((key / 5, key % 5))
}

type Maps<V> = MemoryStore<u64, BTreeMap<u64, V>>;

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_maps_as_pairs() {
    laws::readable::<u64, u64, _>(async |pairs| {
        let mut maps = BTreeMap::<u64, BTreeMap<u64, u64>>::new();
        for (key, value) in pairs {
            maps.entry(key / 5).or_default().insert(key % 5, value);
        }
        Arc::new(Maps::from_iter(maps).unpivoted().map_keys(pair))
    })
    .await;
    laws::writable::<u64, u64, _>(async || Arc::new(Maps::new().unpivoted().map_keys(pair))).await;
    laws::mergeable::<u64, String, _>(async || Arc::new(Maps::new().unpivoted().map_keys(pair))).await;
}

#[tokio::test]
async fn a_put_is_awaited_and_its_failure_is_told() {
    let kept = Maps::<u64>::new();
    let faulty = |faults: Vec<_>| Faulty::new(kept.clone(), faults).unpivoted();
    // Calls go read, write.
    assert!(
        faulty(vec![(1, Fault::Before)]).put((1, 1), 5).await.is_err(),
        "the write failed"
    );
    assert!(
        faulty(vec![(0, Fault::Before)]).put((1, 1), 5).await.is_err(),
        "the read failed"
    );
    assert_eq!(kept.entries(), []);
    let store = faulty(vec![]);
    store.put((1, 1), 5).await.unwrap();
    assert_eq!(
        kept.entries(),
        [(1, BTreeMap::from([(1, 5)]))],
        "written when it is answered"
    );
    store.put((1, 2), 6).await.unwrap();
    store.remove((1, 1)).await.unwrap();
    assert_eq!(kept.entries(), [(1, BTreeMap::from([(2, 6)]))]);
    store.remove((1, 2)).await.unwrap();
    assert_eq!(kept.entries(), [], "no empty maps");
}

/// Lets others run before each call.
struct Yielding(Maps<u64>);

impl crate::Combinable for Yielding {}

#[async_trait]
impl Readable<u64, BTreeMap<u64, u64>> for Yielding {
    async fn get_each(&self, keys: &[u64]) -> Answers<Option<BTreeMap<u64, u64>>> {
        tokio::task::yield_now().await;
        self.0.get_each(keys).await
    }
}

#[async_trait]
impl Writable<u64, BTreeMap<u64, u64>> for Yielding {
    async fn put_each(&self, writes: Vec<(u64, Option<BTreeMap<u64, u64>>)>) -> Answers<()> {
        tokio::task::yield_now().await;
        self.0.put_each(writes).await
    }
}

#[async_trait]
impl Mergeable<u64, BTreeMap<u64, u64>> for Yielding {
    async fn merge_each(
        &self,
        deltas: Vec<(u64, BTreeMap<u64, u64>)>,
    ) -> Answers<Option<BTreeMap<u64, u64>>> {
        tokio::task::yield_now().await;
        self.0.merge_each(deltas).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn puts_and_merges_into_one_map_lose_nothing() {
    let store = Arc::new(Yielding(Maps::new()).unpivoted());
    let run = |inner: u64| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in 1..=100 {
                if inner < 4 {
                    store.put((1, inner), n).await.unwrap();
                } else {
                    store.merge((1, inner), 1).await.unwrap();
                }
            }
        })
    };
    let tasks: Vec<_> = (0..8).map(run).collect();
    for task in tasks {
        task.await.unwrap();
    }
    for inner in 0..8 {
        assert_eq!(store.get(&(1, inner)).await.unwrap(), Some(100), "inner={inner}");
    }
}

#[tokio::test]
async fn pairs_as_maps() {
    laws::readable::<u64, u64, _>(async |pairs| {
        let entries = pairs.into_iter().flat_map(|(key, value)| {
            [((key, 0), value), ((key, 1), 1), ((key, 2), 2)]
                .into_iter()
                .filter(move |((_, n), _)| key % 4 == 0 || *n != 1)
        });
        let maps = MemoryStore::from_iter(entries).pivoted(0_u64, 3);
        Arc::new(maps.map_values(|map: BTreeMap<u64, u64>| Ok(map[&0])))
    })
    .await;

    let pairs = (0..2_500_u64)
        .map(|n| (("many", n), n))
        .chain([(("few", 7), 70), (("none", 0), 0)]);
    let maps = MemoryStore::from_iter(pairs).pivoted(0, 2_500);
    assert_eq!(maps.get(&"few").await.unwrap(), Some(BTreeMap::from([(7, 70)])));
    assert_eq!(maps.get(&"absent").await.unwrap(), None);
    assert_eq!(
        maps.get(&"many").await.unwrap().unwrap().len(),
        2_500,
        "over several pages"
    );
    let fewer = MemoryStore::from_iter((0..11_u64).map(|n| ((1, n), n))).pivoted(0, 10);
    assert_eq!(fewer.get(&1).await.unwrap_err().kind(), ErrorKind::Invalid);
}
