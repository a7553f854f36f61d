//! From outside: the bytes of numbers and statistics, and what exact arithmetic (Python's `fractions`) says of them.

use std::ops::Bound;

use algebra::codec::{Codec, DecodeErrorKind};
use algebra::sketch::Sketch;
use algebra::{
    AdjoinedUnit, Affine, Approximate, ApproximateBool, Average, Checked, Correlation, ExactSum, Group,
    Interval, MinPlus, Moments, Monoid, Probability, Saturating, Semigroup, Sessions, Sum, laws,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kit::{Random, golden};

/// Bytes that are written now and read again, and JSON that is; bytes of another version or kind are refused.
fn lasts<T>(name: &str, value: &T)
where
    T: Codec + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    golden(name, value);
    let mut other = value.to_bytes();
    other[1] += 1;
    laws::refuses::<T>(&other, DecodeErrorKind::Version).unwrap();
    other[0] = 0xff;
    laws::refuses::<T>(&other, DecodeErrorKind::Corrupt).unwrap();
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
}

#[test]
fn golden_numbers() {
    let mut taken_back = ExactSum::from(f64::INFINITY);
    taken_back.negate();
    lasts("exact_sum_zero", &ExactSum::zero());
    lasts("exact_sum_one", &ExactSum::from(-0.1));
    lasts(
        "exact_sum_wide",
        &[1e300, 0.1, -3.0, 5e-324].into_iter().collect::<ExactSum>(),
    );
    lasts(
        "exact_sum_not_finite",
        &plus([f64::NAN.into(), taken_back, ExactSum::from(1.5)]),
    );
    lasts("sum", &plus([1e100, 1.0, -1e100].map(Sum::from)));
    lasts("sum_infinite", &Sum::from(f64::NEG_INFINITY));
    lasts("checked", &plus([i8::MIN; 3].map(Checked::from)));
    lasts("saturating", &plus([u64::MAX; 3].map(Saturating::from)));
    lasts("min_plus", &MinPlus::from(7_u32));
    lasts("min_plus_float", &MinPlus::<f64>::zero());
    lasts(
        "affine",
        &Affine {
            scale: -3_i64,
            offset: 4,
        },
    );
    lasts(
        "adjoined_unit",
        &AdjoinedUnit {
            ones: i128::MIN,
            value: 6_u16,
        },
    );
}

#[test]
fn golden_statistics() {
    let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
    lasts("average", &plus(values.map(Average::from)));
    lasts("moments", &values.into_iter().collect::<Moments>());
    lasts(
        "correlation",
        &plus([
            Correlation::from((1.0, 2.0)),
            Correlation::weighted(3.0, 1.0, 0.5),
        ]),
    );
    lasts("interval_empty", &Interval::<u16>::EMPTY);
    lasts("interval_universe", &Interval::<u16>::UNIVERSE);
    lasts(
        "interval",
        &Interval::new(
            Bound::Excluded("ant".to_owned()),
            Bound::Included("bee".to_owned()),
        ),
    );
    lasts("approximate", &Approximate::new(90_u64, 100, 110, 0.99).unwrap());
    lasts(
        "approximate_bool",
        &ApproximateBool {
            value: true,
            wrong: Probability::at_most(0.01),
        },
    );
    lasts("moments_not_finite", &Moments::from(f64::INFINITY));
}

#[cfg(feature = "num-bigint")]
#[test]
fn golden_big() {
    use num_bigint::{BigInt, BigUint};
    golden("big_uint", &BigUint::from(u128::MAX));
    golden("big_int", &-BigInt::from(1_u128 << 100));
}

/// What a store, a stream and a batch would do with the same numbers: other parts, other orders, and something taken
/// back; not one bit differs. The sum is that of `math.fsum`.
#[test]
fn memory_is_live_is_batch() {
    let mut random = Random(10);
    let mut values: Vec<f64> = (0..20_000)
        .map(|_| {
            let mantissa = random.unit() - 0.5;
            mantissa * 2_f64.powi((random.next() % 120) as i32 - 60)
        })
        .collect();
    let batch: ExactSum = values.iter().copied().collect();
    assert_eq!(batch.value(), -3.5845553785977766e17);
    for _ in 0..3 {
        for at in (1..values.len()).rev() {
            values.swap(at, random.next() as usize % (at + 1));
        }
        let mut live = ExactSum::zero();
        let mut rest = &values[..];
        while !rest.is_empty() {
            let (part, others) = rest.split_at(1 + random.next() as usize % rest.len());
            live.plus(part.iter().copied().collect());
            rest = others;
        }
        let mut late = ExactSum::from(0.1);
        live.plus(late.clone());
        late.negate();
        live.plus(ExactSum::from_bytes(&late.to_bytes()).unwrap());
        assert_eq!(live, batch);
        assert_eq!(live.to_bytes(), batch.to_bytes());
        assert_eq!(live.value().to_bits(), batch.value().to_bits());
    }
    let plain: f64 = values.iter().sum();
    assert_ne!(plain, batch.value(), "else the numbers are too easy");
}

/// `Sum` is within its bound, but its last bits tell how it was grouped.
#[test]
fn the_cheap_sum_depends_on_its_grouping() {
    let mut random = Random(11);
    let items: Vec<Sum> = (0..1000)
        .map(|_| Sum::from(random.unit() * 2_f64.powi((random.next() % 120) as i32)))
        .collect();
    let from_left = Sum::sum(items.iter().copied()).unwrap();
    let halves = [&items[..500], &items[500..]].map(|half| Sum::sum(half.iter().copied()).unwrap());
    assert_ne!(plus(halves), from_left);
}

/// Against exact rational arithmetic.
#[test]
fn moments_of_far_off_numbers() {
    let mut random = Random(8);
    let values: Vec<f64> = (0..1000)
        .map(|_| {
            let unit = random.unit();
            1e9 + unit * unit * 100.0
        })
        .collect();
    let one_by_one: Moments = values.iter().copied().collect();
    let merged = plus(
        values
            .chunks(7)
            .map(|part| part.iter().copied().collect::<Moments>()),
    );
    for moments in [one_by_one, merged] {
        let near = |found: Option<f64>, expected: f64, within: f64| {
            let found = found.unwrap();
            assert!(
                (found - expected).abs() <= within,
                "found={found} expected={expected}"
            );
        };
        near(moments.mean(), 1000000033.7930814, 1e-6);
        near(moments.variance(), 902.3021558776084, 1e-6);
        near(moments.sample_variance(), 903.2053612388472, 1e-6);
        near(moments.skewness(), 0.6347156128790542, 1e-8);
        near(moments.excess_kurtosis(), -0.8660658941118604, 1e-8);
    }
    let n = values.len() as f64;
    let textbook = values.iter().map(|x| x * x).sum::<f64>() / n - (values.iter().sum::<f64>() / n).powi(2);
    assert!((textbook - 902.302).abs() > 1.0, "textbook={textbook}");
}

/// Against exact rational arithmetic.
#[test]
fn correlation_of_far_off_pairs() {
    let mut random = Random(9);
    let pairs: Vec<(f64, f64)> = (0..1000)
        .map(|_| {
            let x = 1e9 + random.unit() * 100.0;
            (x, -1e6 + 2.5 * (x - 1e9) + random.unit() * 50.0)
        })
        .collect();
    let one_by_one: Correlation = pairs.iter().copied().collect();
    let merged = plus(
        pairs
            .chunks(7)
            .map(|part| part.iter().copied().collect::<Correlation>()),
    );
    for found in [one_by_one, merged] {
        assert!((found.covariance().unwrap() - 2211.4983056538204).abs() < 1e-5);
        assert!((found.r().unwrap() - 0.981611814273834).abs() < 1e-9);
        let line = found.least_squares().unwrap();
        assert!((line.slope - 2.5267480926365167).abs() < 1e-8);
        assert!((line.intercept + 2527748068.857503).abs() < 10.0);
    }
}

/// Errors that are independent, always together, or never together: the sum is out of bounds no more often than it says.
#[test]
fn the_confidence_of_a_sum_is_honest() {
    let part = Approximate::new(-1_i64, 0, 1, 0.95).unwrap();
    let sum = plus([part; 5]);
    assert!((sum.wrong().bound() - 0.25).abs() < 1e-12);
    let mut random = Random(12);
    for dependence in 0..3 {
        let held: Vec<bool> = (0..4000)
            .map(|_| {
                let common = random.unit();
                let is_wrong = |at: usize, own: f64| match dependence {
                    0 => own < 0.05,
                    1 => common < 0.05,
                    _ => (common * 20.0) as usize == at,
                };
                // A wrong one is off by far.
                let truth = (0..5).filter(|at| is_wrong(*at, random.unit())).count() as i64 * 100;
                sum.contains(&truth)
            })
            .collect();
        laws::fails_at_most(sum.wrong().bound(), held.iter().copied()).unwrap();
        if dependence == 2 {
            // The bound is reached; what a product of confidences claims, 0.774, is not kept.
            laws::fails_at_most(1.0 - 0.95_f64.powi(5) - 0.03, held).unwrap_err();
        }
    }
}

#[test]
fn sums_take_floats_one_by_one() {
    let mut exact = ExactSum::zero();
    let mut average = Average::zero();
    for value in [0.1, 0.2, 0.3] {
        exact.add(&value);
        average.add(&value);
    }
    assert_eq!(exact.value(), 0.6);
    assert_eq!(average.count, 3);
}

fn plus<T: Semigroup>(items: impl IntoIterator<Item = T>) -> T {
    T::sum(items).unwrap()
}

#[test]
fn sessions_have_bytes_that_last() {
    let visits =
        [(0, 1_u64), (100, 2), (20, 3), (-5, 4)].map(|(time, value)| Sessions::<u64, 30>::event(time, value));
    lasts("sessions", &Sessions::sum(visits).unwrap());
}
