//! DdSketch: laws, the error against sorted numbers, folding, bytes.

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

fn sketch<const P: u32, const MAX: usize>(numbers: &[f64]) -> DdSketch<P, MAX> {
    let mut sketch = DdSketch::new();
    numbers.iter().for_each(|number| sketch.add(number));
    sketch
}

/// Every float, with those that are special more often.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => any::<f64>(),
        8 => -100.0..100.0_f64,
        2 => (-8..8_i32).prop_map(f64::from),
        1 => prop::sample::select(vec![0.0, -0.0, f64::NAN, f64::INFINITY, -f64::INFINITY, f64::MAX, 5e-324]),
    ]
}

fn numbers() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(number(), 0..80)
}

fn laws_of<const MAX: usize>(a: &[f64], b: &[f64], c: &[f64], cuts: &[usize]) -> laws::Result {
    let all = [a, b, c].concat();
    let same = |left: &DdSketch<100, MAX>, right: &DdSketch<100, MAX>| {
        left == right && left.to_bytes() == right.to_bytes()
    };
    laws::merge_equals_whole_within(&all, cuts, sketch::<100, MAX>, same)?;
    let mut shuffled = all.clone();
    shuffled.sort_by_key(|x| x.to_bits().wrapping_mul(0x9E37_79B9_7F4A_7C15));
    assert!(same(&sketch(&shuffled), &sketch(&all)), "the order shows");
    let [a, b, c] = [a, b, c].map(sketch::<100, MAX>);
    laws::associative(&a, &b, &c)?;
    laws::commutative(&a, &b)?;
    laws::identity(&a)?;
    laws::bulk_equals_repeated(&[a.clone(), b, c])?;
    laws::adds(&a, &-0.5, same)
}

proptest! {
    #[test]
    fn laws_are_exact_also_while_folding(
        a in numbers(), b in numbers(), c in numbers(), cuts in prop::collection::vec(any::<usize>(), 0..4),
    ) {
        laws_of::<2048>(&a, &b, &c, &cuts)?;
        laws_of::<5>(&a, &b, &c, &cuts)?;
        laws_of::<1>(&a, &b, &c, &cuts)?;
    }

    /// The naive twin is the sorted numbers.
    #[test]
    fn quantiles_are_within_the_error(numbers in numbers(), q in 0.0..=1.0_f64) {
        let sketch = sketch::<100, 2048>(&numbers);
        let mut sorted: Vec<f64> = numbers.iter().copied().filter(|x| !x.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        prop_assert_eq!(sketch.count(), sorted.len() as u64);
        prop_assert_eq!(sketch.not_numbers(), (numbers.len() - sorted.len()) as u64);
        prop_assert_eq!(sketch.folded(), (0.0, 0.0));
        let Some(place) = sorted.len().checked_sub(1) else {
            prop_assert_eq!(sketch.quantile(q), None);
            return Ok(());
        };
        let truth = sorted[((q * sorted.len() as f64).ceil() as usize).saturating_sub(1).min(place)];
        let found = sketch.quantile(q).unwrap();
        let allowed = if truth.abs() < f64::MIN_POSITIVE { truth.abs() } else { truth.abs() / 100.0 };
        prop_assert!(found == truth || (found - truth).abs() <= allowed, "found={found} truth={truth}");
        prop_assert_eq!(sketch.quantile(0.0), Some(sorted[0]));
        prop_assert_eq!(sketch.quantile(1.0), Some(sorted[place]));
    }

    #[test]
    fn the_sum_is_within_the_error_of_the_magnitudes(numbers in prop::collection::vec(-1e6..1e6_f64, 0..80)) {
        let sum = sketch::<100, 2048>(&numbers).sum();
        let (truth, magnitude) = (numbers.iter().sum::<f64>(), numbers.iter().map(|x| x.abs()).sum::<f64>());
        prop_assert!((sum - truth).abs() <= magnitude * (0.01 + 1e-12), "sum={sum} truth={truth}");
        prop_assert!(!numbers.is_empty() || sum.to_bits() == 0);
    }

    #[test]
    fn ranks_are_those_of_a_near_number(numbers in numbers(), x in number()) {
        let sketch = sketch::<100, 2048>(&numbers);
        let share = |y: f64| {
            let known = numbers.iter().filter(|number| !number.is_nan());
            let (at_most, all) = known.fold((0, 0), |(at_most, all), number| (at_most + u32::from(*number <= y), all + 1));
            f64::from(at_most) / f64::from(all)
        };
        match sketch.rank(x) {
            None => prop_assert!(sketch.count() == 0 || x.is_nan()),
            Some(rank) => {
                let width = x.abs() * 200.0 / 9900.0;
                let above = if x.abs() < f64::MIN_POSITIVE { f64::MIN_POSITIVE } else { x + width };
                prop_assert!(share(x) <= rank && rank <= share(above.max(x)), "rank={rank}");
            }
        }
    }

    /// What was folded is off by at most the end that is given, and all else keeps its error.
    #[test]
    fn folding_is_bounded(numbers in prop::collection::vec(-1e6..1e6_f64, 1..80), q in 0.0..=1.0_f64) {
        let sketch = sketch::<100, 5>(&numbers);
        let mut sorted = numbers.clone();
        sorted.sort_by(f64::total_cmp);
        let truth = sorted[((q * sorted.len() as f64).ceil() as usize).max(1) - 1];
        let found = sketch.quantile(q).unwrap();
        let (below, above) = sketch.folded();
        if truth < below || truth >= above {
            prop_assert!((found - truth).abs() <= truth.abs() / 100.0, "found={found} truth={truth}");
        } else {
            prop_assert!(found * truth >= 0.0 && below <= found && found <= above, "found={found} truth={truth}");
        }
    }

    #[test]
    fn buckets_hold_the_numbers(numbers in numbers()) {
        let sketch = sketch::<500, 2048>(&numbers);
        let mut counted = 0;
        for bucket in sketch.buckets() {
            let inside = |x: &&f64| if bucket.lower == bucket.upper && bucket.lower == 0.0 {
                x.abs() < f64::MIN_POSITIVE
            } else if bucket.upper <= 0.0 {
                bucket.lower < **x && **x <= bucket.upper || **x == bucket.lower && bucket.lower == bucket.upper
            } else {
                bucket.lower <= **x && **x < bucket.upper || **x == bucket.upper && bucket.lower == **x
            };
            let held = numbers.iter().filter(inside).count() as u64;
            prop_assert_eq!(bucket.count, held, "bucket={:?}", bucket);
            counted += held;
        }
        prop_assert_eq!(counted, sketch.count());
    }

    #[test]
    fn bytes_last(numbers in numbers(), changes in prop::collection::vec((any::<usize>(), any::<u8>()), 0..6)) {
        let whole = sketch::<100, 2048>(&numbers);
        laws::round_trip(&whole)?;
        laws::survives::<DdSketch>(&whole.to_bytes(), &changes)?;
        let folded = sketch::<100, 3>(&numbers);
        laws::round_trip(&folded)?;
        laws::survives::<DdSketch<100, 3>>(&folded.to_bytes(), &changes)?;
        if let Ok(read) = DdSketch::<100, 3>::from_bytes(&folded.to_bytes()) {
            prop_assert_eq!(read.quantile(0.5), folded.quantile(0.5));
        }
    }

    /// Every form that is taken is the one that would be written.
    #[test]
    fn only_the_canonical_form_is_taken(
        content in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..60),
    ) {
        let empty = DdSketch::<100>::new().to_bytes();
        let bytes = [&empty[..18], &content].concat();
        if let Ok(read) = DdSketch::<100>::from_bytes(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
            let _ = (read.quantile(0.5), read.rank(1.0), read.buckets().count());
        }
    }
}

#[test]
fn one_outlier_folds_nothing() {
    let sketch = sketch::<100, 500>(&[1.0, 2.0, 3.0, 1e300, f64::INFINITY]);
    assert_eq!(sketch.folded(), (0.0, 0.0));
    assert!((sketch.quantile(0.4).unwrap() - 2.0).abs() <= 0.02);
}

#[test]
fn counts_stop() {
    let mut sketch = DdSketch::<100, 2>::new();
    sketch.add_count(3.0, u64::MAX);
    sketch.add_count(-3.0, u64::MAX);
    sketch.add_count(5.0, 0);
    sketch.plus(sketch.clone());
    assert_eq!(sketch.count(), u64::MAX);
    assert_eq!(sketch.rank(0.0), Some(0.5));
    assert!((sketch.quantile(0.4).unwrap() + 3.0).abs() <= 0.03);
    laws::round_trip(&sketch).unwrap();
}

#[test]
fn refuses_what_it_is_not() {
    let bytes = sketch::<100, 2048>(&[1.0, 2.0, -7.0]).to_bytes();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<DdSketch>(&changed(0, 1), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<DdSketch>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
    laws::refuses::<DdSketch<200>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<DdSketch<100, 2047>>(&bytes, DecodeErrorKind::Shape).unwrap();
    // A count in two bytes where one is enough, one of more than 64 bits, and none.
    let with_count = |count: &[u8]| [&bytes[..bytes.len() - 1], count].concat();
    laws::refuses::<DdSketch>(&with_count(&[0x81, 0]), DecodeErrorKind::Corrupt).unwrap();
    laws::refuses::<DdSketch>(
        &with_count(&[&[0xff; 9][..], &[2]].concat()),
        DecodeErrorKind::Corrupt,
    )
    .unwrap();
    laws::refuses::<DdSketch>(&with_count(&[0]), DecodeErrorKind::Corrupt).unwrap();
    assert!(DdSketch::<100>::from_bytes(&with_count(&[&[0xff; 9][..], &[1]].concat())).is_ok());
    // The greatest number another: in no bucket that there is.
    laws::refuses::<DdSketch>(&changed(50, 0x41), DecodeErrorKind::Corrupt).unwrap();
}

#[test]
fn json_is_base64() {
    let sketch = sketch::<100, 2048>(&[1.0, f64::NAN, -3.0]);
    let text = serde_json::to_string(&sketch).unwrap();
    assert_eq!(serde_json::from_str::<DdSketch>(&text).unwrap(), sketch);
}
