//! When `auto` inserts in windows and when at once: a pure function of what is observed.
//!
//! **Cost model.** CPU a second: streaming `r·s + c/f`, micro-batches `r·m + c/w`, with the rows a second `r`, the CPU
//! of a row `s` and `m`, that of a commit with its puts `c`, the flush age `f` and the window `w`. The window is as long
//! as the objective of lag allows: `lag_max - 2 × commit`, as a row waits for the window and then for the commit.
//!
//! **Choice.** Micro-batches where the objective allows a window and they are cheaper by a tenth; or where streaming
//! does not keep up: its lag is beyond the objective, so the cheaper mode is the one with the smaller lag. Else streaming.
//!
//! **Hysteresis.** Rates are means over half a minute or so; a choice must be wanted without a break for
//! [`AutoOptions::hold`], so changes are at least that far apart; the way back needs another tenth; and where streaming
//! has not kept up, it is tried again only at four fifths of that load.

use std::time::Duration;

/// What `auto` aims at, and what it takes things to cost.
#[derive(Clone, Debug, PartialEq)]
pub struct AutoOptions {
    /// From the receipt of a row to its visibility, at most, where load allows. Default 60 s.
    pub lag_max: Duration,
    /// Windows are not shorter than this. Default 5 s.
    pub window_min: Duration,
    /// Windows are not longer than this. Default 15 minutes.
    pub window_max: Duration,
    /// For how long another choice must be better before it is taken. Default 60 s.
    pub hold: Duration,
    /// What things cost.
    pub costs: Costs,
}

impl AutoOptions {
    /// The defaults, with what things cost here.
    pub fn new(costs: Costs) -> Self {
        Self {
            lag_max: Duration::from_secs(60),
            window_min: Duration::from_secs(5),
            window_max: Duration::from_secs(900),
            hold: Duration::from_secs(60),
            costs,
        }
    }
}

/// CPU times, which are those of a machine and its rows: there are no defaults. A commit's may hold what its puts cost
/// otherwise, in CPU time of the same price.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    /// Of a row that is streamed.
    pub streaming_row: Duration,
    /// Of a row in a micro-batch.
    pub micro_batch_row: Duration,
    /// Of a commit.
    pub commit: Duration,
    /// From one commit of a streaming table to the next: [`crate::WarehouseOptions::flush_age`].
    pub streaming_commit_age: Duration,
}

/// What a table's job has seen since the last time.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Since some fixed moment; never goes back.
    pub at: Duration,
    /// Rows taken a second.
    pub rows_per_second: f64,
    /// From receipt to visibility, the longest of late.
    pub lag: Duration,
    /// How long a commit takes.
    pub commit: Duration,
}

/// What `auto` has come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The window of micro-batches; `None` for streaming.
    pub window: Option<Duration>,
    /// Why.
    pub reason: String,
}

/// What the controller remembers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Steering {
    window: Option<Duration>,
    seen: Option<Duration>,
    rate: f64,
    commit: f64,
    /// Since when another choice is better.
    wanted_since: Option<Duration>,
    /// The load at which streaming did not keep up.
    overload: Option<f64>,
}

/// Means are over about so many seconds.
const MEAN_SECONDS: f64 = 30.0;
/// A change must save this share of what things cost now.
const SAVING_MIN: f64 = 0.1;
/// Streaming is tried again at this share of the load that was too much for it.
const RELIEF: f64 = 0.8;

/// What to do, and what to remember.
pub(crate) fn decide(
    options: &AutoOptions,
    before: &Steering,
    now: &Observation,
) -> (Steering, Option<Decision>) {
    let mut steering = before.clone();
    let seconds = before.seen.map(|seen| now.at.saturating_sub(seen).as_secs_f64());
    let weight = seconds.map_or(1.0, |seconds| 1.0 - (-seconds / MEAN_SECONDS).exp());
    steering.seen = Some(now.at);
    steering.rate += weight * (now.rows_per_second.max(0.0) - before.rate);
    steering.commit += weight * (now.commit.as_secs_f64() - before.commit);

    let (wanted, reason) = choice(options, &steering, now);
    // Windows are compared as kinds: another length alone is taken with the next change.
    if wanted.is_some() == before.window.is_some() {
        steering.wanted_since = None;
        return (steering, None);
    }
    let since = *steering.wanted_since.get_or_insert(now.at);
    if now.at.saturating_sub(since) < options.hold {
        return (steering, None);
    }
    steering.overload = match (wanted, now.lag > options.lag_max) {
        (Some(_), true) => Some(steering.rate),
        _ => None,
    };
    (steering.window, steering.wanted_since) = (wanted, None);
    let decision = Decision {
        window: wanted,
        reason,
    };
    (steering, Some(decision))
}

fn choice(options: &AutoOptions, steering: &Steering, now: &Observation) -> (Option<Duration>, String) {
    let costs = &options.costs;
    let allowed = options.lag_max.as_secs_f64() - 2.0 * steering.commit;
    let longest = options.window_max.max(options.window_min);
    let window = Duration::try_from_secs_f64(allowed)
        .unwrap_or_default()
        .clamp(options.window_min, longest);
    let streaming = steering.rate * costs.streaming_row.as_secs_f64()
        + costs.commit.as_secs_f64() / costs.streaming_commit_age.as_secs_f64().max(0.001);
    let gathered = steering.rate * costs.micro_batch_row.as_secs_f64()
        + costs.commit.as_secs_f64() / window.as_secs_f64().max(0.001);
    let costly = |text: &str| {
        format!(
            "{text}: rows_per_second={:.0} streaming_cpu={streaming:.4} micro_batch_cpu={gathered:.4} window={window:?}",
            steering.rate
        )
    };
    let behind = match steering.overload {
        Some(load) => steering.rate > RELIEF * load,
        None => steering.window.is_none() && now.lag > options.lag_max && gathered < streaming,
    };
    if behind {
        let text = format!(
            "streaming does not keep up: rows_per_second={:.0} lag={:?}",
            steering.rate, now.lag
        );
        return (Some(window), text);
    }
    if allowed < options.window_min.as_secs_f64() {
        let text = format!(
            "no window is short enough for the objective: lag_max={:?} commit={:.3}s",
            options.lag_max, steering.commit
        );
        return (None, text);
    }
    let saving = match steering.window {
        None => gathered < (1.0 - SAVING_MIN) * streaming,
        Some(_) => streaming >= (1.0 - SAVING_MIN) * gathered,
    };
    if saving {
        (Some(window), costly("micro-batches are cheaper"))
    } else {
        (None, costly("streaming is cheaper"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn options(lag_max: f64) -> AutoOptions {
        let costs = Costs {
            streaming_row: Duration::from_micros(10),
            micro_batch_row: Duration::from_micros(7),
            commit: Duration::from_millis(10),
            streaming_commit_age: Duration::from_secs(30),
        };
        AutoOptions {
            lag_max: seconds(lag_max),
            ..AutoOptions::new(costs)
        }
    }

    /// The decisions on an observation a second, with their times.
    fn run(options: &AutoOptions, observed: impl Iterator<Item = (f64, f64, f64)>) -> Vec<(usize, Decision)> {
        let mut steering = Steering::default();
        let mut decisions = Vec::new();
        for (second, (rate, lag, commit)) in observed.enumerate() {
            let observation = Observation {
                at: seconds(second as f64),
                rows_per_second: rate,
                lag: seconds(lag),
                commit: seconds(commit),
            };
            let (next, decision) = decide(options, &steering, &observation);
            steering = next;
            decisions.extend(decision.map(|decision| (second, decision)));
        }
        decisions
    }

    /// What ten minutes of a steady load come to: the window in seconds, 0 for streaming.
    fn settled(lag_max: f64, (rate, lag, commit): (f64, f64, f64)) -> f64 {
        let decisions = run(&options(lag_max), std::iter::repeat_n((rate, lag, commit), 600));
        assert!(decisions.len() <= 1, "{decisions:?}");
        let last = decisions.last();
        last.and_then(|(_, decision)| decision.window)
            .map_or(0.0, |window| window.as_secs_f64())
    }

    #[test]
    fn a_steady_load_has_a_mode() {
        for (lag_max, observed, window) in [
            // An idle table: fewer commits are cheaper, where an hour may pass.
            (60.0, (0.0, 0.0, 0.5), 59.0),
            (3_600.0, (0.0, 0.0, 0.5), 900.0),
            // Within 20 s micro-batches mean more commits than streaming; only load pays for that.
            (20.0, (1.0, 0.0, 0.5), 0.0),
            (20.0, (10_000.0, 0.0, 0.5), 19.0),
            // The objective forbids windows, whatever they save.
            (2.0, (100_000.0, 0.1, 0.1), 0.0),
            (20.0, (100_000.0, 0.1, 9.0), 0.0),
            // But who is behind is helped.
            (2.0, (100_000.0, 30.0, 0.1), 5.0),
        ] {
            let found = settled(lag_max, observed);
            assert!((found - window).abs() < 0.01, "{lag_max} {observed:?}: {found}");
        }
    }

    #[test]
    fn what_streaming_could_not_bear_is_streamed_again_when_it_is_less() {
        let load = |second: usize| match second {
            0..300 => (100_000.0, 30.0, 0.1),
            // Caught up, at the load that was too much: it stays.
            300..900 => (95_000.0, 1.0, 0.1),
            _ => (20_000.0, 1.0, 0.1),
        };
        let decisions = run(&options(2.0), (0..1_500).map(load));
        assert_eq!(decisions.len(), 2, "{decisions:?}");
        assert!(decisions[0].1.window.is_some() && decisions[0].1.reason.contains("keep up"));
        assert!(decisions[1].0 > 900 && decisions[1].1.window.is_none());
    }

    proptest! {
        #[test]
        fn noise_does_not_make_it_flap(
            mean in 0.0f64..50_000.0, lag_max in 1.0f64..120.0,
            noise in prop::collection::vec((0.5f64..1.5, 0.0f64..1.0), 1_200),
        ) {
            let observed = noise.iter().map(|(factor, lag)| (mean * factor, *lag, 0.2));
            let decisions = run(&options(lag_max), observed);
            prop_assert!(decisions.len() <= 1, "{:?}", decisions);
        }

        #[test]
        fn changes_are_far_apart_whatever_comes(
            observed in prop::collection::vec((0.0f64..200_000.0, 0.0f64..300.0, 0.0f64..20.0), 1_200),
            lag_max in 1.0f64..120.0,
        ) {
            let options = options(lag_max);
            let decisions = run(&options, observed.into_iter());
            for pair in decisions.windows(2) {
                prop_assert!(pair[1].0 - pair[0].0 >= options.hold.as_secs() as usize);
                prop_assert!(pair[0].1.window.is_some() != pair[1].1.window.is_some());
            }
        }
    }
}
