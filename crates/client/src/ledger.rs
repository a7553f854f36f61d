//! The batches that are numbered and not acked yet: which to send, which an ack or a refusal is about, and when
//! they may be numbered anew.
//!
//! What the queue promises (its law *no holes*, per emitter and epoch) decides what is safe. A batch that was
//! sent may have been kept though no ack came, so it is sent again under its old key and the queue drops the
//! twin. A key is given up in one case only: the oldest batch without an ack was answered with a conflict. The
//! queue answers so when the batch's sequence is later than the one it expects, so neither this batch nor any
//! after it is kept in this epoch; they are numbered from 0 in the next epoch, which fences what may still be
//! under way of the old one. That happens after a refusal for good has left a hole in the sequences.

use std::collections::VecDeque;

use event::wire::PutAck;
use event::{Epoch, Sequence};

use crate::outbox::Sealed;

/// A batch with its place in the order.
#[derive(Clone, Debug)]
pub(crate) struct Numbered {
    pub(crate) epoch: Epoch,
    pub(crate) sequence: Sequence,
    /// Its number in the spool, if it is there.
    pub(crate) record: Option<u64>,
    pub(crate) batch: Sealed,
    /// How many times it has been sent.
    pub(crate) sends: u32,
}

/// Batches without an ack, oldest first; the first `sent` of them are under way on the stream that is open.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epoch: Epoch,
    next: Sequence,
    unacked: VecDeque<Numbered>,
    sent: usize,
    sent_bytes: usize,
    bytes: usize,
}

impl Ledger {
    /// Takes a batch and numbers it.
    pub(crate) fn push(&mut self, batch: Sealed) {
        let (epoch, sequence) = (self.epoch, self.next);
        self.push_numbered(Numbered {
            epoch,
            sequence,
            record: None,
            batch,
            sends: 0,
        });
    }

    /// Takes a batch that has its number, which follows those before it or is the first of a later epoch.
    pub(crate) fn push_numbered(&mut self, numbered: Numbered) {
        self.epoch = numbered.epoch;
        self.next = numbered.sequence.next();
        self.bytes += numbered.batch.bytes;
        self.unacked.push_back(numbered);
    }

    /// Payload without an ack, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unacked.is_empty()
    }

    /// Whether the open stream owes an answer.
    pub(crate) fn is_under_way(&self) -> bool {
        self.sent > 0
    }

    pub(crate) fn has_unsent(&self) -> bool {
        self.sent < self.unacked.len()
    }

    /// The next batch to send, as long as less than `bytes_max` is under way. A later epoch waits until the
    /// earlier one has all its acks: it would fence what of it must be sent again.
    pub(crate) fn send(&mut self, bytes_max: usize) -> Option<&Numbered> {
        let oldest = self.unacked.front()?.epoch;
        if self.sent_bytes >= bytes_max || self.unacked.get(self.sent)?.epoch != oldest {
            return None;
        }
        let numbered = self.unacked.get_mut(self.sent)?;
        self.sent += 1;
        self.sent_bytes += numbered.batch.bytes;
        numbered.sends += 1;
        Some(numbered)
    }

    /// The oldest batch, if the ack is about it and it is under way.
    pub(crate) fn ack(&mut self, ack: &PutAck) -> Option<Numbered> {
        let oldest = self.unacked.front()?;
        if self.sent == 0 || oldest.sequence != ack.sequence {
            return None;
        }
        self.pop()
    }

    /// Gives up the oldest batch.
    pub(crate) fn refuse(&mut self) -> Option<Numbered> {
        if self.sent == 0 { None } else { self.pop() }
    }

    fn pop(&mut self) -> Option<Numbered> {
        let oldest = self.unacked.pop_front()?;
        self.sent -= 1;
        self.sent_bytes -= oldest.batch.bytes;
        self.bytes -= oldest.batch.bytes;
        Some(oldest)
    }

    /// The stream is gone: all must be sent again.
    pub(crate) fn lost_stream(&mut self) {
        self.sent = 0;
        self.sent_bytes = 0;
    }

    /// The oldest batch, which was under way and was answered with a conflict, if a new epoch can help: not when
    /// it is the first of its epoch.
    pub(crate) fn in_conflict(&self) -> Option<&Numbered> {
        let oldest = self.unacked.front()?;
        (self.sent > 0 && oldest.sequence > Sequence(0)).then_some(oldest)
    }

    /// The epoch after all that were used here.
    pub(crate) fn next_epoch(&self) -> Epoch {
        Epoch(self.epoch.0 + 1)
    }

    /// Numbers all anew, from 0 in this epoch; the stream is gone.
    pub(crate) fn renumber(&mut self, epoch: Epoch) {
        self.lost_stream();
        self.epoch = epoch;
        self.next = Sequence(0);
        for numbered in &mut self.unacked {
            numbered.epoch = self.epoch;
            numbered.sequence = self.next;
            self.next = self.next.next();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::outbox::Payload;
    use std::collections::BTreeSet;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use tokio::time::Instant;

    pub(crate) fn batch(id: u32) -> Sealed {
        Sealed {
            payload: Payload::Lines(id.to_le_bytes().to_vec().into()),
            events: 1,
            generated_at: Timestamp::UNIX_EPOCH,
            emitted: Instant::now(),
            bytes: 1,
        }
    }

    pub(crate) fn id_of(batch: &Sealed) -> u32 {
        let Payload::Lines(lines) = &batch.payload else {
            panic!("only lines here")
        };
        u32::from_le_bytes(lines[..].try_into().unwrap())
    }

    /// The queue's laws for one emitter, naive; batches whose id is a multiple of 7 are refused for good.
    #[derive(Default)]
    pub(crate) struct NaiveQueue {
        at: Option<(u32, u64)>,
        pub(crate) kept: Vec<u32>,
    }

    pub(crate) enum Answer {
        Kept,
        Refused,
        Conflict,
    }

    impl NaiveQueue {
        pub(crate) fn append(&mut self, numbered: &Numbered) -> Answer {
            let (epoch, sequence, id) = (numbered.epoch.0, numbered.sequence.0, id_of(&numbered.batch));
            if id % 7 == 0 {
                return Answer::Refused;
            }
            match self.at {
                Some((known, next)) if known == epoch && sequence < next => return Answer::Kept,
                Some((known, next)) if known == epoch && sequence > next => return Answer::Conflict,
                Some((known, _)) if known > epoch => panic!("an old epoch was used"),
                Some((known, _)) if known < epoch && sequence != 0 => return Answer::Conflict,
                _ => {}
            }
            self.at = Some((epoch, sequence + 1));
            self.kept.push(id);
            Answer::Kept
        }
    }

    proptest! {
        /// Whatever gets lost: each batch is kept once and in order, or was refused.
        #[test]
        fn nothing_doubles_and_nothing_is_lost(steps in prop::collection::vec((0usize..6, any::<bool>()), 0..60)) {
            let (mut ledger, mut queue) = (Ledger::default(), NaiveQueue::default());
            let (mut pushed, mut refused) = (0, BTreeSet::new());
            // After the given steps the stream holds, so that it all comes to an end.
            for (pushes, lose_acks) in steps.into_iter().chain(std::iter::repeat_n((0, false), 200)) {
                for _ in 0..pushes {
                    ledger.push(batch(pushed));
                    pushed += 1;
                }
                let mut answers = Vec::new();
                while let Some(numbered) = ledger.send(4) {
                    answers.push((numbered.sequence, queue.append(numbered)));
                }
                for (at, (sequence, answer)) in answers.into_iter().enumerate() {
                    if lose_acks && at > 0 {
                        break;
                    }
                    match answer {
                        Answer::Kept => {
                            let ack = PutAck { sequence, events: 1, duplicate: false, spooled: false };
                            prop_assert!(ledger.ack(&ack).is_some());
                            continue;
                        }
                        Answer::Refused => {
                            refused.insert(id_of(&ledger.refuse().unwrap().batch));
                        }
                        Answer::Conflict => {
                            prop_assert!(ledger.in_conflict().is_some());
                            ledger.renumber(ledger.next_epoch());
                        }
                    }
                    break;
                }
                ledger.lost_stream();
            }
            prop_assert!(ledger.is_empty());
            prop_assert_eq!(queue.kept, (0..pushed).filter(|id| id % 7 != 0).collect::<Vec<_>>());
            prop_assert!(refused.iter().all(|id| id % 7 == 0));
        }
    }
}
