//! One table: appends into the hot tail, versions for readers, flushes into the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use event::DatasetSchema;
use object_store::{ObjectStore, ObjectStoreExt};
use store::Progress;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::background::Urgency;
use crate::hot::HotBytes;
use crate::insert::Insert;
use crate::limits::{ENCODE_IDLE_TIME_MAX, PROGRESS_AGE_FACTOR, RETRY_WAIT_MAX, RETRY_WAIT_MIN};
use crate::log::{Change, Log, Settled, Snapshot, What};
use crate::maintenance::{MaintenanceOptions, Upkeep};
use crate::schema::to_delta;
use crate::tail::Tail;
use crate::{
    DataFile, Decision, Error, ErrorKind, InsertMode, InsertStatus, Observation, Result, TableSchema,
    TableStats, Version, encode,
};

/// When a hot tail becomes files, and when appends wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLimits {
    pub(crate) flush_bytes: usize,
    pub(crate) flush_age: Duration,
    pub(crate) hot_bytes_max: usize,
    pub(crate) maintenance: MaintenanceOptions,
}

/// What all tables of a warehouse share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) limits: TableLimits,
    /// Wakes the loop that flushes.
    pub(crate) wake: Arc<Notify>,
    pub(crate) hot: Arc<HotBytes>,
    pub(crate) insert: InsertMode,
}

/// When a table is to be flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(Instant),
    Never,
}

/// One table: hot tail and files. It has one writer at a time, the run of one job, and any number of readers.
#[derive(Debug)]
pub struct Table {
    name: String,
    columns: TableSchema,
    store: Arc<dyn ObjectStore>,
    pub(crate) shared: Shared,
    /// Locked before `log`, and for the length of one piece of maintenance: files are replaced by one at a time.
    pub(crate) replacing: tokio::sync::Mutex<()>,
    /// Locked before `state`, and for the length of a flush.
    pub(crate) log: tokio::sync::Mutex<Log>,
    state: Mutex<State>,
    version: watch::Sender<Arc<Version>>,
    window: watch::Sender<Option<Duration>>,
}

#[derive(Debug)]
pub(crate) struct State {
    tail: Tail,
    schema: SchemaRef,
    pub(crate) files: Arc<[DataFile]>,
    delta_version: u64,
    /// Of all that was taken.
    progress: Option<Progress>,
    /// Of what readers see: files and the hot tail without what gathers for a window.
    visible: Option<Progress>,
    /// Of the files.
    pub(crate) durable: Option<Progress>,
    pub(crate) upkeep: Upkeep,
    /// Since when `progress` is ahead of `durable`.
    ahead_since: Option<Instant>,
    flushes: u64,
    failures: u32,
    retry_at: Option<Instant>,
    flush_error: Option<String>,
    closed: bool,
    insert: Insert,
    /// The window is to end before its time.
    sealed: bool,
    rows_taken: u64,
    commit_time: Duration,
}

impl Table {
    pub(crate) fn new(
        name: &str,
        columns: TableSchema,
        (store, log): (Arc<dyn ObjectStore>, Log),
        snapshot: Snapshot,
        shared: Shared,
    ) -> Self {
        let state = State {
            tail: Tail::default(),
            schema: columns.now(),
            upkeep: Upkeep::new(&shared.limits.maintenance, &snapshot.files),
            files: snapshot.files.into(),
            delta_version: snapshot.version,
            progress: snapshot.progress.clone(),
            visible: snapshot.progress.clone(),
            durable: snapshot.progress,
            ahead_since: None,
            flushes: 0,
            failures: 0,
            retry_at: None,
            flush_error: None,
            closed: false,
            insert: Insert::new(shared.insert.clone()),
            sealed: false,
            rows_taken: 0,
            commit_time: Duration::ZERO,
        };
        let version = watch::Sender::new(Arc::new(state.version()));
        let window = watch::Sender::new(state.insert.window());
        let (log, state) = (tokio::sync::Mutex::new(log), Mutex::new(state));
        Self {
            name: name.to_owned(),
            columns,
            store,
            shared,
            replacing: tokio::sync::Mutex::new(()),
            log,
            state,
            version,
            window,
        }
    }

    /// A dataset's name, or `<dataset>$failed`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All columns now.
    pub fn schema(&self) -> SchemaRef {
        self.columns.now()
    }

    /// The schema that grows, if it is a dataset's table. Batches may have what it has, so grow it before an append.
    pub fn dataset_schema(&self) -> Option<Arc<DatasetSchema>> {
        match &self.columns {
            TableSchema::Dataset(schema) => Some(schema.clone()),
            TableSchema::Fixed(_) => None,
        }
    }

    /// What a query reads, at the cost of a pointer: it never waits for an append or a flush. Its schema is the one
    /// of the last append.
    pub fn version(&self) -> Arc<Version> {
        self.version.borrow().clone()
    }

    /// The version, and word of each new one.
    pub fn changes(&self) -> watch::Receiver<Arc<Version>> {
        self.version.subscribe()
    }

    /// Takes rows into the hot tail, and the progress they stand for; both are visible when it returns or, in
    /// micro-batches, when the window is committed. Waits while the tail is full, or has more than its share of
    /// [`crate::WarehouseOptions::hot_bytes_total_max`].
    ///
    /// Rows whose (non-empty) progress the table already has are a repetition and change nothing. Errors: `Conflict`
    /// if progress goes back in some part; `Invalid` if a batch has what the schema has not (then none is taken), or
    /// the warehouse is closed.
    pub async fn append(&self, rows: Vec<RecordBatch>, progress: &Progress) -> Result<()> {
        let empty = rows.iter().all(|batch| batch.num_rows() == 0);
        loop {
            let mut room = std::pin::pin!(self.shared.hot.room.notified());
            room.as_mut().enable();
            let (took, due) = {
                let mut state = self.state();
                let own = state.tail.bytes();
                let full = own > self.shared.limits.hot_bytes_max || !self.shared.hot.admits(own);
                let took = (empty || !full || state.closed).then(|| self.take(&mut state, &rows, progress));
                let bytes = state.tail.bytes();
                self.shared.hot.changed(own, bytes);
                let large = bytes >= self.shared.limits.flush_bytes || self.shared.hot.is_pressed();
                (took, large)
            };
            if due {
                self.shared.wake.notify_one();
            }
            match took {
                Some(result) => return result,
                None => room.await,
            }
        }
    }

    fn take(&self, state: &mut State, rows: &[RecordBatch], progress: &Progress) -> Result<()> {
        if state.closed {
            return Err(self.invalid("the warehouse is closed: open it again"));
        }
        let now = Instant::now();
        if !progress.0.is_empty()
            && let Some(current) = &state.progress
        {
            if current.covers(progress) {
                tracing::debug!(table = self.name, %progress, "rows that the table has already");
                return Ok(());
            }
            if !progress.covers(current) {
                let message = format_args!(
                    "progress goes back: read the table's progress and go on from there table={} has=[{current}] given=[{progress}]",
                    self.name
                );
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
        self.grow(state)?;
        let rows: Result<Vec<_>> = rows
            .iter()
            .map(|batch| Ok(event::conform(batch, &state.schema)?))
            .collect();
        let was_idle = state.ahead_since.is_none();
        let gathers = state.insert.window().is_some();
        for batch in rows? {
            state.rows_taken += batch.num_rows() as u64;
            if gathers {
                state.tail.gather(batch, now);
            } else {
                state.tail.push(batch, now)?;
            }
        }
        if !progress.0.is_empty() {
            state.progress = Some(progress.clone());
        }
        state.ahead_since.get_or_insert(now);
        if !state.tail.hides() {
            state.visible.clone_from(&state.progress);
            self.publish(state);
        }
        if was_idle || state.tail.due(Duration::ZERO) == Some(now) {
            // The loop has to learn of the new deadline.
            self.shared.wake.notify_one();
        }
        Ok(())
    }

    /// Takes over columns that have come since.
    fn grow(&self, state: &mut State) -> Result<()> {
        let schema = self.columns.now();
        if Arc::ptr_eq(&schema, &state.schema) || schema == state.schema {
            return Ok(());
        }
        to_delta(&schema)?;
        state.tail.grow(&schema)?;
        state.schema = schema;
        Ok(())
    }

    fn publish(&self, state: &State) {
        self.version.send_replace(Arc::new(state.version()));
    }

    /// The progress of the last Delta commit; `None` before the first with one.
    pub fn durable_progress(&self) -> Option<Progress> {
        self.state().durable.clone()
    }

    /// Writes the hot tail to files and commits them with their progress; at return they are on the disk. Does
    /// nothing if there is nothing new. One at a time per table; appends and reads go on meanwhile.
    ///
    /// If it fails the rows stay in the hot tail, and the loop tries again. Errors: `Retry` if storage does not
    /// answer; `Conflict` if another process has written to this table.
    pub async fn flush(&self) -> Result<()> {
        self.flush_as(Urgency::Soon).await
    }

    /// The same; with [`Urgency::Idle`] it takes what the processors have to spare, as long as nobody waits for it.
    pub(crate) async fn flush_as(&self, urgency: Urgency) -> Result<()> {
        let mut log = self.log.lock().await;
        let result = self.flush_into(&mut log, urgency).await;
        let mut state = self.state();
        match &result {
            Ok(()) => (state.failures, state.retry_at, state.flush_error) = (0, None, None),
            Err(error) => {
                let wait = RETRY_WAIT_MIN
                    .saturating_mul(1 << state.failures.min(16))
                    .min(RETRY_WAIT_MAX);
                tracing::warn!(table = self.name, %error, ?wait, "a flush failed, its rows stay in the hot tail");
                state.failures = state.failures.saturating_add(1);
                state.retry_at = Some(Instant::now() + wait);
                state.flush_error = Some(error.to_string());
            }
        }
        result
    }

    async fn flush_into(&self, log: &mut Log, urgency: Urgency) -> Result<()> {
        if log.pending.is_some() {
            self.settle(log).await?;
        }
        let Some(change) = self.freeze() else {
            return Ok(());
        };
        let start = Instant::now();
        let urgency = || match urgency {
            Urgency::Idle if start.elapsed() > ENCODE_IDLE_TIME_MAX || self.is_waited_for() => Urgency::Soon,
            urgency => urgency,
        };
        log.pending = Some(log.prepare(change, urgency).await?);
        self.settle(log).await?;
        self.state().commit_time = start.elapsed();
        Ok(())
    }

    /// Whether a flush that goes on holds somebody up, or is about to: rows that are not visible before it, or a tail that
    /// is half full.
    fn is_waited_for(&self) -> bool {
        let state = self.state();
        state.tail.hides()
            || state.closed
            || state.tail.bytes() > self.shared.limits.hot_bytes_max / 2
            || self.shared.hot.is_filling()
    }

    /// What there is to commit. Rows that an earlier flush had taken and not brought to a commit are taken again.
    fn freeze(&self) -> Option<Change> {
        let mut state = self.state();
        state.sealed = false;
        if state.tail.rows() == 0 && state.progress == state.durable {
            return None;
        }
        Some(Change {
            batches: state.tail.freeze(),
            schema: state.schema.clone(),
            before: state.durable.clone(),
            progress: state.progress.clone(),
        })
    }

    /// Brings the pending commit into the log, and swaps the rows or files of it for the files that stand for them.
    pub(crate) async fn settle(&self, log: &mut Log) -> Result<()> {
        let seen = self.state().delta_version;
        let Some(Settled { version, files }) = log.settle(seen).await? else {
            return Ok(());
        };
        let prepared = log.pending.take().expect("a commit that is settled was pending");
        {
            let mut state = self.state();
            let mut files = files.unwrap_or_else(|| {
                let kept = state.files.iter().filter(|file| !prepared.removed.contains(file));
                kept.cloned().chain(prepared.files.iter().cloned()).collect()
            });
            files.sort_by(|a, b| a.path.cmp(&b.path));
            let before = std::mem::replace(&mut state.files, files.into());
            state.delta_version = version;
            let hot_before = state.tail.bytes();
            state.settled(&prepared.what);
            self.shared.hot.changed(hot_before, state.tail.bytes());
            let files = state.files.clone();
            state.upkeep.swapped(&before, &files, &prepared);
            self.publish(&state);
        }
        self.shared.hot.room.notify_waiters();
        self.shared.wake.notify_one();
        log.checkpoint(version).await;
        Ok(())
    }

    /// Files (by path) and progress of an older Delta version. Reads the log. While the files are held (the `Arc`,
    /// not a copy) they are not vacuumed.
    ///
    /// Errors: `NotFound` if there is no such version, or the log no longer tells of it.
    pub async fn files_at(&self, delta_version: u64) -> Result<(Arc<[DataFile]>, Option<Progress>)> {
        let snapshot = Log::load_version(self.store.clone(), &self.name, delta_version).await?;
        let files: Arc<[DataFile]> = snapshot.files.into();
        self.state().upkeep.hold(&files);
        Ok((files, snapshot.progress))
    }

    /// The rows of one row group of a file, in batches of at most `rows_max`, with the columns of the table now;
    /// `None` if the file has no such group.
    ///
    /// Reads the whole file. Errors: `NotFound` if it has been vacuumed, `Retry` if it cannot be read, `Corrupt` if it
    /// is not Parquet.
    pub async fn read_row_group(
        &self,
        file: &DataFile,
        group: usize,
        rows_max: usize,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::storage(
                &format!("cannot read a file path={}", file.path),
                &self.name,
                error,
            )
        };
        let body = match self.store.get(&file.path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let body = body.map_err(|error| match error {
            object_store::Error::NotFound { .. } => self.vacuumed(&file.path),
            error => failed(error.into()),
        })?;
        let schema = self.schema();
        let rows =
            tokio::task::spawn_blocking(move || encode::decode_row_group(body, group, rows_max, &schema));
        rows.await.map_err(|error| failed(error.into()))?
    }

    /// Where the files are: [`DataFile::path`] is a path in it. One store for all tables of a warehouse.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// Counts.
    pub fn stats(&self) -> TableStats {
        let state = self.state();
        TableStats {
            rows_taken: state.rows_taken,
            commit_time: state.commit_time,
            hot_rows: state.tail.rows(),
            hot_bytes: state.tail.bytes() as u64,
            file_rows: state.files.iter().map(|file| file.rows).sum(),
            files: state.files.len() as u64,
            file_bytes: state.files.iter().map(|file| file.bytes).sum(),
            flushes: state.flushes,
            flush_error: state.flush_error.clone(),
            maintenance: state.upkeep.stats.clone(),
        }
    }

    /// When the loop is to flush this table.
    pub(crate) fn due(&self, now: Instant) -> Due {
        let state = self.state();
        let limits = &self.shared.limits;
        let by_age = state.tail.due(state.insert.window().unwrap_or(limits.flush_age));
        // Progress without rows is worth a commit only rarely.
        let age = limits.flush_age.saturating_mul(PROGRESS_AGE_FACTOR);
        let by_progress = state.ahead_since.and_then(|since| since.checked_add(age));
        let at = match (state.retry_at, by_age, by_progress) {
            (Some(retry), _, _) => retry,
            _ if state.tail.bytes() >= limits.flush_bytes || state.sealed => now,
            (None, Some(age), _) => age,
            (None, None, Some(progress)) => progress,
            (None, None, None) => return Due::Never,
        };
        if at <= now { Due::Now } else { Due::At(at) }
    }

    /// The bytes that a flush before its time would free; 0 while one that failed waits.
    pub(crate) fn freeable(&self, now: Instant) -> usize {
        let state = self.state();
        let waits = state.retry_at.is_some_and(|at| at > now);
        if waits { 0 } else { state.tail.bytes() }
    }

    /// How rows get in now, and why.
    pub fn insert_status(&self) -> InsertStatus {
        self.state().insert.status().clone()
    }

    /// The window of micro-batches, `None` while streaming; and word of each change.
    pub fn insert_window(&self) -> watch::Receiver<Option<Duration>> {
        self.window.subscribe()
    }

    /// From now on rows get in like this. Rows that have gathered are shown when it is `Streaming`; the window of those
    /// that are there is the new one.
    pub fn set_insert_mode(&self, mode: InsertMode) {
        let mut state = self.state();
        if state.insert.status().mode != mode {
            state.insert = Insert::new(mode);
            self.insert_changed(&mut state);
        }
    }

    /// Lets `auto` decide on what was observed; does nothing in the other modes. A change is logged with its reason and
    /// returned.
    pub fn steer(&self, observation: &Observation) -> Option<Decision> {
        let mut state = self.state();
        let decision = state.insert.steer(observation)?;
        tracing::info!(table = self.name, window = ?decision.window, reason = decision.reason, "auto changes how rows get in");
        self.insert_changed(&mut state);
        Some(decision)
    }

    fn insert_changed(&self, state: &mut State) {
        let window = state.insert.window();
        if window.is_none() && state.tail.hides() {
            state.tail.reveal();
            state.show();
            self.publish(state);
        }
        self.window.send_replace(window);
        self.shared.wake.notify_one();
    }

    /// Ends the window of micro-batches: what has gathered is committed as soon as it can be.
    pub fn seal(&self) {
        let mut state = self.state();
        state.sealed = state.tail.hides();
        if state.sealed {
            self.shared.wake.notify_one();
        }
    }

    /// Refuses appends from now on.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.shared.hot.room.notify_waiters();
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no writer panics while it holds the lock")
    }

    /// What a reader of a file that is no longer there is told.
    fn vacuumed(&self, path: &object_store::path::Path) -> Error {
        let message = format_args!(
            "a file has been removed from the table and vacuumed: read the table again from its first row, and raise \
             `vacuum_after` if readers take longer table={} path={path}",
            self.name
        );
        Error::new(ErrorKind::NotFound, message)
    }

    fn invalid(&self, message: &str) -> Error {
        Error::new(ErrorKind::Invalid, format_args!("{message} table={}", self.name))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.shared.hot.changed(state.tail.bytes(), 0);
        self.shared.hot.room.notify_waiters();
    }
}

impl State {
    /// Rows of the commit are no longer hot.
    fn settled(&mut self, what: &What) {
        let What::Append { progress, .. } = what else {
            return;
        };
        self.durable = progress.clone();
        self.tail.drop_frozen();
        self.show();
        self.flushes += 1;
        let ahead = self.progress != self.durable || self.tail.rows() > 0;
        self.ahead_since = ahead.then(Instant::now);
    }

    /// Brings `visible` to what files and the tail show. Rows that are hidden are the last ones, so what a commit holds
    /// is behind all that was shown, or the other way round.
    fn show(&mut self) {
        if !self.tail.hides() {
            self.visible.clone_from(&self.progress);
        } else if let Some(durable) = &self.durable
            && self
                .visible
                .as_ref()
                .is_none_or(|visible| durable.covers(visible))
        {
            self.visible = Some(durable.clone());
        }
    }

    fn version(&self) -> Version {
        Version {
            schema: self.schema.clone(),
            delta_version: self.delta_version,
            progress: self.visible.clone().unwrap_or_default(),
            durable: self.durable.clone(),
            files: self.files.clone(),
            hot: self.tail.batches(),
            hot_times: self.tail.times(),
        }
    }
}

/// `write` is [`Table::append`].
#[async_trait]
impl flow::Sink<RecordBatch> for Table {
    /// Flushes, so that a job that starts again in the same process goes on from all that the table has: rows in the
    /// hot tail are neither lost nor given twice.
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
