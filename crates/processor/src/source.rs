//! A dataset's queue as a source of records: a part is a partition, an offset is a batch.

use std::sync::Arc;

use async_trait::async_trait;
use event::DatasetName;
use flow::{Slice, Source, Timestamp};
use futures::future::{FutureExt, select_all};
use queue::{Offset, Partition, Queue, Record};
use store::Progress;

use crate::Lag;

/// The batches of a dataset, as they were sent; each carries the time it was received.
pub struct QueueSource {
    queue: Arc<dyn Queue>,
    dataset: DatasetName,
    lag: Option<Arc<Lag>>,
}

impl QueueSource {
    /// The source of a dataset that the queue has.
    pub fn new(queue: Arc<dyn Queue>, dataset: DatasetName) -> Self {
        Self {
            queue,
            dataset,
            lag: None,
        }
    }

    /// This source, which notes in `lag` what it reads.
    pub fn with_lag(mut self, lag: Arc<Lag>) -> Self {
        self.lag = Some(lag);
        self
    }

    /// Progress that takes in every batch kept by now.
    pub fn end(&self) -> Progress {
        let ends = self.queue.ends(&self.dataset);
        ends.iter()
            .enumerate()
            .map(|(partition, end)| (partition.to_string(), end.0))
            .collect()
    }

    async fn read_partition(&self, part: Part, bytes_max: usize) -> flow::Result<Slice<Record>> {
        let mut records = self
            .queue
            .read(&self.dataset, part.partition, part.from, bytes_max)
            .await
            .map_err(from_queue)?;
        if let Some(until) = part.until {
            records.retain(|record| record.offset < until);
        }
        if let Some(lag) = &self.lag {
            lag.note(part.partition, &records);
        }
        let next = records.last().map_or(part.from.0, |record| record.offset.0 + 1);
        let bytes = records.iter().map(|record| record.batch.payload.len()).sum();
        let time = |record: &Record| Timestamp(record.batch.header.received_at.as_millisecond());
        let items = records
            .into_iter()
            .map(|record| (time(&record), record))
            .collect();
        Ok(Slice {
            part: part.partition.0.to_string(),
            next,
            items,
            bytes,
        })
    }
}

#[derive(Clone, Copy)]
struct Part {
    partition: Partition,
    from: Offset,
    until: Option<Offset>,
}

#[async_trait]
impl Source<Record> for QueueSource {
    async fn start(&self) -> flow::Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> flow::Result<Option<Vec<Slice<Record>>>> {
        let partitions = self.queue.ends(&self.dataset).len();
        let parts = (0..partitions as u32).map(|partition| {
            let name = partition.to_string();
            Part {
                partition: Partition(partition),
                from: Offset(from.of(&name)),
                until: until.map(|until| Offset(until.of(&name))),
            }
        });
        let open: Vec<Part> = parts
            .filter(|part| part.until.is_none_or(|until| part.from < until))
            .collect();
        if open.is_empty() {
            return Ok(None);
        }
        let share = bytes_max / open.len();
        let reads = open
            .into_iter()
            .map(|part| self.read_partition(part, share).boxed());
        let (first, _, others) = select_all(reads).await;
        let mut slices = vec![first?];
        for other in others {
            // A read that is not ready is dropped: it loses nothing.
            if let Some(slice) = other.now_or_never() {
                slices.push(slice?);
            }
        }
        Ok(Some(slices))
    }
}

fn from_queue(error: queue::Error) -> flow::Error {
    let kind = match error.kind() {
        queue::ErrorKind::Retry => flow::ErrorKind::Retry,
        queue::ErrorKind::NotFound => flow::ErrorKind::NotFound,
        queue::ErrorKind::Corrupt => flow::ErrorKind::Corrupt,
        _ => flow::ErrorKind::Invalid,
    };
    flow::Error::new(kind, error)
}
