//! Costs: aggregates beside loops written by hand, and each buffer beside a bare map.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;

use algebra::aggregate::{self, Aggregator, AggregatorExt};
use algebra::buffer::{
    AdaptiveCache, Bound, Buffer, HeavyHitterCache, SummingCache, SummingQueue, Unbuffered,
};
use algebra::{Average, Semigroup};
use divan::Bencher;
use divan::counter::ItemsCount;

const ITEMS: usize = 10_000;

struct Visit {
    page: u64,
    name: String,
    ms: u64,
    quick: bool,
}

/// SplitMix64 (Steele, Lea and Flood 2014).
fn random(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |at: u64| {
        let mut z = (seed + at).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

/// Key `k` of `keys` about as often as `1 / k`.
fn zipf(keys: f64) -> Vec<u64> {
    random(7)
        .take(ITEMS)
        .map(|word| keys.powf((word >> 11) as f64 / (1_u64 << 53) as f64) as u64)
        .collect()
}

fn visits() -> Vec<Visit> {
    zipf(1_000.0)
        .into_iter()
        .zip(random(1))
        .map(|(page, word)| Visit {
            page,
            name: format!("/pages/{page}"),
            ms: word % 5_000,
            quick: word % 3 == 0,
        })
        .collect()
}

/// Count, sum, largest, mean, and how many of a kind.
fn stats() -> impl Aggregator<Visit, Output: Copy> {
    (
        aggregate::count(),
        aggregate::sum().of(|visit: &Visit| &visit.ms),
        aggregate::max().of(|visit: &Visit| &visit.ms),
        aggregate::average().before(|visit: &Visit| visit.ms as f64),
        aggregate::count_if(|visit: &Visit| visit.quick),
    )
}

#[divan::bench]
fn five_joined(bencher: Bencher) {
    let (visits, stats) = (visits(), stats());
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| stats.aggregate(black_box(&visits)));
}

#[divan::bench]
fn five_by_hand(bencher: Bencher) {
    let visits = visits();
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let (mut count, mut sum, mut largest, mut quick) = (0_u64, 0_u64, 0_u64, 0_u64);
        let mut mean = Average::default();
        for visit in black_box(&visits) {
            count += 1;
            sum = sum.wrapping_add(visit.ms);
            largest = largest.max(visit.ms);
            mean.plus(Average::from(visit.ms as f64));
            quick += u64::from(visit.quick);
        }
        (count, sum, largest, mean, quick)
    });
}

/// Without the mean, whose division hides the rest.
#[divan::bench]
fn three_joined(bencher: Bencher) {
    let visits = visits();
    let three = (
        aggregate::count(),
        aggregate::sum().of(|visit: &Visit| &visit.ms),
        aggregate::max().of(|visit: &Visit| &visit.ms),
    );
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| three.aggregate(black_box(&visits)));
}

#[divan::bench]
fn three_by_hand(bencher: Bencher) {
    let visits = visits();
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let (mut count, mut sum, mut largest) = (0_u64, 0_u64, 0_u64);
        for visit in black_box(&visits) {
            count += 1;
            sum = sum.wrapping_add(visit.ms);
            largest = largest.max(visit.ms);
        }
        (count, sum, largest)
    });
}

#[divan::bench]
fn by_key_ordered(bencher: Bencher) {
    let visits = visits();
    let times = aggregate::sum()
        .of(|visit: &Visit| &visit.ms)
        .by_key(|visit: &Visit| visit.page);
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| times.total(black_box(&visits)));
}

#[divan::bench]
fn by_key_ordered_by_hand(bencher: Bencher) {
    let visits = visits();
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let mut times = BTreeMap::<u64, u64>::new();
        for visit in black_box(&visits) {
            *times.entry(visit.page).or_default() += visit.ms;
        }
        times
    });
}

#[divan::bench]
fn by_key_hashed(bencher: Bencher) {
    let visits = visits();
    let times = aggregate::sum()
        .of(|visit: &Visit| &visit.ms)
        .hashed_by_key(|visit: &Visit| visit.page);
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| times.total(black_box(&visits)));
}

#[divan::bench]
fn by_key_hashed_by_hand(bencher: Bencher) {
    let visits = visits();
    bencher.counter(ItemsCount::new(ITEMS)).bench(|| {
        let mut times = HashMap::<u64, u64>::new();
        for visit in black_box(&visits) {
            *times.entry(visit.page).or_default() += visit.ms;
        }
        times
    });
}

#[divan::bench]
fn by_name_computed(bencher: Bencher) {
    let visits = visits();
    let times = aggregate::sum()
        .of(|visit: &Visit| &visit.ms)
        .by_key(|visit: &Visit| visit.name.clone());
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| times.total(black_box(&visits)));
}

#[divan::bench]
fn by_name_of(bencher: Bencher) {
    let visits = visits();
    let times = aggregate::sum()
        .of(|visit: &Visit| &visit.ms)
        .by_key_of(|visit: &Visit| &visit.name);
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench(|| times.total(black_box(&visits)));
}

/// 10 000 adds of keys from 100 000, Zipf-like, to a buffer that already holds what it will.
fn adds<B: Buffer<u64, u64>>(bencher: Bencher, mut buffer: B) {
    let keys = zipf(100_000.0);
    let mut out = 0_u64;
    for key in &keys {
        buffer.add(*key, 1, &mut |_, _| {});
    }
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        for key in black_box(&keys) {
            buffer.add(*key, 1, &mut |key, sum| out = out.wrapping_add(key ^ sum));
        }
    });
    black_box(out);
}

#[divan::bench]
fn buffer_none(bencher: Bencher) {
    adds(bencher, Unbuffered);
}

#[divan::bench]
fn buffer_queue(bencher: Bencher) {
    adds(bencher, SummingQueue::new(Bound::keys(1_000)));
}

#[divan::bench]
fn buffer_cache(bencher: Bencher) {
    adds(bencher, SummingCache::new(Bound::keys(1_000)));
}

#[divan::bench]
fn buffer_cache_weighed(bencher: Bencher) {
    let weigh = |_key: &u64, _sum: &u64| 64;
    adds(
        bencher,
        SummingCache::new(Bound::keys(1_000).and_bytes(64_000, weigh)),
    );
}

#[divan::bench]
fn buffer_heavy_hitters(bencher: Bencher) {
    adds(bencher, HeavyHitterCache::new(Bound::keys(1_000), 3));
}

#[divan::bench]
fn buffer_adaptive(bencher: Bencher) {
    adds(bencher, AdaptiveCache::new(100, Bound::keys(1_000)));
}

/// Without a bound: what a map costs.
#[divan::bench]
fn buffer_bare_map(bencher: Bencher) {
    let keys = zipf(100_000.0);
    let mut sums = HashMap::<u64, u64>::new();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        for key in black_box(&keys) {
            *sums.entry(*key).or_default() += 1;
        }
    });
}
