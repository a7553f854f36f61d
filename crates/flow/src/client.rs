//! The client's read: batch ⊕ live, and which batches that is.
//!
//! # Why the cut is exact
//!
//! An element has one event time, so one batch. The snapshot with bound `b` holds the sums of all batches before `b`
//! and of no other; the live store holds each batch by itself, of which those from `b` on are added. So no element
//! counts twice and none is left out, where the cut is at `b` for both sides, and it is, because it is not a moment
//! but a number that comes with the snapshot. Batches are added in their order, each as it was summed, so sums need
//! not commute.
//!
//! The two reads are at two moments, which is harmless: a snapshot does not change, and a batch that is dropped from
//! the live store after the snapshot was read is noticed, because the floor is read after the batches; then the read
//! begins again with the snapshot for which it was dropped. If there is no such snapshot, the batches are missing, and
//! the answer says so.
//!
//! A batch is to be built when its elements are there: what comes later is in the live batch, which the snapshot
//! hides, and counts when history is built anew: [`Live::late`] says how much that is, and
//! [`HybridJob::backfill`](crate::HybridJob::backfill) builds while readers read on.

use std::ops::Range;

use crate::limits::{LIVE_BATCHES_MAX, LIVE_VALUES_MAX, READ_ATTEMPTS_MAX};
use crate::memory::plus;
use crate::{BatchId, Batcher, Error, ErrorKind, Key, Live, Read, Result, Snapshots, Timestamp, Value};

/// Which batches an answer is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    /// All batches before this one come from the snapshot that ends there.
    pub bound: BatchId,
    /// These come from the live store.
    pub live: Range<BatchId>,
    /// These, of the batches up to now, are not in the answer: the batch side is so far behind that the live store
    /// has dropped them, never had them, or is not read that far.
    pub missing: Vec<Range<BatchId>>,
    /// After now, and in a snapshot already: the batch side is ahead. They are not in the answer.
    pub ahead: Range<BatchId>,
}

impl Coverage {
    /// Whether every batch up to now is in the answer.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }
}

/// Sums and what they are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<V> {
    /// One for each key, in their order; `None` for a key that was never seen in the batches covered.
    pub values: Vec<Option<V>>,
    /// The same for all of them.
    pub coverage: Coverage,
}

/// Reads one sum per key from a batch store and a live store. Clones read the same.
pub struct ClientStore<K, V> {
    snapshots: Snapshots<K, V>,
    live: Live<K, V>,
    live_batches_max: usize,
    batcher: Option<Batcher>,
}

impl<K, V> Clone for ClientStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            snapshots: self.snapshots.clone(),
            live: self.live.clone(),
            live_batches_max: self.live_batches_max,
            batcher: self.batcher.clone(),
        }
    }
}

impl<K: Key, V: Value> ClientStore<K, V> {
    /// Batch ⊕ live; both count batches by one batcher.
    pub fn new(snapshots: Snapshots<K, V>, live: Live<K, V>) -> Self {
        Self {
            snapshots,
            live,
            live_batches_max: LIVE_BATCHES_MAX,
            batcher: None,
        }
    }

    /// The same, with what cuts the batches: both sides check that they are filled with these, and
    /// [`batch_of`](Self::batch_of) knows them.
    pub fn with_batcher(mut self, batcher: &Batcher) -> Self {
        self.snapshots = self.snapshots.with_batcher(batcher);
        self.live = self.live.with_batcher(batcher);
        self.batcher = Some(batcher.clone());
        self
    }

    /// The batch of a time.
    ///
    /// # Errors
    /// `Invalid` when no batcher was given.
    pub fn batch_of(&self, time: Timestamp) -> Result<BatchId> {
        let batcher = self.batcher.as_ref().ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                "the store is read by time: say what cuts its batches by `with_batcher`",
            )
        })?;
        Ok(batcher.batch_of(time))
    }

    pub(crate) fn batcher(&self) -> Option<&Batcher> {
        self.batcher.as_ref()
    }

    /// Drops all of both sides, for good.
    pub(crate) async fn drop_all(&self) -> Result<()> {
        self.live.drop_all().await?;
        Ok(self.snapshots.drop_all().await?)
    }

    /// Adds at most so many live batches, the newest ones; default [`LIVE_BATCHES_MAX`].
    pub fn with_live_batches_max(mut self, batches: usize) -> Self {
        self.live_batches_max = batches;
        self
    }

    /// The batch side.
    pub fn snapshots(&self) -> &Snapshots<K, V> {
        &self.snapshots
    }

    /// The live side.
    pub fn live(&self) -> &Live<K, V> {
        &self.live
    }

    /// The sum of one key up to the batch `now`, that one included.
    ///
    /// # Errors
    /// As [`multi_get`](Self::multi_get).
    pub async fn get(&self, key: &K, now: BatchId) -> Result<(Option<V>, Coverage)> {
        let mut answer = self.multi_get(std::slice::from_ref(key), now).await?;
        Ok((answer.values.pop().flatten(), answer.coverage))
    }

    /// The sums of keys up to the batch `now`, that one included, all of one moment. Costs a read of the keys and one
    /// of keys × live batches.
    ///
    /// # Errors
    /// `NotFound` when there is no snapshot or every one kept is ahead of `now`, `Invalid` when keys × live batches
    /// are more than [`LIVE_VALUES_MAX`], `Retry` when snapshots come faster than one can be read, and what the stores
    /// report.
    pub async fn multi_get(&self, keys: &[K], now: BatchId) -> Result<Answer<V>> {
        let end = now.next();
        for _ in 0..READ_ATTEMPTS_MAX {
            let read = self.snapshots.multi_get_until(keys, end).await?;
            let least = i64::try_from(self.live_batches_max).unwrap_or(i64::MAX);
            let first = read.bound.max(BatchId(end.0.saturating_sub(least)));
            let (floor, parts) = self.live.read(&self.asked(keys, first..end)?).await?;
            let bounds = self.snapshots.bounds().await?;
            let newest = bounds.iter().rev().find(|bound| **bound <= end).copied();
            if floor > read.bound && newest > Some(read.bound) {
                continue;
            }
            let from = first.max(floor).min(end);
            let ahead = end..bounds.last().copied().unwrap_or(end).max(end);
            let coverage = Coverage {
                bound: read.bound,
                live: from..end,
                missing: Some(read.bound..from)
                    .filter(|gap| !gap.is_empty())
                    .into_iter()
                    .collect(),
                ahead,
            };
            return Ok(Answer {
                values: added(read, parts),
                coverage,
            });
        }
        let text = "snapshots were published faster than they could be read: keep more of them";
        Err(Error::new(ErrorKind::Retry, text))
    }

    /// Drops the live batches that every snapshot kept holds, so that the live store stays bounded, and counts as late
    /// what comes for batches of the newest from now on. To be called after a snapshot was published.
    ///
    /// # Errors
    /// As [`Live::drop_before`].
    pub async fn drop_covered(&self) -> Result<()> {
        let bounds = self.snapshots.bounds().await?;
        let (Some(oldest), Some(newest)) = (bounds.first(), bounds.last()) else {
            return Ok(());
        };
        self.live.cover(*newest).await?;
        self.live.drop_before(*oldest).await
    }

    /// Each key with each batch.
    fn asked(&self, keys: &[K], batches: Range<BatchId>) -> Result<Vec<(K, BatchId)>> {
        let length = batches.end.0.saturating_sub(batches.start.0).max(0);
        let asked = length.saturating_mul(keys.len() as i64);
        if asked > LIVE_VALUES_MAX as i64 {
            let text = format!(
                "too many live values for one read: ask for fewer keys, or build snapshots more often \
                 keys={} live_batches={length} values_max={LIVE_VALUES_MAX}",
                keys.len()
            );
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let mut all = Vec::with_capacity(asked as usize);
        for key in keys {
            all.extend((batches.start.0..batches.end.0).map(|batch| (key.clone(), BatchId(batch))));
        }
        Ok(all)
    }
}

/// The snapshot's value of each key and its parts, which follow each other key by key.
fn added<V: Value>(read: Read<V>, parts: Vec<Option<V>>) -> Vec<Option<V>> {
    let each = parts.len() / read.values.len().max(1);
    let mut parts = parts.into_iter();
    let sum = |value| {
        parts
            .by_ref()
            .take(each)
            .flatten()
            .fold(value, |sum, part| Some(plus(sum, part)))
    };
    read.values.into_iter().map(sum).collect()
}
