//! What the client counts.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use event::flags::Mode;

/// What a client has counted since it was made, over all its datasets. Every number but `buffered_bytes` only
/// grows.
#[derive(Clone, Debug, Default)]
pub struct ClientStats {
    /// Events that were taken by `emit` and its like.
    pub emitted: u64,
    /// Events that the server has acked.
    pub acked: u64,
    /// Events that were given up, for any of the reasons in [`Dropped`].
    pub dropped: u64,
    /// Batches that the server has acked.
    pub batches: u64,
    /// Times that a batch was sent again.
    pub retried: u64,
    /// Acks that said that the batch had been kept by an earlier send.
    pub duplicates: u64,
    /// Times that sending went on under a new epoch.
    pub epochs: u64,
    /// Times that a server did not let this client in: see [`DatasetStats::denied`].
    pub denied: u64,
    /// Payload that was acked, in bytes.
    pub bytes: u64,
    /// Bytes held in memory now, because they are neither acked nor spooled yet.
    pub buffered_bytes: u64,
    /// From the emit of a batch's oldest event to its ack.
    pub ack_latency: Times,
    /// The last thing that went wrong, though it may have been mended since.
    pub last_error: Option<String>,
}

impl ClientStats {
    pub(crate) fn add(&mut self, dataset: &DatasetStats) {
        self.emitted += dataset.emitted;
        self.acked += dataset.acked;
        self.dropped += dataset.dropped.total();
        self.batches += dataset.batches;
        self.retried += dataset.retried;
        self.duplicates += dataset.duplicates;
        self.epochs += dataset.epochs;
        self.denied += dataset.denied;
        self.bytes += dataset.bytes;
        self.ack_latency.0.add(&dataset.ack_latency.0);
    }
}

/// What was counted of one dataset since its handle was made. Every number grows, but those that say `now`.
#[derive(Clone, Debug, Default)]
pub struct DatasetStats {
    /// Events that were taken by `emit` and its like.
    pub emitted: u64,
    /// Events that the server has acked.
    pub acked: u64,
    /// Events that were given up, by reason.
    pub dropped: Dropped,
    /// Events that did not pass the check and were refused or diverted; they are not in `emitted`.
    pub invalid: u64,
    /// Batches that the server has acked.
    pub batches: u64,
    /// Times that a batch was sent again.
    pub retried: u64,
    /// Acks that said that the batch had been kept by an earlier send.
    pub duplicates: u64,
    /// Times that sending went on under a new epoch.
    pub epochs: u64,
    /// Times that sending moved to another endpoint.
    pub moves: u64,
    /// Times that no ack came in time.
    pub timeouts: u64,
    /// Times that a server did not let this client in, for want of a token that it knows or that is for this. It is
    /// tried again, with the waits of failures.
    pub denied: u64,
    /// Payload that was acked, in bytes.
    pub bytes: u64,
    /// Events that were written to files, in the modes that have files.
    pub filed: u64,
    /// Times that a file could not be written.
    pub file_errors: u64,
    /// Batches that were written to the spool.
    pub spooled: u64,
    /// Batches that the spool held from an earlier process.
    pub recovered: u64,
    /// Times that the disk did not take a batch.
    pub spool_errors: u64,
    /// Bytes of the spool on disk, now.
    pub spool_bytes: u64,
    /// Batches that are sealed and not finished, in memory and in the spool, now.
    pub queued_batches: u64,
    /// Bytes held in memory, now, because they are neither acked nor spooled.
    pub buffered_bytes: u64,
    /// The sizes of the events that came as JSON, as text.
    pub event_bytes: Histogram,
    /// From a batch's first event to its sealing.
    pub batch_time: Times,
    /// From the emit of a batch's oldest event (or its reading back from the spool) to its ack.
    pub ack_latency: Times,
    /// Where events go, now.
    pub mode: Mode,
    /// The share of the sample, now; 1 without one.
    pub share: f64,
    /// The ETag of the flags that say so; none until flags were read.
    pub flags_etag: Option<String>,
    /// What is wrong with the flags or their sources, now.
    pub flags_error: Option<String>,
    /// The endpoint that was sent to last.
    pub endpoint: Option<String>,
    /// The last thing that went wrong, though it may have been mended since.
    pub last_error: Option<String>,
}

/// Events that were given up, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The server refused their batch for good.
    pub refused: u64,
    /// The buffer was full, and the dataset's option is to drop then.
    pub full: u64,
    /// The spool was full or failed, and its option is to drop then.
    pub spool: u64,
    /// They were under way when sending failed, and are not sent again; the server may have kept some of them.
    pub best_effort: u64,
    /// The dataset's mode is `off`.
    pub off: u64,
    /// They are not in the sample, and the mode has no files.
    pub sampled: u64,
}

impl Dropped {
    /// For any reason.
    pub fn total(&self) -> u64 {
        self.refused + self.full + self.spool + self.best_effort + self.off + self.sampled
    }
}

/// Numbers in buckets that double: bucket `i` holds those under `2^i` that no lower one holds.
#[derive(Clone, Debug)]
pub struct Histogram {
    buckets: [u64; BUCKETS],
    max: u64,
}

const BUCKETS: usize = 40;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [0; BUCKETS],
            max: 0,
        }
    }
}

impl Histogram {
    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// An upper bound, at most twice too large, of what the share `quantile` (0 to 1) of the numbers stays
    /// under; zero when there are none.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let rank = (quantile.clamp(0.0, 1.0) * self.count() as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return (1 << bucket).min(self.max);
            }
        }
        self.max
    }

    /// The largest.
    pub fn max(&self) -> u64 {
        self.max
    }

    fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.max = self.max.max(other.max);
    }
}

/// Times, as a [`Histogram`] of microseconds.
#[derive(Clone, Debug, Default)]
pub struct Times(Histogram);

impl Times {
    /// How many times it holds.
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// As [`Histogram::quantile`].
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.0.quantile(quantile))
    }

    /// Those that came after an earlier state of the same count; the longest stays.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = self.0.clone();
        for (mine, theirs) in since.buckets.iter_mut().zip(earlier.0.buckets) {
            *mine = mine.saturating_sub(theirs);
        }
        Self(since)
    }

    /// The longest.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.0.max())
    }
}

/// The live twin of [`DatasetStats`].
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) emitted: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) full: AtomicU64,
    pub(crate) spool_dropped: AtomicU64,
    pub(crate) best_effort: AtomicU64,
    pub(crate) off: AtomicU64,
    pub(crate) sampled: AtomicU64,
    pub(crate) filed: AtomicU64,
    pub(crate) file_errors: AtomicU64,
    pub(crate) invalid: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) retried: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) epochs: AtomicU64,
    pub(crate) moves: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) denied: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) spooled: AtomicU64,
    pub(crate) recovered: AtomicU64,
    pub(crate) spool_errors: AtomicU64,
    pub(crate) spool_bytes: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) buffered: AtomicU64,
    pub(crate) event_bytes: Buckets,
    pub(crate) batch_us: Buckets,
    pub(crate) ack_us: Buckets,
    endpoint: Mutex<Option<String>>,
    last_error: Mutex<Option<String>>,
}

/// The live twin of [`Histogram`].
#[derive(Debug)]
pub(crate) struct Buckets {
    buckets: [AtomicU64; BUCKETS],
    max: AtomicU64,
}

impl Default for Buckets {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU64::new(0)),
            max: AtomicU64::new(0),
        }
    }
}

impl Buckets {
    pub(crate) fn count(&self, n: u64) {
        let bucket = (u64::BITS - n.leading_zeros()) as usize;
        add(&self.buckets[bucket.min(BUCKETS - 1)], 1);
        self.max.fetch_max(n, Ordering::Relaxed);
    }

    pub(crate) fn took(&self, time: Duration) {
        self.count(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    fn now(&self) -> Histogram {
        Histogram {
            buckets: std::array::from_fn(|at| of(&self.buckets[at])),
            max: of(&self.max),
        }
    }
}

impl Counts {
    pub(crate) fn went_wrong(&self, error: String) {
        *self.last_error.lock().expect("no holder of the lock panics") = Some(error);
    }

    pub(crate) fn sends_to(&self, endpoint: &str) {
        let mut now = self.endpoint.lock().expect("no holder of the lock panics");
        let before = now.replace(endpoint.to_owned());
        add(
            &self.moves,
            u64::from(before.is_some_and(|before| before != endpoint)),
        );
    }

    pub(crate) fn stats(&self) -> DatasetStats {
        let text = |text: &Mutex<Option<String>>| text.lock().expect("no holder of the lock panics").clone();
        DatasetStats {
            emitted: of(&self.emitted),
            acked: of(&self.acked),
            dropped: Dropped {
                refused: of(&self.refused),
                full: of(&self.full),
                spool: of(&self.spool_dropped),
                best_effort: of(&self.best_effort),
                off: of(&self.off),
                sampled: of(&self.sampled),
            },
            invalid: of(&self.invalid),
            batches: of(&self.batches),
            retried: of(&self.retried),
            duplicates: of(&self.duplicates),
            epochs: of(&self.epochs),
            moves: of(&self.moves),
            timeouts: of(&self.timeouts),
            denied: of(&self.denied),
            bytes: of(&self.bytes),
            filed: of(&self.filed),
            file_errors: of(&self.file_errors),
            mode: Mode::Stream,
            share: 1.0,
            flags_etag: None,
            flags_error: None,
            spooled: of(&self.spooled),
            recovered: of(&self.recovered),
            spool_errors: of(&self.spool_errors),
            spool_bytes: of(&self.spool_bytes),
            queued_batches: of(&self.queued),
            buffered_bytes: of(&self.buffered),
            event_bytes: self.event_bytes.now(),
            batch_time: Times(self.batch_us.now()),
            ack_latency: Times(self.ack_us.now()),
            endpoint: text(&self.endpoint),
            last_error: text(&self.last_error),
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

pub(crate) fn sub(gauge: &AtomicU64, n: u64) {
    gauge.fetch_sub(n, Ordering::Relaxed);
}

pub(crate) fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_bound_the_times_from_above() {
        let counts = Counts::default();
        for us in 1..=1000 {
            counts.ack_us.took(Duration::from_micros(us));
        }
        let latency = counts.stats().ack_latency;
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
        assert_eq!(Times::default().quantile(0.5), Duration::ZERO);
        counts.ack_us.took(Duration::from_secs(1));
        let since = counts.stats().ack_latency.since(&latency);
        assert_eq!((since.count(), since.quantile(0.5)), (1, Duration::from_secs(1)));
    }
}
