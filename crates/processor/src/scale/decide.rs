//! How many workers one job wants: up at once when it is behind, down slowly when it is calm.

use std::fmt;
use std::time::Duration;

/// What a job did in the last second, and how far it is behind now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Observation {
    /// Batches in the queue that the job has not committed.
    pub lag_batches: u64,
    /// For how long the oldest of them has been there; zero when there are none.
    pub lag_age: Duration,
    /// Bytes that came.
    pub bytes_per_second_in: f64,
    /// Bytes that it committed.
    pub bytes_per_second_done: f64,
    /// In which share of its workers' time functions ran: 0 to 1.
    pub busy_share: f64,
    /// In which share of their time functions computed, rather than wait for something: 0 to 1. Nothing is known of
    /// functions that have not run for long: 1.
    pub cpu_share: f64,
    /// The workers that it had.
    pub workers: usize,
    /// Whether a function has been running for so long that it is taken for stuck.
    pub is_stuck: bool,
}

/// Between what the decision moves, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Workers that a job has at least; 1 or more.
    pub least: usize,
    /// Workers that a job has at most.
    pub most: usize,
    /// The cores of this machine: functions that compute all the time are given no more workers than that.
    pub cores: usize,
    /// A job whose oldest batch waits longer is behind; one whose oldest batch waits half as long at most is calm.
    pub lag_objective: Duration,
    /// Observations in a row for which a job is calm before it gives up workers; more after a step that had to be taken
    /// back.
    pub patience: u32,
}

/// What the decision remembers of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct State {
    /// Calm observations in a row.
    calm: u32,
    /// The most workers that were busy in one of them.
    busy: f64,
    /// How many are needed now; 0: as many as the limits say.
    patience: u32,
    /// Observations since the last step down, if it has not been taken back.
    since_down: Option<u32>,
    /// Observations since one was taken back.
    since_back: u32,
}

/// How many workers a job wants, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// How many; within the limits.
    pub workers: usize,
    /// Why.
    pub reason: Reason,
}

/// Why a job wants as many workers as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It keeps up.
    #[default]
    Steady,
    /// It is behind and its workers are busy: more.
    Behind,
    /// It is behind, but has as many as it may, or as its functions can use of the cores.
    AtMost,
    /// It is behind, but its workers are idle: it waits for the queue, or for where its rows go.
    WaitsElsewhere,
    /// It has been calm for a while: fewer.
    Calm,
    /// A function does not come back: no more than the least.
    Stuck,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Steady => "steady",
            Self::Behind => "behind",
            Self::AtMost => "at most",
            Self::WaitsElsewhere => "waits elsewhere",
            Self::Calm => "calm",
            Self::Stuck => "stuck",
        })
    }
}

/// Workers whose functions run for less of their time are not what a job waits for.
const BUSY_SHARE_MIN: f64 = 0.4;
/// How busy workers are to be after a step: the rest is for what comes in waves.
const BUSY_SHARE_AIM: f64 = 0.8;
/// How often the patience doubles at most.
const PATIENCE_DOUBLED_MAX: u32 = 5;
/// A step down was wrong if a job is behind again within so many times its patience.
const TAKEN_BACK_WITHIN: u32 = 8;
/// After so many times the patience of the limits without such a step the patience is as at first.
const FORGIVEN_AFTER: u32 = 64;

/// How many workers a job wants after what was observed.
///
/// * *Behind* (the oldest batch waits longer than the objective) with busy workers: at once up to what the rate asks for,
///   and at least in proportion to the lag, but no more than twice as many in one step.
/// * *Calm* (half the objective or less) for `patience` observations in a row, if in each of them fewer would have been
///   busy for less than 80 % of their time: an eighth fewer, at least one.
/// * *Between*: as it is. So noise around one bound does not move it to and fro.
/// * A step down that has to be taken back (the job is behind within eight times the patience) doubles the patience, up
///   to 32 times, until there has been none for 64 times the patience of the limits.
///
/// It is monotone in the lag: of two observations that differ in the age of the oldest batch alone, the older one never
/// gets fewer workers.
pub fn decide(seen: &Observation, state: &mut State, limits: &Limits) -> Decision {
    let least = limits.least.max(1);
    let most = useful(seen.cpu_share, limits).clamp(least, limits.most.max(least));
    let now = seen.workers.clamp(least, most);
    state.since_down = state.since_down.map(|since| since.saturating_add(1));
    state.since_back = state.since_back.saturating_add(1);
    if state.since_back >= limits.patience.saturating_mul(FORGIVEN_AFTER) {
        state.patience = 0;
    }
    if seen.is_stuck {
        *state = State::default();
        return decision(least, Reason::Stuck);
    }
    let is_behind = seen.lag_batches > 0 && seen.lag_age > limits.lag_objective;
    let is_calm = seen.lag_batches == 0 || seen.lag_age <= limits.lag_objective / 2;
    if !is_calm {
        (state.calm, state.busy) = (0, 0.0);
    }
    if is_behind {
        if seen.busy_share < BUSY_SHARE_MIN {
            return decision(now, Reason::WaitsElsewhere);
        }
        if now == most {
            return decision(most, Reason::AtMost);
        }
        take_back(state, limits);
        return decision(more(seen, now, limits).min(most), Reason::Behind);
    }
    if !is_calm {
        return decision(now, Reason::Steady);
    }
    state.calm = state.calm.saturating_add(1);
    state.busy = state.busy.max(seen.busy_share * now as f64);
    let fewer = now.saturating_sub(now.div_ceil(8)).max(least);
    if fewer == now || state.calm < state.patience.max(limits.patience) {
        return decision(now, Reason::Steady);
    }
    let would_fit = state.busy <= BUSY_SHARE_AIM * fewer as f64;
    // The next look is at what comes from here on.
    (state.calm, state.busy) = (0, 0.0);
    if !would_fit {
        return decision(now, Reason::Steady);
    }
    state.since_down = Some(0);
    decision(fewer, Reason::Calm)
}

fn decision(workers: usize, reason: Reason) -> Decision {
    Decision { workers, reason }
}

/// The workers with which the functions take all cores.
fn useful(cpu_share: f64, limits: &Limits) -> usize {
    let workers = limits.cores.max(1) as f64 / cpu_share.clamp(0.001, 1.0);
    workers.ceil() as usize
}

/// More than `now`: for the lag, and for the rate if that is known.
fn more(seen: &Observation, now: usize, limits: &Limits) -> usize {
    let times = seen.lag_age.as_secs_f64() / limits.lag_objective.as_secs_f64().max(0.001);
    let for_lag = (now as f64 * times.clamp(1.0, 2.0)).ceil();
    let of_one = seen.bytes_per_second_done / (now as f64 * seen.busy_share.clamp(0.01, 1.0));
    let for_rate = if of_one > 0.0 {
        (seen.bytes_per_second_in / (of_one * BUSY_SHARE_AIM)).ceil()
    } else {
        0.0
    };
    // A cast of a float saturates.
    (for_lag.max(for_rate) as usize).clamp(now + 1, 2 * now)
}

/// If the last step down is taken back now, the next one is waited for longer.
fn take_back(state: &mut State, limits: &Limits) {
    let patience = state.patience.max(limits.patience);
    let within = patience.saturating_mul(TAKEN_BACK_WITHIN);
    if state.since_down.take().is_some_and(|since| since < within) {
        let longest = limits.patience.saturating_mul(1 << PATIENCE_DOUBLED_MAX);
        state.patience = patience.saturating_mul(2).min(longest);
        state.since_back = 0;
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
