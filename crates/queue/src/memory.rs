//! The queue in memory: the meaning of the port, for tests and for the durability `memory`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use event::{Batch, DatasetName};
use futures::future::{BoxFuture, FutureExt, ready};
use tokio::sync::watch;

use crate::dedup::{self, Decision, Dedup};
use crate::limits::{DATASETS_MAX, EMITTERS_MAX, PARTITIONS_DEFAULT, PARTITIONS_MAX};
use crate::{Error, ErrorKind, Offset, Partition, Queue, Receipt, Record, Result};

/// Dataset → partition → every batch since it was made.
///
/// Keeps until it is dropped and deletes nothing, so it grows with its input: it is the oracle of the other
/// backends, not a buffer for production.
#[derive(Debug)]
pub struct MemoryQueue {
    datasets: Mutex<BTreeMap<DatasetName, Vec<Kept>>>,
    names: watch::Sender<Vec<DatasetName>>,
    partitions: u32,
}

#[derive(Debug)]
struct Kept {
    dedup: Dedup,
    records: Vec<Record>,
    end: watch::Sender<u64>,
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DatasetName, Vec<Kept>>> {
        self.datasets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, batch: Batch) -> Result<Receipt> {
        let mut datasets = self.lock();
        let kept = made((&mut datasets, &self.names), &batch.dataset, self.partitions)?;
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
        let offset = Offset(kept.records.len() as u64);
        kept.records.push(Record {
            partition,
            offset,
            batch,
        });
        kept.end.send_replace(offset.0 + 1);
        Ok(Receipt {
            offset: Some(offset),
            duplicate: false,
        })
    }
}

fn made<'a>(
    (datasets, names): (
        &'a mut BTreeMap<DatasetName, Vec<Kept>>,
        &watch::Sender<Vec<DatasetName>>,
    ),
    dataset: &DatasetName,
    partitions: u32,
) -> Result<&'a mut Vec<Kept>> {
    if datasets.len() >= DATASETS_MAX && !datasets.contains_key(dataset) {
        return Err(too_many_datasets());
    }
    let empty = || Kept {
        dedup: Dedup::new(EMITTERS_MAX),
        records: Vec::new(),
        end: watch::Sender::new(0),
    };
    if !datasets.contains_key(dataset) {
        datasets.insert(dataset.clone(), (0..partitions).map(|_| empty()).collect());
        names.send_replace(datasets.keys().cloned().collect());
    }
    Ok(datasets.entry(dataset.clone()).or_default())
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

#[async_trait]
impl Queue for MemoryQueue {
    fn append(&self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        ready(self.take(batch)).boxed()
    }

    async fn create(&self, dataset: &DatasetName, partitions: u32) -> Result<u32> {
        check_partitions(partitions)?;
        Ok(made((&mut self.lock(), &self.names), dataset, partitions)?.len() as u32)
    }

    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> Result<Vec<Record>> {
        let kept = |datasets: &BTreeMap<DatasetName, Vec<Kept>>| {
            let kept = datasets
                .get(dataset)
                .and_then(|kept| kept.get(partition.0 as usize));
            kept.map(|kept| kept.end.subscribe())
                .ok_or_else(|| no_partition(dataset, partition))
        };
        let mut end = kept(&self.lock())?;
        // The sender lives as long as the queue, which is borrowed here.
        let _ = end.wait_for(|end| *end > from.0).await;
        let datasets = self.lock();
        let records = &datasets[dataset][partition.0 as usize].records[from.0 as usize..];
        let mut bytes = 0;
        let fits = |record: &&Record| {
            let first = bytes == 0;
            bytes += record.batch.payload.len().max(1);
            first || bytes <= bytes_max
        };
        Ok(records.iter().take_while(fits).cloned().collect())
    }

    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        let datasets = self.lock();
        let kept = datasets.get(dataset).map(Vec::as_slice).unwrap_or_default();
        kept.iter()
            .map(|kept| Offset(kept.records.len() as u64))
            .collect()
    }

    fn datasets(&self) -> watch::Receiver<Vec<DatasetName>> {
        self.names.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn keeps_the_laws() {
        crate::laws::check(Arc::new(MemoryQueue::default())).await;
    }
}
