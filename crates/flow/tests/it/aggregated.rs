//! An aggregator over a stream is the aggregator over a vector, by key.

use std::collections::BTreeMap;
use std::sync::Arc;

use algebra::aggregate::{Aggregator, AggregatorExt, count, distinct, max, sum};
use flow::{Local, Memory, Platform, Producer, Source, Timestamp, VecSource};
use proptest::prelude::*;
use store::{MemoryStore, Store};

use crate::kit::{options, runtime};

type Sale = (u8, i64);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn on_every_platform(sales in prop::collection::vec((0..5_u8, -50..50_i64), 0..60), epoch in 16_usize..400) {
        let of = || (count(), sum().of(|(_, n): &Sale| n), max().of(|(_, n): &Sale| n), distinct().of(|(_, n): &Sale| n));
        let key = |(key, _): &Sale| *key;
        let twin = of().by_key(key).total(&sales);
        let timed: Vec<_> = (0..).map(Timestamp).zip(sales.iter().copied()).collect();

        let sums = <Memory as Platform>::Store::default();
        Memory::run(&Producer::source(timed.clone()).aggregate_by_key(key, of(), sums.clone()));
        let sums: BTreeMap<u8, _> = sums.lock().unwrap().clone();
        let read: BTreeMap<_, _> = sums.into_iter().map(|(key, state)| (key, of().present(state))).collect();
        prop_assert_eq!(&read, &twin);

        let store = MemoryStore::new();
        let source: Arc<dyn Source<Sale>> = Arc::new(VecSource::new(timed));
        let job = Producer::<Local, _>::source(source)
            .aggregate_by_key(key, of(), Arc::new(store.clone()) as Arc<dyn Store<_, _>>);
        let sums = runtime().block_on(async {
            Local::run("sales", &job, options(epoch, 2)).unwrap().join().await.unwrap();
            store.scan(None, 10).await.unwrap()
        });
        let read: BTreeMap<_, _> = sums.into_iter().map(|(key, state)| (key, of().present(state))).collect();
        prop_assert_eq!(&read, &twin);
    }
}
