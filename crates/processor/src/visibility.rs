//! How long events took to become visible.

use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

/// Longest latency that is told apart, in µs: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// A histogram of the time from the emission of a batch's oldest event to the moment its rows are visible in SQL,
/// in µs, weighted by rows; and their count.
#[derive(Debug)]
pub struct Visibility(Mutex<Histogram<u64>>);

impl Default for Visibility {
    fn default() -> Self {
        let empty = Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("the bounds are in order");
        Self(Mutex::new(empty))
    }
}

impl Visibility {
    /// Counts `rows` events that took `latency_us`.
    pub fn record(&self, latency_us: u64, rows: u64) {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record_n(latency_us.clamp(1, LATENCY_US_MAX), rows);
    }

    /// The histogram so far, and an empty one from here on.
    pub fn take(&self) -> Histogram<u64> {
        let mut histogram = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = histogram.clone();
        histogram.reset();
        taken
    }
}
