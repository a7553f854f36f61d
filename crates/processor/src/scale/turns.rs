//! Whose chunk of work may run now: the threads of one machine, dealt out to its jobs.
//!
//! A job has at most as many turns at once as it was granted, and all together as many as the machine has workers. The
//! last `cores` of these are only for jobs that have none. Among jobs that wait, one without a turn comes first; of equal
//! ones the tiers go by weight (4 : 2 : 1), and within a tier one job after the other, each with one chunk. So a job that
//! waits is served after at most as many turns as there are jobs, times 7 for the lowest tier.
//!
//! A turn that is *overdue* is no longer counted for the machine, only for its job: what never ends takes threads, but no
//! turns from others. [`OVERDUE_TURNS_MAX`] turns are let off like that; the next ones count, so the blocking pool is
//! never exhausted, and as many more as there are workers stop all jobs, which is logged.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event::Tier;
use tokio::sync::oneshot;

use super::cpu::Sample;
use crate::limits::OVERDUE_TURNS_MAX;

/// The turns of one machine; a cheap handle.
#[derive(Clone)]
pub(super) struct Turns(Arc<Mutex<Inner>>);

/// A job, as long as the turns know it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct JobId(u64);

struct Inner {
    workers: usize,
    reserve: usize,
    /// Turns that count for the machine, and those that do not any more.
    counted: usize,
    overdue: usize,
    next_id: u64,
    jobs: HashMap<JobId, JobTurns>,
    running: HashMap<u64, Running>,
    /// Jobs with waiting chunks and room in their grant: those without a turn, and the others; by tier.
    first: Ready,
    more: Ready,
}

struct JobTurns {
    tier: Tier,
    grant: usize,
    running: usize,
    waiting: VecDeque<oneshot::Sender<Pass>>,
    /// In which list it stands; entries of other lists are stale.
    ready: Option<Class>,
    busy: Duration,
    /// Of the turns that have ended.
    longest: Duration,
    cpu_share: Option<f64>,
    sampled_at: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    First,
    More,
}

struct Running {
    job: JobId,
    began: Instant,
    /// Until when its time is in the job's.
    busy_until: Instant,
    is_overdue: bool,
}

/// What a job's turns were since it was asked last.
#[derive(Clone, Copy, Default)]
pub(super) struct Used {
    /// The time of all of them.
    pub(super) busy: Duration,
    /// In which share of it functions computed, as far as known.
    pub(super) cpu_share: Option<f64>,
    /// The longest of those that have ended.
    pub(super) longest: Duration,
    /// The age of its oldest turn.
    pub(super) oldest: Option<Duration>,
}

/// How long between two looks at what a job's functions do with their time.
const SAMPLE_EVERY: Duration = Duration::from_millis(200);

impl Turns {
    pub(super) fn new(workers: usize, reserve: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            workers,
            reserve,
            counted: 0,
            overdue: 0,
            next_id: 0,
            jobs: HashMap::new(),
            running: HashMap::new(),
            first: Ready::default(),
            more: Ready::default(),
        })))
    }

    pub(super) fn add(&self, tier: Tier) -> JobId {
        let mut inner = self.lock();
        let id = JobId(inner.id());
        let job = JobTurns {
            tier,
            grant: 1,
            running: 0,
            waiting: VecDeque::new(),
            ready: None,
            busy: Duration::ZERO,
            longest: Duration::ZERO,
            cpu_share: None,
            sampled_at: None,
        };
        inner.jobs.insert(id, job);
        id
    }

    /// Forgets a job; its turns end when they end.
    pub(super) fn remove(&self, job: JobId) {
        let removed = self.lock().jobs.remove(&job);
        drop(removed);
    }

    /// Waits for a turn of a job. `None` if the job is not known.
    pub(super) async fn turn(&self, job: JobId) -> Option<Pass> {
        let (sender, receiver) = oneshot::channel();
        self.change(|inner| {
            if let Some(job) = inner.jobs.get_mut(&job) {
                // Places that were given up.
                while job.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                    job.waiting.pop_front();
                }
                job.waiting.push_back(sender);
            }
            inner.queue(job);
        });
        receiver.await.ok()
    }

    /// From now on these jobs have these grants, and all together so many workers.
    pub(super) fn grant(&self, workers: usize, grants: impl IntoIterator<Item = (JobId, usize)>) {
        self.change(|inner| {
            inner.workers = workers;
            for (id, grant) in grants {
                if let Some(job) = inner.jobs.get_mut(&id) {
                    job.grant = grant;
                }
                inner.queue(id);
            }
        });
    }

    /// Takes turns that began before `overdue_before` out of the machine's count. Gives how many there are in all.
    pub(super) fn let_off(&self, overdue_before: Instant) -> usize {
        self.change(|inner| {
            for turn in inner.running.values_mut() {
                let is_overdue = turn.began < overdue_before;
                if is_overdue && !turn.is_overdue && inner.overdue < OVERDUE_TURNS_MAX {
                    turn.is_overdue = true;
                    inner.overdue += 1;
                    inner.counted -= 1;
                }
            }
            inner.overdue
        })
    }

    /// What each job has used since the last call.
    pub(super) fn used(&self, now: Instant) -> HashMap<JobId, Used> {
        let mut inner = self.lock();
        let mut used = HashMap::new();
        let Inner { jobs, running, .. } = &mut *inner;
        for turn in running.values_mut() {
            let Some(job) = jobs.get_mut(&turn.job) else {
                continue;
            };
            job.busy += now.saturating_duration_since(turn.busy_until);
            turn.busy_until = turn.busy_until.max(now);
            let oldest = &mut used.entry(turn.job).or_insert_with(Used::default).oldest;
            let age = now.saturating_duration_since(turn.began);
            *oldest = Some(oldest.map_or(age, |oldest| oldest.max(age)));
        }
        for (id, job) in jobs {
            if job.busy > Duration::ZERO || job.running > 0 {
                let used = used.entry(*id).or_default();
                (used.busy, used.cpu_share) = (std::mem::take(&mut job.busy), job.cpu_share);
                used.longest = std::mem::take(&mut job.longest);
            }
        }
        used
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something and deals out what is free then.
    fn change<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        let (changed, undelivered) = {
            let mut inner = self.lock();
            (change(&mut inner), inner.deal(self))
        };
        // They lock when they are dropped.
        drop(undelivered);
        changed
    }
}

impl Inner {
    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Puts a job where it belongs, if it has something to run and room in its grant.
    fn queue(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.waiting.is_empty() || job.running >= job.grant.max(1) {
            job.ready = None;
            return;
        }
        let class = if job.running == 0 {
            Class::First
        } else {
            Class::More
        };
        if job.ready != Some(class) {
            job.ready = Some(class);
            match class {
                Class::First => self.first.push(job.tier, id),
                Class::More => self.more.push(job.tier, id),
            }
        }
    }

    /// Deals out turns while there are any; gives back those that nobody waits for any more.
    fn deal(&mut self, turns: &Turns) -> Vec<Pass> {
        let mut undelivered = Vec::new();
        while self.counted < self.workers.max(1) {
            let Some(id) = self.next() else { break };
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            job.ready = None;
            let Some(sender) = job.waiting.pop_front() else {
                continue;
            };
            if sender.is_closed() {
                self.queue(id);
                continue;
            }
            job.running += 1;
            self.counted += 1;
            let (turn, now) = (self.id(), Instant::now());
            let running = Running {
                job: id,
                began: now,
                busy_until: now,
                is_overdue: false,
            };
            self.running.insert(turn, running);
            self.queue(id);
            let pass = Pass {
                turns: turns.clone(),
                job: id,
                turn,
                sample: None,
            };
            undelivered.extend(sender.send(pass).err());
        }
        undelivered
    }

    /// The job whose turn it is.
    fn next(&mut self) -> Option<JobId> {
        let jobs = &self.jobs;
        let stands = |class| move |id: &JobId| jobs.get(id).is_some_and(|job| job.ready == Some(class));
        if let Some(id) = self.first.pop(stands(Class::First)) {
            return Some(id);
        }
        // On a machine of one worker nothing can be kept free.
        if self.counted > 0 && self.counted + self.reserve >= self.workers {
            return None;
        }
        self.more.pop(stands(Class::More))
    }
}

/// Jobs that wait, by tier, with the credit of each tier.
#[derive(Default)]
struct Ready([(VecDeque<JobId>, i32); 3]);

impl Ready {
    const WEIGHTS: [i32; 3] = [1, 2, 4];

    fn push(&mut self, tier: Tier, id: JobId) {
        self.0[tier as usize].0.push_back(id);
    }

    /// Smooth weighted round-robin over the tiers in which somebody waits.
    fn pop(&mut self, stands: impl Fn(&JobId) -> bool) -> Option<JobId> {
        for (jobs, _) in &mut self.0 {
            while jobs.front().is_some_and(|id| !stands(id)) {
                jobs.pop_front();
            }
        }
        let (mut sum, mut best) = (0, None::<usize>);
        for (tier, weight) in Self::WEIGHTS.iter().enumerate() {
            if self.0[tier].0.is_empty() {
                continue;
            }
            self.0[tier].1 += weight;
            sum += weight;
            if best.is_none_or(|best| self.0[tier].1 > self.0[best].1) {
                best = Some(tier);
            }
        }
        let (jobs, credit) = &mut self.0[best?];
        *credit -= sum;
        jobs.pop_front()
    }
}

/// A turn of a job.
pub(super) struct Pass {
    turns: Turns,
    job: JobId,
    turn: u64,
    sample: Option<Sample>,
}

impl flow::Turn for Pass {
    fn begin(&mut self) {
        let now = Instant::now();
        let mut inner = self.turns.lock();
        if let Some(turn) = inner.running.get_mut(&self.turn) {
            // Waiting for a thread is not running.
            (turn.began, turn.busy_until) = (now, now);
        }
        let is_due = inner.jobs.get_mut(&self.job).is_some_and(|job| {
            let is_due = job
                .sampled_at
                .is_none_or(|at| now.duration_since(at) >= SAMPLE_EVERY);
            if is_due {
                job.sampled_at = Some(now);
            }
            is_due
        });
        drop(inner);
        self.sample = is_due.then(Sample::begin).flatten();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let cpu_share = self.sample.take().and_then(Sample::end);
        let now = Instant::now();
        self.turns.change(|inner| {
            let Some(turn) = inner.running.remove(&self.turn) else {
                return;
            };
            if turn.is_overdue {
                inner.overdue -= 1;
            } else {
                inner.counted -= 1;
            }
            if let Some(job) = inner.jobs.get_mut(&self.job) {
                job.running -= 1;
                job.busy += now.saturating_duration_since(turn.busy_until);
                job.longest = job.longest.max(now.saturating_duration_since(turn.began));
                if let Some(share) = cpu_share {
                    job.cpu_share = Some(job.cpu_share.map_or(share, |before| (before + share) / 2.0));
                }
            }
            inner.queue(self.job);
        });
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;
