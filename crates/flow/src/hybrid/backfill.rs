//! A job with another definition: the next generation of its stores is filled while readers read on, and swapped in.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use super::{AnyBuild, HybridJob, Side};
use crate::limits::BUILD_BATCHES_MAX;
use crate::{BatchId, Error, ErrorKind, Filling, Generation, Generations, Hybrid, Job, Result, Tail};

impl HybridJob {
    /// Sees to it that readers get what the definition of this name sums: fills the next generation with it and swaps,
    /// unless the current one is of that name. Gives the live side of it, which runs.
    ///
    /// `tail` is the job over the stores of a generation ([`GenerationStore::at`](crate::GenerationStore::at)), all of
    /// which `generations` knows. Its live side runs from now on; `batches` are built from history, in several snapshots if
    /// they are many; then it is waited until it has caught up with the current live side ([`Generations::swap`]), it is
    /// swapped, and the old generation is dropped: a live side that still runs on that ends with `NotFound`, so stop it.
    /// A changed function, batcher or set of keys, and events that came too late for their snapshot, are so brought in; for
    /// the latter give another name to the same definition.
    ///
    /// May be called at each start, with batches up to now: they only count when a generation begins. After a crash, call
    /// it again. [`Generations::abandon`] takes it back. The current live side goes on meanwhile, in this process or
    /// another, with the old definition.
    ///
    /// # Errors
    /// `Invalid` when the job writes to sinks, which are not filled anew: write to them from a job of its own; as
    /// [`Generations::begin`] and [`swap`](Generations::swap), [`build`](Self::build) and [`Job::join`]; `Retry` when the
    /// live side has ended before it had caught up.
    pub async fn backfill<T: Tail<Hybrid>>(
        &self,
        generations: &Generations,
        definition: &str,
        batches: Range<BatchId>,
        tail: impl FnOnce(Generation) -> Result<T>,
    ) -> Result<Job> {
        generations.drop_old().await?;
        let Some(filling) = generations.begin(definition, batches).await? else {
            return self.run(&tail(generations.state().await?.current)?);
        };
        let tail = tail(filling.generation)?;
        let mut live = self.run_without_sinks(&tail)?;
        if let Err(error) = self.fill(generations, &filling, &tail, &mut live).await {
            live.stop();
            // The error that ended it is the one to tell.
            let _ = live.join().await;
            return Err(error);
        }
        generations.drop_old().await?;
        Ok(live)
    }

    /// Builds while the live side runs, and swaps when both are there.
    async fn fill(
        &self,
        generations: &Generations,
        filling: &Filling,
        tail: &impl Tail<Hybrid>,
        live: &mut Job,
    ) -> Result<()> {
        let mut live_ended = false;
        let mut build = pin!(self.build_in_parts(tail, filling));
        tokio::select! {
            built = &mut build => built?,
            ended = live.join() => {
                ended?;
                live_ended = true;
                build.await?;
            }
        }
        while let Err(error) = generations.swap(filling.generation).await {
            if error.kind() != ErrorKind::Retry || live_ended {
                return Err(error);
            }
            tokio::select! {
                () = tokio::time::sleep(self.options.retry_wait_min) => {}
                ended = live.join() => {
                    ended?;
                    live_ended = true;
                }
            }
        }
        Ok(())
    }

    fn run_without_sinks(&self, tail: &impl Tail<Hybrid>) -> Result<Job> {
        let plan = self.lower(tail, Side::Live)?;
        if let Some(sink) = plan.sink {
            let text = "a generation has stores alone, so it cannot be filled by a job that writes to a sink: write to it \
                        from a job of its own";
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{text} tail={sink} job={}", self.name),
            ));
        }
        Job::spawn(&self.name, plan.local, self.options.clone())
    }

    /// Builds what is not built yet, so many batches at a time as a build may have.
    async fn build_in_parts(&self, tail: &impl Tail<Hybrid>, filling: &Filling) -> Result<()> {
        let Range { start, end } = filling.batches.clone();
        let mut from = start;
        while from < end {
            let to = BatchId(from.0.saturating_add(BUILD_BATCHES_MAX as i64)).min(end);
            let times = self.batcher.interval_of_all(&(from..to));
            let side = Side::Batch {
                times,
                batches: from..to,
            };
            let builds = self.lower(tail, side)?.builds;
            if !are_beyond(&builds, to).await? {
                self.build(tail, from..to).await?;
            }
            from = to;
        }
        Ok(())
    }
}

/// Whether all snapshots reach so far.
async fn are_beyond(builds: &[Arc<dyn AnyBuild>], end: BatchId) -> Result<bool> {
    for build in builds {
        if build.bound().await? < Some(end) {
            return Ok(false);
        }
    }
    Ok(!builds.is_empty())
}
