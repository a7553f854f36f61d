//! The newest records of a partition, in memory, so that readers that follow closely do not touch the disk.

use std::collections::VecDeque;

use crate::Record;
use crate::limits::{TAIL_BATCHES_MAX, TAIL_BYTES_MAX};

/// Records with offsets one after the other, up to the durable end.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    records: VecDeque<Record>,
    bytes: usize,
}

impl Tail {
    /// Adds the record after the last one; forgets the oldest beyond the limits.
    pub(crate) fn push(&mut self, record: Record) {
        self.bytes += record.batch.payload.len();
        self.records.push_back(record);
        while self.bytes > TAIL_BYTES_MAX || self.records.len() > TAIL_BATCHES_MAX {
            let Some(oldest) = self.records.pop_front() else {
                break;
            };
            self.bytes -= oldest.batch.payload.len();
        }
    }

    /// Records from an offset on, at least one; `None` when that offset is not here.
    pub(crate) fn read(&self, from: u64, bytes_max: usize) -> Option<Vec<Record>> {
        let skip = from.checked_sub(self.records.front()?.offset.0)? as usize;
        let mut bytes = 0;
        let mut records = Vec::new();
        for record in self.records.range(skip.min(self.records.len())..) {
            bytes += record.batch.payload.len();
            if bytes > bytes_max && !records.is_empty() {
                break;
            }
            records.push(record.clone());
        }
        (!records.is_empty()).then_some(records)
    }
}
