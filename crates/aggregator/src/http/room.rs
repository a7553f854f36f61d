//! The memory that a request may take, out of what all requests share.

use tokio::sync::OwnedSemaphorePermit;

use crate::Result;
use crate::aggregator::Aggregator;

/// Room grows by at least this much at a time, so that it is not asked for at each row.
const STEP_BYTES: usize = 64 << 10;

/// What one request holds in memory, in bytes; given back when it is dropped.
pub(super) struct Room {
    aggregator: Aggregator,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(aggregator: Aggregator) -> Self {
        Self {
            aggregator,
            permit: None,
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
        let more = match self.permit {
            None => bytes,
            Some(_) => (bytes - self.bytes).max(STEP_BYTES),
        };
        let permit = self.aggregator.http_room(more)?;
        self.bytes += more;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}
