//! The queue in memory: the meaning of the ports, for tests and for the durability `memory`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use event::{Batch, DatasetName};
use futures::future::{BoxFuture, FutureExt, ready};
use jiff::Timestamp;
use tokio::sync::watch;

use crate::dedup::{self, Decision, Dedup};
use crate::limits::{DATASETS_MAX, EMITTERS_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX};
use crate::retention::{Consumers, Piece, due, no_dataset};
use crate::{
    Consumer, ConsumerName, Deleted, Error, ErrorKind, Offset, Partition, Queue, Receipt, Record, Result,
    Retain, Retention, Seek, Untaken,
};

/// Dataset → partition → every batch that was not deleted.
///
/// Keeps until it is dropped, so without [`Retain::retain`] it grows with its input: it is the oracle of the
/// other backends, not a buffer for production. It deletes single batches.
#[derive(Debug)]
pub struct MemoryQueue {
    datasets: Mutex<Datasets>,
    names: watch::Sender<Vec<DatasetName>>,
    partitions: u32,
}

type Datasets = BTreeMap<DatasetName, Dataset>;

#[derive(Debug)]
struct Dataset {
    partitions: Vec<Kept>,
    consumers: Consumers,
}

#[derive(Debug)]
struct Kept {
    dedup: Dedup,
    /// From offset `start` on.
    records: Vec<Record>,
    start: u64,
    end: watch::Sender<u64>,
}

impl Kept {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }
}

impl Default for MemoryQueue {
    fn default() -> Self {
        Self::new(PARTITIONS_DEFAULT)
    }
}

impl MemoryQueue {
    /// An empty queue; `partitions` (1 to 64) is the number for datasets that are made by their first batch.
    pub fn new(partitions: u32) -> Self {
        Self {
            datasets: Mutex::default(),
            names: watch::Sender::default(),
            partitions: partitions.clamp(1, PARTITIONS_MAX),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Datasets> {
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, batch: Batch) -> Result<Receipt> {
        let mut datasets = self.lock();
        let kept = &mut made((&mut datasets, &self.names), &batch.dataset, self.partitions)?.partitions;
        let key = batch.header.key;
        let partition = Partition::of(key.emitter, kept.len() as u32);
        let kept = &mut kept[partition.0 as usize];
        if let Some(answer) = kept.dedup.decide(&key).answer(&key) {
            return answer;
        }
        debug_assert_eq!(kept.dedup.decide(&key), Decision::Append);
        if let Err(error) = dedup::check(&batch) {
            kept.dedup.refuse(&key);
            return Err(error);
        }
        kept.dedup.begin(&key);
        kept.dedup.keep(&key);
        let offset = Offset(kept.end());
        kept.records.push(Record {
            partition,
            offset,
            batch,
        });
        kept.end.send_replace(offset.0 + 1);
        Ok(Receipt {
            offset: Some(offset),
            duplicate: false,
            spooled: false,
        })
    }

    fn offsets(&self, dataset: &DatasetName, of: impl Fn(&Kept) -> u64) -> Vec<Offset> {
        let datasets = self.lock();
        let kept = datasets
            .get(dataset)
            .into_iter()
            .flat_map(|dataset| &dataset.partitions);
        kept.map(|kept| Offset(of(kept))).collect()
    }
}

fn made<'a>(
    (datasets, names): (&'a mut Datasets, &watch::Sender<Vec<DatasetName>>),
    dataset: &DatasetName,
    partitions: u32,
) -> Result<&'a mut Dataset> {
    if datasets.len() >= DATASETS_MAX && !datasets.contains_key(dataset) {
        return Err(too_many_datasets());
    }
    let empty = || Kept {
        dedup: Dedup::new(EMITTERS_MAX),
        records: Vec::new(),
        start: 0,
        end: watch::Sender::new(0),
    };
    if !datasets.contains_key(dataset) {
        let partitions = (0..partitions).map(|_| empty()).collect();
        let consumers = Consumers::default();
        datasets.insert(
            dataset.clone(),
            Dataset {
                partitions,
                consumers,
            },
        );
        names.send_replace(datasets.keys().cloned().collect());
    }
    datasets.get_mut(dataset).ok_or_else(|| no_dataset(dataset))
}

pub(crate) fn too_many_datasets() -> Error {
    Error::new(
        ErrorKind::Invalid,
        format_args!("too many datasets, remove some first datasets_max={DATASETS_MAX}"),
    )
}

pub(crate) fn check_partitions(partitions: u32) -> Result<()> {
    match partitions {
        1..=PARTITIONS_MAX => Ok(()),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format_args!("a dataset has 1 to {PARTITIONS_MAX} partitions partitions={partitions}"),
        )),
    }
}

pub(crate) fn no_partition(dataset: &DatasetName, partition: Partition) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("no such partition dataset={dataset} partition={}", partition.0),
    )
}

pub(crate) fn was_deleted(
    (dataset, partition): (&DatasetName, Partition),
    offset: Offset,
    first: Offset,
) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!(
            "batch has been deleted, begin at the first there is first={} offset={} dataset={dataset} partition={}",
            first.0, offset.0, partition.0
        ),
    )
    .with_next(first)
}

#[async_trait]
impl Queue for MemoryQueue {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        ready(self.take(batch)).boxed()
    }

    async fn create(&self, dataset: &DatasetName, partitions: u32) -> Result<u32> {
        check_partitions(partitions)?;
        Ok(made((&mut self.lock(), &self.names), dataset, partitions)?
            .partitions
            .len() as u32)
    }

    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Record>> {
        let kept = |datasets: &Datasets| {
            let kept = datasets
                .get(dataset)
                .and_then(|dataset| dataset.partitions.get(partition.0 as usize));
            kept.map(|kept| kept.end.subscribe())
                .ok_or_else(|| no_partition(dataset, partition))
        };
        let mut end = kept(&self.lock())?;
        // The sender lives as long as the queue, which is borrowed here.
        let _ = end.wait_for(|end| *end > from.0).await;
        let datasets = self.lock();
        let kept = &datasets[dataset].partitions[partition.0 as usize];
        let Some(skip) = from.0.checked_sub(kept.start) else {
            return Err(was_deleted((dataset, partition), from, Offset(kept.start)));
        };
        let records = &kept.records[skip as usize..];
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.batch.payload.len().max(1);
            first || bytes <= bytes_max
        };
        Ok(records.iter().take_while(fits).cloned().collect())
    }

    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.offsets(dataset, Kept::end)
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.names.subscribe()
    }
}

#[async_trait]
impl Seek for MemoryQueue {
    fn starts(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.offsets(dataset, |kept| kept.start)
    }

    async fn find(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        received_at: Timestamp,
    ) -> Result<Offset> {
        let datasets = self.lock();
        let kept = datasets
            .get(dataset)
            .and_then(|dataset| dataset.partitions.get(partition.0 as usize))
            .ok_or_else(|| no_partition(dataset, partition))?;
        let mut records = kept.records.iter();
        let found = records.find(|record| record.batch.header.received_at >= received_at);
        Ok(found.map_or(Offset(kept.end()), |record| record.offset))
    }
}

#[async_trait]
impl Retain for MemoryQueue {
    async fn advance(
        &self,
        dataset: &DatasetName,
        consumer: &ConsumerName,
        progress: &[Offset],
    ) -> Result<()> {
        let mut datasets = self.lock();
        let kept = datasets.get_mut(dataset).ok_or_else(|| no_dataset(dataset))?;
        kept.consumers.advance(consumer, progress, kept.partitions.len())
    }

    async fn forget(&self, dataset: &DatasetName, consumer: &ConsumerName) -> Result<bool> {
        let mut datasets = self.lock();
        let kept = datasets.get_mut(dataset);
        Ok(kept.is_some_and(|kept| kept.consumers.forget(consumer)))
    }

    fn consumers(&self, dataset: &DatasetName) -> Vec<Consumer> {
        let datasets = self.lock();
        datasets
            .get(dataset)
            .map_or_else(Vec::new, |kept| kept.consumers.list())
    }

    async fn retain(&self, dataset: &DatasetName, retention: &Retention, now: Timestamp) -> Result<Deleted> {
        let mut datasets = self.lock();
        let Dataset {
            partitions,
            consumers,
        } = datasets.get_mut(dataset).ok_or_else(|| no_dataset(dataset))?;
        let piece = |record: &Record| Piece {
            bytes: record.batch.payload.len() as u64,
            latest: record.batch.header.received_at.as_microsecond(),
        };
        let pieces: Vec<Vec<_>> = partitions
            .iter()
            .map(|kept| kept.records.iter().map(piece).collect())
            .collect();
        let mut deleted = Deleted::default();
        for (i, due) in due(&pieces, retention, now).into_iter().enumerate() {
            let kept = &mut partitions[i];
            let due_end = kept.start + due as u64;
            let end = match retention.untaken {
                Untaken::Keep => due_end.min(consumers.taken(i).0.max(kept.start)),
                Untaken::Delete => due_end,
            };
            consumers.miss(i, kept.start, end, &mut deleted);
            consumers.hold(i, end, due_end, &mut deleted);
            let count = (end - kept.start) as usize;
            deleted.batches += count as u64;
            deleted.bytes += pieces[i][..count].iter().map(|piece| piece.bytes).sum::<u64>();
            kept.records.drain(..count);
            kept.start = end;
        }
        Ok(deleted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_laws() {
        crate::laws::check(Arc::new(MemoryQueue::default())).await;
        crate::laws::check_retention(Arc::new(MemoryQueue::default())).await;
    }
}
