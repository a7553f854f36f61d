//! Plain files by hour, for readers that know no table format.
//!
//! ```text
//! <dataset>/2015/09/12/00/part-<from>-<to>.parquet   rows of that hour, of the batches from..to
//! <dataset>/2015/09/12/00/_SUCCESS                   {"until": "…"}: the hour is complete up to here
//! <dataset>/_progress/<n>.json                       what is committed, by the newest; a few are kept
//! ```
//!
//! **Exactly once without a log.** `from` and `to` count the batches before and after a window (the sum of a progress's
//! offsets). A window's files are put first, then its progress, under the next number, by a put that fails where the
//! name is taken. So a file is committed if and only if its `to` is not beyond the newest progress. A crash between the
//! two leaves files that no progress reaches: the next [`PlainFiles::open`] deletes them before anything is written, so
//! a reader of all files never finds a row twice, whatever windows the replay cuts.
//!
//! **`_SUCCESS`** is put when a window is committed and rows have been received that are later than the hour's end by
//! [`PlainOptions::lateness`], or [`PlainFiles::passed`] says so. It means that all rows of the hour that were received
//! before `until` are in its files, and none of an uncommitted window. Rows that come later are another file of their
//! hour, and the marker is put again with a later `until`.

mod format;
mod manifest;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use store::Progress;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::format::PlainFormat;
use self::manifest::{Committed, Manifest};
use crate::background::{self, Urgency};
use crate::encode::{HOUR_US, hour_column, hour_label, split, times};
use crate::limits::{PLAIN_HOURS_MAX, RETRY_WAIT_MAX, RETRY_WAIT_MIN, UPLOADS_MAX};
use crate::{Error, ErrorKind, Result};

const MARKER: &str = "_SUCCESS";

/// How plain files are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainOptions {
    /// Default Parquet.
    pub format: PlainFormat,
    /// From the first row of a window to its commit. Default 5 minutes.
    pub window: Duration,
    /// A window of so many bytes of Arrow memory is committed before its time. Default 64 MiB.
    pub window_bytes: usize,
    /// How much later than an hour's end rows of it are waited for before it is marked. Default 15 minutes.
    pub lateness: Duration,
}

impl Default for PlainOptions {
    fn default() -> Self {
        Self {
            format: PlainFormat::Parquet,
            window: Duration::from_secs(300),
            window_bytes: 64 << 20,
            lateness: Duration::from_secs(900),
        }
    }
}

/// The plain files of one dataset: a `flow::Sink<RecordBatch>`, beside or instead of a [`crate::Table`]. One writer at a
/// time: a second one is refused with `Conflict` before it writes, or, if both do so at one moment, when it commits.
///
/// Opening lists all files of the dataset once. A window costs a put an hour of its rows, a list, a put of the progress
/// and a put a marker.
#[derive(Debug)]
pub struct PlainFiles {
    name: String,
    store: Arc<dyn ObjectStore>,
    options: PlainOptions,
    /// Locked before `state`, and for the length of a commit.
    commit: tokio::sync::Mutex<Commit>,
    state: Mutex<State>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Commit {
    manifest: Manifest,
    /// A window that is on its way; tried again as it is, so that its files have the same names.
    pending: Option<Window>,
    /// Markers that are to be put.
    passed: Option<i64>,
}

#[derive(Debug, Default)]
struct State {
    window: Option<Window>,
    /// Of all that was taken.
    progress: Option<Progress>,
    durable: Option<Progress>,
    /// When the window is to be committed.
    due: Option<Instant>,
    failures: u32,
}

/// Rows, and the progress that they stand for.
#[derive(Clone, Debug)]
struct Window {
    batches: Vec<RecordBatch>,
    bytes: usize,
    progress: Progress,
}

impl PlainFiles {
    /// The files of a dataset in a store, and the loop that commits windows (on the current tokio runtime; it ends when
    /// this is dropped). Deletes files that no progress reaches.
    ///
    /// Errors: `Retry` if the store does not answer; `Corrupt` if the newest progress cannot be read.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        dataset: &str,
        options: PlainOptions,
    ) -> Result<Arc<Self>> {
        crate::warehouse::check_name(dataset)?;
        let manifest = Manifest::open(store.clone(), dataset).await?;
        let durable = manifest.committed.progress();
        let files = Arc::new(Self {
            name: dataset.to_owned(),
            store,
            options,
            state: Mutex::new(State {
                progress: durable.clone(),
                durable,
                ..State::default()
            }),
            commit: tokio::sync::Mutex::new(Commit {
                manifest,
                pending: None,
                passed: None,
            }),
            wake: Arc::new(Notify::new()),
        });
        {
            let mut commit = files.commit.lock().await;
            files.delete_uncommitted(&commit.manifest.committed).await?;
            files.mark(&mut commit).await?;
        }
        tokio::spawn(run(Arc::downgrade(&files), files.wake.clone()));
        Ok(files)
    }

    /// Takes rows, and the progress they stand for; they are committed with their window. A window that is large is
    /// committed first, so its store's pace is that of the appends.
    ///
    /// Rows whose progress is taken already change nothing. Errors: `Conflict` if progress goes back, or another writer
    /// has committed; `Invalid` if rows have no time; `Retry` if a large window cannot be committed. Then no row is taken.
    pub async fn append(&self, rows: Vec<RecordBatch>, progress: &Progress) -> Result<()> {
        let large = self
            .state()
            .window
            .as_ref()
            .is_some_and(|window| window.bytes >= self.options.window_bytes);
        if large {
            self.flush().await?;
        }
        for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
            times(batch, hour_column(batch.schema_ref()))?;
            times(batch, event::SystemColumn::ReceivedTime)?;
        }
        let mut state = self.state();
        if let Some(current) = &state.progress {
            if current.covers(progress) {
                return Ok(());
            }
            if !progress.covers(current) {
                let message = format_args!(
                    "progress goes back: read the files' progress and go on from there dataset={} has=[{current}] given=[{progress}]",
                    self.name
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        state.progress = Some(progress.clone());
        let window = state.window.get_or_insert_with(|| Window {
            batches: Vec::new(),
            bytes: 0,
            progress: Progress::default(),
        });
        window.progress = progress.clone();
        for batch in rows.into_iter().filter(|batch| batch.num_rows() > 0) {
            window.bytes += batch.get_array_memory_size();
            window.batches.push(batch);
        }
        if state.due.is_none() {
            state.due = Instant::now().checked_add(self.options.window);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Commits the window that is open. Does nothing if there is none.
    ///
    /// If it fails its rows are kept, and the loop tries again. Errors: `Retry` if the store does not answer; `Conflict`
    /// if another process has written.
    pub async fn flush(&self) -> Result<()> {
        let mut commit = self.commit.lock().await;
        let result = self.flush_into(&mut commit).await;
        let mut state = self.state();
        match &result {
            Ok(()) => {
                state.failures = 0;
                state.due = state
                    .window
                    .as_ref()
                    .and_then(|_| Instant::now().checked_add(self.options.window));
            }
            Err(error) => {
                let wait = RETRY_WAIT_MIN
                    .saturating_mul(1 << state.failures.min(16))
                    .min(RETRY_WAIT_MAX);
                tracing::warn!(dataset = self.name, %error, ?wait, "a window was not committed, its rows are kept");
                state.failures = state.failures.saturating_add(1);
                state.due = Some(Instant::now() + wait);
            }
        }
        self.wake.notify_one();
        result
    }

    async fn flush_into(&self, commit: &mut Commit) -> Result<()> {
        // One that was not committed, then the one that is open.
        for _ in 0..2 {
            if commit.pending.is_none() {
                commit.pending = self.state().window.take();
            }
            let Some(window) = &commit.pending else { break };
            let committed = self.put(&commit.manifest, window).await?;
            commit.manifest.commit(committed).await?;
            let window = commit.pending.take().expect("it is there until it is committed");
            self.state().durable = Some(window.progress);
        }
        self.mark(commit).await
    }

    /// Puts a window's files; what is committed with them.
    async fn put(&self, manifest: &Manifest, window: &Window) -> Result<Committed> {
        manifest.check().await?;
        let mut next = manifest.committed.clone();
        let (from, to) = (next.batches(), batches(&window.progress));
        next.set_progress(&window.progress);
        let mut hours = std::collections::BTreeMap::new();
        for batch in &window.batches {
            split(batch, hour_column(batch.schema_ref()), &mut hours)?;
            let received = times(batch, event::SystemColumn::ReceivedTime)?;
            let latest = arrow::compute::max(received).unwrap_or(i64::MIN);
            next.received_us = next.received_us.max(latest);
        }
        next.open_hours.extend(hours.keys());
        while next.open_hours.len() > PLAIN_HOURS_MAX {
            // Those farthest in the future are not marked.
            next.open_hours.pop_last();
        }
        let format = self.options.format;
        let encoded = background::run("encode", Urgency::Soon, move || {
            let encode = |(hour, rows): (i64, Vec<RecordBatch>)| Ok((hour, format.encode(&rows)?));
            hours.into_iter().map(encode).collect::<Result<Vec<_>>>()
        });
        let encoded = encoded
            .await
            .map_err(|error| self.failed("encoding broke off", error))??;
        let name = format!("part-{from:020}-{to:020}.{}", format.extension());
        let puts = encoded.into_iter().map(|(hour, body)| {
            let path = self.hour_path(hour, &name);
            async move { self.store.put(&path, body.into()).await }
        });
        let puts = futures::stream::iter(puts).buffer_unordered(UPLOADS_MAX);
        let done: std::result::Result<Vec<_>, _> = puts.try_collect().await;
        done.map_err(|error| self.failed("cannot write a file", error))?;
        Ok(next)
    }

    /// Puts the markers of hours that have passed. They leave the open hours with the next commit, so one that is not
    /// put now is put later.
    async fn mark(&self, commit: &mut Commit) -> Result<()> {
        let passed = commit
            .passed
            .unwrap_or(i64::MIN)
            .max(commit.manifest.committed.received_us);
        let lateness = i64::try_from(self.options.lateness.as_micros()).unwrap_or(i64::MAX);
        let ended = |hour: &i64| {
            let end = hour.saturating_add(1).saturating_mul(HOUR_US);
            end.saturating_add(lateness) <= passed
        };
        let hours: BTreeSet<i64> = commit
            .manifest
            .committed
            .open_hours
            .iter()
            .copied()
            .filter(ended)
            .collect();
        if hours.is_empty() {
            return Ok(());
        }
        let until = jiff::Timestamp::from_microsecond(passed).unwrap_or(jiff::Timestamp::MAX);
        let body = format!("{{\"until\":\"{until}\"}}\n");
        for hour in &hours {
            let put = self
                .store
                .put(&self.hour_path(*hour, MARKER), body.clone().into())
                .await;
            put.map_err(|error| self.failed("cannot write a marker", error))?;
        }
        commit
            .manifest
            .committed
            .open_hours
            .retain(|hour| !hours.contains(hour));
        Ok(())
    }

    /// Says that rows received before `until` have all been appended: for hours that end with their dataset. Commits
    /// what there is, and marks.
    ///
    /// Errors: as [`PlainFiles::flush`].
    pub async fn passed(&self, until: jiff::Timestamp) -> Result<()> {
        {
            let mut commit = self.commit.lock().await;
            commit.passed = commit.passed.max(Some(until.as_microsecond()));
        }
        self.flush().await
    }

    /// The progress of what is committed; `None` before the first.
    pub fn durable_progress(&self) -> Option<Progress> {
        self.state().durable.clone()
    }

    async fn delete_uncommitted(&self, committed: &Committed) -> Result<()> {
        let reached = committed.batches();
        let listed: Vec<_> = self
            .store
            .list(Some(&Path::from(self.name.as_str())))
            .try_collect()
            .await
            .map_err(|error| self.failed("cannot list the files", error))?;
        let orphans = listed
            .into_iter()
            .map(|file| file.location)
            .filter(|path| batches_before(path).is_some_and(|from| from >= reached));
        for path in orphans {
            tracing::info!(dataset = self.name, %path, "a file of a window that was not committed is deleted");
            match self.store.delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("cannot delete a file", error)),
            }
        }
        Ok(())
    }

    /// `<dataset>/YYYY/MM/DD/HH/<file>`.
    fn hour_path(&self, hour: i64, file: &str) -> Path {
        let label = hour_label(hour);
        let mut parts: Vec<&str> = label.rsplitn(4, '-').collect();
        parts.reverse();
        Path::from_iter([self.name.as_str()].into_iter().chain(parts).chain([file]))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no writer panics while it holds the lock")
    }

    fn failed(&self, what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::storage(what, &self.name, error)
    }
}

/// The batches before a progress.
fn batches(progress: &Progress) -> u64 {
    progress
        .0
        .values()
        .fold(0, |sum, offset| sum.saturating_add(*offset))
}

/// `from` of a file's name, if it is one of ours.
fn batches_before(path: &Path) -> Option<u64> {
    let (from, _) = path.filename()?.strip_prefix("part-")?.split_once('-')?;
    from.parse().ok()
}

/// Commits windows when they are due, until the files are gone.
async fn run(files: Weak<PlainFiles>, wake: Arc<Notify>) {
    loop {
        let due = match files.upgrade() {
            Some(files) => files.state().due,
            None => return,
        };
        let far = Instant::now() + Duration::from_secs(3_600);
        tokio::select! {
            () = wake.notified() => continue,
            () = tokio::time::sleep_until(due.unwrap_or(far)) => {}
        }
        if due.is_some()
            && let Some(files) = files.upgrade()
        {
            // A failure is logged, and tried again when it is due.
            let _ = files.flush().await;
        }
    }
}

impl Drop for PlainFiles {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

/// `write` is [`PlainFiles::append`].
#[async_trait]
impl flow::Sink<RecordBatch> for PlainFiles {
    /// Commits the window that is open, so that a job that starts again goes on after it.
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        self.flush().await?;
        Ok(self.durable_progress())
    }

    async fn write(
        &self,
        items: Vec<(flow::Timestamp, RecordBatch)>,
        progress: &Progress,
    ) -> flow::Result<()> {
        let rows = items.into_iter().map(|(_, batch)| batch).collect();
        Ok(self.append(rows, progress).await?)
    }
}
