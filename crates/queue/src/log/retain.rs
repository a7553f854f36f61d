//! Replay by time, consumers, and retention of the log on disk.
//!
//! The order of the file operations is what makes a crash harmless: progress and counts are durable before the
//! first segment goes; the segment that follows is durable (and its head readable) before the one it stands for
//! is removed; each removal is durable before the next.

use std::sync::{MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use async_trait::async_trait;
use event::DatasetName;
use jiff::Timestamp;

use super::dataset::{CONSUMERS_DAMAGED, DatasetFolder};
use super::partition::{PartitionLog, closed};
use super::record::UNKNOWN;
use super::{LogQueue, OpenDataset};
use crate::memory::no_partition;
use crate::retention::{Consumers, Piece, due, no_dataset};
use crate::{
    Consumer, ConsumerName, Deleted, Error, ErrorKind, Offset, Partition, Result, Retain, Retention, Seek,
    Untaken,
};

#[async_trait]
impl Seek for LogQueue {
    fn starts(&self, dataset: &DatasetName) -> Vec<Offset> {
        let open = self.find(dataset);
        let partitions = open.iter().flat_map(|open| &open.partitions);
        partitions.map(|log| Offset(log.start())).collect()
    }

    /// Costs a scan of the one segment that holds the offset; the first time also a read of the head of each.
    async fn find(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        received_at: Timestamp,
    ) -> Result<Offset> {
        let log = LogQueue::find(self, dataset)
            .and_then(|open| open.partitions.get(partition.0 as usize).cloned())
            .ok_or_else(|| no_partition(dataset, partition))?;
        let dataset = dataset.clone();
        blocking(move || {
            find(&log, received_at).map_err(|error| {
                Error::new(
                    ErrorKind::Retry,
                    format_args!(
                        "log cannot be searched, try again later: {error} dataset={dataset} partition={}",
                        partition.0
                    ),
                )
            })
        })
        .await
    }
}

fn find(log: &PartitionLog, received_at: Timestamp) -> std::io::Result<Offset> {
    let segments = log.segments();
    for (i, (segment, until)) in segments.iter().enumerate() {
        let next = segments.get(i + 1).map(|(next, _)| &**next);
        let found =
            segment
                .latest(next, *until)
                .and_then(|latest| match latest >= received_at.as_microsecond() {
                    true => segment.find(*until, received_at),
                    false => Ok(None),
                });
        match found {
            Ok(Some(offset)) => return Ok(Offset(offset)),
            Ok(None) => {}
            // It was deleted meanwhile.
            Err(_) if segment.base < log.start() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Offset(segments.last().map_or_else(|| log.end(), |(_, end)| *end)))
}

#[async_trait]
impl Retain for LogQueue {
    async fn advance(
        &self,
        dataset: &DatasetName,
        consumer: &ConsumerName,
        progress: &[Offset],
    ) -> Result<()> {
        let open = LogQueue::find(self, dataset).ok_or_else(|| no_dataset(dataset))?;
        if open.advance_known(consumer, progress)? {
            return Ok(());
        }
        let changing = open.changing.clone().lock_owned().await;
        if open.advance_known(consumer, progress)? {
            return Ok(());
        }
        let (consumer, progress) = (consumer.clone(), progress.to_vec());
        let shut = self.shut.clone();
        blocking(move || {
            let _changing = changing;
            let _open = still_open(&shut)?;
            let mut consumers = open.consumers().clone();
            consumers.advance(&consumer, &progress, open.partitions.len())?;
            open.write(&consumers)?;
            open.consumers()
                .advance(&consumer, &progress, open.partitions.len())
        })
        .await
    }

    async fn forget(&self, dataset: &DatasetName, consumer: &ConsumerName) -> Result<bool> {
        let Some(open) = LogQueue::find(self, dataset) else {
            return Ok(false);
        };
        let changing = open.changing.clone().lock_owned().await;
        let (consumer, shut) = (consumer.clone(), self.shut.clone());
        blocking(move || {
            let _changing = changing;
            let _open = still_open(&shut)?;
            let mut consumers = open.consumers().clone();
            if !consumers.forget(&consumer) {
                return Ok(false);
            }
            open.write(&consumers)?;
            Ok(open.consumers().forget(&consumer))
        })
        .await
    }

    fn consumers(&self, dataset: &DatasetName) -> Vec<Consumer> {
        let open = LogQueue::find(self, dataset);
        open.map_or_else(Vec::new, |open| open.consumers().list())
    }

    /// Removes whole segments, on tokio's blocking threads; costs a sync for each, and the first time a read of
    /// the head of each. Appends go on meanwhile.
    async fn retain(&self, dataset: &DatasetName, retention: &Retention, now: Timestamp) -> Result<Deleted> {
        let open = LogQueue::find(self, dataset).ok_or_else(|| no_dataset(dataset))?;
        let changing = open.changing.clone().lock_owned().await;
        let (retention, shut) = (retention.clone(), self.shut.clone());
        blocking(move || {
            let _changing = changing;
            let _open = still_open(&shut)?;
            open.retain(&retention, now)
        })
        .await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::new(ErrorKind::Retry, format_args!("work was given up: {error}")))?
}

/// The queue is not shut while this is held.
fn still_open(shut: &RwLock<bool>) -> Result<RwLockReadGuard<'_, bool>> {
    let held = shut.read().unwrap_or_else(PoisonError::into_inner);
    match *held {
        true => Err(closed()),
        false => Ok(held),
    }
}

/// What of a partition goes.
struct Cut {
    start: u64,
    /// Segments that hold only batches before this one are removed.
    end: u64,
    bytes: u64,
    /// The last segment goes as well, if nothing is appended until a new one has begun: its end and bytes.
    last: Option<(u64, u64)>,
}

impl OpenDataset {
    fn consumers(&self) -> MutexGuard<'_, Consumers> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether the consumer was known.
    fn advance_known(&self, consumer: &ConsumerName, progress: &[Offset]) -> Result<bool> {
        let mut consumers = self.consumers();
        if !consumers.contains(consumer) {
            return Ok(false);
        }
        consumers.advance(consumer, progress, self.partitions.len())?;
        Ok(true)
    }

    fn write(&self, consumers: &Consumers) -> Result<()> {
        self.folder
            .write_consumers(consumers)
            .map_err(|error| self.failed(&error, "consumers cannot be written"))
    }

    fn failed(&self, error: &std::io::Error, what: &str) -> Error {
        Error::new(
            ErrorKind::Retry,
            format_args!("{what}, try again later: {error} dataset={}", self.folder.name),
        )
    }

    fn retain(&self, retention: &Retention, now: Timestamp) -> Result<Deleted> {
        let mut deleted = Deleted::default();
        if self.partitions.iter().all(|log| log.segments().is_empty()) {
            return Ok(deleted);
        }
        if retention.untaken == Untaken::Keep {
            check_consumers(&self.folder)?;
        }
        let mut consumers = self.consumers().clone();
        let mut cuts = self
            .cuts(retention, now, &consumers, &mut deleted)
            .map_err(|error| self.failed(&error, "segments cannot be read"))?;
        for (log, cut) in self.partitions.iter().zip(&mut cuts) {
            if let Some((end, bytes)) = cut.last
                && log
                    .roll(end)
                    .map_err(|error| self.failed(&error, "segment cannot be begun"))?
            {
                cut.end = end;
                cut.bytes += bytes;
            }
        }
        if cuts.iter().all(|cut| cut.end == cut.start) {
            return Ok(deleted);
        }
        for (i, cut) in cuts.iter().enumerate() {
            consumers.miss(i, cut.start, cut.end, &mut deleted);
            deleted.batches += cut.end - cut.start;
            deleted.bytes += cut.bytes;
        }
        self.write(&consumers)?;
        self.consumers().take_missed(&consumers);
        for (log, cut) in self.partitions.iter().zip(&cuts) {
            log.delete(cut.end)?;
        }
        let Deleted { batches, bytes, .. } = deleted;
        tracing::info!(dataset = %self.folder.name, batches, bytes, "deleted old batches");
        for (consumer, batches) in &deleted.untaken {
            tracing::warn!(dataset = %self.folder.name, %consumer, batches, "deleted before it had taken them");
        }
        Ok(deleted)
    }

    /// Decides what goes, and counts what is due but stays.
    fn cuts(
        &self,
        retention: &Retention,
        now: Timestamp,
        consumers: &Consumers,
        deleted: &mut Deleted,
    ) -> std::io::Result<Vec<Cut>> {
        let partitions: Vec<_> = self.partitions.iter().map(|log| log.segments()).collect();
        let mut pieces = Vec::new();
        for segments in &partitions {
            let mut of = Vec::new();
            for (i, (segment, end)) in segments.iter().enumerate() {
                let next = segments.get(i + 1).map(|(next, _)| &**next);
                let latest = match segment.latest(next, *end)? {
                    // Nothing in it can be read: as young as what follows.
                    UNKNOWN => i64::MAX,
                    latest => latest,
                };
                let bytes = segment.bytes()?;
                of.push(Piece { bytes, latest });
            }
            pieces.push(of);
        }
        let mut cuts = Vec::new();
        for (i, due) in due(&pieces, retention, now).into_iter().enumerate() {
            let segments = &partitions[i];
            let start = segments.first().map_or(0, |(first, _)| first.base);
            let end_of = |count: usize| count.checked_sub(1).map_or(start, |last| segments[last].1);
            let mut goes = match retention.untaken {
                Untaken::Keep => {
                    let taken = consumers.taken(i).0;
                    segments[..due]
                        .iter()
                        .take_while(|(_, end)| *end <= taken)
                        .count()
                }
                Untaken::Delete => due,
            };
            consumers.hold(i, end_of(goes), end_of(due), deleted);
            let mut last = None;
            if goes > 0 && goes == segments.len() {
                goes -= 1;
                last = Some((segments[goes].1, pieces[i][goes].bytes));
            }
            // The head of a segment stands for all before it: without it the emitters would be forgotten.
            while goes > 0 && segments[goes].0.head()?.is_none() {
                goes -= 1;
                last = None;
            }
            cuts.push(Cut {
                start,
                end: end_of(goes),
                bytes: pieces[i][..goes].iter().map(|piece| piece.bytes).sum(),
                last,
            });
        }
        Ok(cuts)
    }
}

/// Refuses to delete while it is not known for whom to keep.
fn check_consumers(folder: &DatasetFolder) -> Result<()> {
    let failed = |kind, what: &dyn std::fmt::Display| {
        let path = folder.path.join(CONSUMERS_DAMAGED);
        Error::new(
            kind,
            format_args!("nothing was deleted: {what} path={}", path.display()),
        )
    };
    match folder.consumers_are_damaged() {
        Ok(false) => Ok(()),
        Ok(true) => Err(failed(
            ErrorKind::Corrupt,
            &"the consumers were damaged, remove the file when each has registered again",
        )),
        Err(error) => Err(failed(ErrorKind::Retry, &error)),
    }
}
