//! Costs: sums of floats (plain, compensated, exact), integers in 128 bits, moments, correlation.

use algebra::sketch::Sketch;
use algebra::{Average, Checked, Correlation, ExactSum, Moments, Monoid, Semigroup, Sum};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const ITEMS: usize = 10_000;

/// Uniform in ±1000.
fn narrow() -> Vec<f64> {
    let mut state = 1_u64;
    (0..ITEMS)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5) * 2000.0
        })
        .collect()
}

/// The same over 600 powers of two.
fn wide() -> Vec<f64> {
    let scaled = |(at, value): (usize, f64)| value * 2_f64.powi((at * 7919 % 600) as i32 - 300);
    narrow().into_iter().enumerate().map(scaled).collect()
}

/// Whole numbers, whose sum is always a double.
fn whole() -> Vec<f64> {
    narrow().into_iter().map(f64::round).collect()
}

fn each<T>(bencher: Bencher<'_, '_>, values: &[f64], zero: fn() -> T, add: impl Fn(&mut T, f64) + Sync) {
    bencher.counter(ItemsCount::new(values.len())).bench(|| {
        let mut sum = zero();
        for value in black_box(values) {
            add(&mut sum, *value);
        }
        sum
    });
}

fn of<T: Semigroup + From<f64> + Monoid>(values: &[f64]) -> T {
    let mut all = T::zero();
    values.iter().for_each(|value| all.plus(T::from(*value)));
    all
}

mod update {
    use super::*;

    #[divan::bench]
    fn plain_float(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), || 0.0, |sum: &mut f64, value| *sum += value);
    }

    #[divan::bench]
    fn sum(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Sum::zero, |sum, value| {
            sum.plus(Sum::from(value));
        });
    }

    #[divan::bench]
    fn exact_sum(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), ExactSum::zero, |sum, value| sum.add(&value));
    }

    #[divan::bench]
    fn exact_sum_wide(bencher: Bencher<'_, '_>) {
        each(bencher, &wide(), ExactSum::zero, |sum, value| sum.add(&value));
    }

    #[divan::bench]
    fn exact_sum_whole(bencher: Bencher<'_, '_>) {
        each(bencher, &whole(), ExactSum::zero, |sum, value| sum.add(&value));
    }

    #[divan::bench]
    fn exact_sum_by_plus(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), ExactSum::zero, |sum, value| {
            sum.plus(ExactSum::from(value));
        });
    }

    #[divan::bench]
    fn exact_naive(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Vec::new, add_to_partials);
    }

    #[divan::bench]
    fn exact_naive_wide(bencher: Bencher<'_, '_>) {
        each(bencher, &wide(), Vec::new, add_to_partials);
    }

    #[divan::bench]
    fn checked(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Checked::<i32>::zero, |sum, value| {
            sum.add(&(value as i32));
        });
    }

    #[divan::bench]
    fn average(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Average::zero, |sum, value| sum.add(&value));
    }

    #[divan::bench]
    fn moments(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Moments::zero, |sum, value| sum.add(&value));
    }

    #[divan::bench]
    fn correlation(bencher: Bencher<'_, '_>) {
        each(bencher, &narrow(), Correlation::zero, |sum, value| {
            sum.add(&(value, value * 2.0));
        });
    }
}

/// The naive exact sum: doubles that do not overlap, each addition going through all (Shewchuk 1997).
fn add_to_partials(partials: &mut Vec<f64>, mut value: f64) {
    let mut kept = 0;
    for at in 0..partials.len() {
        let partial = partials[at];
        let sum = value + partial;
        let right = sum - value;
        let lost = (value - (sum - right)) + (partial - right);
        if lost != 0.0 {
            partials[kept] = lost;
            kept += 1;
        }
        value = sum;
    }
    partials.truncate(kept);
    partials.push(value);
}

mod merge {
    use super::*;

    const PARTS: usize = 1_000;

    fn parts<T: Semigroup + From<f64> + Monoid + Clone + Sync>(bencher: Bencher<'_, '_>, values: &[f64]) {
        let parts: Vec<T> = values.chunks(ITEMS / PARTS).map(of).collect();
        bencher
            .counter(ItemsCount::new(PARTS))
            .with_inputs(|| parts.clone())
            .bench_values(|parts| T::sum(parts));
    }

    #[divan::bench]
    fn sum(bencher: Bencher<'_, '_>) {
        parts::<Sum>(bencher, &narrow());
    }

    #[divan::bench]
    fn exact_sum(bencher: Bencher<'_, '_>) {
        parts::<ExactSum>(bencher, &narrow());
    }

    #[divan::bench]
    fn exact_sum_wide(bencher: Bencher<'_, '_>) {
        parts::<ExactSum>(bencher, &wide());
    }

    #[divan::bench]
    fn moments(bencher: Bencher<'_, '_>) {
        parts::<Moments>(bencher, &narrow());
    }
}

mod read {
    use super::*;

    #[divan::bench]
    fn exact_sum(bencher: Bencher<'_, '_>) {
        let sum: ExactSum = narrow().into_iter().collect();
        bencher.bench(|| black_box(&sum).value());
    }

    #[divan::bench]
    fn exact_sum_wide(bencher: Bencher<'_, '_>) {
        let sum: ExactSum = wide().into_iter().collect();
        bencher.bench(|| black_box(&sum).value());
    }
}
