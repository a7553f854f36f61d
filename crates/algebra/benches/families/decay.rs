//! Costs: what fades, what slides.

use std::collections::{HashMap, VecDeque};
use std::hint::black_box;

use algebra::codec::Codec;
use algebra::sketch::{DecayingCountMin, ExponentialHistogram, Sketch};
use algebra::{DecayedValue, DecayedVector, ExponentialAverage, ForwardDecay, Monoid, Semigroup, Window};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};

const ITEMS: usize = 10_000;
const MINUTE: u64 = 60_000;

type Histogram = ExponentialHistogram<50, 1_000_000>;
type Counts = DecayingCountMin<MINUTE, 1_024, 4>;

/// Times ten apart, each with a value.
fn parts() -> Vec<(u64, f64)> {
    (0..ITEMS as u64)
        .map(|index| (10 * index, index as f64))
        .collect()
}

/// Times and keys of a skewed distribution.
fn keyed() -> Vec<(u64, u64)> {
    (0..ITEMS as u64)
        .map(|index| (10 * index, (index * 2_654_435_761 % 1_000).pow(2) / 1_000))
        .collect()
}

fn add_all<X, S: Sketch<X>>(bencher: Bencher<'_, '_>, items: &[X]) {
    bencher.counter(ItemsCount::new(items.len())).bench_local(|| {
        let mut sketch = S::zero();
        items.iter().for_each(|item| sketch.add(item));
        sketch
    });
}

/// Of two values that are equal but for what `item` adds to one of them.
fn merge<X, S: Sketch<X> + Clone + Codec>(bencher: Bencher<'_, '_>, items: &[X], item: &X) {
    let mut left = S::zero();
    items.iter().for_each(|item| left.add(item));
    let mut right = left.clone();
    right.add(item);
    bencher
        .counter(BytesCount::new(right.to_bytes().len()))
        .with_inputs(|| (left.clone(), right.clone()))
        .bench_local_values(|(mut left, right)| {
            left.plus(right);
            left
        });
}

#[divan::bench]
fn value_add(bencher: Bencher<'_, '_>) {
    add_all::<_, DecayedValue<MINUTE>>(bencher, &parts());
}

#[divan::bench]
fn value_plus(bencher: Bencher<'_, '_>) {
    let parts: Vec<_> = parts().into_iter().map(DecayedValue::<MINUTE>::from).collect();
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| DecayedValue::sum(black_box(&parts).iter().copied()));
}

/// As it is mostly written: the value and its time, faded at each part.
#[divan::bench]
fn value_add_naive(bencher: Bencher<'_, '_>) {
    let parts = parts();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let (mut value, mut time) = (0.0, 0);
        for (at, part) in black_box(&parts) {
            value = value * (-((at - time) as f64) / MINUTE as f64).exp2() + part;
            time = *at;
        }
        value
    });
}

#[divan::bench]
fn vector_add(bencher: Bencher<'_, '_>) {
    let parts: Vec<_> = keyed().into_iter().map(|(time, key)| (time, key, 1.0)).collect();
    add_all::<_, DecayedVector<u64, MINUTE>>(bencher, &parts);
}

#[divan::bench]
fn vector_merge(bencher: Bencher<'_, '_>) {
    let parts: Vec<_> = keyed().into_iter().map(|(time, key)| (time, key, 1.0)).collect();
    merge::<_, DecayedVector<u64, MINUTE>>(bencher, &parts, &(10 * MINUTE, 1, 1.0));
}

#[divan::bench]
fn exponential_average_add(bencher: Bencher<'_, '_>) {
    let items: Vec<f64> = parts().into_iter().map(|part| part.1).collect();
    add_all::<_, ExponentialAverage<10_000>>(bencher, &items);
}

#[divan::bench]
fn exponential_average_plus(bencher: Bencher<'_, '_>) {
    let pairs: Vec<_> = parts()
        .chunks(2)
        .filter_map(|pair| ExponentialAverage::<10_000>::sum(pair.iter().map(|part| part.1.into())))
        .collect();
    bencher
        .counter(ItemsCount::new(pairs.len()))
        .bench_local(|| ExponentialAverage::sum(black_box(&pairs).iter().copied()));
}

#[divan::bench]
fn forward_add(bencher: Bencher<'_, '_>) {
    add_all::<_, ForwardDecay<0, 2>>(bencher, &parts());
}

#[divan::bench]
fn window_add(bencher: Bencher<'_, '_>) {
    add_all::<_, Window<(u64, f64), 100>>(bencher, &parts());
}

#[divan::bench]
fn histogram_add(bencher: Bencher<'_, '_>) {
    let events: Vec<_> = (0..ITEMS as u64).map(|index| (100 * index, 1)).collect();
    add_all::<_, Histogram>(bencher, &events);
}

/// Each time, kept as long as it is in the window.
#[divan::bench]
fn histogram_add_naive(bencher: Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let mut times = VecDeque::new();
        for time in (0..ITEMS as u64).map(|index| 100 * index) {
            while times.front().is_some_and(|first| first + 1_000_000 <= time) {
                times.pop_front();
            }
            times.push_back(black_box(time));
        }
        times
    });
}

#[divan::bench]
fn histogram_merge(bencher: Bencher<'_, '_>) {
    let events: Vec<_> = (0..ITEMS as u64).map(|index| (100 * index, 1)).collect();
    merge::<_, Histogram>(bencher, &events, &(50, 1));
}

#[divan::bench]
fn histogram_count(bencher: Bencher<'_, '_>) {
    let mut histogram = Histogram::new();
    (0..ITEMS as u64).for_each(|index| histogram.add_at(100 * index, 1));
    bencher.bench_local(|| black_box(&histogram).count_at(1_000_000));
}

#[divan::bench]
fn count_min_add(bencher: Bencher<'_, '_>) {
    add_all::<_, Counts>(bencher, &keyed());
}

/// Each key with its own fading count.
#[divan::bench]
fn count_min_add_naive(bencher: Bencher<'_, '_>) {
    let items = keyed();
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        let mut counts: HashMap<u64, DecayedValue<MINUTE>> = HashMap::new();
        for (time, key) in black_box(&items) {
            counts.entry(*key).or_default().add_at(*time, 1.0);
        }
        counts
    });
}

#[divan::bench]
fn count_min_merge(bencher: Bencher<'_, '_>) {
    merge::<_, Counts>(bencher, &keyed(), &(10 * MINUTE, 1));
}

#[divan::bench]
fn count_min_at(bencher: Bencher<'_, '_>) {
    let items = keyed();
    let mut counts = Counts::zero();
    items.iter().for_each(|item| counts.add(item));
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        items
            .iter()
            .map(|(_, key)| counts.at(100_000, black_box(key)))
            .sum::<f64>()
    });
}
