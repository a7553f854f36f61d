//! What is done to a table's files over its life, and when: settings, the loop's decision, and the commit that puts
//! files in the place of others.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use deltalake_core::kernel::Action;
use object_store::path::Path;
use tokio::time::Instant;

use crate::limits::{RETRY_WAIT_MAX, RETRY_WAIT_MIN, VACUUM_AFTER_MAX};
use crate::log::{Prepared, What};
use crate::table::Due;
use crate::vacuum::Vacuum;
use crate::{DataFile, Error, ErrorKind, MaintenanceStats, Result, Table, compact};

/// When small files are merged, files that nobody needs deleted, and rows dropped for their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceOptions {
    /// How often the loop drops what is too old and vacuums; it compacts as soon as there is something to. `None`:
    /// nothing of it runs by itself. Default 10 min.
    pub every: Option<Duration>,
    /// Neighbours of an hour that are merged into one, at least; fewer than 2 stands for never. Default 8.
    pub compact_files: usize,
    /// A merged file has at most so many bytes, and one of half of it or more is never merged again. Default 128 MiB.
    pub compact_bytes: u64,
    /// Files are kept so long after they were removed from the table: for queries, streams and other engines that
    /// read an older version. At most a week. Default 1 h.
    pub vacuum_after: Duration,
    /// Commits of the log older than this are deleted where a checkpoint replaces them. Default 1 day.
    pub log_retention: Duration,
    /// Whole hours of event time that ended longer ago than this are dropped; `None` keeps every row. A table may have
    /// its own: [`Table::set_retention`]. Default `None`.
    pub retention: Option<Duration>,
}

impl Default for MaintenanceOptions {
    fn default() -> Self {
        Self {
            every: Some(Duration::from_secs(600)),
            compact_files: 8,
            compact_bytes: 128 << 20,
            vacuum_after: Duration::from_secs(3_600),
            log_retention: Duration::from_secs(24 * 3_600),
            retention: None,
        }
    }
}

impl MaintenanceOptions {
    /// These, if they are within the limits.
    pub(crate) fn checked(self) -> Result<Self> {
        let refused = |text: String| Err(Error::new(ErrorKind::Invalid, text));
        if self.vacuum_after > VACUUM_AFTER_MAX {
            return refused(format!(
                "the log forgets removed files after a week: set a shorter time vacuum_after={:?}",
                self.vacuum_after
            ));
        }
        if self.compact_bytes < 2 {
            return refused(
                "a merged file needs room: set a size such as 128 MiB compact_bytes=0".to_owned(),
            );
        }
        if self.every.is_some_and(|every| every.is_zero()) {
            return refused("a loop without a pause does nothing else: set a time every=0".to_owned());
        }
        Ok(self)
    }
}

/// A table's maintenance: what is due, who holds files, what was counted.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) options: MaintenanceOptions,
    pub(crate) stats: MaintenanceStats,
    /// Lists of files that readers may still hold, without the newest.
    held: Vec<Weak<[DataFile]>>,
    /// Whether there are files to merge.
    compact: bool,
    /// Hours whose files cannot be merged; tried again after a restart.
    pub(crate) broken: BTreeSet<String>,
    round_at: Option<Instant>,
    failures: u32,
    retry_at: Option<Instant>,
}

impl Upkeep {
    pub(crate) fn new(options: &MaintenanceOptions, files: &[DataFile]) -> Self {
        let mut upkeep = Self {
            options: *options,
            stats: MaintenanceStats::default(),
            held: Vec::new(),
            compact: false,
            broken: BTreeSet::new(),
            round_at: None,
            failures: 0,
            retry_at: None,
        };
        upkeep.look(files);
        upkeep.next_round();
        upkeep
    }

    /// Notes that the table has other files than before.
    pub(crate) fn swapped(&mut self, before: &Arc<[DataFile]>, now: &[DataFile], commit: &Prepared) {
        self.hold(before);
        self.look(now);
        let rows = |files: &[DataFile]| files.iter().map(|file| file.rows).sum::<u64>();
        match commit.what {
            What::Append { .. } => return,
            What::Compact => self.stats.compactions += 1,
            What::Delete { .. } => {
                self.stats.rows_deleted += rows(&commit.removed).saturating_sub(rows(&commit.files));
            }
        }
        self.stats.files_removed += commit.removed.len() as u64;
        self.stats.bytes_rewritten += commit.files.iter().map(|file| file.bytes).sum::<u64>();
    }

    /// Whether there is something to merge.
    fn look(&mut self, files: &[DataFile]) {
        self.compact =
            self.options.every.is_some() && compact::next(files, &self.options, &self.broken).is_some();
    }

    /// Notes that there is nothing to merge in the files as they are.
    pub(crate) fn nothing_to_merge(&mut self) {
        self.compact = false;
    }

    /// Files that must stay while somebody holds the list.
    pub(crate) fn hold(&mut self, files: &Arc<[DataFile]>) {
        self.held.retain(|held| held.strong_count() > 0);
        self.held.push(Arc::downgrade(files));
    }

    /// The files of older versions that somebody holds.
    pub(crate) fn held(&self) -> BTreeSet<Path> {
        let held = self.held.iter().filter_map(Weak::upgrade);
        held.flat_map(|files| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>())
            .collect()
    }

    pub(crate) fn due(&self, now: Instant) -> Due {
        let at = match (self.retry_at, self.round_at) {
            (Some(retry), _) => retry,
            (None, _) if self.compact => now,
            (None, Some(round)) => round,
            (None, None) => return Due::Never,
        };
        if at <= now { Due::Now } else { Due::At(at) }
    }

    fn next_round(&mut self) {
        self.round_at = self
            .options
            .every
            .and_then(|every| Instant::now().checked_add(every));
    }

    fn ended(&mut self, result: &Result<()>) {
        let Err(error) = result else {
            (self.failures, self.retry_at, self.stats.error) = (0, None, None);
            return;
        };
        let wait = RETRY_WAIT_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(RETRY_WAIT_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(Instant::now() + wait);
        self.stats.error = Some(error.to_string());
    }
}

impl Table {
    /// How long this table keeps rows, instead of the warehouse's [`MaintenanceOptions::retention`]. Rows are dropped
    /// at the loop's next round.
    pub fn set_retention(&self, retention: Option<Duration>) {
        self.state().upkeep.options.retention = retention;
    }

    /// When the loop is to see to this table's files.
    pub(crate) fn maintenance_due(&self, now: Instant) -> Due {
        self.state().upkeep.due(now)
    }

    /// One piece of what is due: one compaction, and, when it is time for it, what is too old is dropped before it
    /// and what nobody needs deleted after it.
    pub(crate) async fn maintain(&self) {
        let result = self.maintain_once().await;
        if let Err(error) = &result {
            tracing::warn!(table = self.name(), %error, "maintenance failed, it is tried again");
        }
        self.state().upkeep.ended(&result);
    }

    async fn maintain_once(&self) -> Result<()> {
        let (round, retention) = {
            let state = self.state();
            let round = state.upkeep.round_at.is_some_and(|at| at <= Instant::now());
            (round, state.upkeep.options.retention)
        };
        if round && let Some(age) = retention {
            self.expire(age).await?;
        }
        let compacted = self.compact_once().await;
        if round {
            // Files that cannot be merged do not keep others from being deleted.
            self.vacuum(Vacuum::Due).await?;
            self.state().upkeep.next_round();
        }
        compacted.map(drop)
    }

    /// Learns what became of an earlier commit before anything is read that it may change. Called with `replacing`
    /// held; gives the files that the table has then.
    pub(crate) async fn begin_replacing(&self) -> Result<Arc<[DataFile]>> {
        let mut log = self.log.lock().await;
        if log.pending.is_some() {
            self.settle(&mut log).await?;
        }
        Ok(self.state().files.clone())
    }

    /// Puts files in the place of others with one commit and one swap of the version. Called with `replacing` held.
    /// After an error the table is as it was, or the commit is in the log all the same and the next flush or piece of
    /// maintenance learns of it.
    pub(crate) async fn replace(
        &self,
        what: What,
        removed: Vec<DataFile>,
        files: Vec<(DataFile, Action)>,
    ) -> Result<()> {
        let mut log = self.log.lock().await;
        if log.pending.is_some() {
            self.settle(&mut log).await?;
        }
        let (before, files_now) = {
            let state = self.state();
            (state.durable.clone(), state.files.clone())
        };
        if !removed.iter().all(|file| files_now.contains(file)) {
            // Settling has found a commit of somebody else.
            let message = format_args!(
                "files to replace are gone, another writer has committed: stop one of them table={}",
                self.name()
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        log.pending = Some(Prepared::replace(what, before, removed, files));
        self.settle(&mut log).await
    }
}
