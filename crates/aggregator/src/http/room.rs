//! The memory that a request may take, out of what all doors share.

use event::DatasetName;

use crate::aggregator::Aggregator;
use crate::{Result, memory};

/// Room grows by at least this much at a time, so that it is not asked for at each row.
const STEP_BYTES: usize = 64 << 10;

/// What one request holds in memory, in bytes; given back when it is dropped.
pub(super) struct Room {
    aggregator: Aggregator,
    /// Whose share it is.
    dataset: DatasetName,
    taken: Vec<memory::Room>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(aggregator: Aggregator, dataset: DatasetName) -> Self {
        Self {
            aggregator,
            dataset,
            taken: Vec::new(),
            bytes: 0,
        }
    }

    /// Takes room until `bytes` are covered.
    ///
    /// # Errors
    /// `Busy` when there is not as much.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<()> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let more = match self.bytes {
            0 => bytes,
            held => (bytes - held).max(STEP_BYTES),
        };
        self.taken.push(self.aggregator.room(&self.dataset, more)?);
        self.bytes += more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::MEMORY_BYTES_MIN;
    use crate::{AggregatorOptions, ErrorKind};

    #[test]
    fn requests_share_what_there_is_and_give_it_back() {
        let options = AggregatorOptions {
            memory_bytes_max: MEMORY_BYTES_MIN,
            ..AggregatorOptions::default()
        };
        let aggregator = Aggregator::new(Arc::new(queue::MemoryQueue::default()), options);
        let room = || Room::new(aggregator.clone(), "a".parse().unwrap());
        // A dataset gets half of all, whatever else there is.
        let half = MEMORY_BYTES_MIN / 2;
        let (mut first, mut second) = (room(), room());
        first.cover(half / 2).unwrap();
        first.cover(1).unwrap();
        second.cover(half / 2).unwrap();
        assert_eq!(aggregator.memory_bytes(), half);
        let error = first.cover(half / 2 + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        drop(second);
        first.cover(half).unwrap();
        drop(first);
        assert_eq!(aggregator.memory_bytes(), 0);
    }
}
