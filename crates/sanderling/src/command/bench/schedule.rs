//! When each event is due. Arrivals are open-loop: an event's latency counts from the moment at which it was due, also
//! when the load is late, so that a slow server does not hide its own waits.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Rates, each from a moment on; and how many events have been emitted.
pub(super) struct Schedule {
    start: Instant,
    parts: Vec<Part>,
    total: Duration,
    emitted: AtomicU64,
    is_cut: AtomicBool,
    is_over: AtomicBool,
}

/// From here on so many a second.
#[derive(Clone, Copy)]
struct Part {
    from: f64,
    first: f64,
    per_second: f64,
}

impl Schedule {
    /// One rate after the other: seconds, and events a minute.
    pub(super) fn new(steps: &[(u64, u64)]) -> Self {
        let (mut parts, mut from, mut first) = (Vec::new(), 0.0, 0.0);
        for (seconds, per_minute) in steps {
            let per_second = (*per_minute).max(1) as f64 / 60.0;
            parts.push(Part {
                from,
                first,
                per_second,
            });
            from += *seconds as f64;
            first += *seconds as f64 * per_second;
        }
        Self {
            start: Instant::now(),
            parts,
            total: Duration::from_secs_f64(from),
            emitted: AtomicU64::new(0),
            is_cut: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        }
    }

    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// Whether the last event has been emitted.
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(super) fn emitted(&self) -> u64 {
        self.emitted.load(Ordering::Acquire)
    }

    pub(super) fn note(&self, emitted: u64) {
        self.emitted.store(emitted, Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// What is due by now is all there is.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
    }

    /// How many events are due, and whether those are all.
    pub(super) fn due_by(&self, now: Instant) -> (u64, bool) {
        let since = now.saturating_duration_since(self.start);
        let is_last = since >= self.total || self.is_cut.load(Ordering::Acquire);
        let at = since.min(self.total).as_secs_f64();
        let part = self.parts.iter().rfind(|part| part.from <= at);
        let due = part.map_or(0.0, |part| part.first + (at - part.from) * part.per_second);
        (due as u64, is_last)
    }

    /// When an event is due, after the start.
    pub(super) fn due(&self, number: u64) -> Duration {
        let number = number as f64;
        let part = self.parts.iter().rfind(|part| part.first <= number);
        part.map_or(Duration::ZERO, |part| {
            Duration::from_secs_f64(part.from + (number - part.first) / part.per_second)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_by_the_rate_of_their_step() {
        let schedule = Schedule::new(&[(10, 60), (10, 6_000), (10, 60)]);
        for (number, due) in [
            (0, 0.0),
            (9, 9.0),
            (10, 10.0),
            (11, 10.01),
            (1_009, 19.99),
            (1_010, 20.0),
            (1_015, 25.0),
        ] {
            assert!(
                (schedule.due(number).as_secs_f64() - due).abs() < 1e-6,
                "{number}"
            );
        }
        let at = |seconds: f64| schedule.due_by(schedule.start() + Duration::from_secs_f64(seconds));
        assert_eq!(at(5.5), (5, false));
        assert_eq!(at(10.055), (15, false));
        assert_eq!(at(31.0), (1_020, true));
    }
}
