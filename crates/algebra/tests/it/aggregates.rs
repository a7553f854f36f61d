//! Aggregates from outside: bytes, states as store values, and merges that a buffer has gone before.

use std::collections::BTreeMap;

use algebra::aggregate::{self, Aggregator, AggregatorExt, laws};
use algebra::buffer::{
    AdaptiveCache, Bound, Buffer, HeavyHitterCache, SummingCache, SummingQueue, Unbuffered,
};
use algebra::codec::Codec;
use algebra::{Monoid, Semigroup};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kit::Random;

fn words() -> Vec<String> {
    "the quick brown fox jumps over the lazy dog"
        .split(' ')
        .map(str::to_owned)
        .collect()
}

/// The state of `aggregator`, stored as bytes and as JSON after each word, answers as one that was never stored.
fn stores<A>(aggregator: A)
where
    A: Aggregator<String, Output: PartialEq + std::fmt::Debug>,
    A::State: Monoid + Codec + Serialize + DeserializeOwned,
{
    let words = words();
    let mut state = A::State::zero();
    for word in &words {
        state.plus(aggregator.prepare(word));
        state = A::State::from_bytes(&state.to_bytes()).unwrap();
        state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
    }
    assert_eq!(aggregator.present(state), aggregator.total(&words));
}

const LENGTH: fn(&String) -> u64 = |word| word.len() as u64;

#[test]
fn states_are_store_values() {
    stores((
        aggregate::count(),
        aggregate::exists(|word: &String| word == "fox"),
    ));
    stores((aggregate::sum(), aggregate::to_vec()));
    stores((aggregate::to_set(), aggregate::distinct()));
    stores(aggregate::min_by(LENGTH).optional());
    stores([aggregate::max(), aggregate::max()].optional());
    stores((aggregate::first(), aggregate::last()).optional());
    stores((aggregate::largest::<_, 3>(), aggregate::smallest::<_, 3>()));
    let floats = (
        aggregate::float_sum(),
        aggregate::exact_sum(),
        aggregate::average(),
    );
    stores(floats.before(|word: &String| word.len() as f64 / 3.0));
    stores((aggregate::count(), aggregate::max_by(LENGTH).optional()).by_key(LENGTH));
}

/// Zipf-like: key `k` about as often as `1 / k`.
fn keys(count: usize) -> Vec<u64> {
    let mut random = Random(7);
    (0..count)
        .map(|_| (1000.0_f64.powf(random.unit())) as u64)
        .collect()
}

/// What a store answers to a merge: the value before it, and what was merged.
type Answer = (Option<String>, String);

/// A store of sums, and every answer it has given, by key.
#[derive(Default)]
struct Store {
    sums: BTreeMap<u64, String>,
    answers: BTreeMap<u64, Vec<Answer>>,
}

impl Store {
    fn merge(&mut self, key: u64, delta: String) {
        let before = self.sums.get(&key).cloned();
        let mut sum = before.clone();
        sum.plus(Some(delta.clone()));
        self.sums.extend(sum.map(|sum| (key, sum)));
        self.answers.entry(key).or_default().push((before, delta));
    }
}

/// Priors are not lost when merges are buffered: for each key, what was before is the sum of all deltas until then, and
/// the deltas are what was added.
fn telescopes(mut buffer: impl Buffer<u64, String>, merges_max: usize) {
    let keys = keys(5_000);
    let (mut store, mut naive) = (Store::default(), BTreeMap::<u64, String>::new());
    for (at, key) in keys.iter().enumerate() {
        let value = format!("{at};");
        naive.entry(*key).or_default().push_str(&value);
        buffer.add(*key, value, &mut |key, delta| store.merge(key, delta));
        if at % 1_000 == 999 {
            buffer.flush(&mut |key, delta| store.merge(key, delta));
            assert_eq!(store.sums, naive);
        }
    }
    let merges = store.answers.values().map(Vec::len).sum::<usize>();
    assert!(merges <= merges_max, "merges={merges}");
    for (key, answers) in store.answers {
        let mut sum = None;
        for (before, delta) in answers {
            assert_eq!(before, sum, "key={key}");
            sum.plus(Some(delta));
        }
        assert_eq!(sum.as_ref(), naive.get(&key));
    }
}

#[test]
fn priors_are_kept_behind_every_buffer() {
    let weigh = |_key: &u64, sum: &String| sum.len() + 40;
    telescopes(Unbuffered, 5_000);
    telescopes(SummingQueue::new(Bound::keys(100)), 3_200);
    telescopes(SummingCache::new(Bound::keys(100)), 3_200);
    telescopes(SummingCache::new(Bound::keys(100).and_bytes(2_000, weigh)), 4_000);
    telescopes(HeavyHitterCache::new(Bound::keys(100), 3), 3_200);
    telescopes(AdaptiveCache::new(4, Bound::keys(400)), 3_200);
}

/// What is aggregated before it is sent, buffered and merged is what is aggregated at once.
#[test]
fn states_pass_through_a_buffer() {
    let words = aggregate::to_vec().by_key(|word: &String| word.len());
    laws::aggregates(&words, &self::words(), &[2, 3]).unwrap();
    let inner = aggregate::to_vec();
    let mut queue = SummingQueue::new(Bound::keys(2));
    let mut sums = BTreeMap::<usize, Vec<String>>::new();
    let mut merge = |key, state| sums.plus(BTreeMap::from([(key, state)]));
    for word in &self::words() {
        queue.add(word.len(), inner.prepare(word), &mut merge);
    }
    queue.flush(&mut merge);
    assert_eq!(words.present(sums), words.total(&self::words()));
}
