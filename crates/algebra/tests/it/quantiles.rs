//! From outside: quantiles. Golden bytes, Apache's bytes from Python, the stated errors on many distributions.
//!
//! `python_*.hex` are made with the `datasketches` package of Python, 5.2.0, of `i·7919 mod n` for `i` in `0..n`,
//! scaled: `kll_doubles` (k = 200, n = 10 000, /8), `kll_floats` (32, 3000, /4), `kll_longs` (`kll_items_sketch` with
//! `PyLongsSerDe`, 200, 2000, −1000), `kll_strings` (`PyStringsSerDe`, 8, 500, `"s%03d"`), `t_digest`
//! (`tdigest_double`, 200, 10 000, /8), `t_digest_floats` (`tdigest_float`, 100, 1000); `…_empty`, and `…_single` of
//! 7.5. What Python answers with them (`get_quantile(q, True)`, `get_rank(x, True)`) stands in the tests. Two flaws of
//! that release show: its strings take the number of characters for the number of bytes (so ASCII only), and its
//! t-digest interpolates from the wrong side between two centroids (apache/datasketches-java 755, mended since).

use algebra::codec::{Codec, DecodeErrorKind};
use algebra::sketch::histogram::{Edges, Histogram};
use algebra::sketch::{DdSketch, Kll, RangeSums, Sketch, TDigest};
use algebra::{Semigroup, laws};

use crate::kit::{Random, golden, golden_bytes};

const QS: [f64; 7] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];

fn sketch<S: Sketch<f64>>(numbers: &[f64]) -> S {
    let mut sketch = S::zero();
    numbers.iter().for_each(|number| sketch.add(number));
    sketch
}

/// Made of eight parts, merged as a tree.
fn merged<S: Sketch<f64>>(numbers: &[f64]) -> S {
    let part = |chunk| sketch::<S>(chunk);
    let parts: Vec<S> = numbers.chunks(numbers.len().div_ceil(8)).map(part).collect();
    let mut pairs = parts.into_iter();
    let mut sums = Vec::new();
    while let Some(mut left) = pairs.next() {
        if let Some(right) = pairs.next() {
            left.plus(right);
        }
        sums.push(left);
    }
    S::sum(sums).unwrap()
}

/// What the errors are tested on.
#[derive(Clone, Copy, Debug)]
enum Distribution {
    Uniform,
    LogNormal,
    /// Pareto, α = 1: no mean.
    HeavyTail,
    Sorted,
    Falling,
    Constant,
    /// A hundred values, most of them few.
    Ties,
}

const DISTRIBUTIONS: [Distribution; 7] = [
    Distribution::Uniform,
    Distribution::LogNormal,
    Distribution::HeavyTail,
    Distribution::Sorted,
    Distribution::Falling,
    Distribution::Constant,
    Distribution::Ties,
];

impl Distribution {
    fn numbers(self, n: usize, random: &mut Random) -> Vec<f64> {
        let mut numbers: Vec<f64> = (0..n).map(|_| self.number(random)).collect();
        match self {
            Self::Sorted => numbers.sort_by(f64::total_cmp),
            Self::Falling => numbers.sort_by(|left, right| right.total_cmp(left)),
            _ => {}
        }
        numbers
    }

    fn number(self, random: &mut Random) -> f64 {
        let unit = 1.0 - random.unit();
        match self {
            Self::Uniform | Self::Sorted | Self::Falling => unit * 2000.0 - 1000.0,
            Self::LogNormal => {
                let angle = random.unit() * std::f64::consts::TAU;
                (3.0 + 2.0 * (-2.0 * unit.ln()).sqrt() * angle.cos()).exp()
            }
            Self::HeavyTail => 1.0 / unit,
            Self::Constant => 42.0,
            Self::Ties => (unit * unit * 100.0).floor(),
        }
    }
}

/// How far `q` is from the ranks that the value has in the sorted numbers: from the share below it to that at most it.
fn rank_distance(sorted: &[f64], value: f64, q: f64) -> f64 {
    let below = sorted.partition_point(|x| *x < value) as f64 / sorted.len() as f64;
    let at_most = sorted.partition_point(|x| *x <= value) as f64 / sorted.len() as f64;
    (below - q).max(q - at_most).max(0.0)
}

fn sorted(numbers: &[f64]) -> Vec<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// One question to each of many sketches, which flip their coins on their own: at most 1 % miss the error.
fn kll_keeps_its_rank_error<const K: u16>(tries: usize, n: usize) {
    let mut random = Random(u64::from(K));
    for distribution in DISTRIBUTIONS {
        let held = (0..tries).map(|number| {
            let numbers = distribution.numbers(n, &mut random);
            let kll: Kll<f64, K> = if number % 2 == 0 {
                sketch(&numbers)
            } else {
                merged(&numbers)
            };
            let (sorted, q) = (sorted(&numbers), random.unit());
            assert_eq!(kll.count(), n as u64);
            assert_eq!(
                (kll.min(), kll.max()),
                (sorted.first().copied(), sorted.last().copied())
            );
            let of_quantile = rank_distance(&sorted, kll.quantile(q).unwrap(), q);
            let x = sorted[(random.next() % n as u64) as usize];
            let true_rank = sorted.partition_point(|y| *y <= x) as f64 / n as f64;
            let of_rank = (kll.rank(&x).unwrap() - true_rank).abs();
            (of_quantile <= kll.rank_error(), of_rank <= kll.rank_error())
        });
        let (quantiles, ranks): (Vec<bool>, Vec<bool>) = held.unzip();
        laws::fails_at_most(0.01, quantiles).unwrap();
        laws::fails_at_most(0.01, ranks).unwrap();
    }
}

#[test]
fn kll_keeps_its_rank_error_small() {
    kll_keeps_its_rank_error::<32>(100, 1000);
}

#[test]
fn kll_keeps_its_rank_error_200() {
    kll_keeps_its_rank_error::<200>(20, 5000);
    let error = Kll::<f64>::new().rank_error();
    assert!((0.0132..0.0134).contains(&error), "error={error}");
}

/// No proof, only this: at every percentile of each digest.
#[test]
fn t_digest_keeps_its_rank_error() {
    let mut random = Random(7);
    for distribution in DISTRIBUTIONS {
        let held = (0..6).flat_map(|number| {
            let numbers = distribution.numbers(10_000, &mut random);
            let digest: TDigest = match number % 3 {
                0 => sketch(&numbers),
                1 => merged(&numbers),
                _ => TDigest::sum(numbers.chunks(50).map(sketch::<TDigest>)).unwrap(),
            };
            let sorted = sorted(&numbers);
            let qs: Vec<f64> = (0..=100).map(|percent| f64::from(percent) / 100.0).collect();
            let found = digest.quantiles(&qs).unwrap();
            assert_eq!((found[0], found[100]), (sorted[0], sorted[9999]));
            qs.into_iter()
                .zip(found)
                .map(move |(q, value)| {
                    let neighbours = near(&sorted, value);
                    neighbours
                        .iter()
                        .any(|value| rank_distance(&sorted, *value, q) <= digest.rank_error(q))
                })
                .collect::<Vec<_>>()
        });
        laws::fails_at_most(0.001, held.collect::<Vec<_>>()).unwrap();
    }
}

/// The value and, as a digest interpolates, the numbers on both sides of it.
fn near(sorted: &[f64], value: f64) -> Vec<f64> {
    let at = sorted.partition_point(|x| *x < value);
    let sides = [at.checked_sub(1), Some(at)].into_iter().flatten();
    sides
        .filter_map(|at| sorted.get(at))
        .copied()
        .chain([value])
        .collect()
}

/// Without exception, at every percentile.
#[test]
fn dd_sketch_keeps_its_relative_error() {
    let mut random = Random(11);
    for distribution in DISTRIBUTIONS {
        let numbers = distribution.numbers(10_000, &mut random);
        let sorted = sorted(&numbers);
        keeps_relative_error::<100>(&numbers, &sorted);
        keeps_relative_error::<500>(&numbers, &sorted);
    }
}

fn keeps_relative_error<const PERMYRIAD: u32>(numbers: &[f64], sorted: &[f64]) {
    let whole: DdSketch<PERMYRIAD> = sketch(numbers);
    assert_eq!(whole, merged(numbers));
    assert_eq!(whole.folded(), (0.0, 0.0));
    for percent in 0..=100 {
        let q = f64::from(percent) / 100.0;
        let place = (q * sorted.len() as f64).ceil() as usize;
        let truth = sorted[place.max(1) - 1];
        let found = whole.quantile(q).unwrap();
        let allowed = truth.abs() * f64::from(PERMYRIAD) / 10_000.0;
        assert!(
            (found - truth).abs() <= allowed,
            "q={q} found={found} truth={truth}"
        );
    }
}

/// Bounds that hold, and are as narrow as the level says: relative for floats.
#[test]
fn range_sums_bounds_are_narrow() {
    let mut random = Random(13);
    for distribution in DISTRIBUTIONS {
        let numbers = distribution.numbers(10_000, &mut random);
        let sorted = sorted(&numbers);
        let mut sums = RangeSums::<f64, u64>::new();
        numbers.iter().for_each(|number| sums.add(&(*number, 1)));
        let share = (f64::from(sums.level()) - 52.0).exp2();
        for percent in 0..=100 {
            let q = f64::from(percent) / 100.0;
            let truth = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1];
            let (lower, upper) = sums.quantile(q).unwrap();
            assert!(
                lower <= truth && truth <= upper,
                "q={q} lower={lower} truth={truth} upper={upper}"
            );
            assert!(
                upper - lower <= truth.abs() * share,
                "q={q} lower={lower} upper={upper} share={share}"
            );
        }
    }
}

#[test]
fn kll_reads_what_python_wrote() {
    let doubles = Kll::<f64>::from_bytes(&golden_bytes("python_kll_doubles")).unwrap();
    assert_eq!((doubles.count(), doubles.retained()), (10_000, 539));
    let python = vec![14.375, 126.625, 314.0, 626.25, 939.5, 1124.625, 1238.25];
    assert_eq!(doubles.quantiles(&QS), Some(python));
    assert_eq!(
        [0.0, 300.0, 1249.875].map(|x| doubles.rank(&x)),
        [Some(0.0), Some(0.2382), Some(1.0)]
    );
    assert_eq!((doubles.min(), doubles.max()), (Some(0.0), Some(1249.875)));
    assert_eq!(doubles.to_bytes(), golden_bytes("python_kll_doubles"));

    let floats = Kll::<f32, 32>::from_bytes(&golden_bytes("python_kll_floats")).unwrap();
    assert_eq!(
        floats.quantiles(&QS),
        Some(vec![9.0, 66.75, 189.5, 376.25, 558.75, 669.5, 744.0])
    );
    assert_eq!(floats.to_bytes(), golden_bytes("python_kll_floats"));

    let longs = Kll::<i64>::from_bytes(&golden_bytes("python_kll_longs")).unwrap();
    assert_eq!(
        longs.quantiles(&QS),
        Some(vec![-987, -802, -504, -6, 497, 791, 981])
    );
    assert_eq!(
        [-1000, 0, 999].map(|x| longs.rank(&x)),
        [Some(0.002), Some(0.503), Some(1.0)]
    );
    assert_eq!(longs.to_bytes(), golden_bytes("python_kll_longs"));

    let strings = Kll::<String, 8>::from_bytes(&golden_bytes("python_kll_strings")).unwrap();
    let python = ["s002", "s044", "s135", "s254", "s382", "s456", "s485"].map(str::to_owned);
    assert_eq!(strings.quantiles(&QS), Some(python.to_vec()));
    assert_eq!(strings.max().as_deref(), Some("s499"));
    assert_eq!(strings.to_bytes(), golden_bytes("python_kll_strings"));

    assert_eq!(Kll::<f64>::new().to_bytes(), golden_bytes("python_kll_empty"));
    assert_eq!(Kll::<f64>::of(&7.5).to_bytes(), golden_bytes("python_kll_single"));
}

#[test]
fn kll_merges_with_what_python_wrote() {
    let mut both = Kll::<f64>::from_bytes(&golden_bytes("python_kll_doubles")).unwrap();
    let ours: Vec<f64> = (10_000..20_000).map(|i| f64::from(i) / 8.0).collect();
    both.plus(sketch(&ours));
    assert_eq!(
        (both.count(), both.min(), both.max()),
        (20_000, Some(0.0), Some(2499.875))
    );
    // Five times the error of 99 %: never by chance.
    let median = both.quantile(0.5).unwrap();
    assert!(
        (median / 2500.0 - 0.5).abs() <= 5.0 * both.rank_error(),
        "median={median}"
    );
    laws::round_trip(&both).unwrap();
}

/// By `QS`: between the two centroids there, as they stand in the bytes, from the right side and from the wrong one.
/// The latter are what Python answers; the numbers are uniform, so that the truth is known too.
const DOUBLES: [(f64, f64); 7] = [
    (12.429086538461538, 12.030288461538461),
    (125.06128851929769, 121.50872762275235),
    (312.5458094588077, 315.5063821905283),
    (624.9601630641135, 619.9974537985621),
    (937.43679672717, 924.4722654568546),
    (1124.8821865262162, 1124.5654569164071),
    (1237.453125, 1238.2857142857142),
];
const FLOATS: [(f64, f64); 7] = [
    (10.0, 10.0),
    (99.49999694824218, 101.99999542236328),
    (249.7674370531766, 256.1912726636203),
    (500.23036465579514, 529.4010745531892),
    (749.4999827258991, 737.9999562389446),
    (899.2023691030649, 890.7381216195913),
    (990.0, 990.0),
];

fn answers_better_than_python<const K: u16>(digest: &TDigest<K>, table: &[(f64, f64)], greatest: f64) {
    let found = digest.quantiles(&QS).unwrap();
    for ((q, found), (expected, python)) in QS.into_iter().zip(found).zip(table) {
        assert!(
            (found - expected).abs() <= 1e-9 * expected,
            "found={found} expected={expected}"
        );
        let truth = q * greatest;
        assert!(
            (found - truth).abs() <= (python - truth).abs(),
            "found={found} truth={truth}"
        );
        assert!(
            (found - python).abs() <= 2.0 * digest.rank_error(q) * greatest,
            "found={found} python={python}"
        );
    }
}

#[test]
fn t_digest_reads_what_python_wrote() {
    let digest = TDigest::<200>::from_bytes(&golden_bytes("python_t_digest")).unwrap();
    assert_eq!(
        (digest.count(), digest.min(), digest.max()),
        (10_000, Some(0.0), Some(1249.875))
    );
    answers_better_than_python(&digest, &DOUBLES, 1250.0);
    assert!((digest.rank(300.0).unwrap() - 0.2399086240229169).abs() <= 1e-12);
    assert_eq!(digest.to_bytes(), golden_bytes("python_t_digest"));
    assert_eq!(
        TDigest::<200>::new().to_bytes(),
        golden_bytes("python_t_digest_empty")
    );
    assert_eq!(
        TDigest::<200>::of(&7.5).to_bytes(),
        golden_bytes("python_t_digest_single")
    );
}

#[test]
fn t_digest_merges_with_what_python_wrote() {
    let mut both = TDigest::<200>::from_bytes(&golden_bytes("python_t_digest")).unwrap();
    let ours: Vec<f64> = (10_000..20_000).map(|i| f64::from(i) / 8.0).collect();
    both.plus(sketch(&ours));
    let median = both.quantile(0.5).unwrap();
    assert_eq!((both.count(), both.max()), (20_000, Some(2499.875)));
    assert!(
        (median / 2500.0 - 0.5).abs() <= both.rank_error(0.5),
        "median={median}"
    );
}

#[test]
fn t_digest_reads_floats_that_python_wrote() {
    let bytes = golden_bytes("python_t_digest_floats");
    let digest = TDigest::<100>::from_float_bytes(&bytes).unwrap();
    assert_eq!(
        (digest.count(), digest.min(), digest.max()),
        (1000, Some(0.0), Some(999.0))
    );
    answers_better_than_python(&digest, &FLOATS, 1000.0);
    laws::refuses::<TDigest<100>>(&bytes, DecodeErrorKind::Corrupt).unwrap();
    assert!(TDigest::<100>::from_float_bytes(&bytes[..bytes.len() - 1]).is_err());
}

enum Millis {}
impl Edges for Millis {
    const EDGES: &'static [f64] = &[1.0, 2.5, 10.0, 100.0];
}

/// Fewer numbers than would flip a coin or take a logarithm.
#[test]
fn the_bytes_are_frozen() {
    let numbers: Vec<f64> = (-20..30_i32)
        .map(|i| f64::from(i * i * i) / 8.0)
        .chain([f64::NAN])
        .collect();
    golden("kll", &sketch::<Kll<f64>>(&numbers));
    golden("t_digest", &sketch::<TDigest>(&numbers));
    golden("dd_sketch", &sketch::<DdSketch>(&numbers));
    golden("dd_sketch_folded", &sketch::<DdSketch<500, 8>>(&numbers));
    golden("histogram", &sketch::<Histogram<Millis>>(&numbers));
    let mut sums = RangeSums::<f64, u64, 16>::new();
    numbers
        .iter()
        .zip(0..)
        .for_each(|(number, value)| sums.add(&(*number, value)));
    golden("range_sums", &sums);
    let mut sums = RangeSums::<i64, u64>::new();
    (-5..5).for_each(|key: i64| sums.add(&(key, key.unsigned_abs())));
    golden("range_sums_exact", &sums);
}
