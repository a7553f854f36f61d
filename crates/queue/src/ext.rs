//! What every queue can do besides: reading past damage.

use std::ops::Range;

use async_trait::async_trait;
use event::DatasetName;

use crate::{ErrorKind, Offset, Partition, Queue, Record, Result};

/// Records, and the damaged ones that were left out before them.
#[derive(Clone, Debug, PartialEq)]
pub struct Read {
    /// Offsets whose batches are damaged and lie between the one asked for and the first record.
    pub skipped: Option<Range<Offset>>,
    /// As [`Queue::read`] returns them.
    pub records: Vec<Record>,
}

/// Sugar for every [`Queue`].
#[async_trait]
pub trait QueueExt: Queue {
    /// As [`Queue::read`], but goes on behind damaged records and says which it left out: the caller has decided
    /// to do without them, and has to tell of them. Behind damage at the end it waits for the next record.
    ///
    /// # Errors
    /// As `read`; `Corrupt` only when it is not known where sound records begin again.
    async fn read_past_damage(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Read> {
        let mut at = from;
        loop {
            match self.read(dataset, partition, at, bytes_max).await {
                Ok(records) => {
                    let skipped = (at > from).then_some(from..at);
                    return Ok(Read { skipped, records });
                }
                Err(error) if error.kind() == ErrorKind::Corrupt => match error.next() {
                    Some(next) if next > at => at = next,
                    _ => return Err(error),
                },
                Err(error) => return Err(error),
            }
        }
    }
}

impl<Q: Queue + ?Sized> QueueExt for Q {}
