//! Costs: structures. Sums beside what one would write by hand.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use algebra::sketch::Sketch;
use algebra::{
    AdaptiveVector, Any, Commutative, Endo, Eventually, Idempotent, Item, Max, Monoid, Pointwise, Semigroup,
    SparseHashMap, SparseMap, hash128,
};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const ITEMS: u64 = 10_000;

/// Keys that repeat about ten times, in no order.
fn entries() -> Vec<(u64, i64)> {
    (0..ITEMS)
        .map(|i| (hash128(&i, 0) as u64 % (ITEMS / 10), i as i64 + 1))
        .collect()
}

fn update<T>(bencher: Bencher<'_, '_>, mut run: impl FnMut() -> T) {
    bencher
        .counter(ItemsCount::new(ITEMS))
        .bench_local(|| black_box(run()));
}

mod derived {
    use super::*;

    #[derive(Clone, Default, Semigroup, Monoid)]
    struct Usage {
        requests: u64,
        bytes: u64,
        slowest: Option<Max<u64>>,
    }

    fn usages() -> Vec<Usage> {
        (0..ITEMS)
            .map(|i| Usage {
                requests: 1,
                bytes: i,
                slowest: Some(Max(hash128(&i, 0) as u64)),
            })
            .collect()
    }

    #[divan::bench]
    fn plus(bencher: Bencher<'_, '_>) {
        let usages = usages();
        update(bencher, || Usage::sum(black_box(&usages).iter().cloned()));
    }

    #[divan::bench]
    fn by_hand(bencher: Bencher<'_, '_>) {
        let usages = usages();
        update(bencher, || {
            let mut sum = Usage::default();
            for usage in black_box(&usages) {
                sum.requests = sum.requests.wrapping_add(usage.requests);
                sum.bytes = sum.bytes.wrapping_add(usage.bytes);
                sum.slowest = sum.slowest.max(usage.slowest);
            }
            sum
        });
    }
}

mod maps {
    use super::*;

    #[divan::bench]
    fn update_btree_by_hand(bencher: Bencher<'_, '_>) {
        let entries = entries();
        update(bencher, || {
            let mut map = BTreeMap::new();
            for (key, value) in black_box(&entries) {
                *map.entry(*key).or_insert(0_i64) += value;
            }
            map
        });
    }

    #[divan::bench]
    fn update_sum_by_key(bencher: Bencher<'_, '_>) {
        let entries = entries();
        update(bencher, || {
            algebra::sum_by_key(black_box(&entries).iter().copied())
        });
    }

    #[divan::bench]
    fn update_sparse(bencher: Bencher<'_, '_>) {
        let entries = entries();
        update(bencher, || {
            SparseMap::from_iter(black_box(&entries).iter().copied())
        });
    }

    #[divan::bench]
    fn update_hash_by_hand(bencher: Bencher<'_, '_>) {
        let entries = entries();
        update(bencher, || {
            let mut map = HashMap::new();
            for (key, value) in black_box(&entries) {
                *map.entry(*key).or_insert(0_i64) += value;
            }
            map
        });
    }

    #[divan::bench]
    fn update_sparse_hash(bencher: Bencher<'_, '_>) {
        let entries = entries();
        update(bencher, || {
            SparseHashMap::<_, _>::from_iter(black_box(&entries).iter().copied())
        });
    }

    #[divan::bench(args = [10, 1000])]
    fn merge_sparse(bencher: Bencher<'_, '_>, size: usize) {
        let large = SparseMap::from_iter(entries());
        let small = SparseMap::from_iter(large.clone().into_iter().take(size));
        bencher
            .with_inputs(|| (small.clone(), large.clone()))
            .bench_values(|(mut left, right)| {
                left.plus(right);
                left
            });
    }

    #[divan::bench(args = [10, 1000])]
    fn merge_btree(bencher: Bencher<'_, '_>, size: usize) {
        let large: BTreeMap<u64, i64> = entries().into_iter().collect();
        let small: BTreeMap<u64, i64> = large.clone().into_iter().take(size).collect();
        bencher
            .with_inputs(|| (small.clone(), large.clone()))
            .bench_values(|(mut left, right)| {
                left.plus(right);
                left
            });
    }
}

mod bulk {
    use super::*;

    fn repeated<T: Semigroup>(items: impl Iterator<Item = T>) -> Option<T> {
        items.reduce(|mut left, right| {
            left.plus(right);
            left
        })
    }

    fn texts() -> Vec<String> {
        (0..ITEMS).map(|i| format!("item {i}, ")).collect()
    }

    fn sets() -> Vec<BTreeSet<u64>> {
        (0..ITEMS / 10)
            .map(|i| {
                (0..10)
                    .map(|j| hash128(&(i * 10 + j), 0) as u64 % ITEMS)
                    .collect()
            })
            .collect()
    }

    #[divan::bench]
    fn strings_sum(bencher: Bencher<'_, '_>) {
        let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(texts);
        bencher.bench_values(String::sum);
    }

    #[divan::bench]
    fn strings_repeated(bencher: Bencher<'_, '_>) {
        let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(texts);
        bencher.bench_values(|texts| repeated(texts.into_iter()));
    }

    #[divan::bench]
    fn sets_sum(bencher: Bencher<'_, '_>) {
        let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(sets);
        bencher.bench_values(BTreeSet::sum);
    }

    fn maps() -> Vec<BTreeMap<u64, u64>> {
        sets()
            .into_iter()
            .map(|set| set.into_iter().map(|key| (key, 1)).collect())
            .collect()
    }

    #[divan::bench]
    fn maps_sum(bencher: Bencher<'_, '_>) {
        let bencher = bencher.counter(ItemsCount::new(ITEMS)).with_inputs(maps);
        bencher.bench_values(BTreeMap::sum);
    }

    #[divan::bench]
    fn deques(bencher: Bencher<'_, '_>) {
        let bencher = bencher.counter(ItemsCount::new(ITEMS));
        bencher.bench(|| VecDeque::sum((0..ITEMS).map(|i| VecDeque::from([i]))));
    }
}

mod vectors {
    use super::*;

    fn dense() -> Vec<u64> {
        (0..ITEMS).map(|i| i % 3).collect()
    }

    #[divan::bench]
    fn merge_by_hand(bencher: Bencher<'_, '_>) {
        let dense = dense();
        let bencher = bencher.counter(ItemsCount::new(ITEMS));
        bencher
            .with_inputs(|| (dense.clone(), dense.clone()))
            .bench_values(|(mut left, right)| {
                left.iter_mut()
                    .zip(right)
                    .for_each(|(left, right)| *left += right);
                left
            });
    }

    #[divan::bench]
    fn merge_pointwise(bencher: Bencher<'_, '_>) {
        let dense = Pointwise(dense());
        let bencher = bencher.counter(ItemsCount::new(ITEMS));
        bencher
            .with_inputs(|| (dense.clone(), dense.clone()))
            .bench_values(|(mut left, right)| {
                left.plus(right);
                left
            });
    }

    #[divan::bench]
    fn merge_adaptive_dense(bencher: Bencher<'_, '_>) {
        let dense = AdaptiveVector::from(dense());
        let bencher = bencher.counter(ItemsCount::new(ITEMS));
        bencher
            .with_inputs(|| (dense.clone(), dense.clone()))
            .bench_values(|(mut left, right)| {
                left.plus(right);
                left
            });
    }

    #[divan::bench]
    fn merge_adaptive_sparse(bencher: Bencher<'_, '_>) {
        let sparse = AdaptiveVector::from_iter((0..ITEMS).map(|i| (i as usize * 100, i + 1)));
        let bencher = bencher.counter(ItemsCount::new(ITEMS));
        bencher
            .with_inputs(|| (sparse.clone(), sparse.clone()))
            .bench_values(|(mut left, right)| {
                left.plus(right);
                left
            });
    }

    #[divan::bench]
    fn update_adaptive_dense(bencher: Bencher<'_, '_>) {
        let start = AdaptiveVector::from(dense());
        let bencher = bencher
            .counter(ItemsCount::new(ITEMS))
            .with_inputs(|| start.clone());
        bencher.bench_values(|mut vector| {
            (0..ITEMS).for_each(|i| vector.add(i as usize, 1));
            vector
        });
    }
}

mod functions {
    use super::*;

    #[divan::bench]
    fn apply(bencher: Bencher<'_, '_>) {
        let all = Endo::sum((0..ITEMS).map(|i| Endo::new(move |x: u64| x ^ i))).unwrap_or_default();
        update(bencher, || black_box(&all).apply(black_box(1)));
    }

    #[divan::bench]
    fn plus(bencher: Bencher<'_, '_>) {
        update(bencher, || {
            Endo::sum((0..ITEMS).map(|i| Endo::new(move |x: u64| x ^ i)))
        });
    }
}

mod eventually {
    use super::*;

    #[derive(Clone, Semigroup, Monoid, Commutative, Idempotent)]
    struct Toy([Any; 64]);

    impl<T: Item + ?Sized> Sketch<T> for Toy {
        fn add(&mut self, item: &T) {
            self.0[(hash128(item, 0) % 64) as usize] = Any(true);
        }
    }

    fn fill<T: Sketch<u64>>() -> T {
        let mut value = T::zero();
        (0..ITEMS).for_each(|i| value.add(&i));
        value
    }

    #[divan::bench]
    fn update_exact_set(bencher: Bencher<'_, '_>) {
        update(bencher, fill::<BTreeSet<u64>>);
    }

    #[divan::bench]
    fn update_while_exact(bencher: Bencher<'_, '_>) {
        update(bencher, fill::<Eventually<BTreeSet<u64>, Toy, 1_000_000>>);
    }

    #[divan::bench]
    fn update_sketch(bencher: Bencher<'_, '_>) {
        update(bencher, fill::<Toy>);
    }

    #[divan::bench]
    fn update_once_sketch(bencher: Bencher<'_, '_>) {
        update(bencher, fill::<Eventually<BTreeSet<u64>, Toy, 100>>);
    }
}
