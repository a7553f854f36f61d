//! How fast a dataset may send, when somebody has said so.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// The fastest that a dataset may send in the mean; `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Events in a second.
    pub events_per_second: Option<u64>,
    /// Bytes of payload in a second.
    pub bytes_per_second: Option<u64>,
}

/// Two token buckets. Each holds what may be sent in a second; a batch is let in while they are not empty and may
/// leave them in debt, so a batch may be larger than a second's worth, and the mean is kept all the same.
#[derive(Debug)]
pub(crate) struct Meter {
    events: Option<Mutex<Bucket>>,
    bytes: Option<Mutex<Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    per_second: f64,
    /// Below zero: debt.
    level: f64,
    at: Instant,
}

impl Meter {
    pub(crate) fn new(rate: Rate) -> Self {
        let bucket =
            |per_second: Option<u64>| per_second.map(|per_second| Mutex::new(Bucket::full(per_second)));
        Self {
            events: bucket(rate.events_per_second),
            bytes: bucket(rate.bytes_per_second),
        }
    }

    /// How long it takes until something may be sent; nothing when it may now.
    pub(crate) fn wait(&self) -> Duration {
        let now = Instant::now();
        self.buckets()
            .map(|bucket| lock(bucket).wait(now))
            .max()
            .unwrap_or_default()
    }

    /// Counts what was sent.
    pub(crate) fn sent(&self, events: u32, bytes: usize) {
        for (bucket, count) in [(&self.events, f64::from(events)), (&self.bytes, bytes as f64)] {
            if let Some(bucket) = bucket {
                let mut bucket = lock(bucket);
                bucket.fill(Instant::now());
                bucket.level -= count;
            }
        }
    }

    fn buckets(&self) -> impl Iterator<Item = &Mutex<Bucket>> {
        self.events.iter().chain(&self.bytes)
    }
}

fn lock(bucket: &Mutex<Bucket>) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().expect("no holder of the lock panics")
}

impl Bucket {
    fn full(per_second: u64) -> Self {
        let per_second = per_second.max(1) as f64;
        Self {
            per_second,
            level: per_second,
            at: Instant::now(),
        }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.per_second);
        self.at = now;
    }

    fn wait(&mut self, now: Instant) -> Duration {
        self.fill(now);
        if self.level > 0.0 {
            return Duration::ZERO;
        }
        // A little more than nothing must be in it.
        Duration::from_secs_f64(-self.level / self.per_second) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_mean_is_kept_whatever_the_sizes() {
        let meter = Meter::new(Rate {
            events_per_second: Some(100),
            bytes_per_second: Some(10_000),
        });
        let begun = Instant::now();
        let (mut events, mut bytes) = (0, 0);
        for round in 0..200_u32 {
            tokio::time::sleep(meter.wait()).await;
            assert_eq!(meter.wait(), Duration::ZERO);
            let (some, size) = (1 + round % 30, 17 + round as usize % 5_000);
            meter.sent(some, size);
            events += some;
            bytes += size;
        }
        let seconds = begun.elapsed().as_secs_f64();
        let fastest = (f64::from(events) / 100.0).max(bytes as f64 / 10_000.0);
        assert!(
            (fastest - seconds).abs() < 3.0,
            "{seconds} s instead of {fastest} s"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_there_is_no_wait_and_debt_is_paid_in_time() {
        let free = Meter::new(Rate::default());
        free.sent(u32::MAX, usize::MAX);
        assert_eq!(free.wait(), Duration::ZERO);
        let meter = Meter::new(Rate {
            events_per_second: Some(10),
            bytes_per_second: None,
        });
        meter.sent(60, 0);
        assert_eq!(meter.wait(), Duration::from_millis(5_001));
        tokio::time::sleep(Duration::from_secs(100)).await;
        meter.sent(10, 0);
        assert!(
            meter.wait() > Duration::ZERO,
            "no more than a second's worth is saved up"
        );
    }
}
