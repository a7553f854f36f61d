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
