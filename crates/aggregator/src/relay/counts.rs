//! What is counted of each dataset of a relay.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// What becomes of a dataset's batches now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayState {
    /// They go to the upstream, and are acked when that has acked.
    #[default]
    Direct,
    /// The upstream is away: they go to the spool.
    Spooling,
    /// The upstream takes the spool; new batches go behind it into the spool.
    Replaying,
    /// Little is left in the spool: new batches wait for it.
    Closing,
}

impl RelayState {
    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Spooling => "spooling",
            Self::Replaying => "replaying",
            Self::Closing => "closing",
        }
    }
}

/// What a [`crate::Relay`] has counted of one dataset since its start, and how it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelayCounts {
    /// What becomes of its batches now.
    pub state: RelayState,
    /// The upstream in use, or last tried.
    pub upstream: Option<String>,
    /// Batches that the upstream acked and that were not in the spool.
    pub forwarded_batches: u64,
    /// Batches that were put into the spool.
    pub spooled_batches: u64,
    /// Payload of these, in bytes.
    pub spooled_bytes: u64,
    /// Batches of the spool that the upstream acked.
    pub replayed_batches: u64,
    /// Batches of the spool that the upstream will never take: they are in the folder of the refused.
    pub refused_batches: u64,
    /// Batches of the spool whose stored bytes are not what was written: lost.
    pub damaged_batches: u64,
    /// Batches that are in the spool now and not at the upstream.
    pub waiting_batches: u64,
    /// What the spool takes of the disk, in bytes.
    pub disk_bytes: u64,
    /// When the oldest batch in the spool was received here, as far as it has been read.
    pub oldest_received_at: Option<Timestamp>,
    /// Emitters whose batches in the spool wait for earlier ones that the upstream does not have.
    pub blocked_emitters: u64,
    /// Streams to an upstream that failed.
    pub failures: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The live twin of [`RelayCounts`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) state: AtomicU8,
    pub(super) forwarded_batches: AtomicU64,
    pub(super) spooled_batches: AtomicU64,
    pub(super) spooled_bytes: AtomicU64,
    pub(super) replayed_batches: AtomicU64,
    pub(super) refused_batches: AtomicU64,
    pub(super) damaged_batches: AtomicU64,
    pub(super) waiting_batches: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    /// In µs since 1970; 0 for none.
    pub(super) oldest_received_at: AtomicI64,
    pub(super) blocked_emitters: AtomicU64,
    pub(super) failures: AtomicU64,
    texts: Mutex<Texts>,
}

#[derive(Debug, Default)]
struct Texts {
    upstream: Option<String>,
    last_error: Option<String>,
}

impl Counts {
    pub(super) fn set_state(&self, state: RelayState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub(super) fn went_wrong(&self, text: String) {
        self.texts().last_error = Some(text);
    }

    pub(super) fn sends_to(&self, upstream: &str) {
        let mut texts = self.texts();
        if !upstream.is_empty() && texts.upstream.as_deref() != Some(upstream) {
            texts.upstream = Some(upstream.to_owned());
        }
    }

    fn texts(&self) -> std::sync::MutexGuard<'_, Texts> {
        self.texts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn counts(&self) -> RelayCounts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let states = [
            RelayState::Direct,
            RelayState::Spooling,
            RelayState::Replaying,
            RelayState::Closing,
        ];
        let oldest = self.oldest_received_at.load(Ordering::Relaxed);
        let texts = self.texts();
        RelayCounts {
            state: states[usize::from(self.state.load(Ordering::Relaxed))],
            upstream: texts.upstream.clone(),
            forwarded_batches: of(&self.forwarded_batches),
            spooled_batches: of(&self.spooled_batches),
            spooled_bytes: of(&self.spooled_bytes),
            replayed_batches: of(&self.replayed_batches),
            refused_batches: of(&self.refused_batches),
            damaged_batches: of(&self.damaged_batches),
            waiting_batches: of(&self.waiting_batches),
            disk_bytes: of(&self.disk_bytes),
            oldest_received_at: Some(oldest)
                .filter(|us| *us != 0)
                .and_then(|us| Timestamp::from_microsecond(us).ok()),
            blocked_emitters: of(&self.blocked_emitters),
            failures: of(&self.failures),
            last_error: texts.last_error.clone(),
        }
    }
}
