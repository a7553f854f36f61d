//! From outside: sums that fade, windows, and counts in a window of time.

use algebra::codec::Codec;
use algebra::sketch::{DecayingCountMin, ExponentialHistogram, Sketch};
use algebra::{DecayedValue, DecayedVector, ExponentialAverage, ForwardDecay, Semigroup, Window, laws};

use crate::kit::{Random, golden};

/// A part at each time, and one more in a second value that is merged.
fn merged<X, S: Sketch<X>>(items: &[X], right: &X) -> S {
    let mut sketch = S::zero();
    items.iter().for_each(|item| sketch.add(item));
    sketch.plus(S::of(right));
    sketch
}

/// Whole half-lives and small numbers: no float here is rounded, on any machine.
#[test]
fn the_bytes_last() {
    golden::<DecayedValue<1_000>>("decayed_value", &merged(&[(5_000, 3.0)], &(2_000, 8.0)));
    golden::<DecayedVector<String, 1_000>>(
        "decayed_vector",
        &merged(
            &[(5_000, "bee".to_owned(), 3.0), (4_000, "ant".to_owned(), -1.0)],
            &(2_000, "bee".to_owned(), 8.0),
        ),
    );
    golden::<ExponentialAverage<250_000>>("exponential_average", &merged(&[4.0, 8.0], &-2.0));
    golden::<ForwardDecay<1_000, 2>>("forward_decay", &merged(&[(1_010, 4.0)], &(1_020, 8.0)));
    golden::<Window<u32, 3>>("window", &merged(&[1, 2, 3], &4));
    let events: Vec<_> = (0..300).map(|time| (3 * time, 1 + time % 2)).collect();
    golden::<ExponentialHistogram<1, 800>>("exponential_histogram", &merged(&events, &(450, 9)));
    golden::<DecayingCountMin<1_000, 8, 2>>(
        "decaying_count_min",
        &merged(&[(5_000, "ant"), (4_000, "bee")], &(0, "ant")),
    );
}

type Percent = ExponentialHistogram<50, 1_000_000>;

/// Events of a window, in no order.
fn times() -> Vec<u64> {
    let mut random = Random(7);
    (0..100_000).map(|_| random.next() % 1_000_000).collect()
}

/// The largest relative error over the whole window. The bounds must hold.
fn error(histogram: &Percent, times: &[u64]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    let error = |start: u64| {
        let truth = (times.len() - times.partition_point(|time| *time < start)) as u64;
        let bounds = histogram.bounds_since(start);
        assert!(
            bounds.contains(&truth),
            "start={start} truth={truth} bounds={bounds:?}"
        );
        histogram.count_since(start).abs_diff(truth) as f64 / truth.max(1) as f64
    };
    (0..1_000_000).step_by(997).map(error).fold(0.0, f64::max)
}

fn histogram(times: &[u64]) -> Percent {
    let mut histogram = Percent::new();
    times.iter().for_each(|time| histogram.add_at(*time, 1));
    histogram
}

/// A tenth of the events comes late, by up to the whole window: the error stays as stated.
#[test]
fn late_events_do_not_hurt() {
    for late_by in [0, 1_000, 1_000_000] {
        let mut random = Random(3);
        let mut arrivals: Vec<(u64, u64)> = times()
            .into_iter()
            .map(|time| match random.next() % 10 {
                0 => (time + random.next() % (late_by + 1), time),
                _ => (time, time),
            })
            .collect();
        arrivals.sort();
        let times: Vec<u64> = arrivals.iter().map(|arrival| arrival.1).collect();
        let error = error(&histogram(&times), &times);
        assert!(error <= 0.01, "late_by={late_by} error={error}");
        assert!(error > 0.001, "nothing was joined: error={error}");
    }
}

/// Parts that all span the whole window, each within 1 %, so many that their buckets do not fit: the bounds hold, and
/// what is lost is not much.
#[test]
fn parts_that_overlap_lose_little() {
    for (parts, error_most) in [(4, 0.015), (16, 0.02), (64, 0.03)] {
        let times = times();
        let mut histograms: Vec<Percent> = times
            .chunks(times.len() / parts)
            .map(|part| {
                let mut part = part.to_vec();
                part.sort();
                histogram(&part)
            })
            .collect();
        let plus = |mut left: Percent, right: Percent| {
            left.plus(right);
            left
        };
        let line = histograms.iter().cloned().reduce(plus).unwrap();
        while histograms.len() > 1 {
            histograms = histograms
                .chunks(2)
                .filter_map(|pair| pair.iter().cloned().reduce(plus))
                .collect();
        }
        for (grouping, merged) in [("line", &line), ("tree", &histograms[0])] {
            let error = error(merged, &times);
            assert!(error <= error_most, "parts={parts} {grouping} error={error}");
            assert!(merged.to_bytes().len() <= 8 * Percent::BUCKETS_MAX);
        }
    }
}

/// Eleven items with all of the weight in rows of 32: in each row, the twelfth meets one of them three times in ten,
/// near the worst that is possible. In one row too much would be `e^-1`, in all three `e^-3`; rows that fail together
/// are found.
#[test]
fn decaying_count_min_is_within_its_error() {
    type Counts = DecayingCountMin<1_000, 32, 3>;
    let mut random = Random(11);
    let held = (0..1_000).map(|_| {
        let mut halves = [Counts::new(), Counts::new()];
        for heavy in 0..11 {
            let time = random.next() % 20_000;
            // As heavy as the others by the end.
            let count = ((20_000 - time) as f64 / 1_000.0).exp2();
            halves[heavy % 2].add_at(time, &random.next(), count);
        }
        let [mut counts, right] = halves;
        counts.plus(right);
        let item = random.next();
        counts.add_at(20_000, &item, 1e-3);
        let found = counts.at(20_000, &item);
        assert!(found >= 1e-3 * (1.0 - 1e-12), "found={found}");
        found - 1e-3 <= counts.error_at(20_000)
    });
    let held: Vec<bool> = held.collect();
    assert!(held.contains(&false), "the test is too easy");
    laws::fails_at_most((-3.0_f64).exp(), held).unwrap();
}
