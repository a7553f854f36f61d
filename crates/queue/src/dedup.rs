//! Which batches of which emitters are in a partition: emitter → `(epoch, next sequence)`, and what is in flight.
//!
//! The table of kept batches is a fold over the partition's records and nothing else, so a restart rebuilds it
//! and a snapshot of it can head a segment. It is bounded: beyond the limit the emitter whose last batch is the
//! oldest is forgotten, and should it come back, its next batch is taken whatever its sequence.
//!
//! An emitter whose *first* batch was refused or lost in a failed write is remembered as awaited: otherwise its
//! second batch, already under way, would be taken for its first, and the first for a duplicate when sent again.

use std::collections::{BTreeMap, HashMap};

use event::{Batch, BatchKey, EmitterId, Epoch, Sequence};
use uuid::Uuid;

use crate::{Error, ErrorKind, Receipt, Result};

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is the next one: keep it.
    Append,
    /// It is kept already.
    Duplicate,
    /// Its twin is being written.
    DuplicateInFlight,
    /// Batches before it are missing.
    Gap { expected: Sequence },
    /// A later life of the emitter has begun.
    Fenced { current: Epoch },
}

impl Decision {
    /// The answer that can be given at once; `None` for what has to be written or waited for.
    pub(crate) fn answer(self, key: &BatchKey) -> Option<Result<Receipt>> {
        let (emitter, epoch, sequence) = (key.emitter.0, key.epoch.0, key.sequence.0);
        match self {
            Decision::Append | Decision::DuplicateInFlight => None,
            Decision::Duplicate => Some(Ok(Receipt {
                offset: None,
                duplicate: true,
                spooled: false,
            })),
            Decision::Gap { expected } => Some(Err(Error::new(
                ErrorKind::Conflict,
                format_args!(
                    "batch is not the emitter's next one, send the expected one first expected={} \
                     sequence={sequence} emitter={emitter} epoch={epoch}",
                    expected.0
                ),
            ))),
            Decision::Fenced { current } => Some(Err(Error::new(
                ErrorKind::Fenced,
                format_args!(
                    "a later life of this emitter has begun, stop this one current={} epoch={epoch} \
                     emitter={emitter}",
                    current.0
                ),
            ))),
        }
    }
}

/// Refuses batches that break a limit.
pub(crate) fn check(batch: &Batch) -> Result<()> {
    batch.check()?;
    if batch.header.key.sequence.0 == u64::MAX {
        return Err(Error::new(
            ErrorKind::Invalid,
            "sequence has no next one, count from 0",
        ));
    }
    Ok(())
}

/// What a partition knows of one emitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    epoch: Epoch,
    next: Sequence,
    standing: Standing,
    seen: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// Batches before `next` are kept.
    Kept,
    /// None of its batches is kept; the first of them was refused and is expected again.
    Awaited,
}

/// Sequences `from..next` of an epoch are being written.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    epoch: Epoch,
    from: Sequence,
    next: Sequence,
}

/// Bytes of one emitter in a snapshot: id 16, epoch u32, next sequence u64, little endian.
pub(crate) const SNAPSHOT_ENTRY_BYTES: usize = 28;

/// The table: see the head of this file.
#[derive(Debug)]
pub(crate) struct Dedup {
    emitters: HashMap<EmitterId, Entry>,
    by_age: BTreeMap<u64, EmitterId>,
    clock: u64,
    in_flight: HashMap<EmitterId, InFlight>,
    emitters_max: usize,
}

impl Dedup {
    pub(crate) fn new(emitters_max: usize) -> Self {
        Self {
            emitters: HashMap::new(),
            by_age: BTreeMap::new(),
            clock: 0,
            in_flight: HashMap::new(),
            emitters_max,
        }
    }

    /// What to do with a batch. Changes nothing.
    ///
    /// Of a known emitter, a later epoch begins with sequence 0.
    pub(crate) fn decide(&self, key: &BatchKey) -> Decision {
        let flying = self.in_flight.get(&key.emitter);
        let entry = self.emitters.get(&key.emitter);
        let (epoch, next) = match (flying, entry) {
            (Some(flying), _) => (flying.epoch, flying.next),
            (None, Some(entry)) => (entry.epoch, entry.next),
            (None, None) => return Decision::Append,
        };
        if key.epoch < epoch {
            return Decision::Fenced { current: epoch };
        }
        let expected = if key.epoch > epoch { Sequence(0) } else { next };
        if key.sequence == expected {
            return Decision::Append;
        }
        if key.sequence > expected {
            return Decision::Gap { expected };
        }
        match (flying, entry) {
            (Some(flying), _) if key.sequence >= flying.from => Decision::DuplicateInFlight,
            (None, Some(entry)) if entry.standing == Standing::Awaited => Decision::Append,
            _ => Decision::Duplicate,
        }
    }

    /// A batch that [`Dedup::decide`] let in is being written.
    pub(crate) fn begin(&mut self, key: &BatchKey) {
        let next = key.sequence.next();
        match self.in_flight.get_mut(&key.emitter) {
            Some(flying) if flying.epoch == key.epoch => flying.next = next,
            _ => {
                self.in_flight.insert(
                    key.emitter,
                    InFlight {
                        epoch: key.epoch,
                        from: key.sequence,
                        next,
                    },
                );
            }
        }
    }

    /// A batch is durable.
    pub(crate) fn keep(&mut self, key: &BatchKey) {
        let next = key.sequence.next();
        if let Some(flying) = self.in_flight.get_mut(&key.emitter)
            && flying.epoch == key.epoch
        {
            flying.from = next;
            if flying.from >= flying.next {
                self.in_flight.remove(&key.emitter);
            }
        }
        self.note(key.emitter, key.epoch, next, Standing::Kept);
    }

    /// Batches that were begun will not be kept: the failed one and all begun after it, in that order.
    pub(crate) fn fail<'a>(&mut self, keys: impl IntoIterator<Item = &'a BatchKey>) {
        for key in keys {
            self.in_flight.remove(&key.emitter);
            self.refuse(key);
        }
    }

    /// A batch was turned away though it may be sent again: an emitter of which nothing is kept now has to begin
    /// with this batch or an earlier one.
    pub(crate) fn refuse(&mut self, key: &BatchKey) {
        if self.in_flight.contains_key(&key.emitter) {
            return;
        }
        match self.emitters.get(&key.emitter) {
            Some(entry) if entry.standing == Standing::Kept || entry.epoch > key.epoch => {}
            Some(entry) if entry.epoch == key.epoch && entry.next <= key.sequence => {}
            _ => self.note(key.emitter, key.epoch, key.sequence, Standing::Awaited),
        }
    }

    fn note(&mut self, emitter: EmitterId, epoch: Epoch, next: Sequence, standing: Standing) {
        self.clock += 1;
        let seen = self.clock;
        if let Some(before) = self.emitters.insert(
            emitter,
            Entry {
                epoch,
                next,
                standing,
                seen,
            },
        ) {
            self.by_age.remove(&before.seen);
        }
        self.by_age.insert(seen, emitter);
        if self.emitters.len() > self.emitters_max
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.emitters.remove(&oldest);
        }
    }

    /// Whether emitters may have been forgotten for want of room.
    pub(crate) fn is_full(&self) -> bool {
        self.emitters.len() >= self.emitters_max
    }

    /// The kept batches as bytes: count u64, then each emitter, least recently seen first.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let kept = self
            .by_age
            .values()
            .filter_map(|id| self.emitters.get(id).map(|entry| (id, entry)))
            .filter(|(_, entry)| entry.standing == Standing::Kept);
        let mut bytes = vec![0; 8];
        let mut count = 0u64;
        for (id, entry) in kept {
            bytes.extend_from_slice(id.0.as_bytes());
            bytes.extend_from_slice(&entry.epoch.0.to_le_bytes());
            bytes.extend_from_slice(&entry.next.0.to_le_bytes());
            count += 1;
        }
        bytes[..8].copy_from_slice(&count.to_le_bytes());
        bytes
    }

    /// Reads what [`Dedup::snapshot`] wrote; `None` when it is not that.
    pub(crate) fn restore(bytes: &[u8], emitters_max: usize) -> Option<Self> {
        let (count, entries) = bytes.split_first_chunk::<8>()?;
        let (entries, rest) = entries.as_chunks::<SNAPSHOT_ENTRY_BYTES>();
        if !rest.is_empty() || entries.len() as u64 != u64::from_le_bytes(*count) {
            return None;
        }
        let mut dedup = Self::new(emitters_max);
        for entry in entries {
            let (id, entry) = entry.split_first_chunk::<16>()?;
            let (epoch, next) = entry.split_first_chunk::<4>()?;
            dedup.note(
                EmitterId(Uuid::from_bytes(*id)),
                Epoch(u32::from_le_bytes(*epoch)),
                Sequence(u64::from_le_bytes(next.try_into().ok()?)),
                Standing::Kept,
            );
        }
        Some(dedup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(emitter: u128, epoch: u32, sequence: u64) -> BatchKey {
        BatchKey {
            emitter: EmitterId(Uuid::from_u128(emitter)),
            epoch: Epoch(epoch),
            sequence: Sequence(sequence),
        }
    }

    fn keep(dedup: &mut Dedup, key: &BatchKey) {
        dedup.begin(key);
        dedup.keep(key);
    }

    #[test]
    fn each_decision_once() {
        let mut dedup = Dedup::new(8);
        assert_eq!(
            dedup.decide(&key(1, 0, 5)),
            Decision::Append,
            "unknown: whatever sequence"
        );
        dedup.begin(&key(1, 0, 5));
        assert_eq!(dedup.decide(&key(1, 0, 5)), Decision::DuplicateInFlight);
        assert_eq!(
            dedup.decide(&key(1, 0, 6)),
            Decision::Append,
            "the next may follow in flight"
        );
        assert_eq!(
            dedup.decide(&key(1, 0, 7)),
            Decision::Gap {
                expected: Sequence(6)
            }
        );
        dedup.keep(&key(1, 0, 5));
        assert_eq!(dedup.decide(&key(1, 0, 5)), Decision::Duplicate);
        assert_eq!(
            dedup.decide(&key(1, 1, 3)),
            Decision::Gap {
                expected: Sequence(0)
            }
        );
        keep(&mut dedup, &key(1, 1, 0));
        assert_eq!(
            dedup.decide(&key(1, 0, 6)),
            Decision::Fenced { current: Epoch(1) }
        );
    }

    #[test]
    fn the_second_batch_of_a_failed_first_is_a_gap() {
        let mut dedup = Dedup::new(8);
        dedup.begin(&key(1, 0, 0));
        dedup.begin(&key(1, 0, 1));
        dedup.fail([&key(1, 0, 0), &key(1, 0, 1)]);
        assert_eq!(
            dedup.decide(&key(1, 0, 1)),
            Decision::Gap {
                expected: Sequence(0)
            }
        );
        assert_eq!(dedup.decide(&key(1, 0, 0)), Decision::Append);
        dedup.refuse(&key(2, 0, 4));
        assert_eq!(
            dedup.decide(&key(2, 0, 5)),
            Decision::Gap {
                expected: Sequence(4)
            }
        );
        assert_eq!(
            dedup.decide(&key(2, 0, 3)),
            Decision::Append,
            "an even earlier one may be sent again"
        );
        assert_eq!(
            Dedup::restore(&dedup.snapshot(), 8).unwrap().emitters.len(),
            0,
            "awaited is not kept"
        );
    }

    #[test]
    fn a_failure_leaves_what_is_kept() {
        let mut dedup = Dedup::new(8);
        keep(&mut dedup, &key(1, 0, 0));
        dedup.begin(&key(1, 0, 1));
        dedup.begin(&key(1, 1, 0));
        dedup.fail([&key(1, 0, 1), &key(1, 1, 0)]);
        assert_eq!(dedup.decide(&key(1, 0, 0)), Decision::Duplicate);
        assert_eq!(dedup.decide(&key(1, 0, 1)), Decision::Append);
        assert_eq!(dedup.decide(&key(1, 1, 0)), Decision::Append);
    }

    #[test]
    fn the_least_recently_seen_is_forgotten() {
        let mut dedup = Dedup::new(2);
        for emitter in [1, 2, 1, 3] {
            let sequence = if dedup.decide(&key(emitter, 0, 0)) == Decision::Append {
                0
            } else {
                1
            };
            keep(&mut dedup, &key(emitter, 0, sequence));
        }
        assert_eq!(dedup.decide(&key(2, 0, 9)), Decision::Append, "forgotten");
        assert_eq!(dedup.decide(&key(1, 0, 1)), Decision::Duplicate);
        assert_eq!((dedup.emitters.len(), dedup.by_age.len()), (2, 2));
    }

    #[test]
    fn a_snapshot_that_is_cut_is_refused() {
        let mut dedup = Dedup::new(8);
        keep(&mut dedup, &key(1, 0, 0));
        let bytes = dedup.snapshot();
        for cut in 0..bytes.len() {
            assert!(Dedup::restore(&bytes[..cut], 8).is_none());
        }
    }

    proptest! {
        /// The naive twin keeps every key there ever was.
        #[test]
        fn decisions_are_those_of_the_full_history(
            keys in prop::collection::vec((0u128..3, 0u32..3, 0u64..6), 0..200),
            restart_every in 1usize..50,
        ) {
            let mut dedup = Dedup::new(8);
            let mut history: Vec<BatchKey> = Vec::new();
            for (i, (emitter, epoch, sequence)) in keys.into_iter().enumerate() {
                let key = key(emitter, epoch, sequence);
                let of_emitter: Vec<_> = history.iter().filter(|k| k.emitter == key.emitter).collect();
                let naive = match of_emitter.iter().map(|k| k.epoch).max() {
                    None => Decision::Append,
                    Some(current) if key.epoch < current => Decision::Fenced { current },
                    Some(_) => {
                        let last = of_emitter.iter().filter(|k| k.epoch == key.epoch).map(|k| k.sequence).max();
                        let expected = last.map_or(Sequence(0), Sequence::next);
                        match key.sequence.cmp(&expected) {
                            std::cmp::Ordering::Equal => Decision::Append,
                            std::cmp::Ordering::Greater => Decision::Gap { expected },
                            std::cmp::Ordering::Less => Decision::Duplicate,
                        }
                    }
                };
                prop_assert_eq!(dedup.decide(&key), naive);
                if naive == Decision::Append {
                    keep(&mut dedup, &key);
                    history.push(key);
                }
                if i % restart_every == 0 {
                    dedup = Dedup::restore(&dedup.snapshot(), 8).unwrap();
                }
            }
        }
    }
}
