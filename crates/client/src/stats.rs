//! What the client counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a client has counted since it was made. Every number but `buffered_bytes` only grows.
#[derive(Clone, Debug, Default)]
pub struct ClientStats {
    /// Events that were taken by `emit` and its like.
    pub emitted: u64,
    /// Events that the server has acked.
    pub acked: u64,
    /// Events that the server refused for good, and that were given up.
    pub dropped: u64,
    /// Batches that the server has acked.
    pub batches: u64,
    /// Times that a batch was sent again.
    pub retried: u64,
    /// Acks that said that the batch had been kept by an earlier send.
    pub duplicates: u64,
    /// Times that sending went on under a new epoch.
    pub epochs: u64,
    /// Payload that was acked, in bytes.
    pub bytes: u64,
    /// Bytes held now, because they are not acked yet.
    pub buffered_bytes: u64,
    /// From the emit of a batch's oldest event to its ack.
    pub ack_latency: AckLatency,
    /// The last thing that went wrong, though it may have been mended since.
    pub last_error: Option<String>,
}

/// Times from emit to ack, one a batch, in buckets that double: bucket `i` holds those under `2^i` µs.
#[derive(Clone, Debug)]
pub struct AckLatency {
    buckets: [u64; BUCKETS],
    max: Duration,
}

const BUCKETS: usize = 40;

impl Default for AckLatency {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            max: Duration::ZERO,
        }
    }
}

impl AckLatency {
    /// How many batches it holds.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// An upper bound, at most twice too large, of the time that the share `quantile` (0 to 1) of the batches
    /// took; zero when there are none.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let rank = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(1 << bucket).min(self.max);
            }
        }
        self.max
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        self.max
    }
}

/// The live twin of [`ClientStats`].
#[derive(Debug)]
pub(crate) struct Counts {
    pub(crate) emitted: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) epochs: AtomicU64,
    pub(crate) bytes: AtomicU64,
    latency: [AtomicU64; BUCKETS],
    latency_max_us: AtomicU64,
    last_error: Mutex<Option<String>>,
}

impl Counts {
    pub(crate) fn new() -> Self {
        let zero = AtomicU64::default;
        Self {
            emitted: zero(),
            acked: zero(),
            dropped: zero(),
            batches: zero(),
            retried: zero(),
            duplicates: zero(),
            epochs: zero(),
            bytes: zero(),
            latency: std::array::from_fn(|_| zero()),
            latency_max_us: zero(),
            last_error: Mutex::default(),
        }
    }

    pub(crate) fn took(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        add(&self.latency[bucket.min(BUCKETS - 1)], 1);
        self.latency_max_us.fetch_max(us, Ordering::Relaxed);
    }

    pub(crate) fn went_wrong(&self, error: String) {
        *self.last_error.lock().expect("no holder of the lock panics") = Some(error);
    }

    pub(crate) fn stats(&self, buffered_bytes: u64) -> ClientStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ClientStats {
            emitted: of(&self.emitted),
            acked: of(&self.acked),
            dropped: of(&self.dropped),
            batches: of(&self.batches),
            retried: of(&self.retried),
            duplicates: of(&self.duplicates),
            epochs: of(&self.epochs),
            bytes: of(&self.bytes),
            buffered_bytes,
            ack_latency: AckLatency {
                buckets: std::array::from_fn(|i| of(&self.latency[i])),
                max: Duration::from_micros(of(&self.latency_max_us)),
            },
            last_error: self
                .last_error
                .lock()
                .expect("no holder of the lock panics")
                .clone(),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_bound_the_times_from_above() {
        let counts = Counts::new();
        for us in 1..=1000 {
            counts.took(Duration::from_micros(us));
        }
        let latency = counts.stats(0).ack_latency;
        assert_eq!(
            (latency.count(), latency.max()),
            (1000, Duration::from_micros(1000))
        );
        for (quantile, us) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let bound = latency.quantile(quantile);
            assert!(
                bound >= Duration::from_micros(us) && bound <= Duration::from_micros(2 * us),
                "{quantile} {bound:?}"
            );
        }
        assert_eq!(AckLatency::default().quantile(0.5), Duration::ZERO);
    }
}
