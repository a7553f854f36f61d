//! Count-Min, heavy hitters, frequent items, top K and samples from outside.
//!
//! The files `python_*.hex` are what Apache DataSketches for Python 5.2 serialises, on Linux:
//!
//! ```python
//! def count_min(numbers):                      # "count_min_half": range(500), "count_min": range(1000)
//!     sketch = count_min_sketch(4, 97)
//!     for n in numbers:
//!         sketch.update(n * n % 211 - 100, n % 5)
//!         sketch.update("item %d of a series" % (n % 37))
//!
//! def strings(lg, items):                      # "frequent_strings": (7, 101), "…_purged": (5, 499)
//!     sketch = frequent_strings_sketch(lg)
//!     for n in range(1000):
//!         sketch.update("é%d" % (n * n % items), 1 + n % 3)
//! ```
//!
//! `cpp_count_min` is `count_min(range(1000))` by `count_min_sketch<uint64_t>(4, 97)` of the C++ library, with GCC.
//! `frequent_longs` is a `frequent_items_sketch(7)` of `n * n % 101 - 50`, written with `PyLongsSerDe`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use algebra::codec::{Codec, DecodeErrorKind};
use algebra::sketch::frequent_items::Without;
use algebra::sketch::sample::bernoulli;
use algebra::sketch::{CountMin, FrequentItems, HeavyHitters, Largest, Sample, Sketch, SketchMap, Smallest};
use algebra::{Semigroup, laws};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kit::{Random, golden, golden_bytes};

type Table97 = CountMin<97, 4>;

fn count_min(numbers: std::ops::Range<i64>) -> Table97 {
    let mut sketch = Table97::new();
    for n in numbers {
        sketch.add_count(&(n * n % 211 - 100), (n % 5) as u64);
        sketch.add(&format!("item {} of a series", n % 37));
    }
    sketch
}

#[test]
fn python_count_min_is_read_agrees_and_merges() {
    let half = Table97::from_python(&golden_bytes("python_count_min_half")).unwrap();
    assert_eq!(half, count_min(0..500));
    let mut both = half;
    both.plus(count_min(500..1_000));
    assert_eq!(both.to_python(), golden_bytes("python_count_min"));
    let empty = golden_bytes("python_count_min_empty");
    assert_eq!(Table97::from_python(&empty).unwrap(), Table97::new());
    assert_eq!(Table97::new().to_bytes(), empty);
    // Counts of Python are floats: taken for integers, no row sums to the total.
    laws::refuses::<Table97>(&golden_bytes("python_count_min"), DecodeErrorKind::Corrupt).unwrap();
    Table97::from_python(&both.to_bytes()).unwrap_err();
}

#[test]
fn c_plus_plus_count_min_is_read_and_agrees() {
    let bytes = golden_bytes("cpp_count_min");
    assert_eq!(Table97::from_bytes(&bytes).unwrap(), count_min(0..1_000));
    assert_eq!(count_min(0..1_000).to_bytes(), bytes);
}

fn strings<const LG_MAX: u8>(items: u64) -> (FrequentItems<String, LG_MAX>, BTreeMap<String, u64>) {
    let (mut sketch, mut truth) = (FrequentItems::new(), BTreeMap::new());
    for n in 0..1_000_u64 {
        let item = format!("é{}", n * n % items);
        sketch.add_count(&item, 1 + n % 3);
        *truth.entry(item).or_default() += 1 + n % 3;
    }
    (sketch, truth)
}

#[test]
fn python_frequent_items_are_read_agree_and_merge() {
    let read = FrequentItems::<String, 7>::from_bytes(&golden_bytes("python_frequent_strings")).unwrap();
    let (ours, truth) = strings::<7>(101);
    assert_eq!(read, ours, "as long as all have room, both are exact");
    let (mut both, mut twice) = (read, ours.clone());
    both.plus(ours.clone());
    twice.plus(ours);
    assert_eq!(both, twice);
    assert!(
        truth
            .iter()
            .all(|(item, count)| both.bounds(item) == (2 * count..=2 * count))
    );

    let empty = golden_bytes("python_frequent_strings_empty");
    assert_eq!(
        FrequentItems::<String, 5>::from_bytes(&empty).unwrap(),
        FrequentItems::new()
    );
    assert_eq!(FrequentItems::<String, 5>::new().to_bytes()[..6], empty[..6]);

    let read = FrequentItems::<i64, 7>::from_bytes(&golden_bytes("python_frequent_longs")).unwrap();
    let mut ours = FrequentItems::<i64, 7>::new();
    (0..1_000).for_each(|n| ours.add_count(&(n * n % 101 - 50), 1 + n as u64 % 3));
    assert_eq!(read, ours);
}

#[test]
fn python_frequent_items_that_lost_some_keep_their_bounds() {
    type Small = FrequentItems<String, 5>;
    let read = Small::from_bytes(&golden_bytes("python_frequent_strings_purged")).unwrap();
    let (ours, truth) = strings::<5>(499);
    assert_eq!(read.total(), ours.total());
    assert!(read.max_error() > 0 && ours.max_error() > 0);
    let holds = |sketch: &Small, times: u64| {
        let bound = Small::relative_error() * sketch.total() as f64;
        sketch.max_error() as f64 <= bound
            && truth
                .iter()
                .all(|(item, count)| sketch.bounds(item).contains(&(times * count)))
    };
    assert!(holds(&read, 1) && holds(&ours, 1));
    let mut both = read;
    both.plus(ours);
    assert!(holds(&both, 2));
    laws::round_trip(&both).unwrap();
}

/// The bytes last, and serde gives them back.
fn lasts<T: Codec + Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T) {
    golden(name, value);
    let json = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&json).unwrap(), value);
}

#[test]
fn bytes_last() {
    lasts("count_min", &count_min(0..100));
    lasts("frequent_items_string", &strings::<5>(499).0);
    let mut heavy = HeavyHitters::<String, 200_000, 16, 2>::new();
    let mut sums = SketchMap::<String, u64, 5, 16, 2>::new();
    let mut longs = FrequentItems::<i64, 4>::new();
    let mut sample = Sample::<u32, 4, 9>::new();
    let (mut largest, mut smallest) = (Largest::<(i16, String), 3>::new(), Smallest::<u64, 3>::new());
    for n in 0..60_u32 {
        let name = format!("item {}", n * n % 19);
        heavy.add(&name);
        sums.add_value(&name, u64::from(n));
        longs.add(&(i64::from(n * n % 11) - 5));
        sample.insert(&name, n);
        largest.insert(((n * 37 % 61) as i16 - 30, name));
        smallest.add(&u64::from(n * 37 % 61));
    }
    lasts("heavy_hitters", &heavy);
    lasts("sketch_map", &sums);
    lasts("frequent_items_i64", &longs);
    lasts("sample", &sample);
    lasts("largest", &largest);
    lasts("smallest", &smallest);
}

/// Five equal items: a collision in every row is an error of a fifth, above `ε = e / 16`.
#[test]
fn count_min_is_within_its_error() {
    type Table = CountMin<16, 2>;
    let delta = 1.0 - Table::confidence();
    let mut random = Random(1);
    let mut outside = 0;
    let tries = (0..2_000).map(|_| {
        let items: [u64; 5] = std::array::from_fn(|_| random.next());
        let mut table = Table::new();
        items.iter().for_each(|item| table.add_count(item, 100));
        let error = table.estimate(&items[0]) - 100;
        let within = error as f64 <= Table::relative_error() * table.total() as f64;
        assert_eq!(within, table.bounds(&items[0]).contains(&100));
        outside += u32::from(!within);
        within
    });
    let tries: Vec<bool> = tries.collect();
    laws::fails_at_most(delta, tries).unwrap();
    assert!(outside > 20, "the bound is tried: outside={outside}");
}

/// `Σ count·count` of two streams that share one item of four.
#[test]
fn inner_products_are_within_their_error() {
    type Table = CountMin<16, 2>;
    let mut random = Random(2);
    let tries: Vec<bool> = (0..1_000)
        .map(|_| {
            let (mut left, mut right) = (Table::new(), Table::new());
            let shared = random.next();
            left.add_count(&shared, 10);
            right.add_count(&shared, 20);
            (0..3).for_each(|_| left.add_count(&random.next(), 10));
            (0..3).for_each(|_| right.add_count(&random.next(), 20));
            let product = left.inner_product(&right);
            assert!(product >= 200 && product == right.inner_product(&left));
            (product - 200) as f64 <= Table::relative_error() * 40.0 * 80.0
        })
        .collect();
    laws::fails_at_most(1.0 - Table::confidence(), tries.iter().copied()).unwrap();
    assert!(tries.contains(&false), "the bound is tried");
}

/// One light item beside five that have a fifth each: it is listed when it shares a cell with one of them in each row.
#[test]
fn light_items_are_seldom_listed() {
    type Fifth = HeavyHitters<u64, 200_000, 16, 2>;
    let mut random = Random(3);
    let tries: Vec<bool> = (0..2_000)
        .map(|_| {
            let (mut sketch, light) = (Fifth::new(), random.next());
            sketch.add(&light);
            let heavy: [u64; 5] = std::array::from_fn(|_| random.next());
            heavy.iter().for_each(|item| sketch.add_count(item, 100));
            sketch.add_count(&heavy[0], 1);
            let listed: HashMap<u64, u64> = sketch.heavy().into_iter().collect();
            assert!(listed.contains_key(&heavy[0]));
            !listed.contains_key(&light)
        })
        .collect();
    laws::fails_at_most((-2.0_f64).exp(), tries.iter().copied()).unwrap();
    assert!(tries.contains(&false), "the bound is tried");
}

/// A stream in which the `n`-th item comes `1 / n` as often as the first: with room for 96 of 20 000 items.
#[test]
fn the_most_frequent_of_a_long_stream() {
    let mut random = Random(4);
    let (mut parts, mut truth) = (
        vec![FrequentItems::<u64, 7>::new(); 8],
        HashMap::<u64, u64>::new(),
    );
    for n in 0..40_000_usize {
        let item = 20_000_f64.powf(random.unit()) as u64;
        parts[n % 8].add(&item);
        *truth.entry(item).or_default() += 1;
    }
    let whole = FrequentItems::sum(parts).unwrap();
    assert!(whole.max_error() as f64 <= FrequentItems::<u64, 7>::relative_error() * 40_000.0);
    assert!(
        truth
            .iter()
            .all(|(item, count)| whole.bounds(item).contains(count))
    );
    let top = whole.top(5);
    assert_eq!(
        top.iter().map(|row| row.item).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5]
    );
    assert!(top[0].certain, "{top:?}");
    let listed = whole.frequent(2_000, Without::FalseNegatives);
    assert!(
        truth
            .iter()
            .all(|(item, count)| *count < 2_000 || listed.iter().any(|row| row.item == *item))
    );
}

/// How often each of 20 places is among the 5 of a sample, in 4 000 samples. With fixed sample sizes,
/// `Σ (seen − expected)² / (expected · (1 − 5/20)) · 19/20` is distributed as χ² with 19 degrees of freedom, which
/// exceeds 82 with a probability below 10⁻⁹.
#[test]
fn samples_are_uniform() {
    let mut seen = [0_u32; 20];
    for round in 0..4_000_u64 {
        let mut sample = Sample::<u8, 5, 1>::new();
        (0..20_u8).for_each(|place| sample.insert(&(round * 20 + u64::from(place)), place));
        sample.values().for_each(|place| seen[usize::from(*place)] += 1);
    }
    let expected = 4_000.0 * 5.0 / 20.0;
    let deviation = |seen: &u32| (f64::from(*seen) - expected).powi(2) / (expected * 0.75);
    let chi_square = seen.iter().map(deviation).sum::<f64>() * 19.0 / 20.0;
    assert!(chi_square < 82.0, "chi_square={chi_square} seen={seen:?}");
}

/// Of the numbers `0..ids` of round after round, with new ids in each: the relative errors of an estimated sum.
fn errors<const K: usize>(rounds: u64, ids: u64, of: impl Fn(u64) -> f64) -> Vec<f64> {
    let total: f64 = (0..ids).map(&of).sum();
    let estimate = |round: u64| {
        let mut sample = Sample::<u64, K, 1>::new();
        (0..ids).for_each(|n| sample.insert(&(round * ids + n), n));
        sample.sum_estimate(|n| of(*n))
    };
    (0..rounds).map(|round| estimate(round) / total - 1.0).collect()
}

/// An estimate is off by more than four standard errors at most one time in 16 (Chebyshev).
#[test]
fn samples_estimate_within_their_error() {
    let errors = errors::<100>(100, 2_000, |_| 1.0);
    let within = errors.iter().map(|error| error.abs() <= 4.0 / 98_f64.sqrt());
    laws::fails_at_most(1.0 / 16.0, within).unwrap();
}

/// The mean of 4 000 estimates from four values, with a standard error of `1 / √2` each, is within six of its own.
#[test]
fn samples_estimate_without_bias() {
    let parity = |n| (1 + n % 2) as f64;
    for errors in [errors::<4>(4_000, 24, |_| 1.0), errors::<4>(4_000, 24, parity)] {
        let mean = errors.iter().sum::<f64>() / 4_000.0;
        assert!(
            mean.abs() <= 6.0 / 2_f64.sqrt() / 4_000_f64.sqrt() * 1.2,
            "mean={mean}"
        );
    }
}

/// Of 50 000 ids a tenth, within 6.1 standard deviations (10⁻⁹).
#[test]
fn bernoulli_samples_have_their_size() {
    let taken = (0..50_000_u64).filter(|id| bernoulli::<1>(id, 0.1)).count() as f64;
    assert!(
        (taken - 5_000.0).abs() < 6.1 * (50_000.0 * 0.1 * 0.9_f64).sqrt(),
        "taken={taken}"
    );
}
