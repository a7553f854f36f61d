//! Costs of what counts distinct items: update (time for 10 000 items), merge, estimate.

use std::collections::HashSet;
use std::hint::black_box;

use algebra::Semigroup;
use algebra::codec::Codec;
use algebra::sketch::{Bloom, HyperLogLog, HyperLogLogSeries, MinHash, Sketch, Theta};
use datasketches::bloom::{BloomFilter, BloomFilterBuilder};
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{HllSketch, HllType, HllUnion};
use datasketches::theta::{ThetaSketch, ThetaSketchBuilder, ThetaUnionBuilder};
use divan::Bencher;
use divan::counter::ItemsCount;

const BATCH: u64 = 10_000;
/// So many items are in a sketch before it is measured.
const BEFORE: u64 = 1_000_000;

fn filled<S: Sketch<u64>>(first: u64) -> S {
    let mut sketch = S::zero();
    (first..first + BEFORE).for_each(|item| sketch.add(&item));
    sketch
}

/// New items into a sketch that has seen many.
fn update<S>(bencher: Bencher<'_, '_>, mut sketch: S, mut add: impl FnMut(&mut S, u64)) {
    let mut next = BEFORE;
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for item in next..next + BATCH {
            add(&mut sketch, black_box(item));
        }
        next += BATCH;
    });
    black_box(sketch);
}

/// Items into a sketch that is made for them.
fn fresh<S>(bencher: Bencher<'_, '_>, make: impl Fn() -> S, add: impl Fn(&mut S, u64)) {
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        let mut sketch = make();
        for item in 0..BATCH {
            add(&mut sketch, black_box(item));
        }
        sketch
    });
}

/// Of two full sketches; the copies are made outside of what is timed.
fn merge<S: Semigroup + Clone>(bencher: Bencher<'_, '_>, left: S, right: S) {
    bencher
        .with_inputs(|| (left.clone(), right.clone()))
        .bench_local_values(|(mut left, right)| {
            left.plus(right);
            left
        });
}

fn library_hll(lg_k: u8) -> HllSketch {
    HllSketch::new(lg_k, HllType::Hll8).expect("lg_k is within range")
}

fn library_theta(lg_k: u8) -> ThetaSketch {
    ThetaSketchBuilder::default()
        .lg_k(lg_k)
        .build()
        .expect("lg_k is within range")
}

fn library_bloom() -> BloomFilter {
    let builder = BloomFilterBuilder::with_size(958_528, 7);
    builder.build().expect("the shape is within range")
}

mod update_ {
    use super::*;

    #[divan::bench]
    fn hll_12(bencher: Bencher<'_, '_>) {
        update(bencher, filled::<HyperLogLog<12>>(0), |sketch, item| {
            sketch.add(&item)
        });
    }

    #[divan::bench]
    fn hll_14(bencher: Bencher<'_, '_>) {
        update(bencher, filled::<HyperLogLog<14>>(0), |sketch, item| {
            sketch.add(&item)
        });
    }

    #[divan::bench(args = [12, 14])]
    fn hll_library(bencher: Bencher<'_, '_>, lg_k: u8) {
        let mut sketch = library_hll(lg_k);
        (0..BEFORE).for_each(|item| sketch.update(item));
        update(bencher, sketch, |sketch, item| sketch.update(item));
    }

    /// Of 5 to 36 bytes.
    fn texts() -> Vec<String> {
        (0..BATCH)
            .map(|item| format!("item-{}", "x".repeat(item as usize % 32)))
            .collect()
    }

    #[divan::bench]
    fn hll_12_texts(bencher: Bencher<'_, '_>) {
        let texts = texts();
        update(bencher, filled::<HyperLogLog<12>>(0), |sketch, item| {
            sketch.add(&texts[(item % BATCH) as usize]);
        });
    }

    #[divan::bench]
    fn hll_library_12_texts(bencher: Bencher<'_, '_>) {
        let texts = texts();
        let mut sketch = library_hll(12);
        (0..BEFORE).for_each(|item| sketch.update(item));
        update(bencher, sketch, |sketch, item| {
            sketch.update(raw_bytes::from_str(&texts[(item % BATCH) as usize]));
        });
    }

    #[divan::bench]
    fn hll_series_12(bencher: Bencher<'_, '_>) {
        let mut series = HyperLogLogSeries::<12>::new();
        (0..BEFORE).for_each(|item| series.add_at(item, &item));
        update(bencher, series, |series, item| series.add_at(item, &item));
    }

    #[divan::bench]
    fn theta_12(bencher: Bencher<'_, '_>) {
        update(bencher, filled::<Theta<12>>(0), |sketch, item| sketch.add(&item));
    }

    #[divan::bench]
    fn theta_library_12(bencher: Bencher<'_, '_>) {
        let mut sketch = library_theta(12);
        (0..BEFORE).for_each(|item| sketch.update(item));
        update(bencher, sketch, |sketch, item| sketch.update(item));
    }

    #[divan::bench]
    fn bloom(bencher: Bencher<'_, '_>) {
        update(bencher, Bloom::<958_528, 7>::new(), |sketch, item| {
            sketch.add(&item)
        });
    }

    #[divan::bench]
    fn bloom_library(bencher: Bencher<'_, '_>) {
        update(bencher, library_bloom(), |sketch, item| sketch.insert(item));
    }

    #[divan::bench]
    fn min_hash_256(bencher: Bencher<'_, '_>) {
        update(bencher, filled::<MinHash<256>>(0), |sketch, item| {
            sketch.add(&item)
        });
    }

    #[divan::bench]
    fn hash_set(bencher: Bencher<'_, '_>) {
        let exact: HashSet<u64> = (0..BEFORE).collect();
        update(bencher, exact, |exact, item| {
            exact.insert(item);
        });
    }
}

mod fresh_ {
    use super::*;

    #[divan::bench]
    fn hll_12(bencher: Bencher<'_, '_>) {
        fresh(bencher, HyperLogLog::<12>::new, |sketch, item| sketch.add(&item));
    }

    #[divan::bench]
    fn hll_library_12(bencher: Bencher<'_, '_>) {
        fresh(bencher, || library_hll(12), |sketch, item| sketch.update(item));
    }

    #[divan::bench]
    fn hll_12_of_300(bencher: Bencher<'_, '_>) {
        fresh(bencher, HyperLogLog::<12>::new, |sketch, item| {
            sketch.add(&(item % 300))
        });
    }

    #[divan::bench]
    fn hll_library_12_of_300(bencher: Bencher<'_, '_>) {
        fresh(
            bencher,
            || library_hll(12),
            |sketch, item| sketch.update(item % 300),
        );
    }

    #[divan::bench]
    fn theta_12(bencher: Bencher<'_, '_>) {
        fresh(bencher, Theta::<12>::new, |sketch, item| sketch.add(&item));
    }

    #[divan::bench]
    fn theta_library_12(bencher: Bencher<'_, '_>) {
        fresh(bencher, || library_theta(12), |sketch, item| sketch.update(item));
    }

    #[divan::bench]
    fn min_hash_256(bencher: Bencher<'_, '_>) {
        fresh(bencher, MinHash::<256>::new, |sketch, item| sketch.add(&item));
    }

    #[divan::bench]
    fn hash_set(bencher: Bencher<'_, '_>) {
        fresh(bencher, HashSet::<u64>::new, |exact, item| {
            exact.insert(item);
        });
    }
}

mod merge_ {
    use super::*;

    #[divan::bench]
    fn hll_12(bencher: Bencher<'_, '_>) {
        merge(bencher, filled::<HyperLogLog<12>>(0), filled(BEFORE));
    }

    #[divan::bench]
    fn hll_14(bencher: Bencher<'_, '_>) {
        merge(bencher, filled::<HyperLogLog<14>>(0), filled(BEFORE));
    }

    #[divan::bench(args = [12, 14])]
    fn hll_library(bencher: Bencher<'_, '_>, lg_k: u8) {
        let [left, right] = [0, BEFORE].map(|first| {
            let mut sketch = library_hll(lg_k);
            (first..first + BEFORE).for_each(|item| sketch.update(item));
            sketch
        });
        let mut union = HllUnion::new(lg_k).expect("lg_k is within range");
        union.update(&left);
        bencher.bench_local(|| union.update(black_box(&right)));
    }

    #[divan::bench]
    fn hll_12_of_300(bencher: Bencher<'_, '_>) {
        let [left, right] = [0, 100].map(|first| {
            let mut sketch = HyperLogLog::<12>::new();
            (first..first + 200_u64).for_each(|item| sketch.add(&item));
            sketch
        });
        merge(bencher, left, right);
    }

    #[divan::bench]
    fn hll_series_12(bencher: Bencher<'_, '_>) {
        let [left, right] = [0, BEFORE].map(|first| {
            let mut series = HyperLogLogSeries::<12>::new();
            (first..first + BEFORE).for_each(|item| series.add_at(item, &item));
            series
        });
        merge(bencher, left, right);
    }

    #[divan::bench]
    fn theta_12(bencher: Bencher<'_, '_>) {
        merge(bencher, filled::<Theta<12>>(0), filled(BEFORE));
    }

    #[divan::bench]
    fn theta_library_12(bencher: Bencher<'_, '_>) {
        let [left, right] = [0, BEFORE].map(|first| {
            let mut sketch = library_theta(12);
            (first..first + BEFORE).for_each(|item| sketch.update(item));
            sketch
        });
        bencher.bench_local(|| {
            let mut union = ThetaUnionBuilder::default()
                .lg_k(12)
                .build()
                .expect("lg_k is within range");
            union.update(black_box(&left)).expect("one seed");
            union.update(black_box(&right)).expect("one seed");
            union.to_sketch(true)
        });
    }

    #[divan::bench]
    fn bloom(bencher: Bencher<'_, '_>) {
        merge(bencher, filled::<Bloom<958_528, 7>>(0), filled(BEFORE));
    }

    #[divan::bench]
    fn min_hash_256(bencher: Bencher<'_, '_>) {
        merge(bencher, filled::<MinHash<256>>(0), filled(BEFORE));
    }

    #[divan::bench(sample_count = 10)]
    fn hash_set(bencher: Bencher<'_, '_>) {
        let [left, right] = [0, BEFORE].map(|first| (first..first + BEFORE).collect::<HashSet<u64>>());
        bencher
            .with_inputs(|| (left.clone(), right.clone()))
            .bench_local_values(|(mut left, right)| {
                left.extend(right);
                left
            });
    }
}

mod answer {
    use super::*;

    #[divan::bench]
    fn hll_12_estimate(bencher: Bencher<'_, '_>) {
        let sketch = filled::<HyperLogLog<12>>(0);
        bencher.bench_local(|| black_box(&sketch).estimate());
    }

    #[divan::bench]
    fn hll_12_to_bytes(bencher: Bencher<'_, '_>) {
        let sketch = filled::<HyperLogLog<12>>(0);
        bencher.bench_local(|| black_box(&sketch).to_bytes());
    }

    #[divan::bench]
    fn hll_12_from_bytes(bencher: Bencher<'_, '_>) {
        let bytes = filled::<HyperLogLog<12>>(0).to_bytes();
        bencher.bench_local(|| HyperLogLog::<12>::from_bytes(black_box(&bytes)));
    }

    #[divan::bench]
    fn theta_12_to_bytes(bencher: Bencher<'_, '_>) {
        let sketch = filled::<Theta<12>>(0);
        bencher.bench_local(|| black_box(&sketch).to_bytes());
    }

    #[divan::bench]
    fn theta_12_from_bytes(bencher: Bencher<'_, '_>) {
        let bytes = filled::<Theta<12>>(0).to_bytes();
        bencher.bench_local(|| Theta::<12>::from_bytes(black_box(&bytes)));
    }

    #[divan::bench]
    fn hll_series_12_since(bencher: Bencher<'_, '_>) {
        let mut series = HyperLogLogSeries::<12>::new();
        (0..BEFORE).for_each(|item| series.add_at(item, &item));
        bencher.bench_local(|| black_box(&series).since(BEFORE / 2));
    }

    #[divan::bench]
    fn theta_12_estimate(bencher: Bencher<'_, '_>) {
        let sketch = filled::<Theta<12>>(0);
        bencher.bench_local(|| black_box(&sketch).estimate());
    }

    #[divan::bench]
    fn theta_12_intersect(bencher: Bencher<'_, '_>) {
        let (left, right) = (filled::<Theta<12>>(0), filled::<Theta<12>>(BEFORE / 2));
        bencher.bench_local(|| black_box(&left).intersect(&right));
    }

    #[divan::bench]
    fn min_hash_256_similarity(bencher: Bencher<'_, '_>) {
        let (left, right) = (filled::<MinHash<256>>(0), filled::<MinHash<256>>(BEFORE / 2));
        bencher.bench_local(|| black_box(&left).similarity(&right));
    }
}
