//! The loop that looks at all jobs of a machine once a second and gives each its workers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use event::Tier;
use flow::{Turn, Workers};

use super::lag::Measured;
use super::turns::{JobId, Turns, Used};
use super::{Decision, Demand, Limits, Observation, Reason, State, capacity, decide, share};
use crate::limits::{OVERDUE_TURNS_MAX, WORKERS_MAX};

/// Beside a chunk that takes this long, dividing an epoch into more of them costs nothing.
const LONG_CHUNK: Duration = Duration::from_millis(20);

/// How workers are given out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScaleOptions {
    /// Default: the cores of this machine.
    pub cores: usize,
    /// Workers of all jobs together at most, when their functions wait rather than compute; 1 to 256. Default 64.
    pub workers_most: usize,
    /// Workers of one job at most. Default 16.
    pub job_workers_most: usize,
    /// A job whose oldest batch waits longer gets more workers. Default 100 ms.
    pub lag_objective: Duration,
    /// How many times in a row a job is calm before it gives up workers. Default 10.
    pub patience: u32,
    /// How often all jobs are looked at. Default 1 s.
    pub every: Duration,
    /// A chunk of work that takes longer no longer counts for the machine: others get turns beside it. Default 1 s.
    pub overdue_after: Duration,
    /// A chunk that takes longer is taken for stuck: its job gets no more workers, and that is logged. Default 60 s.
    pub stuck_after: Duration,
}

impl Default for ScaleOptions {
    fn default() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            workers_most: 64,
            job_workers_most: 16,
            lag_objective: Duration::from_millis(100),
            patience: 10,
            every: Duration::from_secs(1),
            overdue_after: Duration::from_secs(1),
            stuck_after: Duration::from_secs(60),
        }
    }
}

/// The workers of one job, as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScaleStatus {
    /// The job's tier.
    pub tier: Tier,
    /// How many chunks of its work may run at once.
    pub workers: usize,
    /// How many it wants; 0 while there is nothing to do.
    pub wanted: usize,
    /// Why, at the last change of what it wants.
    pub reason: Reason,
    /// For how long its oldest batch that is not committed has been in the queue.
    pub lag_age: Duration,
    /// In which share of its workers' time its functions ran: 0 to 1.
    pub busy_share: f64,
    /// In which share of their time its functions computed, rather than wait; 1 while nothing is known.
    pub cpu_share: f64,
    /// For how long the oldest chunk of its work has been running.
    pub oldest_turn: Option<Duration>,
    /// Whether that is so long that it is taken for stuck.
    pub is_stuck: bool,
}

/// Shares the threads of this process among jobs. A cheap handle; when the last one is gone, grants stay as they are.
#[derive(Clone)]
pub struct Scaler(Arc<Inner>);

struct Inner {
    options: ScaleOptions,
    turns: Turns,
    jobs: Mutex<BTreeMap<u64, Arc<Scaled>>>,
}

struct Scaled {
    id: JobId,
    name: String,
    tier: Tier,
    grant: AtomicUsize,
    /// Into how many chunks an epoch is divided.
    chunks: AtomicUsize,
    measure: Box<dyn Fn() -> Measured + Send + Sync>,
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    state: State,
    status: ScaleStatus,
    last: Option<(Instant, Measured)>,
    cpu_share: Option<f64>,
}

/// A job's place in a [`Scaler`], as its [`Workers`]; the job is forgotten when this is dropped.
pub struct JobScale {
    scaler: Weak<Inner>,
    turns: Turns,
    job: Arc<Scaled>,
    place: u64,
}

impl Scaler {
    /// Starts on the current tokio runtime.
    pub fn start(mut options: ScaleOptions) -> Self {
        options.workers_most = options.workers_most.clamp(1, WORKERS_MAX);
        let cores = options.cores.max(1);
        let scaler = Self(Arc::new(Inner {
            turns: Turns::new(capacity(cores, 1.0, options.workers_most), cores),
            jobs: Mutex::default(),
            options,
        }));
        tokio::spawn(watch(Arc::downgrade(&scaler.0)));
        scaler
    }

    /// A job from here on. `measure` says how far it is; it is called at each look, and must be quick.
    pub fn join(
        &self,
        name: impl Into<String>,
        tier: Tier,
        measure: impl Fn() -> Measured + Send + Sync + 'static,
    ) -> Arc<JobScale> {
        let job = Arc::new(Scaled {
            id: self.0.turns.add(tier),
            name: name.into(),
            tier,
            grant: AtomicUsize::new(1),
            chunks: AtomicUsize::new(1),
            measure: Box::new(measure),
            watched: Mutex::default(),
        });
        {
            let mut watched = locked(&job.watched);
            (
                watched.status.tier,
                watched.status.workers,
                watched.status.cpu_share,
            ) = (tier, 1, 1.0);
        }
        let mut jobs = locked(&self.0.jobs);
        let place = jobs.last_key_value().map_or(0, |(last, _)| last + 1);
        jobs.insert(place, job.clone());
        Arc::new(JobScale {
            scaler: Arc::downgrade(&self.0),
            turns: self.0.turns.clone(),
            job,
            place,
        })
    }
}

impl JobScale {
    /// As it was at the last look.
    pub fn status(&self) -> ScaleStatus {
        locked(&self.job.watched).status
    }

    /// Waits until a chunk of the job's work is taken for stuck.
    pub async fn stuck(&self) {
        let every = self
            .scaler
            .upgrade()
            .map_or(Duration::ZERO, |inner| inner.options.every);
        while !self.status().is_stuck {
            tokio::time::sleep(every.max(Duration::from_millis(1))).await;
        }
    }
}

impl fmt::Debug for JobScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobScale")
            .field("job", &self.job.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Workers for JobScale {
    /// As many as it was granted. Where chunks take long, as many as it may be granted: what is granted while an epoch is
    /// under way then helps this epoch too.
    fn most(&self) -> usize {
        self.job.chunks.load(Ordering::Relaxed)
    }

    async fn turn(&self) -> Box<dyn Turn> {
        match self.turns.turn(self.job.id).await {
            Some(pass) => Box::new(pass),
            // The job is known as long as this is.
            None => Box::new(()),
        }
    }
}

impl Drop for JobScale {
    fn drop(&mut self) {
        self.turns.remove(self.job.id);
        if let Some(scaler) = self.scaler.upgrade() {
            locked(&scaler.jobs).remove(&self.place);
        }
    }
}

async fn watch(scaler: Weak<Inner>) {
    let Some(every) = scaler.upgrade().map(|inner| inner.options.every) else {
        return;
    };
    let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut overdue_told = 0;
    loop {
        ticks.tick().await;
        let Some(inner) = scaler.upgrade() else { return };
        let overdue = inner.look(Instant::now());
        let is_worse = overdue > overdue_told && overdue >= OVERDUE_TURNS_MAX;
        overdue_told = overdue;
        if is_worse {
            tracing::error!(
                overdue,
                "functions of jobs do not come back, and the next ones hold up other jobs"
            );
        }
    }
}

impl Inner {
    /// Looks at all jobs and gives each its workers. Gives how many turns are overdue.
    fn look(&self, now: Instant) -> usize {
        let overdue = now
            .checked_sub(self.options.overdue_after)
            .map_or(0, |before| self.turns.let_off(before));
        let used = self.turns.used(now);
        let jobs: Vec<Arc<Scaled>> = locked(&self.jobs).values().cloned().collect();
        let mut decided = Vec::with_capacity(jobs.len());
        let (mut busy, mut wanted_cores) = (0.0, 0.0);
        for job in &jobs {
            let used = used.get(&job.id).copied().unwrap_or_default();
            let (decision, seen) = job.decide(used, now, &self.options);
            busy += used.busy.as_secs_f64();
            wanted_cores += used.busy.as_secs_f64() * seen.cpu_share;
            let is_idle = seen.lag_batches == 0 && seen.busy_share == 0.0;
            decided.push((decision, seen, if is_idle { 0 } else { decision.workers }));
        }
        let cpu_share = if busy > 0.0 { wanted_cores / busy } else { 1.0 };
        let workers = capacity(self.options.cores, cpu_share, self.options.workers_most);
        let demands: Vec<Demand> = jobs
            .iter()
            .zip(&decided)
            .map(|(job, (_, _, wanted))| Demand {
                tier: job.tier,
                weight: 1,
                wanted: *wanted,
            })
            .collect();
        let grants = share(workers, &demands);
        for ((job, (decision, seen, wanted)), grant) in jobs.iter().zip(&decided).zip(&grants) {
            let took = used
                .get(&job.id)
                .map(|used| used.longest.max(used.oldest.unwrap_or_default()));
            job.divide(took, (*grant).max(1), &self.options);
            job.apply(decision, seen, *wanted, (*grant).max(1));
        }
        self.turns
            .grant(workers, jobs.iter().map(|job| job.id).zip(grants));
        overdue
    }
}

impl Scaled {
    fn decide(&self, used: Used, now: Instant, options: &ScaleOptions) -> (Decision, Observation) {
        let measured = (self.measure)();
        let mut watched = locked(&self.watched);
        let workers = self.grant.load(Ordering::Relaxed);
        watched.cpu_share = used.cpu_share.or(watched.cpu_share);
        let (elapsed, before) = match watched.last.replace((now, measured)) {
            Some((at, before)) => (now.saturating_duration_since(at).as_secs_f64().max(0.001), before),
            None => (options.every.as_secs_f64().max(0.001), measured),
        };
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 * measured.batch_bytes / elapsed;
        let seen = Observation {
            lag_batches: measured.batches_in.saturating_sub(measured.batches_done),
            lag_age: measured.oldest,
            bytes_per_second_in: rate(measured.batches_in, before.batches_in),
            bytes_per_second_done: rate(measured.batches_done, before.batches_done),
            busy_share: (used.busy.as_secs_f64() / (elapsed * workers as f64)).min(1.0),
            cpu_share: watched.cpu_share.unwrap_or(1.0),
            workers,
            is_stuck: used.oldest.is_some_and(|age| age > options.stuck_after),
        };
        watched.status.oldest_turn = used.oldest;
        let limits = Limits {
            least: 1,
            most: options.job_workers_most.min(options.workers_most).max(1),
            cores: options.cores,
            lag_objective: options.lag_objective,
            patience: options.patience,
        };
        (decide(&seen, &mut watched.state, &limits), seen)
    }

    /// Says how epochs are divided, after how long a chunk has taken.
    fn divide(&self, took: Option<Duration>, grant: usize, options: &ScaleOptions) {
        let was_long = self.chunks.load(Ordering::Relaxed) > self.grant.load(Ordering::Relaxed);
        let is_long = took.map_or(was_long, |took| took >= LONG_CHUNK);
        let chunks = if is_long { options.job_workers_most } else { grant };
        self.chunks.store(chunks.max(grant), Ordering::Relaxed);
    }

    fn apply(&self, decision: &Decision, seen: &Observation, wanted: usize, grant: usize) {
        self.grant.store(grant, Ordering::Relaxed);
        let mut watched = locked(&self.watched);
        let status = &mut watched.status;
        if seen.is_stuck && !status.is_stuck {
            tracing::error!(job = %self.name, "a function does not come back: the job stands still until it does");
        } else if status.workers != grant {
            let (lag, reason) = (seen.lag_age, decision.reason);
            tracing::info!(job = %self.name, from = status.workers, to = grant, wanted, ?lag, %reason, "workers");
        }
        if status.wanted != wanted || decision.reason == Reason::Stuck {
            status.reason = decision.reason;
        }
        (status.workers, status.wanted) = (grant, wanted);
        (status.lag_age, status.busy_share, status.cpu_share) =
            (seen.lag_age, seen.busy_share, seen.cpu_share);
        status.is_stuck = seen.is_stuck;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
