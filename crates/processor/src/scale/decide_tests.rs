//! Tests of the decision: tables, and loads with noise.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    least: 1,
    most: 16,
    cores: 2,
    lag_objective: Duration::from_secs(2),
    patience: 5,
};

fn seen(workers: usize, lag_ms: u64, busy_share: f64, cpu_share: f64) -> Observation {
    Observation {
        lag_batches: u64::from(lag_ms > 0),
        lag_age: Duration::from_millis(lag_ms),
        bytes_per_second_in: 0.0,
        bytes_per_second_done: 0.0,
        busy_share,
        cpu_share,
        workers,
        is_stuck: false,
    }
}

#[test]
fn one_observation() {
    let table = [
        // workers, lag in ms, busy, cpu → workers, reason
        (1, 0, 0.0, 1.0, 1, Reason::Steady),
        (1, 2_000, 1.0, 0.1, 1, Reason::Steady),
        (1, 2_001, 1.0, 0.1, 2, Reason::Behind),
        (4, 2_500, 1.0, 0.1, 5, Reason::Behind),
        (4, 60_000, 1.0, 0.1, 8, Reason::Behind),
        (12, 60_000, 1.0, 0.1, 16, Reason::Behind),
        (16, 60_000, 1.0, 0.1, 16, Reason::AtMost),
        (1, 60_000, 1.0, 1.0, 2, Reason::Behind),
        (2, 60_000, 1.0, 1.0, 2, Reason::AtMost),
        (2, 60_000, 1.0, 0.5, 4, Reason::Behind),
        (4, 60_000, 0.3, 0.1, 4, Reason::WaitsElsewhere),
        (8, 500, 0.1, 0.1, 8, Reason::Steady),
        (40, 0, 1.0, 0.1, 16, Reason::Steady),
        (0, 0, 1.0, 0.1, 1, Reason::Steady),
    ];
    for (workers, lag_ms, busy, cpu, expected, reason) in table {
        let got = decide(&seen(workers, lag_ms, busy, cpu), &mut State::default(), &LIMITS);
        assert_eq!(got, decision(expected, reason), "{workers} {lag_ms} {busy} {cpu}");
    }
}

#[test]
fn the_rate_says_more_than_the_lag() {
    let observed = Observation {
        bytes_per_second_in: 3e6,
        bytes_per_second_done: 2e6,
        ..seen(4, 2_100, 1.0, 0.1)
    };
    let got = decide(&observed, &mut State::default(), &LIMITS);
    // Half a MB/s each: 3 MB/s take 6, 8 with some room.
    assert_eq!(got, decision(8, Reason::Behind));
}

#[test]
fn a_stuck_job_has_the_least() {
    let observed = Observation {
        is_stuck: true,
        ..seen(8, 60_000, 1.0, 0.1)
    };
    assert_eq!(
        decide(&observed, &mut State::default(), &LIMITS),
        decision(1, Reason::Stuck)
    );
}

#[test]
fn calm_gives_up_one_after_the_other_and_only_if_fewer_suffice() {
    let (mut state, mut workers, mut steps) = (State::default(), 16, Vec::new());
    for n in 1..=60 {
        let next = decide(&seen(workers, 0, 0.0, 0.1), &mut state, &LIMITS).workers;
        if next != workers {
            steps.push((n, next));
        }
        workers = next;
    }
    assert_eq!(
        steps,
        [
            (5, 14),
            (10, 12),
            (15, 10),
            (20, 8),
            (25, 7),
            (30, 6),
            (35, 5),
            (40, 4),
            (45, 3),
            (50, 2),
            (55, 1)
        ]
    );
    let (mut state, busy) = (State::default(), seen(4, 100, 0.7, 0.1));
    assert!((0..100).all(|_| decide(&busy, &mut state, &LIMITS).workers == 4));
}

/// A job with a queue, second by second: workers take `rate` units each. Gives the workers of each second.
fn simulate(load: impl Iterator<Item = f64>, rate: f64, noise: &mut impl FnMut() -> f64) -> Vec<usize> {
    let (mut state, mut workers, mut backlog) = (State::default(), 1usize, 0.0f64);
    load.map(|units| {
        let came = units * noise();
        let can = workers as f64 * rate * noise();
        backlog += came;
        let done = can.min(backlog);
        backlog -= done;
        // What is there at the rate it came at; an epoch takes a quarter of a second.
        let age = if backlog > 0.0 {
            backlog / came.max(1.0)
        } else {
            0.0
        };
        let observed = Observation {
            lag_batches: 1,
            lag_age: Duration::from_secs_f64(0.25 + age),
            bytes_per_second_in: came,
            bytes_per_second_done: done,
            busy_share: done / can,
            cpu_share: 0.1,
            workers,
            is_stuck: false,
        };
        workers = decide(&observed, &mut state, &LIMITS).workers;
        workers
    })
    .collect()
}

fn turns(workers: &[usize]) -> usize {
    let steps: Vec<bool> = workers
        .windows(2)
        .filter(|pair| pair[0] != pair[1])
        .map(|pair| pair[0] < pair[1])
        .collect();
    steps.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

proptest! {
    #[test]
    fn an_older_batch_never_gets_fewer_workers(
        workers in 0usize..20, ages in (0u64..100_000, 0u64..100_000), busy in 0.0f64..1.0, cpu in 0.0f64..1.0,
        rates in (0.0f64..1e9, 0.0f64..1e9), before in prop::collection::vec(0u64..6_000, 0..30),
    ) {
        let mut state = State::default();
        for lag in before {
            decide(&seen(workers, lag, busy, cpu), &mut state, &LIMITS);
        }
        let of = |lag_ms| {
            let observed = Observation {
                bytes_per_second_in: rates.0,
                bytes_per_second_done: rates.1,
                ..seen(workers, lag_ms, busy, cpu)
            };
            decide(&observed, &mut state.clone(), &LIMITS).workers
        };
        let (younger, older) = (ages.0.min(ages.1), ages.0.max(ages.1));
        prop_assert!(of(younger) <= of(older), "{} {}", of(younger), of(older));
        prop_assert!((LIMITS.least..=LIMITS.most).contains(&of(older)));
    }

    #[test]
    fn a_steady_load_with_noise_is_met_soon_and_does_not_flap(
        needed in 0.2f64..12.0, noise in prop::collection::vec(0.8f64..1.2, 64),
    ) {
        let mut noise = noise.into_iter().cycle();
        let mut next = || noise.next().unwrap_or(1.0);
        let workers = simulate(std::iter::repeat_n(needed * 100.0, 900), 100.0, &mut next);
        // What is short by less than the noise shows late.
        let enough = (needed * 0.7).ceil() as usize;
        prop_assert!(
            workers.iter().take(30).any(|got| *got >= enough),
            "{needed}: {:?}", &workers[..30]
        );
        // A quarter of an hour: each turn down that was wrong doubles the wait for the next.
        prop_assert!(turns(&workers) <= 16, "{needed}: {} {workers:?}", turns(&workers));
    }

    #[test]
    fn a_step_of_load_goes_up_at_once_and_down_slowly(times in 4.0f64..12.0) {
        let load = [(60, 100.0), (120, times * 100.0), (600, 100.0)];
        let load = load.into_iter().flat_map(|(seconds, units)| std::iter::repeat_n(units, seconds));
        let workers = simulate(load, 110.0, &mut || 1.0);
        let enough = (times / 1.1).ceil() as usize;
        let up = workers.iter().skip(60).position(|got| *got >= enough);
        prop_assert!(up.is_some_and(|seconds| seconds <= 20), "{up:?} {workers:?}");
        let soon = &workers[180..184];
        prop_assert!(soon.iter().all(|got| *got >= enough), "it holds for a moment {workers:?}");
        prop_assert!(workers[workers.len() - 1] <= 2, "{workers:?}");
    }
}
