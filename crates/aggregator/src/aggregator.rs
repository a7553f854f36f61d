//! The aggregator: what all doors share.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::Duration;

use axum::http::Request;
use bytes::Bytes;
use event::wire::PutAck;
use event::{Batch, BatchHeader, DatasetName, Durability, EmitterId};
use jiff::Timestamp;
use queue::Queue;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tonic::body::Body;
use tower::util::MapRequestLayer;
use uuid::Uuid;

use crate::append::{AppendOptions, Appender};
use crate::counters::{Counters, add};
use crate::memory::{Memory, Room};
use crate::rate::Meter;
use crate::serve::metered;
use crate::{DatasetCounts, Error, ErrorKind, Rate, Result, Visibility, limits};

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
    /// Bytes that all doors hold at a time, in bodies and in batches without an ack, at least 64 MiB; a dataset
    /// gets a fair share of it. Beyond, the text door says 429, and `DoPut` streams are not read on. Default:
    /// [`limits::MEMORY_BYTES_MAX`]. Messages that wait for their room are beside it, an eighth of it at most.
    pub memory_bytes_max: usize,
    /// How long a `DoPut` stream waits for its share before it ends as `RESOURCE_EXHAUSTED`. Default:
    /// [`limits::MEMORY_WAIT_MAX`].
    pub memory_wait_max: Duration,
    /// How fast a dataset may send, asked when its first batch comes. Default: without limit.
    pub rates: Arc<dyn Fn(&DatasetName) -> Rate + Send + Sync>,
    /// How many datasets there may be; batches of one more are refused. Default: [`limits::DATASETS_MAX`].
    pub datasets_max: usize,
    /// What the acks of batches promise that ask for nothing. Default: [`Durability::Durable`] for each dataset.
    pub durability: Arc<dyn Fn(&DatasetName) -> Durability + Send + Sync>,
    /// Payload in bytes that is acked as [`Durability::Memory`] and not durable yet, at a time; at the limit such
    /// batches wait until they are durable. Default: [`limits::EARLY_BYTES_MAX`].
    pub early_bytes_max: usize,
    /// Who knows what queries see, for [`Durability::Queryable`]. Default: nobody, so that it cannot be asked for.
    pub visibility: Option<Arc<dyn Visibility>>,
    /// How long an ack waits for it. Default: [`limits::VISIBLE_TIMEOUT`].
    pub visible_timeout: Duration,
}

/// Whose time of receipt a batch keeps, if an aggregator in front of this one received it first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
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
            memory_bytes_max: limits::MEMORY_BYTES_MAX,
            memory_wait_max: limits::MEMORY_WAIT_MAX,
            rates: Arc::new(|_| Rate::default()),
            datasets_max: limits::DATASETS_MAX,
            durability: Arc::new(|_| Durability::default()),
            early_bytes_max: limits::EARLY_BYTES_MAX,
            visibility: None,
            visible_timeout: limits::VISIBLE_TIMEOUT,
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
    appender: Appender,
    options: AggregatorOptions,
    datasets: RwLock<HashMap<DatasetName, Arc<Known>>>,
    memory: Memory,
    /// Of what waits for room in `memory`, permits of one KiB each.
    waiting: Arc<Semaphore>,
    closing: watch::Sender<bool>,
}

/// A dataset that batches came for.
pub(crate) struct Known {
    pub(crate) counters: Counters,
    meter: Meter,
    /// Set when the queue has it.
    made: OnceCell<()>,
}

/// A dataset that the queue has, ready for batches.
#[derive(Clone)]
pub(crate) struct OpenDataset {
    pub(crate) name: DatasetName,
    pub(crate) known: Arc<Known>,
}

impl Known {
    fn check_rate(&self, name: &DatasetName) -> Result<()> {
        let wait = self.meter.wait();
        match wait.is_zero() {
            true => Ok(()),
            false => Err(too_fast(name, wait)),
        }
    }
}

impl OpenDataset {
    /// Whether it may send now.
    ///
    /// # Errors
    /// `Busy`, with the time after which to ask again.
    pub(crate) fn check_rate(&self) -> Result<()> {
        self.known.check_rate(&self.name)
    }
}

impl Aggregator {
    /// An aggregator before a queue.
    pub fn new(queue: Arc<dyn Queue>, options: AggregatorOptions) -> Self {
        let memory = Memory::new(options.memory_bytes_max.max(limits::MEMORY_BYTES_MIN));
        let appender = Appender::new(AppendOptions {
            queue: Arc::clone(&queue),
            early_bytes_max: options.early_bytes_max,
            visibility: options.visibility.clone(),
            visible_timeout: options.visible_timeout,
        });
        let shared = Shared {
            queue,
            appender,
            options,
            datasets: RwLock::default(),
            waiting: Arc::new(Semaphore::new(memory.bytes_max().div_ceil(8) >> 10)),
            memory,
            closing: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Checks a batch and appends it; the future answers when the ack holds what the dataset's
    /// [`AggregatorOptions::durability`] promises. Batches stand in the
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
            .and_then(|known| self.append(&OpenDataset { name: dataset, known }, header, payload, None));
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
        self.datasets_now()
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

    /// For the Flight door: messages that are still coming draw on [`AggregatorOptions::memory_bytes_max`] too, as their
    /// peer's share. A peer beyond it is not read on. `message_bytes_max` is what the service decodes.
    ///
    /// ```no_run
    /// # fn example(aggregator: &aggregator::Aggregator) {
    /// tonic::transport::Server::builder().layer(aggregator.meter(aggregator::limits::FLIGHT_MESSAGE_BYTES_MAX));
    /// # }
    /// ```
    pub fn meter(
        &self,
        message_bytes_max: usize,
    ) -> MapRequestLayer<impl Fn(Request<Body>) -> Request<Body> + Clone + use<>> {
        let aggregator = self.clone();
        MapRequestLayer::new(move |request| {
            let shared = &aggregator.shared;
            metered(
                request,
                &shared.memory,
                (message_bytes_max, shared.options.memory_wait_max),
            )
        })
    }

    /// What the doors hold in memory now, in bytes: bodies, and batches without an ack.
    pub fn memory_bytes(&self) -> usize {
        self.shared.memory.bytes()
    }

    /// Room for a body or a batch, to be held until it is acked.
    ///
    /// # Errors
    /// `Busy`, with the time after which to ask again.
    pub(crate) fn room(&self, dataset: &DatasetName, bytes: usize) -> Result<Room> {
        if let Some(known) = self.datasets_now().get(dataset) {
            known.check_rate(dataset)?;
        }
        let room = self.shared.memory.try_take(dataset, bytes);
        room.ok_or_else(|| self.no_room(dataset))
    }

    /// A message may wait for its room, since not too much does.
    ///
    /// # Errors
    /// `Busy`.
    pub(crate) fn may_wait(&self, dataset: &DatasetName, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let waiting = Arc::clone(&self.shared.waiting);
        waiting
            .try_acquire_many_owned(permits)
            .map_err(|_| self.no_room(dataset))
    }

    /// The same, as soon as there is any.
    ///
    /// # Errors
    /// `Busy` when there was none for [`AggregatorOptions::memory_wait_max`].
    pub(crate) fn room_soon(
        &self,
        dataset: &OpenDataset,
        bytes: usize,
    ) -> impl Future<Output = Result<Room>> + Send + use<> {
        let (aggregator, dataset) = (self.clone(), dataset.clone());
        async move {
            let shared = &aggregator.shared;
            let patience = shared.options.memory_wait_max;
            let wait = dataset.known.meter.wait();
            if wait > patience {
                return Err(too_fast(&dataset.name, wait));
            }
            tokio::time::sleep(wait).await;
            let room = shared.memory.take(&dataset.name, bytes, patience).await;
            room.ok_or_else(|| aggregator.no_room(&dataset.name))
        }
    }

    fn no_room(&self, dataset: &DatasetName) -> Error {
        let text = format_args!(
            "too much is under way for this dataset, send it again later dataset={dataset} memory_bytes_max={}",
            self.shared.memory.bytes_max()
        );
        Error::new(ErrorKind::Busy, text)
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
        if let Some(known) = self.datasets_now().get(name) {
            return Ok(Arc::clone(known));
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
        let known = datasets.entry(name.clone()).or_insert_with(|| {
            Arc::new(Known {
                counters: Counters::default(),
                meter: Meter::new((self.shared.options.rates)(name)),
                made: OnceCell::new(),
            })
        });
        Ok(Arc::clone(known))
    }

    fn datasets_now(&self) -> RwLockReadGuard<'_, HashMap<DatasetName, Arc<Known>>> {
        let datasets = self.shared.datasets.read();
        datasets.expect("no writer panics while it holds the lock")
    }

    /// Checks at once, so that a door can stop before it takes a batch that comes after a refused one. `asked` is
    /// what the ack is to promise; `None`: what the dataset has.
    pub(crate) fn append(
        &self,
        dataset: &OpenDataset,
        header: BatchHeader,
        payload: Bytes,
        asked: Option<Durability>,
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
        let rejected = || add(&counts.rejected, events);
        batch.check().inspect_err(|_| rejected())?;
        let durability = self
            .shared
            .appender
            .checked(asked, || (self.shared.options.durability)(&dataset.name));
        let durability = durability.inspect_err(|_| rejected())?;
        known.meter.sent(header.events, batch.payload.len());
        let append = self.shared.appender.append(batch, durability, &known);
        Ok(async move {
            let counts = &known.counters;
            let kept = append.await.inspect_err(|_| add(&counts.rejected, events))?;
            if kept.duplicate {
                add(&counts.duplicates, 1);
            } else {
                add(&counts.batches, 1);
                add(&counts.events_acked, events);
            }
            Ok(PutAck {
                sequence: header.key.sequence,
                events: header.events,
                duplicate: kept.duplicate,
                spooled: kept.spooled,
                durability: kept.durability,
            })
        })
    }
}

fn too_fast(dataset: &DatasetName, wait: Duration) -> Error {
    let seconds = wait.as_secs_f64().ceil();
    let text =
        format_args!("dataset sends faster than it may, wait dataset={dataset} wait_seconds={seconds}");
    Error::new(ErrorKind::Busy, text).retry_after(wait)
}

/// An emitter for a sender that names none.
pub(crate) fn new_emitter() -> EmitterId {
    EmitterId(Uuid::now_v7())
}
