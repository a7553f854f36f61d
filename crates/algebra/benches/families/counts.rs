//! Costs: Count-Min, heavy hitters, frequent items, top K, samples; beside the bare library and exact maps.
//!
//! 10 000 items of up to 50 000 different ones, the `n`-th `1 / n` as often as the first; an error of a thousandth with
//! a confidence of 99 %. Bytes, as serialised: Count-Min of 2719 × 5 108 784, of frequent items 1024 places, full,
//! 12 320.

use std::collections::HashMap;
use std::hash::Hash;

use algebra::Semigroup;
use algebra::sketch::{CountMin, FrequentItems, HeavyHitters, Largest, Sample, Sketch, SketchMap};
use datasketches::countmin::CountMinSketch;
use datasketches::frequencies::FrequentItemsSketch;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

type Table = CountMin<2719, 5>;
type Frequent = FrequentItems<u64, 10>;
/// From a hundredth on.
type Heavy = HeavyHitters<u64, 10_000, 2719, 5>;

const ITEMS: usize = 10_000;

/// SplitMix64 (Steele, Lea and Flood 2014), as ranks with Zipf's law.
fn items(seed: u64) -> Vec<u64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) as f64 / 2_f64.powi(64)
    };
    (0..ITEMS).map(|_| 50_000_f64.powf(next()) as u64).collect()
}

fn names(seed: u64) -> Vec<String> {
    items(seed)
        .iter()
        .map(|item| format!("/page/of/a/site/{item}"))
        .collect()
}

fn raw_table() -> CountMinSketch<u64> {
    CountMinSketch::new(5, 2719).expect("a shape that it takes")
}

fn raw_frequent<T: Eq + Hash>() -> FrequentItemsSketch<T> {
    FrequentItemsSketch::new(1024).expect("a size that it takes")
}

/// Adds all items to a value that has had others before.
fn add<T, S: Clone + Send + Sync>(
    bencher: Bencher<'_, '_>,
    items: &[T],
    mut sketch: S,
    add: impl Fn(&mut S, &T) + Sync,
) where
    T: Sync,
{
    items.iter().for_each(|item| add(&mut sketch, item));
    bencher.counter(ItemsCount::new(items.len())).bench_local(|| {
        items.iter().for_each(|item| add(&mut sketch, black_box(item)));
    });
}

fn merge<S: Semigroup + Clone + Sync>(bencher: Bencher<'_, '_>, build: impl Fn(&[u64]) -> S) {
    let (left, right) = (build(&items(1)), build(&items(2)));
    bencher
        .with_inputs(|| (left.clone(), right.clone()))
        .bench_values(|(mut left, right)| {
            left.plus(right);
            left
        });
}

fn built<S: Sketch<u64>>(items: &[u64]) -> S {
    let mut sketch = S::zero();
    items.iter().for_each(|item| sketch.add(item));
    sketch
}

mod add_integers {
    use super::*;

    #[divan::bench]
    fn count_min(bencher: Bencher<'_, '_>) {
        add(bencher, &items(1), Table::new(), |sketch, item| sketch.add(item));
    }

    #[divan::bench]
    fn count_min_raw(bencher: Bencher<'_, '_>) {
        let raw = raw_table();
        add(bencher, &items(1), raw, |sketch, item| sketch.update(item));
    }

    #[divan::bench]
    fn frequent_items(bencher: Bencher<'_, '_>) {
        add(bencher, &items(1), Frequent::new(), |sketch, item| {
            sketch.add(item)
        });
    }

    #[divan::bench]
    fn frequent_items_raw(bencher: Bencher<'_, '_>) {
        let raw = raw_frequent::<u64>();
        add(bencher, &items(1), raw, |sketch, item| sketch.update(*item));
    }

    #[divan::bench]
    fn heavy_hitters(bencher: Bencher<'_, '_>) {
        add(bencher, &items(1), Heavy::new(), |sketch, item| sketch.add(item));
    }

    #[divan::bench]
    fn sketch_map(bencher: Bencher<'_, '_>) {
        let sketch = SketchMap::<u64, u64, 100, 2719, 5>::new();
        add(bencher, &items(1), sketch, |sketch, item| {
            sketch.add_value(item, 1)
        });
    }

    #[divan::bench]
    fn largest_100(bencher: Bencher<'_, '_>) {
        add(bencher, &items(1), Largest::<u64, 100>::new(), |sketch, item| {
            sketch.add(item)
        });
    }

    #[divan::bench]
    fn sample_100(bencher: Bencher<'_, '_>) {
        let sample = Sample::<u64, 100, 1>::new();
        add(bencher, &items(1), sample, |sketch, item| {
            sketch.insert(item, *item)
        });
    }

    #[divan::bench]
    fn hash_map(bencher: Bencher<'_, '_>) {
        add(bencher, &items(1), HashMap::<u64, u64>::new(), |counts, item| {
            *counts.entry(*item).or_default() += 1;
        });
    }
}

mod add_strings {
    use super::*;

    #[divan::bench]
    fn count_min(bencher: Bencher<'_, '_>) {
        add(bencher, &names(1), Table::new(), |sketch, item| sketch.add(item));
    }

    #[divan::bench]
    fn count_min_raw(bencher: Bencher<'_, '_>) {
        let raw = raw_table();
        add(bencher, &names(1), raw, |sketch, item| sketch.update(item));
    }

    #[divan::bench]
    fn frequent_items(bencher: Bencher<'_, '_>) {
        let sketch = FrequentItems::<String, 10>::new();
        add(bencher, &names(1), sketch, |sketch, item| sketch.add(item));
    }

    #[divan::bench]
    fn frequent_items_raw(bencher: Bencher<'_, '_>) {
        let raw = raw_frequent::<String>();
        add(bencher, &names(1), raw, |sketch, item| sketch.update_ref(item));
    }

    #[divan::bench]
    fn hash_map(bencher: Bencher<'_, '_>) {
        add(
            bencher,
            &names(1),
            HashMap::<String, u64>::new(),
            |counts, item| match counts.get_mut(item) {
                Some(count) => *count += 1,
                None => drop(counts.insert(item.clone(), 1)),
            },
        );
    }
}

mod merge_two {
    use super::*;

    #[divan::bench]
    fn count_min(bencher: Bencher<'_, '_>) {
        merge(bencher, built::<Table>);
    }

    #[divan::bench]
    fn count_min_raw(bencher: Bencher<'_, '_>) {
        let [left, right] = [1, 2].map(|seed| {
            let mut raw = raw_table();
            items(seed).iter().for_each(|item| raw.update(item));
            raw
        });
        bencher
            .with_inputs(|| (left.clone(), right.clone()))
            .bench_values(|(mut left, right)| {
                left.merge(&right).expect("both have one shape");
                left
            });
    }

    #[divan::bench]
    fn frequent_items(bencher: Bencher<'_, '_>) {
        merge(bencher, built::<Frequent>);
    }

    #[divan::bench]
    fn frequent_items_raw(bencher: Bencher<'_, '_>) {
        let [left, right] = [1, 2].map(|seed| {
            let mut raw = raw_frequent::<u64>();
            items(seed).into_iter().for_each(|item| raw.update(item));
            raw
        });
        bencher
            .with_inputs(|| (left.clone(), right.clone()))
            .bench_values(|(mut left, right)| {
                left.merge(&right);
                left
            });
    }

    #[divan::bench]
    fn heavy_hitters(bencher: Bencher<'_, '_>) {
        merge(bencher, built::<Heavy>);
    }

    #[divan::bench]
    fn largest_100(bencher: Bencher<'_, '_>) {
        merge(bencher, built::<Largest<u64, 100>>);
    }

    #[divan::bench]
    fn sample_100(bencher: Bencher<'_, '_>) {
        merge(bencher, |items| {
            let mut sample = Sample::<u64, 100, 1>::new();
            items.iter().for_each(|item| sample.insert(item, *item));
            sample
        });
    }

    #[divan::bench]
    fn sketch_map(bencher: Bencher<'_, '_>) {
        merge(bencher, |items| {
            let mut sketch = SketchMap::<u64, u64, 100, 2719, 5>::new();
            items.iter().for_each(|item| sketch.add_value(item, 1));
            sketch
        });
    }

    #[divan::bench]
    fn hash_map(bencher: Bencher<'_, '_>) {
        merge(bencher, |items| {
            let mut counts = HashMap::<u64, u64>::new();
            items
                .iter()
                .for_each(|item| *counts.entry(*item).or_default() += 1);
            counts
        });
    }
}
