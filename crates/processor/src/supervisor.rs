//! Starts, watches and restarts the jobs of all datasets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use event::wire::Position;
use event::{DatasetName, DatasetSchema, DatasetSettings, TRACERS, failed_schema};
use flow::{Graph, Job, JobOptions, JobStatus, JobView, Local};
use queue::{Offset, Partition, Queue};
use store::Progress;
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use warehouse::{InsertStatus, PlainOptions, Table, Warehouse};

use crate::chain::{CallThreads, Chain, ChainStatus, Chains};
use crate::dataset::{DatasetJob, VisibleRows};
use crate::pace::{Pace, PacedSource, PacedTable};
use crate::place::{PanickedAt, Place};
use crate::plain::{Plain, PlainSinks};
use crate::readers::{Readers, least, offsets};
use crate::replay::REPLAYS;
use crate::{
    DatasetStream, Error, ErrorKind, JobScale, Lag, QueueSource, Result, ScaleOptions, ScaleStatus, Scaler,
    Tap, TapPoint, Visibility,
};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> jiff::Timestamp + Send + Sync>;

/// Tells the chain of a dataset.
pub type ChainOf = Arc<dyn Fn(&DatasetName) -> Result<Chain> + Send + Sync>;

/// How long a job that has failed is left alone, first and at most; it doubles with each failure in a row.
const RESTART_WAIT_MIN: Duration = Duration::from_millis(500);
const RESTART_WAIT_MAX: Duration = Duration::from_secs(60);

/// What a processor needs.
pub struct ProcessorOptions {
    /// Where batches come from.
    pub queue: Arc<dyn Queue>,
    /// Where rows go.
    pub warehouse: Arc<Warehouse>,
    /// The settings of each dataset.
    pub settings: Arc<dyn Fn(&DatasetName) -> DatasetSettings + Send + Sync>,
    /// The chain of each dataset but the system's own, asked for when its job is first started; while it cannot be made the job waits, and
    /// [`DatasetStatus::last_error`] says why.
    pub chains: ChainOf,
    /// The datasets that also have plain files; `None`: no dataset has.
    pub plain: Option<PlainSinks>,
    /// How jobs run; each gets its workers from the processor.
    pub job: JobOptions,
    /// How many workers they get.
    pub scale: ScaleOptions,
    /// For latencies.
    pub clock: Clock,
}

/// How a dataset's job is doing.
#[derive(Clone, Debug)]
pub struct DatasetStatus {
    /// Which dataset.
    pub dataset: DatasetName,
    /// How its job is doing; `None` while it is being started or waits to be restarted.
    pub job: Option<JobStatus>,
    /// Batches in the queue that the job has not taken yet.
    pub behind_batches: u64,
    /// Why the job was last restarted. If a function panicked it ends with the batch (`partition=… offset=…`), and how
    /// often in a row that was the one.
    pub last_error: Option<String>,
    /// The job as it is planned, with its counts; as old as `job`.
    pub graph: Option<Graph>,
    /// The chain of new batches; `None` before the first.
    pub chain: Option<ChainStatus>,
    /// How rows get into its table, and why; `None` while there is none.
    pub insert: Option<InsertStatus>,
    /// Its workers, as old as a second.
    pub scale: ScaleStatus,
}

/// Runs one job for each dataset that the queue has or gets. A cheap handle: clones are the same processor.
#[derive(Clone)]
pub struct Processor(Arc<Shared>);

struct Shared {
    options: ProcessorOptions,
    datasets: Mutex<BTreeMap<DatasetName, Arc<Dataset>>>,
    readers: Readers,
    call_threads: Arc<CallThreads>,
    replaying: tokio::sync::Mutex<()>,
    scaler: Scaler,
    stop: watch::Sender<bool>,
    watching: Mutex<Option<JoinHandle<()>>>,
}

/// What is known of a dataset while the processor runs.
struct Dataset {
    visibility: Arc<Visibility>,
    chains: OnceLock<Arc<Chains>>,
    /// Its job is to start again, with a graph of the newest chain.
    renew: Notify,
    /// Of the job that runs, or ran last.
    pace: Mutex<Option<Arc<Pace>>>,
    plain: Mutex<Option<Plain>>,
    lag: Arc<Lag>,
    scale: Arc<JobScale>,
    panicked_at: PanickedAt,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Of the job that runs or, while none does, the last one.
    view: Option<JobView>,
    is_running: bool,
    last_error: Option<String>,
    /// The batch whose functions panicked last, and how often in a row.
    panicked: Option<(Place, u32)>,
}

impl State {
    fn progress(&self) -> Progress {
        let view = self.view.as_ref();
        view.map_or_else(Progress::default, |view| view.progress().0)
    }

    /// Notes why the job ended, or did not start. Says whether it had done something.
    fn failed(&mut self, error: &Error, panicked_at: Option<Place>) -> bool {
        let had_started = std::mem::take(&mut self.is_running);
        self.panicked = panicked_at.map(|place| match self.panicked {
            Some((before, times)) if before == place => (place, times.saturating_add(1)),
            _ => (place, 1),
        });
        self.last_error = Some(match self.panicked {
            Some((place, times)) => format!("{error} {place} times={times}"),
            None => error.to_string(),
        });
        let has_committed = |view: &JobView| view.progress().1 > 0;
        had_started && self.view.as_ref().is_some_and(has_committed)
    }
}

impl Dataset {
    fn new(shared: &Shared, name: &DatasetName) -> Self {
        let options = &shared.options;
        let lag = Arc::new(Lag::new(options.queue.clone(), name.clone()));
        let state = Arc::<Mutex<State>>::default();
        let (of, clock, tier) = (
            state.clone(),
            options.clock.clone(),
            (options.settings)(name).tier,
        );
        let measured = lag.clone();
        let measure = move || measured.measured(&locked(&of).progress(), clock());
        Self {
            visibility: Arc::default(),
            chains: OnceLock::new(),
            renew: Notify::new(),
            pace: Mutex::default(),
            plain: Mutex::default(),
            scale: shared.scaler.join(name.as_str(), tier, measure),
            lag,
            panicked_at: PanickedAt::default(),
            state,
        }
    }

    fn pace(&self) -> Option<Arc<Pace>> {
        locked(&self.pace).clone()
    }
}

fn no_such(dataset: &DatasetName) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format_args!("no such dataset, send it an event first dataset={dataset}"),
    )
}

/// Whether the system writes and reads the dataset itself.
fn is_own(dataset: &DatasetName) -> bool {
    [TRACERS, REPLAYS].contains(&dataset.as_str())
}

/// Why a job that was watched is over.
enum Ended {
    Stopped,
    /// To be started again at once.
    Renewed,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends when the processor is told to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    // An error means that the processor is gone, which is the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

impl Processor {
    /// Starts on the current tokio runtime.
    pub fn start(options: ProcessorOptions) -> Self {
        let scaler = Scaler::start(options.scale);
        let processor = Self(Arc::new(Shared {
            options,
            datasets: Mutex::default(),
            readers: Readers::default(),
            call_threads: Arc::default(),
            replaying: tokio::sync::Mutex::default(),
            scaler,
            stop: watch::Sender::new(false),
            watching: Mutex::default(),
        }));
        let watching = processor.clone();
        *locked(&processor.0.watching) = Some(tokio::spawn(async move { watching.watch_queue().await }));
        processor
    }

    /// Starts a job for each dataset as it appears; when the processor stops, waits for all of them.
    async fn watch_queue(&self) {
        let (mut jobs, mut supervised) = (JoinSet::new(), BTreeSet::new());
        let mut datasets = self.0.options.queue.datasets();
        let mut stop = self.0.stop.subscribe();
        let mut every_second = tokio::time::interval(Duration::from_secs(1));
        loop {
            let names = datasets.borrow_and_update().clone();
            for name in names {
                if supervised.insert(name.clone()) {
                    let (supervising, dataset) = (self.clone(), self.dataset(&name));
                    jobs.spawn(async move { supervising.supervise(name, dataset).await });
                }
            }
            tokio::select! {
                changed = datasets.changed() => if changed.is_err() { break },
                () = told(&mut stop) => break,
                _ = every_second.tick() => self.steer(),
            }
        }
        jobs.join_all().await;
    }

    /// Lets the tables that decide by themselves how rows get in look at what they have seen.
    fn steer(&self) {
        let datasets: Vec<_> = locked(&self.0.datasets).values().cloned().collect();
        datasets
            .iter()
            .filter_map(|dataset| dataset.pace())
            .for_each(|pace| pace.steer());
    }

    fn dataset(&self, name: &DatasetName) -> Arc<Dataset> {
        locked(&self.0.datasets)
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Dataset::new(&self.0, name)))
            .clone()
    }

    /// Keeps one dataset's job running until the processor stops.
    async fn supervise(&self, name: DatasetName, dataset: Arc<Dataset>) {
        let mut stop = self.0.stop.subscribe();
        let mut wait = RESTART_WAIT_MIN;
        loop {
            let outcome = match self.start_job(&name, &dataset).await {
                Ok(mut job) => self.watch_job(&mut job, &dataset, &mut stop).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Renewed) => continue,
                Err(error) => {
                    let mut state = locked(&dataset.state);
                    if state.failed(&error, dataset.panicked_at.take()) {
                        wait = RESTART_WAIT_MIN;
                    }
                    let error = state.last_error.as_deref().unwrap_or_default();
                    tracing::error!(dataset = %name, "job failed, it starts again in {wait:?}: {error}");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (wait * 2).min(RESTART_WAIT_MAX),
                () = dataset.renew.notified() => {}
                () = told(&mut stop) => return,
            }
        }
    }

    /// Waits for the end of a job: `Ok` when the processor stops, or the job is to be another.
    async fn watch_job(
        &self,
        job: &mut Job,
        dataset: &Dataset,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended> {
        {
            let mut state = locked(&dataset.state);
            (state.view, state.is_running) = (Some(job.view()), true);
        }
        let ended = tokio::select! {
            ended = job.join() => return Ok(ended.map(|()| Ended::Stopped)?),
            () = told(stop) => Ended::Stopped,
            () = dataset.renew.notified() => Ended::Renewed,
        };
        job.stop();
        tokio::select! {
            joined = job.join() => Ok(joined.map(|()| ended)?),
            () = dataset.scale.stuck() => {
                tracing::error!(job = ?dataset.scale, "left behind: one of its functions does not come back");
                // It must not commit beside the job that comes after it.
                job.abort().await;
                Ok(ended)
            }
        }
    }

    async fn start_job(&self, name: &DatasetName, dataset: &Dataset) -> Result<Job> {
        let Shared { options, .. } = self.0.as_ref();
        let table = self.table(name).await?;
        let chains = self.chains(name, &table)?;
        let failed = options.warehouse.create(&name.failed(), failed_schema()).await?;
        let pace = Pace::new(table.clone(), failed.clone());
        *locked(&dataset.pace) = Some(pace.clone());
        let paced = |table| PacedTable {
            table,
            pace: pace.clone(),
        };
        let source = QueueSource::new(options.queue.clone(), name.clone());
        let plain = match &options.plain {
            Some(sinks) => {
                sinks
                    .sink(name, self.plain_options(name), &table, &dataset.plain)
                    .await?
            }
            None => None,
        };
        let job = DatasetJob {
            source: Arc::new(PacedSource {
                source: source.with_lag(dataset.lag.clone()),
                pace: pace.clone(),
            }),
            chains,
            rows: Arc::new(VisibleRows {
                rows: paced(table),
                visibility: dataset.visibility.clone(),
                clock: options.clock.clone(),
            }),
            stamp: (name.as_str() == TRACERS).then(|| options.clock.clone()),
            failed: Arc::new(paced(failed)),
            plain: plain.map(|sink| Arc::new(sink) as _),
            panicked_at: dataset.panicked_at.clone(),
        };
        let options = JobOptions {
            workers: Some(dataset.scale.clone()),
            ..options.job.clone()
        };
        Ok(Local::run(name.as_str(), &job.graph(), options)?)
    }

    /// How the plain files of a dataset are to be written.
    fn plain_options(&self, name: &DatasetName) -> Option<PlainOptions> {
        let sinks = self.0.options.plain.as_ref().filter(|_| !is_own(name))?;
        (sinks.options)(name)
    }

    /// A dataset's table, made if it is not there yet.
    async fn table(&self, name: &DatasetName) -> Result<Arc<Table>> {
        let warehouse = &self.0.options.warehouse;
        Ok(warehouse
            .create(name.as_str(), Arc::new(DatasetSchema::empty()))
            .await?)
    }

    /// The chains that fill a dataset's table.
    fn chains(&self, name: &DatasetName, table: &Table) -> Result<Arc<Chains>> {
        let schema = table.dataset_schema().ok_or_else(|| {
            Error::new(
                ErrorKind::Corrupt,
                format_args!("the table was not made for events dataset={name}"),
            )
        })?;
        let dataset = self.dataset(name);
        if let Some(chains) = dataset.chains.get() {
            return Ok(chains.clone());
        }
        let options = &self.0.options;
        let chain = if is_own(name) {
            Chain::default()
        } else {
            (options.chains)(name)?
        };
        let threads = self.0.call_threads.clone();
        let chains = Chains::new(schema, &(options.settings)(name), &chain, threads)?;
        Ok(dataset.chains.get_or_init(|| Arc::new(chains)).clone())
    }

    /// Treats the batches that the queue gets from now on as these settings and this chain say; returns the number of the
    /// version. Nothing stops: each batch goes through one chain wholly, those before through the old one, also if their
    /// job starts again. The job of the dataset does so once, after its current epoch, to show the steps in its graph.
    ///
    /// It holds while the process runs: the next one asks [`ProcessorOptions::settings`] and [`ProcessorOptions::chains`].
    /// So change what these give first, and end in an orderly way or wait until [`Processor::committed`] is past.
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset; `Invalid` for the system's own datasets, which have no chain,
    /// and when the table cannot have the columns that are declared; those of the warehouse; that of a first chain which
    /// could not be made. Then nothing has changed.
    pub async fn set_chain(
        &self,
        dataset: &DatasetName,
        settings: &DatasetSettings,
        chain: &Chain,
    ) -> Result<u64> {
        let queue = &self.0.options.queue;
        if queue.ends(dataset).is_empty() {
            return Err(no_such(dataset));
        }
        if is_own(dataset) {
            let text = format_args!("a dataset of the system has no chain dataset={dataset}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let table = self.table(dataset).await?;
        let chains = self.chains(dataset, &table)?;
        let version = chains.set(settings, chain, || queue.ends(dataset))?;
        self.dataset(dataset).renew.notify_one();
        tracing::info!(%dataset, version, steps = ?chain.names().collect::<Vec<_>>(), "a chain was set");
        Ok(version)
    }

    /// A live view of a dataset's events; at most `events_max` of them wait for the viewer, see [`Tap`].
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset, or the point names a step that its chain has not.
    pub async fn tap(&self, dataset: &DatasetName, point: TapPoint, events_max: usize) -> Result<Tap> {
        if self.0.options.queue.ends(dataset).is_empty() {
            return Err(no_such(dataset));
        }
        let table = self.table(dataset).await?;
        let chains = self.chains(dataset, &table)?;
        if let TapPoint::Before(step) | TapPoint::After(step) = &point {
            let steps = chains.newest().names();
            if !steps.contains(step) {
                let steps = steps.join(", ");
                let text = format_args!(
                    "the chain has no such step step={step:?} steps=[{steps}] dataset={dataset}"
                );
                return Err(Error::new(ErrorKind::NotFound, text));
            }
        }
        Ok(chains.taps().open(point, events_max, self.0.stop.subscribe()))
    }

    /// A dataset's rows: see [`DatasetStream::open`].
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset.
    pub async fn stream(
        &self,
        dataset: DatasetName,
        from: Option<Position>,
        until: Option<Position>,
        follow: bool,
    ) -> Result<DatasetStream> {
        let queue = self.0.options.queue.clone();
        if queue.ends(&dataset).is_empty() {
            return Err(no_such(&dataset));
        }
        // Before the position is chosen, so that nothing behind it is deleted meanwhile.
        let reader = self.0.readers.begin(&dataset);
        let table = self.table(&dataset).await?;
        let chains = self.chains(&dataset, &table)?;
        let source = QueueSource::new(queue, dataset);
        DatasetStream::open((source, reader), (table, chains), (from, until), follow).await
    }

    /// For each partition: all before is in files, of the rows and of the rejects alike and in plain ones if there are
    /// any, so the dataset's job will not ask for it again, whatever crashes. `None` while the dataset has no tables, or
    /// its plain files are not open yet.
    pub fn committed(&self, dataset: &DatasetName) -> Option<Vec<Offset>> {
        let Shared { options, .. } = self.0.as_ref();
        let partitions = options.queue.ends(dataset).len();
        let of_table = |name: &str| {
            let progress = options.warehouse.table(name)?.durable_progress();
            Some(offsets(&progress.unwrap_or_default(), partitions))
        };
        let tables = least(of_table(dataset.as_str())?, of_table(&dataset.failed())?);
        if self.plain_options(dataset).is_none() {
            return Some(tables);
        }
        let plain = locked(&self.dataset(dataset).plain).clone()?;
        let progress = plain.files.durable_progress();
        Some(least(tables, offsets(&progress.unwrap_or_default(), partitions)))
    }

    /// Commits the progress of a table of rejects that is behind that of the rows: without rejects it would be committed
    /// much later, and keep the queue from deleting what both have.
    pub async fn let_go(&self, dataset: &DatasetName) {
        let warehouse = &self.0.options.warehouse;
        let (Some(rows), Some(failed)) = (
            warehouse.table(dataset.as_str()),
            warehouse.table(&dataset.failed()),
        ) else {
            return;
        };
        let [rows, held] = [&rows, &failed].map(|table| table.durable_progress().unwrap_or_default());
        if !held.covers(&rows) {
            // A failure is in the table's stats and tried again.
            let _ = failed.flush().await;
        }
    }

    /// For each partition: every stream that is open has read all before. `None` when none is open.
    pub fn streamed(&self, dataset: &DatasetName) -> Option<Vec<Offset>> {
        let partitions = self.0.options.queue.ends(dataset).len();
        self.0.readers.least(dataset, partitions)
    }

    /// How long a dataset's events took to become visible; `None` while its job has not been started.
    pub fn visibility(&self, dataset: &DatasetName) -> Option<Arc<Visibility>> {
        locked(&self.0.datasets)
            .get(dataset)
            .map(|dataset| dataset.visibility.clone())
    }

    /// How each dataset is doing, by name.
    pub fn status(&self) -> Vec<DatasetStatus> {
        let datasets = locked(&self.0.datasets).clone();
        let status = |(name, dataset): (DatasetName, Arc<Dataset>)| {
            let state = locked(&dataset.state);
            let running = state.view.as_ref().filter(|_| state.is_running);
            let job = running.map(JobView::status);
            let taken = |partition: usize| {
                job.as_ref()
                    .map_or(0, |job| job.progress.of(&partition.to_string()))
            };
            let ends = self.0.options.queue.ends(&name);
            let behind = |(partition, end): (usize, &Offset)| end.0.saturating_sub(taken(partition));
            DatasetStatus {
                behind_batches: ends.iter().enumerate().map(behind).sum(),
                chain: dataset.chains.get().map(|chains| chains.newest().status()),
                insert: self
                    .0
                    .options
                    .warehouse
                    .table(name.as_str())
                    .map(|table| table.insert_status()),
                job,
                graph: running.map(JobView::graph),
                last_error: state.last_error.clone(),
                scale: dataset.scale.status(),
                dataset: name,
            }
        };
        datasets.into_iter().map(status).collect()
    }

    /// Waits until every batch that was kept before the call is visible in SQL. Windows of micro-batches end for it.
    pub async fn caught_up(&self) {
        let names = self.0.options.queue.datasets().borrow().clone();
        let paces: Vec<_> = locked(&self.0.datasets)
            .values()
            .filter_map(|dataset| dataset.pace())
            .collect();
        paces.iter().for_each(|pace| pace.end_window());
        for name in names {
            let end = QueueSource::new(self.0.options.queue.clone(), name.clone()).end();
            let Ok(table) = self.table(&name).await else {
                continue;
            };
            let mut version = table.changes();
            let _ = version.wait_for(|version| version.progress.covers(&end)).await;
        }
    }

    /// Waits until the batch at an offset is visible in SQL: its rows in the dataset's table, its rejects in that of
    /// the rejects. With micro-batches that is when its window is committed.
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset; those of the warehouse when a table cannot be opened.
    pub async fn visible(&self, dataset: &DatasetName, partition: Partition, offset: Offset) -> Result<()> {
        let Shared { options, .. } = self.0.as_ref();
        if options.queue.ends(dataset).is_empty() {
            return Err(no_such(dataset));
        }
        let rows = self.table(dataset).await?;
        let rejects = options
            .warehouse
            .create(&dataset.failed(), failed_schema())
            .await?;
        let part = partition.0.to_string();
        for table in [rows, rejects] {
            let mut version = table.changes();
            // It ends only with its table, which is held here.
            let _ = version
                .wait_for(|version| version.progress.of(&part) > offset.0)
                .await;
        }
        Ok(())
    }

    /// Waits until all that the queue has of a dataset is in its two tables.
    ///
    /// # Errors
    /// `NotFound` when the queue does not have the dataset; `Retry` when the processor stops.
    pub(crate) async fn settled(&self, dataset: &DatasetName) -> Result<()> {
        if !self.has(dataset) {
            return Err(no_such(dataset));
        }
        let end = QueueSource::new(self.queue().clone(), dataset.clone()).end();
        let rows = self.table(dataset).await?;
        if let Some(pace) = self.dataset(dataset).pace() {
            pace.end_window();
        }
        let rejects = self
            .warehouse()
            .create(&dataset.failed(), failed_schema())
            .await?;
        let mut stop = self.0.stop.subscribe();
        for table in [rows, rejects] {
            let mut version = table.changes();
            tokio::select! {
                // It ends only with its table, which is held here.
                _ = version.wait_for(|version| version.progress.covers(&end)) => {}
                () = told(&mut stop) => {
                    return Err(Error::new(ErrorKind::Retry, "the processor stops"));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn has(&self, dataset: &DatasetName) -> bool {
        !self.queue().ends(dataset).is_empty()
    }

    pub(crate) fn queue(&self) -> &Arc<dyn Queue> {
        &self.0.options.queue
    }

    pub(crate) fn warehouse(&self) -> &Arc<Warehouse> {
        &self.0.options.warehouse
    }

    pub(crate) fn now(&self) -> jiff::Timestamp {
        (self.0.options.clock)()
    }

    /// Held by the one replay that goes on.
    pub(crate) fn replaying(&self) -> &tokio::sync::Mutex<()> {
        &self.0.replaying
    }

    /// Ends every job after its current epoch, and the windows of plain files.
    pub async fn stop(&self) {
        self.0.stop.send_replace(true);
        let watching = locked(&self.0.watching).take();
        if let Some(Err(error)) = match watching {
            Some(watching) => Some(watching.await),
            None => None,
        } {
            tracing::error!("the processor ended early: {error}");
        }
        let datasets: Vec<_> = locked(&self.0.datasets).values().cloned().collect();
        let open: Vec<Plain> = datasets
            .iter()
            .filter_map(|dataset| locked(&dataset.plain).take())
            .collect();
        // A window that is not written is read from the queue again.
        futures::future::join_all(open.iter().map(|plain| plain.files.flush())).await;
    }
}
