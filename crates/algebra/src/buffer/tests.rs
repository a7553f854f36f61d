//! Each buffer beside a naive one over a `Vec`, and the laws of each; strings show whether left stays left.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::Semigroup;

type Adds = Vec<(u8, String)>;

fn adds() -> impl Strategy<Value = Adds> {
    vec((0..8_u8, "[a-z]{0,3}"), 0..200)
}

/// What comes out at each add, and at the flush after them.
fn run(mut buffer: impl Buffer<u8, String>, adds: &Adds) -> Vec<Adds> {
    let mut outs: Vec<Adds> = adds
        .iter()
        .map(|(key, value)| {
            let mut out = Vec::new();
            buffer.add(*key, value.clone(), &mut |key, sum| out.push((key, sum)));
            out
        })
        .collect();
    let mut rest = Vec::new();
    buffer.flush(&mut |key, sum| rest.push((key, sum)));
    rest.sort();
    outs.push(rest);
    outs
}

/// A naive buffer: entries in order, and whether and how to admit and evict as functions of them.
#[derive(Default)]
struct Naive {
    entries: Adds,
    keys_max: usize,
    bytes_max: usize,
    /// All go out when one is too much, and places stay; else the first does, and what is used goes to the end.
    in_batches: bool,
}

impl Naive {
    fn queue(keys_max: usize, bytes_max: usize) -> Self {
        Self {
            keys_max,
            bytes_max,
            in_batches: true,
            ..Self::default()
        }
    }

    fn cache(keys_max: usize, bytes_max: usize) -> Self {
        Self {
            keys_max,
            bytes_max,
            ..Self::default()
        }
    }
}

impl Buffer<u8, String> for Naive {
    fn add(&mut self, key: u8, value: String, out: &mut dyn FnMut(u8, String)) {
        let found = self.entries.iter().position(|entry| entry.0 == key);
        if self.in_batches && found.is_none() && self.entries.len() == self.keys_max {
            self.flush(out);
        }
        match found {
            Some(at) if self.in_batches => self.entries[at].1.plus(value),
            Some(at) => {
                let mut entry = self.entries.remove(at);
                entry.1.plus(value);
                self.entries.push(entry);
            }
            None => self.entries.push((key, value)),
        }
        while self.entries.len() > self.keys_max
            || self.entries.iter().map(|entry| entry.1.len()).sum::<usize>() > self.bytes_max
        {
            if self.in_batches {
                return self.flush(out);
            }
            let (key, sum) = self.entries.remove(0);
            out(key, sum);
        }
    }

    fn flush(&mut self, out: &mut dyn FnMut(u8, String)) {
        self.entries.drain(..).for_each(|(key, sum)| out(key, sum));
    }

    fn len(&self) -> usize {
        self.entries.len()
    }
}

/// The admission of a [`HeavyHitterCache`], with exact counts.
struct NaiveHeavy {
    held: Naive,
    seen: [u8; 8],
    total: usize,
    seen_min: u8,
}

impl Buffer<u8, String> for NaiveHeavy {
    fn add(&mut self, key: u8, value: String, out: &mut dyn FnMut(u8, String)) {
        if self.total == 64 {
            self.seen.iter_mut().for_each(|count| *count /= 2);
            self.total = 0;
        }
        self.total += 1;
        self.seen[key as usize] += 1;
        let count = self.seen[key as usize];
        let held = self.held.entries.iter().any(|entry| entry.0 == key);
        let beats = |rival: &(u8, String)| count > self.seen[rival.0 as usize];
        let fits =
            self.held.entries.len() < self.held.keys_max || self.held.entries.first().is_some_and(beats);
        if held || (count >= self.seen_min && fits) {
            self.held.add(key, value, out);
        } else {
            out(key, value);
        }
    }

    fn flush(&mut self, out: &mut dyn FnMut(u8, String)) {
        self.held.flush(out);
    }

    fn len(&self) -> usize {
        self.held.len()
    }
}

/// Only the characters of the sum weigh.
const WEIGH: fn(&u8, &String) -> usize = |_key, sum| sum.len();

proptest! {
    #[test]
    fn lawful(adds in adds(), keys_max in 0..6_usize, bytes_max in 0..12_usize) {
        let bound = Bound::keys(keys_max);
        let weighed = bound.and_bytes(bytes_max, WEIGH);
        laws::passes_sums(&mut Unbuffered, &adds, 0)?;
        laws::passes_sums(&mut SummingQueue::new(bound), &adds, keys_max)?;
        laws::passes_sums(&mut SummingQueue::new(weighed), &adds, keys_max)?;
        laws::passes_sums(&mut SummingCache::new(bound), &adds, keys_max)?;
        laws::passes_sums(&mut SummingCache::new(weighed), &adds, keys_max)?;
        laws::passes_sums(&mut HeavyHitterCache::new(bound, 2), &adds, keys_max)?;
        laws::passes_sums(&mut HeavyHitterCache::new(weighed, 3), &adds, keys_max)?;
        laws::passes_sums(&mut AdaptiveCache::new(1, bound), &adds, keys_max)?;
        laws::passes_sums(&mut AdaptiveCache::new(2, weighed), &adds, keys_max)?;
    }

    #[test]
    fn like_the_naive_twin(adds in adds(), keys_max in 1..6_usize, bytes_max in 0..12_usize) {
        let bound = Bound::keys(keys_max);
        let weighed = bound.and_bytes(bytes_max, WEIGH);
        prop_assert_eq!(run(SummingQueue::new(bound), &adds), run(Naive::queue(keys_max, usize::MAX), &adds));
        prop_assert_eq!(run(SummingQueue::new(weighed), &adds), run(Naive::queue(keys_max, bytes_max), &adds));
        prop_assert_eq!(run(SummingCache::new(bound), &adds), run(Naive::cache(keys_max, usize::MAX), &adds));
        prop_assert_eq!(run(SummingCache::new(weighed), &adds), run(Naive::cache(keys_max, bytes_max), &adds));
        prop_assert_eq!(
            run(AdaptiveCache::new(keys_max, weighed), &adds),
            run(Naive::cache(keys_max, bytes_max), &adds)
        );
    }

    #[test]
    fn heavy_hitters_like_the_naive_twin(adds in adds(), keys_max in 1..6_usize, seen_min in 0..9_u8) {
        let naive = NaiveHeavy {
            held: Naive::cache(keys_max, usize::MAX),
            seen: [0; 8],
            total: 0,
            seen_min,
        };
        prop_assert_eq!(run(HeavyHitterCache::new(Bound::keys(keys_max), seen_min), &adds), run(naive, &adds));
    }

    #[test]
    fn capacity_stays_within_its_limits(
        capacity in 0..1_000_usize,
        adds in 0..1_000_usize,
        hits in 0..1_000_usize,
        ghost_hits in 0..1_000_usize,
        limits in (0..500_usize, 500..1_000_usize),
    ) {
        let observed = Observed { adds, hits, ghost_hits };
        let next = next_capacity(capacity, observed, &(limits.0..=limits.1));
        prop_assert!((limits.0..=limits.1).contains(&next));
    }
}

#[test]
fn capacity_follows_what_pays() {
    let next = |hits, ghost_hits| {
        let observed = Observed {
            adds: 1_000,
            hits,
            ghost_hits,
        };
        next_capacity(100, observed, &(10..=1_000))
    };
    assert_eq!(next(0, 50), 200, "a twentieth would have been summed");
    assert_eq!(next(900, 49), 100, "it is large enough");
    assert_eq!(next(20, 0), 100, "it just pays");
    assert_eq!(next(19, 0), 50, "it does not pay");
    assert_eq!(next(0, 20), 100, "it would just pay");
    assert_eq!(next_capacity(0, Observed::default(), &(0..=0)), 0);
}

#[test]
fn adapts_to_the_keys() {
    let mut cache = AdaptiveCache::new(16, Bound::keys(1_000));
    let mut out = 0;
    let mut offer = |cache: &mut AdaptiveCache<u64, u64>, keys: &mut dyn Iterator<Item = u64>| {
        out = 0;
        keys.for_each(|key| cache.add(key, 1, &mut |_, _| out += 1));
        out
    };
    offer(&mut cache, &mut (0..20_000).map(|at| at % 300));
    let grown = cache.capacity();
    assert!((300..=1_000).contains(&grown), "capacity={grown}");
    assert_eq!(
        offer(&mut cache, &mut (0..3_000).map(|at| at % 300)),
        0,
        "all are held"
    );
    offer(&mut cache, &mut (1_000..101_000));
    assert_eq!(cache.capacity(), 16, "none of those came twice");
}

/// Hot keys among keys that come once: these push hot ones out of a cache, but not out of one for heavy hitters.
#[test]
fn hot_keys_stay() {
    let keys: Vec<u64> = (0..20_000)
        .flat_map(|at| [at % 10, 1_000 + 3 * at, 1_001 + 3 * at, 1_002 + 3 * at])
        .collect();
    let hot_outs = |buffer: &mut dyn Buffer<u64, u64>| {
        let mut outs = 0;
        for key in &keys {
            buffer.add(*key, 1, &mut |key, _| outs += u64::from(key < 10));
        }
        outs
    };
    assert_eq!(
        hot_outs(&mut SummingCache::new(Bound::keys(20))),
        19_995,
        "5 are still held"
    );
    let outs = hot_outs(&mut HeavyHitterCache::new(Bound::keys(20), 4));
    assert!(outs < 1_000, "outs={outs}");
}

/// Sums to the left instead of the right, forgets at the flush, and holds one more than it may.
struct Broken(Vec<(u8, String)>);

impl Buffer<u8, String> for Broken {
    fn add(&mut self, key: u8, mut value: String, _out: &mut dyn FnMut(u8, String)) {
        match self.0.iter_mut().find(|entry| entry.0 == key) {
            Some((_, sum)) => {
                value.plus(std::mem::take(sum));
                *sum = value;
            }
            None => self.0.push((key, value)),
        }
    }

    fn flush(&mut self, out: &mut dyn FnMut(u8, String)) {
        self.0.drain(..).take(2).for_each(|(key, sum)| out(key, sum));
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn what_is_broken_is_found() {
    let broken = |adds: &[(u8, &str)], keys_max| {
        let adds: Adds = adds
            .iter()
            .map(|(key, value)| (*key, (*value).to_owned()))
            .collect();
        laws::passes_sums(&mut Broken(Vec::new()), &adds, keys_max)
            .map_err(|broken| broken.to_string())
            .err()
            .unwrap_or_default()
    };
    assert_eq!(broken(&[(1, "a"), (2, "b")], 2), "");
    assert!(broken(&[(1, "a"), (2, "b")], 1).starts_with("len ≤ keys_max"));
    assert!(broken(&[(1, "a"), (1, "b")], 2).starts_with("what came out = what was summed in"));
    assert!(broken(&[(1, "a"), (2, "b"), (3, "c")], 3).starts_with("len = how many keys are held"));
}

#[test]
fn dropped_early_the_buffer_keeps_the_rest() {
    let mut queue = SummingQueue::new(Bound::keys(1));
    let pairs = [(1, "a"), (1, "b"), (2, "c"), (3, "d")].map(|(key, value)| (key, value.to_owned()));
    let first = queue.through(pairs).next();
    assert_eq!(first, Some((1, "ab".to_owned())));
    let mut rest = queue.through([]);
    assert_eq!(rest.next(), Some((2, "c".to_owned())));
    assert_eq!((rest.next(), rest.next()), (None, None));
}
