//! The memory that a request may take, out of what all requests share.

use event::DatasetName;
use tokio::sync::OwnedSemaphorePermit;

use crate::aggregator::Aggregator;
use crate::{Error, Result};

/// Room grows by at least this much at a time, so that it is not asked for at each row.
const STEP_BYTES: usize = 64 << 10;

/// What one request holds in memory, in bytes; given back when it is dropped.
pub(super) struct Room {
    aggregator: Aggregator,
    dataset: DatasetName,
    permit: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Room {
    pub(super) fn new(aggregator: Aggregator, dataset: DatasetName) -> Self {
        Self {
            aggregator,
            dataset,
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
        let permit = self
            .aggregator
            .http_room(more)
            .map_err(|error| Error::new(error.kind(), format_args!("{error} dataset={}", self.dataset)))?;
        self.bytes += more;
        match &mut self.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::limits::HTTP_BYTES_MIN;
    use crate::{AggregatorOptions, ErrorKind};

    #[test]
    fn requests_share_what_there_is_and_give_it_back() {
        let options = AggregatorOptions {
            http_bytes_max: HTTP_BYTES_MIN,
            ..AggregatorOptions::default()
        };
        let aggregator = Aggregator::new(Arc::new(queue::MemoryQueue::default()), options);
        let room = || Room::new(aggregator.clone(), "a".parse().unwrap());
        let (mut first, mut second) = (room(), room());
        first.cover(HTTP_BYTES_MIN / 2).unwrap();
        first.cover(1).unwrap();
        second.cover(HTTP_BYTES_MIN / 2).unwrap();
        let error = first.cover(HTTP_BYTES_MIN / 2 + 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        drop(second);
        first.cover(HTTP_BYTES_MIN).unwrap();
        drop(first);
        room().cover(HTTP_BYTES_MIN).unwrap();
    }
}
