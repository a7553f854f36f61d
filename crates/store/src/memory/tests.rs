//! The laws, on a store in memory; and what only it promises.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Deltas;

#[tokio::test(flavor = "multi_thread")]
async fn laws() {
    crate::laws::check::<u64, i64, _>(async || Arc::new(MemoryStore::new())).await;
    crate::laws::check::<String, String, _>(async || Arc::new(MemoryStore::new())).await;
    crate::laws::adding::<u64, i64, _>(async || Arc::new(MemoryStore::new())).await;
    crate::laws::adding::<String, String, _>(async || Arc::new(MemoryStore::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_the_small_ports() {
    crate::laws::readable::<u64, i64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs))).await;
    crate::laws::writable::<String, u64, _>(async || Arc::new(MemoryStore::new())).await;
    crate::laws::mergeable::<String, String, _>(async || Arc::new(MemoryStore::new())).await;
    crate::laws::iterable::<u64, i64, _>(async |pairs| Arc::new(MemoryStore::from_iter(pairs))).await;
}

#[tokio::test]
async fn clones_are_one_store() {
    let store = MemoryStore::new();
    let progress = Progress::from_iter([("0", 1)]);
    let writes = vec![("b", Some(2)), ("a", Some(1))];
    store
        .clone()
        .commit(Commit {
            writes,
            expected: None,
            progress,
        })
        .await
        .unwrap();
    assert_eq!(store.entries(), [("a", 1), ("b", 2)]);
}

/// What is done to a store between two pages.
#[derive(Clone, Debug)]
enum Act {
    Put(Vec<(u8, Option<u32>)>),
    Add(Vec<(u8, u32)>),
    Merge(Vec<(u8, u32)>),
    Page(Option<u8>, usize),
}

fn act() -> impl Strategy<Value = Act> {
    let deltas = || prop::collection::vec((any::<u8>(), 0u32..100), 0..20);
    prop_oneof![
        prop::collection::vec((any::<u8>(), prop::option::of(0u32..100)), 0..40).prop_map(Act::Put),
        deltas().prop_map(Act::Add),
        deltas().prop_map(Act::Merge),
        (prop::option::of(any::<u8>()), 0usize..300).prop_map(|(after, limit)| Act::Page(after, limit)),
    ]
}

async fn perform(store: &MemoryStore<u8, u32>, twin: &mut BTreeMap<u8, u32>, act: Act) {
    match act {
        Act::Put(writes) => {
            for (key, value) in &writes {
                match value {
                    Some(value) => twin.insert(*key, *value),
                    None => twin.remove(key),
                };
            }
            store.put_each(writes).await.into_iter().for_each(Result::unwrap);
        }
        Act::Add(pairs) => {
            let mut deltas = Deltas::default();
            for (key, delta) in pairs {
                deltas.add(key, delta);
                *twin.entry(key).or_default() += delta;
            }
            let progress = store.progress().await.unwrap();
            store
                .add(Addition {
                    deltas,
                    expected: progress.clone(),
                    progress: progress.unwrap_or_default(),
                })
                .await
                .unwrap();
        }
        Act::Merge(pairs) => {
            let befores = store.merge_each(pairs.clone()).await;
            for ((key, delta), before) in pairs.into_iter().zip(befores) {
                assert_eq!(before.unwrap(), twin.get(&key).copied());
                *twin.entry(key).or_default() += delta;
            }
        }
        Act::Page(after, limit) => {
            let page: Vec<_> = twin.iter().map(|(key, value)| (*key, *value)).collect();
            let page = page
                .into_iter()
                .filter(|(key, _)| after.is_none_or(|after| *key > after));
            let expected: Vec<_> = page.take(limit).collect();
            assert_eq!(store.scan(after.as_ref(), limit).await.unwrap(), expected);
        }
    }
}

proptest! {
    #[test]
    fn pages_amid_changes_are_those_of_a_sorted_map(acts in prop::collection::vec(act(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, mut twin) = (MemoryStore::new(), BTreeMap::new());
            for act in acts {
                perform(&store, &mut twin, act).await;
            }
            assert_eq!(store.entries(), twin.into_iter().collect::<Vec<_>>());
        });
    }
}

#[tokio::test]
async fn an_order_that_nobody_walks_any_more_is_given_up() {
    let store = MemoryStore::new();
    store.scan(None, 1).await.unwrap();
    for n in 0..10u64 {
        let keys: Vec<u64> = (0..1_000).map(|key| n * 1_000 + key).collect();
        let put = |value: Option<u64>| keys.iter().map(|key| (*key, value)).collect();
        store.put_each(put(Some(n))).await;
        store.put_each(put(None)).await;
        assert!(store.kept().unwrap().new_keys() <= crate::limits::ORDER_SPARE_KEYS + 1);
    }
    assert_eq!(store.scan(None, 10).await.unwrap(), []);
}

/// A sum that cannot be.
#[derive(Clone, Debug, PartialEq)]
struct Broken;

impl Semigroup for Broken {
    fn plus(&mut self, _: Self) {
        panic!("broken");
    }
}

#[tokio::test]
async fn after_a_panic_within_an_addition_the_store_says_so() {
    let store = MemoryStore::new();
    let addition = |from: Option<u64>, to| {
        let mut deltas = Deltas::default();
        deltas.add("key", Broken);
        Addition {
            deltas,
            expected: from.map(|from| Progress::from_iter([("0", from)])),
            progress: Progress::from_iter([("0", to)]),
        }
    };
    store.add(addition(None, 1)).await.unwrap();
    let second = tokio::spawn({
        let store = store.clone();
        async move { store.add(addition(Some(1), 2)).await }
    });
    assert!(second.await.unwrap_err().is_panic());
    assert_eq!(store.progress().await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(
        store.multi_get(&["key"]).await.unwrap_err().kind(),
        ErrorKind::Corrupt
    );
}
