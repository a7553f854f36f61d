//! The queries that run now: each listed from its start to its end, with a way to end it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use datafusion::execution::memory_pool::MemoryPool;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::limits::QUERY_SHOWN_CHARS;
use crate::{Error, ErrorKind, Result};

/// A query that runs.
pub struct RunningQuery {
    id: u64,
    text: String,
    since: SystemTime,
    rows: AtomicU64,
    memory: Arc<dyn MemoryPool>,
    cancelled: watch::Sender<bool>,
}

impl RunningQuery {
    /// Its number, since the server has started.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its text, or the beginning of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// When it began.
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// Rows that it has given so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Bytes that its steps hold now; what it reads and gives is not counted.
    pub fn memory_bytes(&self) -> usize {
        self.memory.reserved()
    }

    /// Ends it: whoever reads its answer gets an error that says so.
    pub fn cancel(&self) {
        self.cancelled.send_replace(true);
    }

    /// Counts rows of the answer, and says how many there are now.
    pub(crate) fn count(&self, rows: usize) -> u64 {
        let rows = rows as u64;
        self.rows.fetch_add(rows, Ordering::Relaxed) + rows
    }

    /// Its memory.
    pub(crate) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.memory
    }
}

impl fmt::Debug for RunningQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningQuery")
            .field("id", &self.id)
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// All queries that run.
pub(crate) struct Running {
    permits: Arc<Semaphore>,
    queries_max: usize,
    listed: Mutex<Listed>,
}

#[derive(Default)]
struct Listed {
    last: u64,
    queries: BTreeMap<u64, Arc<RunningQuery>>,
}

impl Running {
    pub(crate) fn new(queries_max: usize) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(queries_max)),
            queries_max,
            listed: Mutex::default(),
        })
    }

    /// Lets one more query run.
    ///
    /// # Errors
    /// `Retry` if too many do.
    pub(crate) fn begin(
        self: &Arc<Self>,
        text: &str,
        timeout: Duration,
        memory: Arc<dyn MemoryPool>,
    ) -> Result<Lease> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            let max = self.queries_max;
            let text = "too many queries run at once, try again or raise query.queries_max";
            Error::new(ErrorKind::Retry, format!("{text} queries_max={max}"))
        })?;
        let cancelled = watch::Sender::new(false);
        let ended = ended(timeout, cancelled.subscribe());
        let mut listed = self.listed();
        listed.last += 1;
        let query = Arc::new(RunningQuery {
            id: listed.last,
            text: text.chars().take(QUERY_SHOWN_CHARS).collect(),
            since: SystemTime::now(),
            rows: AtomicU64::new(0),
            memory,
            cancelled,
        });
        listed.queries.insert(query.id, query.clone());
        Ok(Lease {
            query,
            ended: Box::pin(ended),
            running: self.clone(),
            _permit: permit,
        })
    }

    /// Those that run now, oldest first.
    pub(crate) fn list(&self) -> Vec<Arc<RunningQuery>> {
        self.listed().queries.values().cloned().collect()
    }

    /// The one of this number.
    pub(crate) fn find(&self, id: u64) -> Option<Arc<RunningQuery>> {
        self.listed().queries.get(&id).cloned()
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed
            .lock()
            .expect("nothing panics while it holds the lock")
    }
}

/// Leave for one query to run; it is listed as long as this lives.
pub(crate) struct Lease {
    query: Arc<RunningQuery>,
    ended: Pin<Box<dyn Future<Output = Error> + Send>>,
    running: Arc<Running>,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    pub(crate) fn query(&self) -> &Arc<RunningQuery> {
        &self.query
    }

    /// Done when the query must end: its time is over, or it was cancelled. Not to be asked after that.
    pub(crate) fn ended(&mut self) -> Pin<&mut (dyn Future<Output = Error> + Send)> {
        self.ended.as_mut()
    }

    /// Does a part of the query's work, unless the query ends before.
    pub(crate) async fn within<T>(&mut self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            error = self.ended() => Err(error),
            done = work => done,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.running.listed().queries.remove(&self.query.id);
    }
}

async fn ended(timeout: Duration, mut cancelled: watch::Receiver<bool>) -> Error {
    tokio::select! {
        () = tokio::time::sleep(timeout) => {
            let text = "query takes longer than it may, ask for less or raise query.timeout (for one Postgres client: \
                        SET statement_timeout)";
            Error::new(ErrorKind::Timeout, format!("{text} timeout={timeout:?}"))
        }
        Ok(_) = cancelled.wait_for(|cancelled| *cancelled) => {
            Error::new(ErrorKind::Cancelled, "query was cancelled")
        }
    }
}
