//! Costs: quantiles. Update of 10 000 numbers, merge of two sketches of 10 000, an answer; beside the bare library and
//! a sorted `Vec`.

use std::hint::black_box;

use algebra::Semigroup;
use algebra::codec::Codec;
use algebra::sketch::histogram::{Edges, Histogram};
use algebra::sketch::{DdSketch, Kll, RangeSums, Sketch, TDigest};
use datasketches::kll::{KllFloat, KllSketch};
use datasketches::tdigest::TDigestMut;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, bench};

const COUNT: u64 = 10_000;

/// Lognormal-like: a product of uniforms, of several orders of magnitude.
fn numbers(seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut unit = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 1.0) / (1_u64 << 53) as f64
    };
    (0..COUNT).map(|_| 1000.0 * unit() * unit() * unit()).collect()
}

enum Decades {}
impl Edges for Decades {
    const EDGES: &'static [f64] = &[
        0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0,
    ];
}

fn sketch<S: Sketch<f64>>(numbers: &[f64]) -> S {
    let mut sketch = S::zero();
    numbers.iter().for_each(|number| sketch.add(number));
    sketch
}

fn range_sums(numbers: &[f64]) -> RangeSums<f64, u64> {
    let mut sums = RangeSums::new();
    numbers.iter().for_each(|number| sums.add(&(*number, 1)));
    sums
}

fn bare_kll(numbers: &[f64]) -> KllSketch<KllFloat<f64>> {
    let mut kll = KllSketch::new(200).expect("200 is in range");
    for number in numbers {
        if let Ok(number) = KllFloat::<f64>::new(*number) {
            kll.update(number);
        }
    }
    kll
}

fn bare_t_digest(numbers: &[f64]) -> TDigestMut {
    let mut digest = TDigestMut::new(200).expect("200 is in range");
    numbers.iter().for_each(|number| digest.update(*number));
    digest
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn add<S>(bencher: Bencher<'_, '_>, build: impl Fn(&[f64]) -> S + Sync) {
    let numbers = numbers(1);
    bencher
        .counter(ItemsCount::new(COUNT))
        .bench(|| build(black_box(&numbers)));
}

#[bench]
fn add_kll(bencher: Bencher<'_, '_>) {
    add(bencher, sketch::<Kll<f64>>);
}

#[bench]
fn add_kll_bare(bencher: Bencher<'_, '_>) {
    add(bencher, bare_kll);
}

#[bench]
fn add_t_digest(bencher: Bencher<'_, '_>) {
    add(bencher, sketch::<TDigest>);
}

#[bench]
fn add_t_digest_bare(bencher: Bencher<'_, '_>) {
    add(bencher, bare_t_digest);
}

#[bench]
fn add_dd_sketch(bencher: Bencher<'_, '_>) {
    add(bencher, sketch::<DdSketch>);
}

#[bench]
fn add_range_sums(bencher: Bencher<'_, '_>) {
    add(bencher, range_sums);
}

#[bench]
fn add_histogram(bencher: Bencher<'_, '_>) {
    add(bencher, sketch::<Histogram<Decades>>);
}

#[bench]
fn add_sorted_vec(bencher: Bencher<'_, '_>) {
    add(bencher, sorted);
}

/// Of two that were made of 10 000 numbers each.
fn merge<S: Clone + Sync>(
    bencher: Bencher<'_, '_>,
    build: impl Fn(&[f64]) -> S,
    plus: impl Fn(&mut S, S) + Sync,
) {
    let (left, right) = (build(&numbers(1)), build(&numbers(2)));
    bencher
        .with_inputs(|| (left.clone(), right.clone()))
        .bench_local_values(|(mut left, right)| {
            plus(&mut left, right);
            left
        });
}

#[bench]
fn merge_kll(bencher: Bencher<'_, '_>) {
    merge(bencher, sketch::<Kll<f64>>, Semigroup::plus);
}

#[bench]
fn merge_kll_bare(bencher: Bencher<'_, '_>) {
    merge(bencher, bare_kll, |left, right| {
        left.merge(&right).expect("of one shape")
    });
}

#[bench]
fn merge_t_digest(bencher: Bencher<'_, '_>) {
    merge(bencher, sketch::<TDigest>, Semigroup::plus);
}

#[bench]
fn merge_t_digest_bare(bencher: Bencher<'_, '_>) {
    merge(bencher, bare_t_digest, |left, right| left.merge(&right));
}

#[bench]
fn merge_dd_sketch(bencher: Bencher<'_, '_>) {
    merge(bencher, sketch::<DdSketch>, Semigroup::plus);
}

#[bench]
fn merge_range_sums(bencher: Bencher<'_, '_>) {
    merge(bencher, range_sums, Semigroup::plus);
}

#[bench]
fn merge_histogram(bencher: Bencher<'_, '_>) {
    merge(bencher, sketch::<Histogram<Decades>>, Semigroup::plus);
}

#[bench]
fn merge_sorted_vec(bencher: Bencher<'_, '_>) {
    merge(bencher, sorted, |left, right| {
        left.extend(right);
        left.sort_by(f64::total_cmp);
    });
}

fn answer<S: Sync>(
    bencher: Bencher<'_, '_>,
    build: impl Fn(&[f64]) -> S,
    ask: impl Fn(&S) -> Option<f64> + Sync,
) {
    let built = build(&numbers(1));
    bencher.bench(|| ask(black_box(&built)));
}

#[bench]
fn quantile_kll(bencher: Bencher<'_, '_>) {
    answer(bencher, sketch::<Kll<f64>>, |kll| kll.quantile(0.9));
}

#[bench]
fn quantile_t_digest(bencher: Bencher<'_, '_>) {
    answer(bencher, sketch::<TDigest>, |digest| digest.quantile(0.9));
}

#[bench]
fn quantile_dd_sketch(bencher: Bencher<'_, '_>) {
    answer(bencher, sketch::<DdSketch>, |sketch| sketch.quantile(0.9));
}

/// The throughput times the time is the number of bytes.
fn encode<S: Codec + Sync>(bencher: Bencher<'_, '_>, build: impl Fn(&[f64]) -> S) {
    let built = build(&numbers(1));
    bencher
        .counter(BytesCount::new(built.to_bytes().len()))
        .bench(|| black_box(&built).to_bytes());
}

#[bench]
fn encode_kll(bencher: Bencher<'_, '_>) {
    encode(bencher, sketch::<Kll<f64>>);
}

#[bench]
fn encode_t_digest(bencher: Bencher<'_, '_>) {
    encode(bencher, sketch::<TDigest>);
}

#[bench]
fn encode_dd_sketch(bencher: Bencher<'_, '_>) {
    encode(bencher, sketch::<DdSketch>);
}

#[bench]
fn encode_range_sums(bencher: Bencher<'_, '_>) {
    encode(bencher, range_sums);
}

#[bench]
fn encode_histogram(bencher: Bencher<'_, '_>) {
    encode(bencher, sketch::<Histogram<Decades>>);
}
