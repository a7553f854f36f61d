//! Laws, the naive twin, the invariant of joining.

use proptest::prelude::*;

use super::*;
use crate::codec::{Codec, DecodeErrorKind};
use crate::laws;

/// At most 120 buckets, so that a few hundred events join.
type Coarse = ExponentialHistogram<2, 1_000>;

fn build<const K: u32, const WINDOW: u64>(events: &[(u64, u64)]) -> ExponentialHistogram<K, WINDOW> {
    let mut histogram = ExponentialHistogram::new();
    events.iter().for_each(|event| histogram.add(event));
    histogram
}

/// Events of rising times.
fn in_order() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..4_u64, 1..5_u64), 0..600).prop_map(|steps| {
        let mut time = 0;
        steps
            .into_iter()
            .map(|(step, count)| {
                time += step;
                (time, count)
            })
            .collect()
    })
}

fn any_order() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..1_200_u64, 0..5_u64), 0..300)
}

fn truth(events: &[(u64, u64)], start: u64) -> u64 {
    events
        .iter()
        .filter(|event| event.0 >= start)
        .map(|event| event.1)
        .sum()
}

fn latest(events: &[(u64, u64)]) -> u64 {
    events
        .iter()
        .filter(|event| event.1 > 0)
        .map(|event| event.0)
        .max()
        .unwrap_or(0)
}

/// Where the window of these events begins.
fn window_start(events: &[(u64, u64)], window: u64) -> u64 {
    (latest(events) + 1).saturating_sub(window)
}

/// `k·across(m) ≤ after(m)` at every end of a bucket, where alone it can break.
fn invariant(buckets: &[Bucket], k: u64) -> Result<(), TestCaseError> {
    for moment in buckets.iter().map(|bucket| bucket.newest) {
        let count = |which: &dyn Fn(&&Bucket) -> bool| -> u64 {
            buckets.iter().filter(which).map(|bucket| bucket.count).sum()
        };
        let across = count(&|bucket| bucket.oldest < moment && bucket.newest >= moment);
        let after = count(&|bucket| bucket.oldest >= moment);
        prop_assert!(
            k * across <= after,
            "moment={moment} across={across} after={after}"
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn laws_hold(a in any_order(), b in any_order(), c in any_order(), event in (0..1_200_u64, 0..5_u64)) {
        let all = [a.clone(), b.clone(), c.clone()].concat();
        let truths: Vec<_> = (window_start(&all, 1_000)..=latest(&all))
            .step_by(29)
            .map(|start| (start, truth(&all, start)))
            .collect();
        let hold = |histogram: &Coarse| {
            truths.iter().all(|(start, truth)| {
                histogram.bounds_since(*start).contains(truth)
            })
        };
        let same = |left: &Coarse, right: &Coarse| hold(left) && hold(right);
        laws::merge_equals_whole_within(&all, &[a.len(), b.len()], build, same)?;
        let [a, b, c] = [a, b, c].map(|events| build::<2, 1_000>(&events));
        laws::associative_within(&a, &b, &c, same)?;
        laws::identity(&a)?;
        laws::commutative(&a, &b)?;
        laws::adds(&a, &event, Coarse::eq)?;
        laws::round_trip(&a)?;
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Coarse>(&text).unwrap(), a);
    }

    /// The stated error, for parts that follow one another, merged in any grouping.
    #[test]
    fn within_its_error_in_order(events in in_order(), cuts: [usize; 5], quiet in 0..500_u64) {
        let now = latest(&events) + quiet;
        let count = truth(&events, (now + 1).saturating_sub(1_000));
        let truths: Vec<_> = (window_start(&events, 1_000)..=latest(&events))
            .step_by(29)
            .map(|start| (start, truth(&events, start)))
            .collect();
        // 1/(2·K), where K = 2.
        let near = |histogram: &Coarse| {
            truths.iter().all(|(start, truth)| 4 * histogram.count_since(*start).abs_diff(*truth) <= *truth)
                && 4 * histogram.count_at(now).abs_diff(count) <= count
        };
        laws::merge_equals_whole_within(&events, &cuts, build, |left, right| near(left) && near(right))?;
    }

    /// Also where nothing follows anything.
    #[test]
    fn joining_keeps_the_invariant(parts in prop::collection::vec(any_order(), 1..5), k in 1..5_u64) {
        let mut all: Vec<Bucket> = Vec::new();
        for part in &parts {
            let moments = build::<99, 5_000>(part);
            let joined = compress::join(&Vec::from(moments.buckets), k);
            invariant(&Vec::from(joined.clone()), k)?;
            all.extend(joined);
        }
        let all = gathered(all);
        invariant(&all, k)?;
        let joined = Vec::from(compress::join(&all, k));
        invariant(&joined, k)?;
        prop_assert!(joined.is_sorted());
        let total = |buckets: &[Bucket]| buckets.iter().map(|bucket| bucket.count).sum::<u64>();
        prop_assert_eq!(total(&joined), total(&all));
        prop_assert!(compress::join(&all, 0).len() <= 1);
    }

    #[test]
    fn any_bytes(bytes: Vec<u8>, events in any_order(), changes: Vec<(usize, u8)>) {
        laws::survives::<Coarse>(&bytes, &[])?;
        laws::survives::<Coarse>(&build::<2, 1_000>(&events).to_bytes(), &changes)?;
    }

    #[test]
    fn nothing_overflows(events: Vec<(u64, u64)>, time: u64) {
        let histogram = build::<1, { u64::MAX }>(&events);
        let mut twice = build::<1, { u64::MAX }>(&events);
        twice.plus(histogram.clone());
        for bounds in [histogram.bounds_at(time), twice.bounds_since(time)] {
            prop_assert!(!bounds.is_empty());
        }
    }
}

#[test]
fn few_buckets_count_many() {
    let mut histogram = ExponentialHistogram::<50, 10_000_000>::new();
    let mut buckets_most = 0;
    for time in 0..300_000 {
        histogram.add_at(time, 1_000);
        buckets_most = buckets_most.max(histogram.buckets.len());
    }
    assert!(buckets_most <= ExponentialHistogram::<50, 10_000_000>::BUCKETS_MAX);
    let joined = compress::join(histogram.buckets.make_contiguous(), 50);
    assert!(joined.len() < 700, "{}", joined.len());
}

#[test]
fn the_window_slides() {
    let mut histogram = Coarse::new();
    histogram.add_at(0, 7);
    histogram.add_at(999, 1);
    assert_eq!(histogram.bounds_at(999), 8..=8);
    assert_eq!(histogram.bounds_at(1_000), 1..=1);
    // Of an earlier window nothing more is known than of the latest.
    assert_eq!(histogram.bounds_at(5), 8..=8);
    histogram.add_at(1_000, 1);
    assert_eq!((histogram.buckets.len(), histogram.bounds_at(1_000)), (2, 2..=2));
    // Too late.
    histogram.add_at(0, 7);
    assert_eq!(histogram.bounds_since(0), 2..=2);
    histogram.add_at(u64::MAX, 1);
    assert_eq!(
        (histogram.buckets.len(), histogram.bounds_at(u64::MAX)),
        (1, 1..=1)
    );
    assert_eq!(Coarse::new().bounds_at(u64::MAX), 0..=0);
}

/// A late event in a joined bucket: many of them stay exact and do not spoil the bounds.
#[test]
fn late_ones_keep_their_time() {
    let mut histogram = Coarse::new();
    (0..900).for_each(|time| histogram.add_at(time, 1));
    let before = histogram.bounds_since(301);
    histogram.add_at(300, 1_000_000);
    assert_eq!(histogram.bounds_since(301), before);
    assert!(*histogram.bounds_since(300).start() >= 1_000_000);
}

#[test]
fn what_is_no_histogram_is_refused() {
    let histogram = build::<2, 1_000>(&[(5, 1), (6, 1)]);
    let bytes = histogram.to_bytes();
    laws::refuses::<ExponentialHistogram<3, 1_000>>(&bytes, DecodeErrorKind::Shape).unwrap();
    laws::refuses::<ExponentialHistogram<2, 999>>(&bytes, DecodeErrorKind::Shape).unwrap();
    let changed = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        bytes
    };
    laws::refuses::<Coarse>(&changed(1, 2), DecodeErrorKind::Version).unwrap();
    // Header 2, shape 16, length 4: the buckets are the bytes from 22, 5 0 1 and 1 0 1.
    assert_eq!(bytes[22..], [5, 0, 1, 1, 0, 1]);
    laws::round_trip(&histogram).unwrap();
    for (at, byte) in [(0, 0), (18, 3), (22, 0x80), (23, 6), (23, 1), (24, 0), (25, 0)] {
        laws::refuses::<Coarse>(&changed(at, byte), DecodeErrorKind::Corrupt).unwrap();
    }
}
