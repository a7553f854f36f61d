//! How long events took to become visible.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// Longest latency that is told apart, in µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A histogram of the time from the emission of a batch's oldest event to the moment its rows are visible in SQL,
/// in µs, weighted by rows; it only grows.
#[derive(Debug, Default)]
pub struct Visibility(Mutex<Option<Histogram<u64>>>);

/// Some ten kilobytes, so a dataset without events has none.
fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are in order")
}

impl Visibility {
    /// Counts `rows` events that took `latency_us`.
    pub fn record(&self, latency_us: u64, rows: u64) {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram
            .get_or_insert_with(empty)
            .saturating_record_n(latency_us.clamp(1, LATENCY_US_MAX), rows);
    }

    /// The histogram so far; `None` before the first event.
    pub fn so_far(&self) -> Option<Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The histogram of what came since `before` was `so_far`, which is brought up to now.
    pub fn since(&self, before: &mut Option<Histogram<u64>>) -> Histogram<u64> {
        let Some(now) = self.so_far() else { return empty() };
        let mut since = now.clone();
        if let Some(before) = before.replace(now) {
            since
                .subtract(&before)
                .expect("it only grows, with the same bounds");
        }
        since
    }
}
