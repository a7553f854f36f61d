//! Deletes from the queue what the settings do not want kept, but nothing that is not in files yet.
//!
//! For each dataset the queue has two consumers: `table`, which has taken what the last Delta commits of rows and of
//! rejects hold (and plain files, where they are wanted), and while streams of it are open `streams`, which has taken what
//! all of them have.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event::DatasetName;
use jiff::Timestamp;
use processor::Processor;
use queue::{ConsumerName, ErrorKind, LogQueue, Offset, Queue, Result, Retain, Retention};
use tokio::sync::watch;

use crate::live::Live;

/// The consumer that is a dataset's tables.
const TABLE: &str = "table";

/// Says how far consumers are and deletes, again and again.
pub(crate) struct Retainer {
    queue: Arc<LogQueue>,
    processor: Processor,
    live: Arc<Live>,
    counts: Mutex<BTreeMap<DatasetName, RetentionCounts>>,
}

/// What retention did to a dataset since the server started.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetentionCounts {
    /// Batches deleted.
    pub(crate) batches: u64,
    /// Bytes that came free.
    pub(crate) bytes: u64,
    /// By consumer: batches that are due now, but that it has yet to take.
    pub(crate) held: BTreeMap<ConsumerName, u64>,
}

impl Retainer {
    pub(crate) fn new(queue: Arc<LogQueue>, processor: Processor, live: Arc<Live>) -> Self {
        Self {
            queue,
            processor,
            live,
            counts: Mutex::default(),
        }
    }

    /// Runs until `stop` is true. The first pass waits too, so that streams can be opened again after a restart.
    pub(crate) async fn run(&self, mut stop: watch::Receiver<bool>) {
        let every = self.live.now().queue.retention_every;
        while wait(every, &mut stop).await {
            let names = self.queue.datasets().borrow().clone();
            for dataset in names {
                match self.retain(&dataset).await {
                    Err(error) if error.kind() == ErrorKind::Closed => return,
                    Err(error) => {
                        tracing::error!(%dataset, "retention failed, trying again in {every:?}: {error}")
                    }
                    Ok(()) => {}
                }
            }
        }
    }

    async fn retain(&self, dataset: &DatasetName) -> Result<()> {
        // First what is in files: a stream that is opened after this begins no earlier.
        let Some(committed) = self.processor.committed(dataset) else {
            return Ok(());
        };
        self.taken(dataset, TABLE, Some(committed)).await?;
        let retention = self.live.now().retention(dataset);
        if retention == Retention::default() {
            return Ok(());
        }
        self.taken(dataset, "streams", self.processor.streamed(dataset))
            .await?;
        let deleted = self.queue.retain(dataset, &retention, Timestamp::now()).await?;
        if deleted.held.keys().any(|consumer| consumer.as_str() == TABLE) {
            // For the next time.
            self.processor.let_go(dataset).await;
        }
        let mut counts = self.locked();
        let counts = counts.entry(dataset.clone()).or_default();
        counts.batches += deleted.batches;
        counts.bytes += deleted.bytes;
        counts.held = deleted.held;
        Ok(())
    }

    /// A consumer has taken exactly what is before these offsets, or is not there. The queue lets progress only
    /// grow; where it goes back (another stream was opened, the tables' folder was removed) the consumer is new.
    async fn taken(&self, dataset: &DatasetName, name: &str, offsets: Option<Vec<Offset>>) -> Result<()> {
        let name: ConsumerName = name.parse()?;
        let consumers = self.queue.consumers(dataset);
        let known = consumers.into_iter().find(|consumer| consumer.name == name);
        let goes_back = known.is_some_and(|known| match &offsets {
            Some(offsets) => known.progress.iter().zip(offsets).any(|(had, now)| had > now),
            None => true,
        });
        if goes_back {
            self.queue.forget(dataset, &name).await?;
        }
        match offsets {
            Some(offsets) => self.queue.advance(dataset, &name, &offsets).await,
            None => Ok(()),
        }
    }

    /// What was done to each dataset, by name.
    pub(crate) fn counts(&self) -> BTreeMap<DatasetName, RetentionCounts> {
        let mut counts = self.locked().clone();
        for dataset in self.queue.datasets().borrow().iter() {
            counts.entry(dataset.clone()).or_default();
        }
        counts
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<DatasetName, RetentionCounts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits; false when the server stops.
async fn wait(every: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    let stopped = tokio::time::timeout(every, stop.wait_for(|stop| *stop)).await;
    stopped.is_err()
}
