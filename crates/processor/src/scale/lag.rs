//! How far a job is behind its queue, and for how long.
//!
//! Neither the queue nor the disk is asked for ages: a source reads on from where an epoch ended, so the oldest batch that
//! is not committed is the first one of some read, and reads are noted as they are made. Only while a job does not run at
//! all, and had not read on, is the age that of the last batch it has read, or unknown.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use event::DatasetName;
use queue::{Offset, Partition, Queue, Record};
use store::Progress;

use crate::limits::NOTED_READS_MAX;

/// Notes of what a job's source reads; beside the queue's ends and the job's progress they say how far it is behind.
pub struct Lag {
    queue: Arc<dyn Queue>,
    dataset: DatasetName,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Of each partition the last reads: where they began, and when that batch was received.
    reads: Vec<VecDeque<(Offset, jiff::Timestamp)>>,
    batches: u64,
    bytes: u64,
}

/// How far a job is, as [`Lag::measured`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    /// Batches that the queue has had.
    pub batches_in: u64,
    /// Batches that the job has committed.
    pub batches_done: u64,
    /// Bytes of a batch, in the mean of those that this run has read.
    pub batch_bytes: f64,
    /// For how long the oldest batch that is not committed has been in the queue; zero if there is none.
    pub oldest: Duration,
}

impl Lag {
    /// Of the job that reads a dataset.
    pub fn new(queue: Arc<dyn Queue>, dataset: DatasetName) -> Self {
        Self {
            queue,
            dataset,
            noted: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, partition: Partition, records: &[Record]) {
        let Some(first) = records.first() else { return };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let place = partition.0 as usize;
        if noted.reads.len() <= place {
            noted.reads.resize_with(place + 1, VecDeque::new);
        }
        let reads = &mut noted.reads[place];
        // A job that starts again reads again.
        while reads.back().is_some_and(|(offset, _)| *offset >= first.offset) {
            reads.pop_back();
        }
        if reads.len() == NOTED_READS_MAX {
            reads.pop_front();
        }
        reads.push_back((first.offset, first.batch.header.received_at));
        noted.batches += records.len() as u64;
        noted.bytes += records
            .iter()
            .map(|record| record.batch.payload.len() as u64)
            .sum::<u64>();
    }

    /// How far a job with this progress is at a moment. Costs a lock and some comparisons for each partition.
    pub fn measured(&self, progress: &Progress, now: jiff::Timestamp) -> Measured {
        let ends = self.queue.ends(&self.dataset);
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut measured = Measured {
            batch_bytes: noted.bytes as f64 / noted.batches.max(1) as f64,
            ..Measured::default()
        };
        for (place, end) in ends.iter().enumerate() {
            let done = if ends.len() == 1 && progress.0.len() == 1 {
                // Most datasets have one partition: its name need not be made.
                progress.0.values().next().copied().unwrap_or(0)
            } else {
                progress.of(&place.to_string())
            };
            measured.batches_in += end.0;
            measured.batches_done += done.min(end.0);
            let Some(reads) = noted.reads.get_mut(place).filter(|_| done < end.0) else {
                continue;
            };
            // The read that holds the first one that is not done; what was read before is done.
            while reads.get(1).is_some_and(|(offset, _)| offset.0 <= done) {
                reads.pop_front();
            }
            if let Some((_, received)) = reads.front() {
                let age = now.duration_since(*received);
                measured.oldest = measured.oldest.max(age.try_into().unwrap_or(Duration::ZERO));
            }
        }
        measured
    }
}

#[cfg(test)]
mod tests {
    use queue::MemoryQueue;
    use queue::laws::batch;

    use super::*;

    #[test]
    fn the_oldest_batch_is_the_first_of_the_read_that_is_not_done() {
        let dataset: DatasetName = "d".parse().expect("a name");
        let queue = MemoryQueue::new(1);
        let at = |second| jiff::Timestamp::from_second(second).expect("a time");
        let mut records = Vec::new();
        for n in 0..6u64 {
            let mut batch = batch(&dataset, 1, 0, n);
            batch.header.received_at = at(100 + n as i64);
            futures::executor::block_on(queue.append(batch.clone())).expect("it is taken");
            records.push(Record {
                partition: Partition(0),
                offset: Offset(n),
                batch,
            });
        }
        let lag = Lag::new(Arc::new(queue), dataset);
        let measured = |done: u64| {
            let got = lag.measured(&Progress::from_iter([("0", done)]), at(110));
            (got.batches_in, got.batches_done, got.oldest.as_secs())
        };
        assert_eq!(measured(0), (6, 0, 0), "nothing was read: nothing is known");
        lag.note(Partition(0), &records[..2]);
        lag.note(Partition(0), &records[2..5]);
        assert_eq!(measured(0), (6, 0, 10));
        assert_eq!(measured(2), (6, 2, 8));
        lag.note(Partition(0), &records[2..3]);
        lag.note(Partition(0), &records[3..]);
        assert_eq!(measured(3), (6, 3, 7), "what is read again is noted again");
        assert_eq!(measured(6), (6, 6, 0));
    }
}
