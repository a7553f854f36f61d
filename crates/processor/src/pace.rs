//! When a dataset's batches are read: at once while its table streams; for micro-batches, when a window ends.
//!
//! The queue is the write-ahead log, so what waits for a window waits there, neither decoded nor in memory. A window
//! ends when it is as old as the table says; then all that is in the queue is read, and when the tables have it they are
//! told to commit. A batch that comes after a window without any is read at once.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use flow::{Sink, Slice, Source, Timestamp};
use queue::Record;
use store::Progress;
use tokio::sync::Notify;
use tokio::time::Instant;
use warehouse::{InsertMode, Observation, Table};

use crate::QueueSource;

/// A window that is too long for the clock ends after this.
const WINDOW_MAX: Duration = Duration::from_secs(86_400);

/// What `auto` counts time from: it remembers times over the runs of a job.
static BEGUN: OnceLock<Instant> = OnceLock::new();

/// What source, sinks and supervisor of one run of a dataset's job share.
pub(crate) struct Pace {
    rows: Arc<Table>,
    failed: Arc<Table>,
    window: Mutex<Window>,
    /// Ends the window that is open now.
    end: Notify,
    /// The longest from receipt to visibility since it was last asked for, µs.
    lag_us: AtomicU64,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Window {
    /// What it holds; not all of it may have been read.
    until: Progress,
    /// When the last one ended.
    ended: Option<Instant>,
}

struct Seen {
    begun: Instant,
    at: Instant,
    rows: u64,
}

impl Pace {
    pub(crate) fn new(rows: Arc<Table>, failed: Arc<Table>) -> Arc<Self> {
        let now = Instant::now();
        let seen = Seen {
            begun: *BEGUN.get_or_init(|| now),
            at: now,
            rows: rows.stats().rows_taken,
        };
        let pace = Self {
            rows,
            failed,
            window: Mutex::default(),
            end: Notify::new(),
            lag_us: AtomicU64::new(0),
            seen: Mutex::new(seen),
        };
        pace.follow();
        Arc::new(pace)
    }

    /// Ends the window that is open: what the queue has is read, and visible soon.
    pub(crate) fn end_window(&self) {
        self.end.notify_one();
    }

    /// Rows that were received at this time are visible.
    pub(crate) fn note_lag(&self, lag_us: u64) {
        self.lag_us.fetch_max(lag_us, Ordering::Relaxed);
    }

    /// Lets `auto` decide on what was seen since the last time; the rejects' table follows that of the rows.
    pub(crate) fn steer(&self) {
        if matches!(self.rows.insert_status().mode, InsertMode::Auto(_)) {
            self.rows.steer(&self.observe());
        }
        self.follow();
    }

    fn observe(&self) -> Observation {
        let (stats, now) = (self.rows.stats(), Instant::now());
        let mut seen = locked(&self.seen);
        let seconds = now.duration_since(seen.at).as_secs_f64().max(0.001);
        let rows = stats.rows_taken.saturating_sub(seen.rows);
        (seen.at, seen.rows) = (now, stats.rows_taken);
        Observation {
            at: now.duration_since(seen.begun),
            rows_per_second: rows as f64 / seconds,
            lag: Duration::from_micros(self.lag_us.swap(0, Ordering::Relaxed)),
            commit: stats.commit_time,
        }
    }

    fn follow(&self) {
        self.failed
            .set_insert_mode(match self.rows.insert_status().window {
                Some(window) => InsertMode::MicroBatch { window },
                None => InsertMode::Streaming,
            });
    }

    /// A table has taken all up to a progress: if that is a whole window, it is to be committed.
    fn taken(&self, table: &Table, progress: &Progress) {
        if progress.covers(&locked(&self.window).until) {
            table.seal();
        }
    }

    fn open(&self, until: Progress) {
        *locked(&self.window) = Window {
            until,
            ended: Some(Instant::now()),
        };
    }
}

/// A dataset's queue, read when the pace has it.
pub(crate) struct PacedSource {
    pub(crate) source: QueueSource,
    pub(crate) pace: Arc<Pace>,
}

impl PacedSource {
    /// Waits until something of a window is to be read from here on. Whether that is for the first batch to come.
    async fn wait(&self, from: &Progress) -> bool {
        let mut windows = self.pace.rows.insert_window();
        loop {
            let window = *windows.borrow_and_update();
            let Some(window) = window else { return false };
            let ends = {
                let open = locked(&self.pace.window);
                if !from.covers(&open.until) {
                    return false;
                }
                let now = Instant::now();
                let ends = open.ended.map_or(Some(now), |ended| ended.checked_add(window));
                ends.unwrap_or(now + WINDOW_MAX)
            };
            tokio::select! {
                () = tokio::time::sleep_until(ends) => {}
                () = self.pace.end.notified() => {}
                changed = windows.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return false,
                },
            }
            let until = self.source.end();
            let empty = from.covers(&until);
            self.pace.open(until);
            return empty;
        }
    }
}

#[async_trait]
impl Source<Record> for PacedSource {
    async fn start(&self) -> flow::Result<Progress> {
        self.source.start().await
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> flow::Result<Option<Vec<Slice<Record>>>> {
        let first = until.is_none() && self.wait(from).await;
        let slices = self.source.read(from, until, bytes_max).await?;
        if first {
            self.pace.open(self.source.end());
        }
        Ok(slices)
    }
}

/// A table that commits when it has a whole window.
pub(crate) struct PacedTable {
    pub(crate) table: Arc<Table>,
    pub(crate) pace: Arc<Pace>,
}

#[async_trait]
impl Sink<RecordBatch> for PacedTable {
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        Sink::<RecordBatch>::progress(self.table.as_ref()).await
    }

    async fn write(&self, items: Vec<(Timestamp, RecordBatch)>, progress: &Progress) -> flow::Result<()> {
        self.table.write(items, progress).await?;
        self.pace.taken(&self.table, progress);
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
