//! Appending, and what the ack of it waits for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use event::{Batch, DatasetName, Durability, EmitterId};
use futures::FutureExt;
use futures::future::BoxFuture;
use queue::{Offset, Partition, Queue, Receipt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aggregator::Known;
use crate::counters::add;
use crate::{Error, ErrorKind, Result};

/// Knows what queries see of a dataset.
#[async_trait]
pub trait Visibility: Send + Sync {
    /// Answers when each query that begins afterwards sees the rows of all batches of the partition up to and with
    /// this offset (or, of those that cannot be rows, what there is of them). Dropping the future changes nothing.
    ///
    /// # Errors
    /// `Retry` when it cannot be known now.
    async fn visible(&self, dataset: &DatasetName, partition: Partition, offset: Offset) -> Result<()>;
}

/// What an appender needs to know.
pub(crate) struct AppendOptions {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) early_bytes_max: usize,
    pub(crate) visibility: Option<Arc<dyn Visibility>>,
    pub(crate) visible_timeout: Duration,
}

/// Appends batches to a queue and answers when the durability is reached.
pub(crate) struct Appender {
    options: AppendOptions,
    /// Bytes that may be acked before they are durable.
    early_room: Arc<Semaphore>,
}

/// A batch that may be acked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kept {
    pub(crate) duplicate: bool,
    /// See [`Receipt::spooled`].
    pub(crate) spooled: bool,
    pub(crate) durability: Durability,
}

impl Kept {
    fn durable(receipt: Receipt) -> Self {
        Self {
            duplicate: receipt.duplicate,
            spooled: receipt.spooled,
            durability: Durability::Durable,
        }
    }
}

impl Appender {
    pub(crate) fn new(options: AppendOptions) -> Self {
        let room = options.early_bytes_max.min(Semaphore::MAX_PERMITS);
        Self {
            options,
            early_room: Arc::new(Semaphore::new(room)),
        }
    }

    /// The durability that holds for a batch.
    ///
    /// # Errors
    /// `Invalid`: the batch asks for what this server cannot promise. `Retry`: the server's own setting does, which
    /// is not the sender's fault.
    pub(crate) fn checked(
        &self,
        asked: Option<Durability>,
        set: impl FnOnce() -> Durability,
    ) -> Result<Durability> {
        let durability = asked.unwrap_or_else(set);
        if durability != Durability::Queryable || self.options.visibility.is_some() {
            return Ok(durability);
        }
        Err(match asked {
            Some(_) => Error::invalid(
                "this server cannot tell when queries see a batch, ask for memory or durable durability=queryable",
            ),
            None => Error::new(
                ErrorKind::Retry,
                "this server is set to ack when queries see a batch and cannot tell, mend its settings \
                 durability=queryable",
            ),
        })
    }

    /// Appends now; the future answers when the batch may be acked.
    pub(crate) fn append(
        &self,
        batch: Batch,
        durability: Durability,
        known: &Arc<Known>,
    ) -> BoxFuture<'static, Result<Kept>> {
        let (dataset, emitter) = (batch.dataset.clone(), batch.header.key.emitter);
        let (events, bytes) = (batch.header.events, batch.payload.len());
        let mut append = self.options.queue.append(batch);
        // What the queue knows at once is no promise that may be broken later: a conflict, above all.
        if let Some(outcome) = (&mut append).now_or_never() {
            append = futures::future::ready(outcome).boxed();
        } else if durability == Durability::Memory
            && let Some(room) = self.early_room(bytes)
        {
            tokio::spawn(watch(append, dataset, (events, room), Arc::clone(known)));
            let kept = Kept {
                duplicate: false,
                spooled: false,
                durability,
            };
            return futures::future::ready(Ok(kept)).boxed();
        }
        let visibility = self.options.visibility.clone();
        let Some(visibility) = visibility.filter(|_| durability == Durability::Queryable) else {
            return async move { Ok(Kept::durable(append.await?)) }.boxed();
        };
        let (queue, timeout) = (Arc::clone(&self.options.queue), self.options.visible_timeout);
        async move {
            let receipt = append.await?;
            if let Some((partition, offset)) = place(&*queue, &dataset, emitter, receipt.offset) {
                let visible = visibility.visible(&dataset, partition, offset);
                let late = |_| Err(not_visible(&dataset, timeout));
                tokio::time::timeout(timeout, visible)
                    .await
                    .unwrap_or_else(late)?;
            }
            Ok(Kept {
                duplicate: receipt.duplicate,
                spooled: receipt.spooled,
                durability,
            })
        }
        .boxed()
    }

    fn early_room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes).ok()?;
        Arc::clone(&self.early_room).try_acquire_many_owned(permits).ok()
    }
}

/// Where a batch stands. The offset of a duplicate is not known: its twin stands before what is the end of the
/// partition by now, so the last offset there is is taken.
fn place(
    queue: &dyn Queue,
    dataset: &DatasetName,
    emitter: EmitterId,
    offset: Option<Offset>,
) -> Option<(Partition, Offset)> {
    let ends = queue.ends(dataset);
    let partition = Partition::of(emitter, ends.len() as u32);
    let end = ends.get(partition.0 as usize)?;
    let offset = offset.or_else(|| end.0.checked_sub(1).map(Offset))?;
    Some((partition, offset))
}

fn not_visible(dataset: &DatasetName, timeout: Duration) -> Error {
    Error::new(
        ErrorKind::Retry,
        format_args!(
            "batch is kept but queries do not see it yet, send it again dataset={dataset} timeout={timeout:?}"
        ),
    )
}

/// Sees an append through whose batch is acked already.
async fn watch(
    append: BoxFuture<'static, queue::Result<Receipt>>,
    dataset: DatasetName,
    (events, room): (u32, OwnedSemaphorePermit),
    known: Arc<Known>,
) {
    if let Err(error) = append.await {
        add(&known.counters.lost, u64::from(events));
        tracing::error!("acked as memory and lost: {error} dataset={dataset} events={events}");
    }
    drop(room);
}
