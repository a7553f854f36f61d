//! A server: every role in one process, wired.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{AggregatorOptions, Visibility};
use async_trait::async_trait;
use event::DatasetName;
use flow::JobOptions;
use processor::{NativeUdfs, PlainSinks, Processor, ProcessorOptions, ScaleOptions};
use queue::{LogOptions, LogQueue, Offset, Partition, Queue};
use sql::{Engine, EngineOptions, Spill};
use store::Embedded;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use warehouse::Warehouse;

use crate::entrance::{Entrance, address, bind, told};
use crate::flight::Doors;
use crate::limits::{DRAIN_WAIT_MAX, STORES_PERSIST_EVERY};
use crate::live::Live;
use crate::retention::Retainer;
use crate::settings::QuerySettings;
use crate::steps::Builder;
use crate::{Settings, SettingsError, http, tables};

/// What kept a server from starting or ending well.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ServerError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ServerError {
    pub(crate) fn new(
        doing: impl std::fmt::Display,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        let source = source.into();
        Self {
            message: format!("{doing}: {source}"),
            source: Some(source),
        }
    }
}

/// A running server.
pub struct Server {
    http: SocketAddr,
    flight: SocketAddr,
    postgres: SocketAddr,
    parts: Parts,
    stop: watch::Sender<bool>,
    doors: JoinSet<Result<(), ServerError>>,
}

/// What a server is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) queue: Arc<LogQueue>,
    pub(crate) entrance: Entrance,
    pub(crate) processor: Processor,
    pub(crate) warehouse: Arc<Warehouse>,
    pub(crate) stores: Arc<Embedded>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) retainer: Arc<Retainer>,
    pub(crate) live: Arc<Live>,
}

impl Server {
    /// Opens the data folder, starts the jobs of its datasets, and opens the doors.
    ///
    /// # Errors
    /// Names what could not be opened: the folder (perhaps another process has it), or a door's address.
    pub async fn start(settings: Settings) -> Result<Self, ServerError> {
        Self::start_with(settings, NativeUdfs::default()).await
    }

    /// The same, with functions that the steps of datasets can name (`native = "…"`).
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn start_with(settings: Settings, natives: NativeUdfs) -> Result<Self, ServerError> {
        let checked = settings.check_addresses();
        checked.map_err(|error| ServerError::new("cannot listen", error))?;
        let parts = Parts::open(&settings, natives).await?;
        let (http, flight, postgres) = (
            bind("http", settings.http).await?,
            bind("flight", settings.flight).await?,
            bind("postgres", settings.postgres).await?,
        );
        let stop = watch::Sender::new(false);
        let mut server = Self {
            http: address(&http)?,
            flight: address(&flight)?,
            postgres: address(&postgres)?,
            parts,
            stop,
            doors: JoinSet::new(),
        };
        server.open_doors(http, flight, postgres);
        Ok(server)
    }

    fn open_doors(&mut self, http: TcpListener, flight: TcpListener, postgres: TcpListener) {
        let stopped = || {
            let mut stop = self.stop.subscribe();
            async move {
                let _ = stop.wait_for(|stop| *stop).await;
            }
        };
        let entrance = self.parts.entrance.clone();
        let router = http::router(&self.parts);
        self.doors
            .spawn(told(entrance.serve_http(http, router, stopped())));
        let service = Doors::new(entrance.clone(), Some(self.parts.clone()));
        self.doors
            .spawn(entrance.serve_flight(flight, service, stopped()));
        let (engine, options, until) = (self.parts.engine.clone(), entrance.postgres(), stopped());
        self.doors.spawn(told(async move {
            sql::serve_postgres(postgres, engine, options, until)
                .await
                .map_err(|error| ServerError::new("Postgres door", error))
        }));
        let (retainer, stop) = (self.parts.retainer.clone(), self.stop.subscribe());
        self.doors.spawn(async move {
            retainer.run(stop).await;
            Ok(())
        });
        let (live, warehouse) = (self.parts.live.clone(), self.parts.warehouse.clone());
        let stop = self.stop.subscribe();
        self.doors.spawn(async move {
            tables::follow(live, warehouse, stop).await;
            Ok(())
        });
        let (stores, mut stop) = (self.parts.stores.clone(), self.stop.subscribe());
        self.doors.spawn(async move {
            while tokio::time::timeout(STORES_PERSIST_EVERY, stop.wait_for(|stop| *stop))
                .await
                .is_err()
            {
                persist(&stores).await;
            }
            Ok(())
        });
    }

    /// Address of the HTTP door.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Address of the Flight door.
    pub fn flight(&self) -> SocketAddr {
        self.flight
    }

    /// Address of the Postgres door.
    pub fn postgres(&self) -> SocketAddr {
        self.postgres
    }

    /// The processor, for its status and latencies.
    pub fn processor(&self) -> &Processor {
        &self.parts.processor
    }

    /// Takes over settings that have changed, of datasets and of the queue's retention: all of them or, with an error, none.
    /// Returns the datasets that changed.
    ///
    /// # Errors
    /// Names what cannot be used, or what needs a restart.
    pub async fn reload(&self, settings: Settings) -> Result<Vec<DatasetName>, SettingsError> {
        self.parts.live.reload(settings, &self.parts.processor).await
    }

    /// The query engine.
    pub fn engine(&self) -> &Arc<Engine> {
        &self.parts.engine
    }

    /// Drains: takes no more events, lets the jobs take what has been acked (for a while), flushes hot tails to
    /// files, makes stores durable, ends.
    ///
    /// # Errors
    /// What could not be flushed: nothing is lost, the next start takes it from the queue.
    pub async fn shutdown(mut self) -> Result<(), ServerError> {
        self.parts.entrance.aggregator.close();
        if tokio::time::timeout(DRAIN_WAIT_MAX, self.parts.processor.caught_up())
            .await
            .is_err()
        {
            tracing::warn!("jobs are behind; they go on at the next start");
        }
        self.stop.send_replace(true);
        let closing = async { while self.doors.join_next().await.is_some() {} };
        if tokio::time::timeout(DOORS_CLOSE_WAIT_MAX, closing).await.is_err() {
            self.doors.abort_all();
        }
        self.parts.processor.stop().await;
        persist(&self.parts.stores).await;
        let flushed = self.parts.warehouse.close().await;
        let queue = self.parts.queue.clone();
        let closed = tokio::task::spawn_blocking(move || queue.close()).await;
        closed.map_err(|error| ServerError::new("cannot close the queue", error))?;
        flushed
            .map_err(|error| ServerError::new("cannot flush, the next start takes it from the queue", error))
    }
}

/// How long open connections may go on when the server ends.
const DOORS_CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// Opens the queue; what a crash or a disk has left of it is logged.
async fn open_queue(path: PathBuf, settings: &Settings) -> Result<LogQueue, ServerError> {
    let options = LogOptions {
        segment_bytes: settings.queue.segment_bytes,
        ..LogOptions::default()
    };
    let (queue, recovery) = tokio::task::spawn_blocking(move || LogQueue::open(path, options))
        .await
        .map_err(|error| ServerError::new("cannot open the queue", error))?
        .map_err(|error| ServerError::new("cannot open the queue", error))?;
    // The queue has told of each of them, with its place.
    let (damaged, repaired) = (recovery.damaged.len(), recovery.repaired.len());
    if damaged + repaired > 0 {
        tracing::error!(
            damaged,
            repaired,
            "the queue had damage, `sanderling verify` says more"
        );
    }
    Ok(queue)
}

async fn persist(stores: &Embedded) {
    if let Err(error) = stores.persist().await {
        tracing::error!("stores are not durable yet, trying again: {error}");
    }
}

impl Parts {
    async fn open(settings: &Settings, natives: NativeUdfs) -> Result<Self, ServerError> {
        let folder = |name: &str| -> PathBuf { settings.data_dir.join(name) };
        let create = std::fs::create_dir_all(&settings.data_dir);
        create.map_err(|error| {
            ServerError::new(
                format_args!("cannot make the data folder path={}", settings.data_dir.display()),
                error,
            )
        })?;
        let queue = open_queue(folder("queue"), settings).await?;
        let stores = Embedded::open(folder("stores"))
            .map_err(|error| ServerError::new("cannot open the stores", error))?;
        let tables = settings.warehouse.of_tables(&settings.data_dir);
        let tables = tables
            .map_err(|error| ServerError::new("cannot open the warehouse, look at [warehouse]", error))?;
        let warehouse = Warehouse::open(tables)
            .await
            .map_err(|error| ServerError::new("cannot open the warehouse", error))?;
        let (queue, stores, warehouse) = (Arc::new(queue), Arc::new(stores), Arc::new(warehouse));
        let live = Live::open(settings.clone(), Builder::new(natives), warehouse.clone())
            .map_err(|error| ServerError::new("cannot use the settings", error))?;
        let live = Arc::new(live);
        let (of_dataset, of_chain) = (live.clone(), live.clone());
        let processor = Processor::start(ProcessorOptions {
            queue: queue.clone() as Arc<dyn Queue>,
            warehouse: warehouse.clone(),
            settings: Arc::new(move |name| of_dataset.now().dataset(name)),
            chains: Arc::new(move |name| Ok(of_chain.chain(name))),
            plain: Some(plain_sinks(settings, &queue, &live)?),
            job: JobOptions::default(),
            scale: ScaleOptions::default(),
            clock: Arc::new(jiff::Timestamp::now),
        });
        let (partitions, rates, durable) = (live.clone(), live.clone(), live.clone());
        let entrance = Entrance::open(
            settings,
            queue.clone(),
            AggregatorOptions {
                partitions: Arc::new(move |name| partitions.now().dataset(name).partitions),
                visibility: Some(Arc::new(Seen(processor.clone()))),
                durability: Arc::new(move |name| durable.now().durability(name)),
                rates: Arc::new(move |name| rates.now().rate(name)),
                ..AggregatorOptions::default()
            },
        )?;
        let mut own = EngineOptions::new(warehouse.clone(), stores.clone());
        own.system = vec![http::jobs::table(processor.clone())];
        let engine = Engine::new(query_options(own, &settings.query, folder("spill")))
            .map_err(|error| ServerError::new("cannot set up queries", error))?;
        let engine = Arc::new(engine);
        let retainer = Arc::new(Retainer::new(queue.clone(), processor.clone(), live.clone()));
        Ok(Self {
            retainer,
            live,
            queue,
            entrance,
            processor,
            warehouse,
            stores,
            engine,
        })
    }
}

/// Plain files of the datasets that are set to have some.
fn plain_sinks(
    settings: &Settings,
    queue: &Arc<LogQueue>,
    live: &Arc<Live>,
) -> Result<PlainSinks, ServerError> {
    let location = settings.warehouse.of_plain(&settings.data_dir);
    let location = location.map_err(|error| {
        ServerError::new(
            "cannot have plain files, look at plain_location of [warehouse]",
            error,
        )
    })?;
    let live = live.clone();
    Ok(PlainSinks {
        location,
        queue: queue.clone(),
        options: Arc::new(move |name| live.now().plain(name)),
    })
}

fn query_options(options: EngineOptions, settings: &QuerySettings, folder: PathBuf) -> EngineOptions {
    EngineOptions {
        memory_bytes_max: settings.memory_bytes_max as usize,
        query_memory_bytes_max: settings.query_memory_bytes_max as usize,
        spill: Some(Spill {
            folder,
            bytes_max: settings.spill_bytes_max,
        }),
        timeout: settings.timeout,
        rows_max: settings.rows_max,
        queries_max: settings.queries_max,
        ..options
    }
}

/// What queries see of a dataset, for acks that wait for it.
struct Seen(Processor);

#[async_trait]
impl Visibility for Seen {
    async fn visible(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        offset: Offset,
    ) -> aggregator::Result<()> {
        let seen = self.0.visible(dataset, partition, offset).await;
        seen.map_err(|error| aggregator::Error::new(aggregator::ErrorKind::Retry, error))
    }
}
