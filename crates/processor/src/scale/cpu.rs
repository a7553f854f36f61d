//! What a thread does with its time: whether it wants a core, or waits for something else.

use std::time::{Duration, Instant};

/// Shorter ones are told too roughly: the system counts in ticks of some milliseconds.
const SAMPLE_MIN: Duration = Duration::from_millis(20);

/// From a moment on, of the thread that makes and ends it.
pub(super) struct Sample {
    began: Instant,
    wanted: Duration,
}

impl Sample {
    /// `None` where the system does not tell.
    pub(super) fn begin() -> Option<Self> {
        Some(Self {
            wanted: wanted()?,
            began: Instant::now(),
        })
    }

    /// The share of the time since then in which the thread ran or waited for a core: 0 to 1. `None` if it was too short.
    pub(super) fn end(self) -> Option<f64> {
        let elapsed = self.began.elapsed();
        if elapsed < SAMPLE_MIN {
            return None;
        }
        let wanted = wanted()?.saturating_sub(self.wanted);
        Some((wanted.as_secs_f64() / elapsed.as_secs_f64()).min(1.0))
    }
}

/// For how long this thread has run, or has waited for a core, in all: the first two numbers, in nanoseconds, of Linux'
/// `schedstat` (Documentation/scheduler/sched-stats.rst).
fn wanted() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let (ran, waited) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    Some(Duration::from_nanos(ran.saturating_add(waited)))
}
