//! What a thread does with its time: whether it wants a core, or waits for something else.

use std::time::{Duration, Instant};

/// Shorter ones are told too roughly: the system counts in ticks of some milliseconds.
const SAMPLE_MIN: Duration = Duration::from_millis(20);

/// From a moment on, of the thread that makes and ends it.
pub(super) struct Sample {
    began: Instant,
    used: Used,
}

/// For how long a thread has run, and has waited for a core, in all.
struct Used {
    ran: Duration,
    queued: Duration,
}

impl Sample {
    /// `None` where the system does not tell.
    pub(super) fn begin() -> Option<Self> {
        Some(Self {
            used: Used::now()?,
            began: Instant::now(),
        })
    }

    /// The share of the time since then in which the thread computed, 0 to 1. The time in which it would have, but had no
    /// core, is left out: on a machine that is busy with other things too, the share is the same. `None` if it was too
    /// short.
    pub(super) fn end(self) -> Option<f64> {
        let elapsed = self.began.elapsed();
        if elapsed < SAMPLE_MIN {
            return None;
        }
        let used = Used::now()?;
        Some(share(
            elapsed,
            used.ran.saturating_sub(self.used.ran),
            used.queued.saturating_sub(self.used.queued),
        ))
    }
}

fn share(elapsed: Duration, ran: Duration, queued: Duration) -> f64 {
    let alone = elapsed.saturating_sub(queued).max(ran);
    if alone.is_zero() {
        return 1.0;
    }
    ran.as_secs_f64() / alone.as_secs_f64()
}

impl Used {
    /// The first two numbers, in nanoseconds, of Linux' `schedstat` (Documentation/scheduler/sched-stats.rst).
    fn now() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let mut next = || Some(Duration::from_nanos(numbers.next()?.ok()?));
        Some(Self {
            ran: next()?,
            queued: next()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_core_is_neither_computing_nor_waiting() {
        let of = |ran, queued| {
            let millis = Duration::from_millis;
            (share(millis(100), millis(ran), millis(queued)) * 100.0).round()
        };
        assert_eq!(
            [of(100, 0), of(10, 90), of(0, 20), of(40, 20)],
            [100.0, 100.0, 0.0, 50.0]
        );
        assert_eq!(of(0, 100), 100.0, "nothing is known");
    }

    #[test]
    fn a_thread_that_sleeps_does_not_compute() {
        let sample = Sample::begin();
        std::thread::sleep(2 * SAMPLE_MIN);
        // Elsewhere there is no sample.
        let share = sample.and_then(Sample::end).unwrap_or(0.0);
        assert!(share < 0.5, "{share}");
    }
}
