//! A running job as its owner sees it: options, handle, status.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use store::Progress;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::engine::Engine;
use super::plan::{LocalPlan, Lowered};
use super::position::Parts;
use super::work::panic_error;
use crate::limits::{CONFLICTS_MAX, EPOCH_BYTES_MAX};
use crate::{
    Counts, Error, ErrorKind, Graph, NodeElements, NodeId, NodeOptions, PlanOptions, Result, Timestamp,
    Workers,
};

/// How a job runs.
#[derive(Clone, Debug)]
pub struct JobOptions {
    /// About how many bytes of input an epoch takes at most; bounds the memory of the job, which has up to two at once.
    /// Default 8 MiB.
    pub epoch_bytes_max: usize,
    /// On how many threads an epoch's functions run; default: the cores of this machine.
    pub parallelism: usize,
    /// Who says on how many threads they run, and when, while the job runs; `parallelism` is not read then, and no function
    /// runs on the job's own task. Default: nobody.
    pub workers: Option<Arc<dyn Workers>>,
    /// Wait after the first failure; doubles with each further one in a row. Default 50 ms.
    pub retry_wait_min: Duration,
    /// The longest wait between failures. Default 30 s.
    pub retry_wait_max: Duration,
    /// How many conflicts in a row, with no epoch between them, the job takes before it fails. Default 5.
    pub conflicts_max: u32,
    /// Options of single nodes, by name, and the rules that rewrite the graph. Default: no options, all rules.
    pub plan: PlanOptions,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            epoch_bytes_max: EPOCH_BYTES_MAX,
            parallelism: std::thread::available_parallelism().map_or(1, usize::from),
            workers: None,
            retry_wait_min: Duration::from_millis(50),
            retry_wait_max: Duration::from_secs(30),
            conflicts_max: CONFLICTS_MAX,
            plan: PlanOptions::default(),
        }
    }
}

impl JobOptions {
    /// These, with the options of the node of this name, in the place of those that it had.
    pub fn with(mut self, name: impl Into<String>, options: NodeOptions) -> Self {
        self.plan.nodes.insert(name.into(), options);
        self
    }

    /// These, with an option set from text; as [`PlanOptions::set`].
    ///
    /// # Errors
    /// `Invalid` if there is no such option, or the value does not fit.
    pub fn set(mut self, option: &str, value: &str) -> Result<Self> {
        self.plan.set(option, value)?;
        Ok(self)
    }

    /// The wait after the `failures`-th failure in a row.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doubled = 2u32.saturating_pow(failures.saturating_sub(1));
        self.retry_wait_min
            .saturating_mul(doubled)
            .min(self.retry_wait_max)
    }
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum JobState {
    /// Reading, or waiting for elements.
    Running,
    /// Waiting to try again after an error: see [`JobStatus::last_error`].
    Waiting,
    /// Over: the sources have ended and all of it is committed.
    Ended,
    /// Over: it was told to stop.
    Stopped,
    /// Over: see [`JobStatus::last_error`].
    Failed,
}

/// How a job is doing.
#[derive(Clone, Debug, PartialEq)]
pub struct JobStatus {
    /// What it is doing.
    pub state: JobState,
    /// Epochs committed by this run.
    pub epochs: u64,
    /// Elements taken from sources in these epochs; also those whose epoch was tried again count once.
    pub elements: u64,
    /// What [counters](crate::counter) in functions have counted, exactly as elements are. Of an epoch that an earlier
    /// run has left half committed, what lies below sums that had been committed does not count here.
    pub counters: Counts,
    /// Up to where everything is committed, in all tails. In a job that closes batches the part `$end` says that the input
    /// had ended.
    pub progress: Progress,
    /// How far each closing of batches has come.
    pub closings: Vec<ClosingStatus>,
    /// The last error, also when it has been overcome.
    pub last_error: Option<String>,
    /// What has gone through the nodes of the planned graph, exactly as counters count.
    pub(super) nodes: Flows,
}

/// What has gone through nodes.
pub(super) type Flows = BTreeMap<NodeId, NodeElements>;
/// How far a [closing](crate::Closing) of batches has come.
#[derive(Clone, Debug, PartialEq)]
pub struct ClosingStatus {
    /// Its name, or kind and number.
    pub name: String,
    /// The time before which no more elements are expected; `None` while nothing is known. The end of the input moves it
    /// to where the last open batch is closed.
    pub watermark: Option<Timestamp>,
    /// The batches, or windows, that some key has been summed in and that are not closed.
    pub open_batches: usize,
    /// The elements that came after their batch was closed, in all runs of the job, each once.
    pub late: u64,
}

/// A job that runs on its own task. Dropping it stops the job after its current epoch.
pub struct Job {
    task: Option<JoinHandle<Result<()>>>,
    stop: watch::Sender<bool>,
    view: JobView,
}

/// How a job is doing, for those who do not own it; a cheap handle, also of a job that is over. It keeps no job running.
#[derive(Clone)]
pub struct JobView {
    status: Arc<Mutex<JobStatus>>,
    graph: Arc<Graph>,
}

impl JobView {
    /// How the job is doing now.
    pub fn status(&self) -> JobStatus {
        self.locked().clone()
    }

    /// Up to where everything is committed, in all tails, and by how many epochs of this run.
    pub fn progress(&self) -> (Progress, u64) {
        let status = self.locked();
        (status.progress.clone(), status.epochs)
    }

    /// The planned graph, with what has gone through sources, look-ups, joins and tails in the epochs that this run has
    /// committed, and with its counters; each exactly as [`JobStatus::counters`].
    pub fn graph(&self) -> Graph {
        let status = self.status();
        let graph = Graph::clone(&self.graph).with_counts(status.counters);
        graph.with_elements(&status.nodes)
    }

    fn locked(&self) -> MutexGuard<'_, JobStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    pub(crate) fn spawn(name: &str, mut plan: LocalPlan, options: JobOptions) -> Result<Self> {
        let graph = std::mem::take(&mut plan.graph);
        let job = Arc::new(Lowered::of(plan).map_err(|error| named(name, error))?);
        let parts = Parts::of(&job).map_err(|error| named(name, error))?;
        let status = Arc::new(Mutex::new(JobStatus {
            state: JobState::Running,
            epochs: 0,
            elements: 0,
            counters: Counts::new(),
            progress: Progress::default(),
            closings: Vec::new(),
            last_error: None,
            nodes: Flows::new(),
        }));
        let (stop, stop_receiver) = watch::channel(false);
        let engine = Engine {
            job,
            parts,
            options,
            status: status.clone(),
            stop: stop_receiver,
        };
        let (name, shared) = (name.to_owned(), status.clone());
        let task = tokio::spawn(async move {
            let ran = AssertUnwindSafe(engine.run()).catch_unwind().await;
            let result = ran.unwrap_or_else(|panic| Err(panic_error(panic.as_ref())));
            result.map_err(|error| {
                let error = named(&name, error);
                let mut status = shared.lock().unwrap_or_else(PoisonError::into_inner);
                status.state = JobState::Failed;
                status.last_error = Some(error.to_string());
                error
            })
        });
        Ok(Self {
            task: Some(task),
            stop,
            view: JobView {
                status,
                graph: Arc::new(graph),
            },
        })
    }

    /// As [`JobView::graph`].
    pub fn graph(&self) -> Graph {
        self.view.graph()
    }

    /// Asks the job to end after its current epoch; [`join`](Self::join) waits for that.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// How it is doing now.
    pub fn status(&self) -> JobStatus {
        self.view.status()
    }

    /// How it is doing, for others to look at.
    pub fn view(&self) -> JobView {
        self.view.clone()
    }

    /// Waits until the job is over. May be dropped and called again; the error is given out once.
    ///
    /// Errors: `Invalid` if a function of the job panicked or its tails do not fit together, `Conflict` if
    /// another run keeps writing to its tails, and what its sources, stores and sinks report.
    pub async fn join(&mut self) -> Result<()> {
        let Some(task) = &mut self.task else { return Ok(()) };
        let joined = task.await;
        self.task = None;
        joined.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Retry, "the runtime is shutting down").with_source(error))
        })
    }
}

impl Job {
    /// Ends the job wherever it waits now, without the epoch that it has begun; functions that run go on until they return,
    /// and what they give is dropped. What is committed is as after a crash: whole epochs.
    pub async fn abort(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            // It is over, whichever way it ended.
            let _ = task.await;
        }
    }
}

fn named(name: &str, error: Error) -> Error {
    Error::new(error.kind(), format!("{error} job={name}")).with_source(error)
}
