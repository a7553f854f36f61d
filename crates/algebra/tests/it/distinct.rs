//! Distinct items from outside: bytes that last, bytes of other languages, errors as stated.
//!
//! `golden/python_*.hex` were made with `datasketches` 5.2.0 for Python, by `update` with the integers 0.. (`hll_set*`,
//! `theta_exact`: with the strings "item-0".. instead), then `serialize_compact()`, `serialize_updatable()` or
//! `compact().serialize()`. Unions are of 0..5000 and 2500..7500, `hll4_union` with 150000 added. The numbers beside them are what Python estimates.
//! `golden/java_*.hex` were made with `datasketches-java` 6.2.0, by `update` with the longs 0..100 (`java_hll4`,
//! `java_theta`), with 0..20 and "item-0" to "item-19" (`java_bloom`), and by a union of `hll_coupons` with 10..24.

use algebra::Semigroup;
use algebra::codec::Codec;
use algebra::laws;
use algebra::sketch::{Bloom, BloomShape, HyperLogLog, HyperLogLogSeries, MinHash, Sketch, StdDevs, Theta};

use crate::kit::{Random, golden, golden_bytes};

fn numbers<S: Sketch<u64>>(range: std::ops::Range<u64>) -> S {
    let mut sketch = S::zero();
    range.for_each(|item| sketch.add(&item));
    sketch
}

fn strings<S: Sketch<str>>(count: usize) -> S {
    let mut sketch = S::zero();
    (0..count).for_each(|item| sketch.add(&format!("item-{item}")));
    sketch
}

fn plus<S: Semigroup>(mut left: S, right: S) -> S {
    left.plus(right);
    left
}

#[test]
fn bytes_last() {
    golden("hll_coupons", &numbers::<HyperLogLog<8>>(0..20));
    golden("hll_registers", &numbers::<HyperLogLog<5>>(0..100));
    golden("hll_exceptions", &numbers::<HyperLogLog<10>>(150_000..157_500));
    golden("theta_sample", &numbers::<Theta<5>>(0..100));
    golden("bloom", &numbers::<Bloom<512, 3>>(0..20));
    golden("min_hash", &numbers::<MinHash<21>>(0..20));
    let mut series = HyperLogLogSeries::<4>::new();
    (0..100_u64).for_each(|item| series.add_at(item / 3, &item));
    golden("hll_series", &series);
    let json = serde_json::to_string(&series).unwrap();
    assert_eq!(
        serde_json::from_str::<HyperLogLogSeries<4>>(&json).unwrap(),
        series
    );
    let nested = (7_u8, numbers::<HyperLogLog<5>>(0..100), numbers::<Theta<5>>(0..9));
    laws::round_trip(&nested).unwrap();
}

/// Of those of Python: they are this value; and what merges with one merges with the other.
fn reads<S: Codec + Semigroup + Clone + PartialEq + std::fmt::Debug>(name: &str, ours: &S, more: &S) {
    let theirs = S::from_bytes(&golden_bytes(name)).unwrap();
    assert_eq!(&theirs, ours, "{name}");
    assert_eq!(
        plus(theirs, more.clone()),
        plus(ours.clone(), more.clone()),
        "{name}"
    );
}

#[test]
fn hll_of_python() {
    let few = numbers::<HyperLogLog<12>>(0..5);
    let more = numbers::<HyperLogLog<12>>(3..900);
    reads("python_hll_empty", &HyperLogLog::<12>::new(), &more);
    reads("python_hll_list", &few, &more);
    reads("python_hll_list_updatable", &few, &more);
    let some = strings::<HyperLogLog<12>>(100);
    reads("python_hll_set", &some, &more);
    reads("python_hll_set_updatable", &some, &more);
    let more = numbers::<HyperLogLog<10>>(2_500..7_500);
    let many = numbers::<HyperLogLog<10>>(0..5_000);
    for name in ["python_hll8", "python_hll8_updatable", "python_hll6"] {
        reads(name, &many, &more);
    }
    let most = numbers::<HyperLogLog<10>>(0..50_000);
    for name in ["python_hll4", "python_hll4_updatable"] {
        reads(name, &most, &more);
    }
    // What Python merged is what we merge.
    let union = plus(many, more);
    reads("python_hll8_union", &union, &most);
    let other = plus(
        numbers::<HyperLogLog<10>>(150_000..155_000),
        numbers(152_500..157_500),
    );
    reads("python_hll4_union", &other, &most);
    // Byte for byte, but for the size of Python's table of exceptions, and their order there.
    let (ours, theirs) = (other.to_bytes(), golden_bytes("python_hll4_union"));
    assert_eq!(ours[5..40 + 512], theirs[5..40 + 512]);
    assert_eq!(ours.len(), theirs.len());
    assert_eq!(other.estimate(), 7_470.740002646491);
    let close = |ours: f64, theirs: f64| assert!((ours / theirs - 1.0).abs() < 1e-9, "{ours} {theirs}");
    close(union.estimate(), 8_074.642397328881);
    close(*union.bounds(StdDevs::Two).start(), 7_567.543799733294);
    close(*union.bounds(StdDevs::Two).end(), 8_616.60637017338);
}

#[test]
fn theta_of_python() {
    let more = numbers::<Theta<8>>(2_500..7_500);
    let many = numbers::<Theta<8>>(0..5_000);
    for (name, ours) in [
        ("python_theta_empty", Theta::new()),
        ("python_theta_one", numbers(0..1)),
        ("python_theta_exact", strings(100)),
        ("python_theta_trimmed", many.clone()),
        ("python_theta_union", plus(many.clone(), more.clone())),
    ] {
        reads(name, &ours, &more);
        assert_eq!(ours.to_bytes(), golden_bytes(name), "{name}");
    }
    reads("python_theta_untrimmed", &many, &more);
    reads("python_theta_compressed", &many, &more);
    let close = |ours: f64, theirs: f64| assert!((ours / theirs - 1.0).abs() < 1e-9, "{ours} {theirs}");
    close(many.estimate(), 5_017.849584487932);
    close(*many.bounds(StdDevs::Two).start(), 4_433.193716738544);
    close(*many.bounds(StdDevs::Two).end(), 5_678.10054859529);
    // Python intersects before it trims: another sample, of the same items.
    let both = Theta::<8>::from_bytes(&golden_bytes("python_theta_intersection")).unwrap();
    close(both.estimate(), 2_575.6824345293626);
    assert!(many.intersect(&more).bounds(StdDevs::Two).contains(&2_500.0));
    assert!(both.difference(&many).estimate() == 0.0);
}

#[test]
fn of_java() {
    let more = numbers::<HyperLogLog<5>>(50..200);
    let hundred = numbers::<HyperLogLog<5>>(0..100);
    reads("java_hll4", &hundred, &more);
    assert_eq!(hundred.estimate(), 104.56860266762494);
    reads(
        "java_hll_union",
        &numbers::<HyperLogLog<8>>(0..24),
        &numbers(20..30),
    );
    reads("java_theta", &numbers::<Theta<5>>(0..100), &numbers(50..200));
    reads("java_theta_empty", &Theta::<5>::new(), &numbers(50..200));
    let twice_twenty = plus(numbers::<Bloom<512, 3>>(0..20), strings(20));
    reads("java_bloom", &twice_twenty, &numbers(50..60));
    reads("java_bloom_empty", &Bloom::<512, 3>::new(), &twice_twenty);
}

/// So many tries, each with its own numbers.
fn tries(seed: u64, count: u64) -> impl Iterator<Item = Random> {
    (0..count).map(move |index| {
        let mut random = Random(seed ^ (index << 32));
        Random(random.next())
    })
}

fn random_set<S: Sketch<u64>>(random: &mut Random, size: u64) -> S {
    let mut sketch = S::zero();
    (0..size).for_each(|_| sketch.add(&random.next()));
    sketch
}

/// Two sets that share `common` items.
fn random_pair<S: Sketch<u64> + Clone>(random: &mut Random, common: u64, left: u64, right: u64) -> (S, S) {
    let shared = random_set::<S>(random, common);
    let [left, right] = [left, right].map(|size| plus(shared.clone(), random_set(random, size)));
    (left, right)
}

fn root_mean_square(errors: impl Iterator<Item = f64>) -> f64 {
    let squares: Vec<f64> = errors.map(|error| error * error).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

const SIZES: [u64; 7] = [3, 20, 100, 300, 700, 1_500, 4_000];

#[test]
fn hll_is_within_its_bounds() {
    let sketches: Vec<(f64, HyperLogLog<8>)> = tries(1, 210)
        .zip(SIZES.iter().cycle())
        .map(|(mut random, size)| (*size as f64, random_set(&mut random, *size)))
        .collect();
    for std_devs in [StdDevs::One, StdDevs::Two, StdDevs::Three] {
        let held = sketches
            .iter()
            .map(|(size, sketch)| sketch.bounds(std_devs).contains(size));
        laws::fails_at_most(std_devs.failure_probability(), held).unwrap();
    }
    let error = root_mean_square(
        sketches
            .iter()
            .map(|(size, sketch)| sketch.estimate() / size - 1.0),
    );
    assert!(error < 1.04 / 16.0, "error={error}");
}

#[test]
fn hll_intersections_err_as_stated() {
    let errors = tries(2, 200).map(|mut random| {
        let (left, right) = random_pair::<HyperLogLog<8>>(&mut random, 600, 500, 900);
        HyperLogLog::intersection_estimate(&[&left, &right]) - 600.0
    });
    let error = root_mean_square(errors) / 2_000.0;
    assert!(error < 1.04 / 16.0, "error={error}");
    let errors = tries(3, 200).map(|mut random| {
        let (left, right) = random_pair::<HyperLogLog<8>>(&mut random, 600, 500, 900);
        let third = plus(left.clone(), random_set(&mut random, 300));
        HyperLogLog::intersection_estimate(&[&left, &right, &third]) - 600.0
    });
    let error = root_mean_square(errors) / 2_300.0;
    assert!(error < 7_f64.sqrt() * 1.04 / 16.0, "error={error}");
}

#[test]
fn theta_is_within_its_bounds() {
    let pairs: Vec<(f64, Theta<7>, Theta<7>)> = tries(4, 210)
        .zip(SIZES.iter().cycle())
        .map(|(mut random, size)| {
            let (left, right) = random_pair(&mut random, size / 2, size / 4, size / 4);
            ((size / 2) as f64, left, right)
        })
        .collect();
    let quarter = |half: f64| (half / 2.0).floor();
    for std_devs in [StdDevs::One, StdDevs::Two, StdDevs::Three] {
        let within = |sketch: &Theta<7>, size: f64| sketch.bounds(std_devs).contains(&size);
        let allowed = std_devs.failure_probability();
        let unions = pairs.iter().map(|(half, left, right)| {
            within(&plus(left.clone(), right.clone()), half + 2.0 * quarter(*half))
        });
        laws::fails_at_most(allowed, unions).unwrap();
        let intersections = pairs
            .iter()
            .map(|(half, left, right)| within(&left.intersect(right), *half));
        laws::fails_at_most(allowed, intersections).unwrap();
        let differences = pairs
            .iter()
            .map(|(half, left, right)| within(&left.difference(right), quarter(*half)));
        laws::fails_at_most(allowed, differences).unwrap();
    }
    let similar = pairs.iter().map(|(half, left, right)| {
        let truth = half / (half + 2.0 * quarter(*half));
        let jaccard = left.jaccard(right);
        (jaccard.low..=jaccard.high).contains(&truth)
    });
    laws::fails_at_most(StdDevs::Two.failure_probability(), similar).unwrap();
    let large = tries(5, 200).map(|mut random| random_set::<Theta<7>>(&mut random, 2_000).estimate());
    let error = root_mean_square(large.map(|estimate| estimate / 2_000.0 - 1.0));
    assert!((error * 127_f64.sqrt() - 1.0).abs() < 0.2, "error={error}");
}

#[test]
fn bloom_errs_as_stated() {
    assert_eq!(
        BloomShape::suggest(500, 0.02),
        BloomShape {
            bits: 4_096,
            hashes: 6
        }
    );
    let filters: Vec<Bloom<4_096, 6>> = tries(6, 200)
        .map(|mut random| random_set(&mut random, 500))
        .collect();
    // None of the items asked for was added: each is found by chance.
    let mut random = Random(7);
    let asked: Vec<bool> = (0..20_000)
        .map(|at| !filters[at % 200].contains(&random.next()))
        .collect();
    laws::fails_at_most(0.02, asked.iter().copied()).unwrap();
    let found = asked.iter().filter(|absent| !**absent).count() as f64 / 20_000.0;
    let stated = filters.iter().map(Bloom::false_positive_probability).sum::<f64>() / 200.0;
    assert!(
        (found / stated - 1.0).abs() < 0.2,
        "found={found} stated={stated}"
    );
    let load: f64 = 500.0 * 6.0 / 4_096.0;
    let error_stated = (4_096.0 * (load.exp() - load - 1.0)).sqrt() / 6.0;
    let error = root_mean_square(filters.iter().map(|filter| filter.distinct_estimate() - 500.0));
    assert!(
        (error / error_stated - 1.0).abs() < 0.2,
        "error={error} stated={error_stated}"
    );
}

#[test]
fn min_hash_errs_as_stated() {
    for (common, each) in [(600, 200), (200, 600), (20, 10)] {
        let truth = common as f64 / (common + 2 * each) as f64;
        let errors: Vec<f64> = tries(8, 300)
            .map(|mut random| {
                let (left, right) = random_pair::<MinHash<128>>(&mut random, common, each, each);
                left.similarity(&right) - truth
            })
            .collect();
        let stated = (truth * (1.0 - truth) / 128.0).sqrt();
        let error = root_mean_square(errors.iter().copied());
        assert!(error < stated * 1.1, "error={error} stated={stated}");
        let bias = errors.iter().sum::<f64>() / 300.0;
        assert!(
            bias.abs() < 4.0 * stated / 300_f64.sqrt(),
            "bias={bias} stated={stated}"
        );
        let held = errors
            .iter()
            .map(|error| error.abs() <= 2.0 * 0.5 / 128_f64.sqrt());
        laws::fails_at_most(StdDevs::Two.failure_probability(), held).unwrap();
    }
}

#[test]
fn min_hash_bands_find_the_similar() {
    // J = 0.75, of 16 bands with 8 hashes: 1 − (1 − 0.75⁸)¹⁶ = 0.81; J = 1/7: 0.000003.
    let share = |common: u64, each: u64| {
        let shares = tries(9, 200).filter_map(|mut random| {
            let (left, right) = random_pair::<MinHash<128>>(&mut random, common, each, each);
            let (left, right) = (left.band_keys(16), right.band_keys(16));
            left.iter()
                .zip(&right)
                .any(|(left, right)| left == right)
                .then_some(())
        });
        shares.count() as f64 / 200.0
    };
    let found = share(1_500, 250);
    assert!((found - 0.81).abs() < 0.1, "found={found}");
    assert!(share(250, 750) < 0.02);
}
