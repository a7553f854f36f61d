//! The operators on pairs, each beside plain collections; and a word count that a stream of sums follows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flow::{
    BatchId, Batcher, Either, FromStore, Hopping, Memory, Platform, Producer, Service, Tail, Timestamp,
};
use proptest::prelude::*;
use store::{MemoryStore, StoreExt, Writable};

type Pair = (u8, i64);

fn source(pairs: &[Pair]) -> Producer<Memory, Pair> {
    Producer::source((0..).map(Timestamp).zip(pairs.iter().copied()).collect())
}

/// What arrives in a sink behind `producer`.
fn run<T: flow::Element>(producer: &Producer<Memory, T>) -> Vec<T> {
    let sink: <Memory as Platform>::Sink<T> = Arc::new(Mutex::new(Vec::new()));
    Memory::run(&producer.write(sink.clone()));
    let items = sink.lock().unwrap();
    items.iter().map(|(_, item)| item.clone()).collect()
}

proptest! {
    #[test]
    fn each_is_its_twin(pairs in prop::collection::vec((0..6_u8, -9..9_i64), 0..40)) {
        let input = source(&pairs);
        let of = || pairs.iter().copied();
        prop_assert_eq!(run(&input.keys()), of().map(|(k, _)| k).collect::<Vec<_>>());
        prop_assert_eq!(run(&input.values()), of().map(|(_, v)| v).collect::<Vec<_>>());
        prop_assert_eq!(run(&input.swap()), of().map(|(k, v)| (v, k)).collect::<Vec<_>>());
        prop_assert_eq!(run(&input.map_keys(|k| k / 2)), of().map(|(k, v)| (k / 2, v)).collect::<Vec<_>>());
        prop_assert_eq!(run(&input.map_values(|v| v * 2)), of().map(|(k, v)| (k, v * 2)).collect::<Vec<_>>());
        prop_assert_eq!(
            run(&input.flat_map_keys(|k| 0..k)),
            of().flat_map(|(k, v)| (0..k).map(move |k| (k, v))).collect::<Vec<_>>()
        );
        prop_assert_eq!(
            run(&input.flat_map_values(|v| 0..v)),
            of().flat_map(|(k, v)| (0..v).map(move |v| (k, v))).collect::<Vec<_>>()
        );
        prop_assert_eq!(run(&input.filter_keys(|k| *k > 2)), of().filter(|(k, _)| *k > 2).collect::<Vec<_>>());
        prop_assert_eq!(run(&input.filter_values(|v| *v > 2)), of().filter(|(_, v)| *v > 2).collect::<Vec<_>>());
        prop_assert_eq!(
            run(&input.key_by(|(k, v)| *v + i64::from(*k))),
            of().map(|(k, v)| (v + i64::from(k), (k, v))).collect::<Vec<_>>()
        );
        let service = BTreeMap::from([(1, 'a'), (3, 'b')]);
        prop_assert_eq!(
            run(&input.left_join(service.clone())),
            of().map(|(k, v)| (k, (v, service.get(&k).copied()))).collect::<Vec<_>>()
        );
        let mut both = run(&input.keys().either(&input.values()));
        let mut twin: Vec<_> = of().map(|(k, _)| Either::Left(k)).chain(of().map(|(_, v)| Either::Right(v))).collect();
        both.sort_unstable();
        twin.sort_unstable();
        prop_assert_eq!(both, twin);
    }

    #[test]
    fn a_scan_is_the_running_sum(pairs in prop::collection::vec((0..4_u8, -9..9_i64), 0..40)) {
        let store = <Memory as Platform>::Store::default();
        let scan = source(&pairs).scan_by_key(store);
        let mut sums = BTreeMap::<u8, i64>::new();
        let twin: Vec<_> = pairs
            .iter()
            .map(|(k, v)| {
                let sum = sums.entry(*k).or_default();
                *sum += v;
                (*k, *sum)
            })
            .collect();
        prop_assert_eq!(run(&scan), twin);
    }
}

#[test]
fn sums_by_key_and_batch() {
    let store = <Memory as Platform>::Store::default();
    let tens = Batcher::every(Duration::from_millis(10)).unwrap();
    let pairs: Vec<Pair> = (0..25).map(|n| (n as u8 % 2, 1)).collect();
    Memory::run(&source(&pairs).batched(tens).sum_by_key(store.clone()));
    let sums: Vec<_> = store.lock().unwrap().clone().into_iter().collect();
    let batch = |key, batch, sum| ((key, BatchId(batch)), sum);
    assert_eq!(
        sums,
        [
            batch(0, 0, 5),
            batch(0, 1, 5),
            batch(0, 2, 3),
            batch(1, 0, 5),
            batch(1, 1, 5),
            batch(1, 2, 2)
        ]
    );
    assert_eq!(run(&source(&[(7, 7)]).with_time()), [(Timestamp(0), (7, 7))]);
}

#[test]
fn sums_by_key_and_window() {
    let windows = Hopping::new(Duration::from_millis(4), Duration::from_millis(2)).unwrap();
    // One each millisecond from 0 to 4.
    let found = run(&source(&[(7, 1); 5]).windowed(windows));
    let mut sums = BTreeMap::<i64, i64>::new();
    for ((key, start), value) in found {
        assert_eq!(key, 7);
        *sums.entry(start.0).or_default() += value;
    }
    assert_eq!(sums, BTreeMap::from([(-2, 2), (0, 4), (2, 3), (4, 1)]));
}

#[test]
fn a_store_is_looked_up() {
    let runtime = crate::kit::runtime();
    let store = MemoryStore::<u8, char>::new();
    let written = runtime.block_on(store.put_each(vec![(1, Some('a')), (3, Some('b'))]));
    assert!(written.iter().all(Result::is_ok));
    let service = FromStore(
        store
            .clone()
            .map_values(|value: char| Ok(value.to_ascii_uppercase())),
    );
    let found = runtime.block_on(service.multi_get(&[1, 2, 3])).unwrap();
    assert_eq!(found, [Some('A'), None, Some('B')]);
    let refuse = |_: char| Err(store::Error::new(store::ErrorKind::Corrupt, "no letter"));
    let failing = FromStore(store.map_values(refuse as fn(char) -> store::Result<char>));
    let error = runtime.block_on(failing.multi_get(&[2, 3])).unwrap_err();
    assert_eq!(error.kind(), flow::ErrorKind::Corrupt);
}

#[test]
fn a_scan_alone_is_a_tail() {
    let store = <Memory as Platform>::Store::default();
    let scan = source(&[(1, 2), (1, 3)]).scan_by_key(store.clone());
    let words: Vec<_> = scan.graph().nodes().iter().map(|node| node.kind.word()).collect();
    assert_eq!(words, ["source", "sum", "map"]);
    Memory::run(&scan);
    assert_eq!(store.lock().unwrap()[&1], 5);
}
