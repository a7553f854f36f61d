//! The port by which somebody says how many threads a job may use, and when.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;

use super::work::{panic_error, panicked};
use crate::Result;

/// The threads of one job, while it runs: how many it may use now, and when each of its chunks of work may run.
///
/// A job with workers divides the elements of an epoch into [`most`](Self::most) chunks at most, and awaits a
/// [`turn`](Self::turn) for each before it takes a thread of the blocking pool; so it does for the step that joins what
/// chunks have gathered. A chunk that runs waits for nothing of its job and holds nothing that others of the job wait for,
/// so any order of turns is free of deadlock, as long as each that is asked for comes at last. Keys of look-ups, and sums
/// that are added to what a store holds, are functions of the job's own task and take no turn.
///
/// ```
/// # use flow::{Turn, Workers};
/// /// Any number of chunks at once, `0` of an epoch at most.
/// #[derive(Debug)]
/// struct Fixed(usize);
///
/// #[async_trait::async_trait]
/// impl Workers for Fixed {
///     fn most(&self) -> usize { self.0 }
///     async fn turn(&self) -> Box<dyn Turn> { Box::new(()) }
/// }
/// ```
#[async_trait]
pub trait Workers: fmt::Debug + Send + Sync {
    /// Into how many chunks the elements of an epoch are divided at most; 0 is as 1. Asked for each epoch, so it must be
    /// cheap.
    fn most(&self) -> usize;

    /// Waits until one more chunk may run. Who drops the future gives up its place.
    async fn turn(&self) -> Box<dyn Turn>;
}

/// Leave to run one chunk; dropping it gives it back, which happens on the chunk's thread, also if a function panics.
pub trait Turn: Send {
    /// The chunk runs from here on, on the thread that calls this.
    fn begin(&mut self);
}

/// A turn that nobody counts.
impl Turn for () {
    fn begin(&mut self) {}
}

/// Where the functions of a node run.
pub(super) struct Threads<'a> {
    /// How many at most.
    pub(super) most: usize,
    pub(super) workers: Option<&'a Arc<dyn Workers>>,
}

impl Threads<'_> {
    /// Runs a function on a thread of the blocking pool, when it is its turn.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        function: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        let Some(workers) = self.workers else {
            return tokio::task::spawn_blocking(function).await.map_err(panicked);
        };
        // It goes with the turn, so that a panic of the port is an error of the job.
        let turn = AssertUnwindSafe(workers.turn()).catch_unwind().await;
        let mut turn = turn.map_err(|panic| panic_error(panic.as_ref()))?;
        let run = move || {
            turn.begin();
            function()
        };
        tokio::task::spawn_blocking(run).await.map_err(panicked)
    }
}
