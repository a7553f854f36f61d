//! The aggregator: what all doors share.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use event::wire::PutAck;
use event::{Batch, BatchHeader, DatasetName, EmitterId};
use jiff::Timestamp;
use queue::Queue;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use uuid::Uuid;

use crate::counters::{Counters, add};
use crate::{DatasetCounts, Error, ErrorKind, Result, limits};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How an [`Aggregator`] behaves.
#[derive(Clone)]
pub struct AggregatorOptions {
    /// The clock of `received_at`. Default: the system's.
    pub clock: Clock,
    /// Whose time of receipt a batch keeps. Default: [`ReceivedAt::Here`].
    pub received_at: ReceivedAt,
    /// How many partitions a dataset gets when its first batch comes, 1 to 64. Default: 1 for each.
    pub partitions: Arc<dyn Fn(&DatasetName) -> u32 + Send + Sync>,
    /// Payload in bytes that one `DoPut` stream may have without an ack. Default: [`limits::STREAM_BYTES_MAX`].
    pub stream_bytes_max: usize,
    /// Bodies in bytes that the text door holds at a time, at least 16 MiB. Default: [`limits::HTTP_BYTES_MAX`].
    pub http_bytes_max: usize,
    /// How many datasets there may be; batches of one more are refused. Default: [`limits::DATASETS_MAX`].
    pub datasets_max: usize,
}

/// Whose time of receipt a batch keeps, if an aggregator in front of this one received it first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceivedAt {
    /// This aggregator's, whatever a header says.
    #[default]
    Here,
    /// That of [`event::wire::PutHeader::received_at_us`] if it is there and not in the future, else this
    /// aggregator's. For one that only relays reach: who sets it can make a batch seem older than it is.
    First,
}

impl Default for AggregatorOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(Timestamp::now),
            received_at: ReceivedAt::Here,
            partitions: Arc::new(|_| 1),
            stream_bytes_max: limits::STREAM_BYTES_MAX,
            http_bytes_max: limits::HTTP_BYTES_MAX,
            datasets_max: limits::DATASETS_MAX,
        }
    }
}

/// Takes batches for a queue: checks, appends, acks, counts. Clones share everything.
#[derive(Clone)]
pub struct Aggregator {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Arc<dyn Queue>,
    options: AggregatorOptions,
    datasets: RwLock<HashMap<DatasetName, Arc<Known>>>,
    /// Permits of one KiB each.
    http_room: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// A dataset that batches came for.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) counters: Counters,
    /// Set when the queue has it.
    made: OnceCell<()>,
}

/// A dataset that the queue has, ready for batches.
#[derive(Clone)]
pub(crate) struct OpenDataset {
    pub(crate) name: DatasetName,
    pub(crate) known: Arc<Known>,
}

impl Aggregator {
    /// An aggregator before a queue.
    pub fn new(queue: Arc<dyn Queue>, options: AggregatorOptions) -> Self {
        let http_room = Arc::new(Semaphore::new(options.http_bytes_max.max(16 << 20) >> 10));
        let shared = Shared {
            queue,
            options,
            datasets: RwLock::default(),
            http_room,
            closing: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Checks a batch and appends it; the future answers when the queue has kept it. Batches stand in the
    /// queue in the order of the calls, whenever the futures are polled. Dropping the future does not take the
    /// batch back. A dataset that the queue does not know gets the queue's default partitions here; the doors
    /// make it with those of [`AggregatorOptions::partitions`] first.
    ///
    /// # Errors
    /// `TooLarge` and `Invalid` by the limits of [`event::limits`]; `Busy` when there are too many datasets;
    /// else as the queue says.
    pub fn accept(
        &self,
        dataset: DatasetName,
        header: BatchHeader,
        payload: Bytes,
    ) -> impl Future<Output = Result<PutAck>> + Send + use<> {
        let append = self
            .known(&dataset)
            .and_then(|known| self.append(&OpenDataset { name: dataset, known }, header, payload));
        async move { append?.await }
    }

    /// The time of receipt, by the aggregator's clock.
    pub fn now(&self) -> Timestamp {
        (self.shared.options.clock)()
    }

    /// The time of receipt of a batch whose header says a time.
    pub(crate) fn received_at(&self, said_us: Option<i64>) -> Timestamp {
        let now = self.now();
        let said = said_us.filter(|_| self.shared.options.received_at == ReceivedAt::First);
        let said = said.and_then(|us| Timestamp::from_microsecond(us).ok());
        said.filter(|said| *said <= now).unwrap_or(now)
    }

    /// What has been counted so far, by dataset.
    pub fn counts(&self) -> BTreeMap<DatasetName, DatasetCounts> {
        let datasets = self
            .shared
            .datasets
            .read()
            .expect("no writer panics while it holds the lock");
        datasets
            .iter()
            .map(|(name, known)| (name.clone(), known.counters.counts()))
            .collect()
    }

    /// Ends the doors gently: each `DoPut` stream reads no further, sends the acks it owes and then ends as
    /// `UNAVAILABLE`; requests of the text door that come later are told to come again.
    pub fn close(&self) {
        self.shared.closing.send_replace(true);
    }

    pub(crate) fn is_closing(&self) -> bool {
        *self.shared.closing.borrow()
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.shared.closing.subscribe()
    }

    pub(crate) fn stream_bytes_max(&self) -> usize {
        self.shared.options.stream_bytes_max
    }

    /// Room for a body of the text door, held until it is acked.
    pub(crate) fn http_room(&self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        Arc::clone(&self.shared.http_room)
            .try_acquire_many_owned(permits)
            .map_err(|_| {
                Error::new(
                    ErrorKind::Busy,
                    format_args!(
                        "too many requests at a time, send it again later http_bytes_max={}",
                        self.shared.options.http_bytes_max
                    ),
                )
            })
    }

    /// Makes the dataset if the queue does not have it yet.
    pub(crate) async fn open(&self, name: DatasetName) -> Result<OpenDataset> {
        let known = self.known(&name)?;
        let make = async || {
            let partitions = (self.shared.options.partitions)(&name);
            self.shared.queue.create(&name, partitions).await.map(|_| ())
        };
        known.made.get_or_try_init(make).await?;
        Ok(OpenDataset { name, known })
    }

    fn known(&self, name: &DatasetName) -> Result<Arc<Known>> {
        if let Some(counters) = self
            .shared
            .datasets
            .read()
            .expect("no writer panics while it holds the lock")
            .get(name)
        {
            return Ok(Arc::clone(counters));
        }
        let mut datasets = self
            .shared
            .datasets
            .write()
            .expect("no writer panics while it holds the lock");
        let datasets_max = self.shared.options.datasets_max;
        if datasets.len() >= datasets_max && !datasets.contains_key(name) {
            let text = format_args!("too many datasets, use those there are datasets_max={datasets_max}")
                .to_string();
            return Err(Error::new(ErrorKind::Busy, text));
        }
        Ok(Arc::clone(datasets.entry(name.clone()).or_default()))
    }

    /// Checks at once, so that a door can stop before it takes a batch that comes after a refused one.
    pub(crate) fn append(
        &self,
        dataset: &OpenDataset,
        header: BatchHeader,
        payload: Bytes,
    ) -> Result<impl Future<Output = Result<PutAck>> + Send + use<>> {
        let known = Arc::clone(&dataset.known);
        let counts = &known.counters;
        let events = u64::from(header.events);
        add(&counts.events_received, events);
        add(&counts.bytes, payload.len() as u64);
        let batch = Batch {
            dataset: dataset.name.clone(),
            header,
            payload,
        };
        batch.check().inspect_err(|_| add(&counts.rejected, events))?;
        let append = self.shared.queue.append(batch);
        Ok(async move {
            let counts = &known.counters;
            let receipt = append.await.inspect_err(|_| add(&counts.rejected, events))?;
            if receipt.duplicate {
                add(&counts.duplicates, 1);
            } else {
                add(&counts.batches, 1);
                add(&counts.events_acked, events);
            }
            Ok(PutAck {
                sequence: header.key.sequence,
                events: header.events,
                duplicate: receipt.duplicate,
                spooled: receipt.spooled,
            })
        })
    }
}

/// An emitter for a sender that names none.
pub(crate) fn new_emitter() -> EmitterId {
    EmitterId(Uuid::now_v7())
}
