//! Deleting from storage what no reader needs: files that were removed from the table, orphans of uploads that came to
//! no commit, and commits of the log behind a checkpoint.
//!
//! A file stays while one of these holds: the table has it; a pending commit names it; a reader in this process holds
//! the list it is in (a [`crate::Version`], or what [`Table::files_at`] gave); it was removed, or uploaded, less than
//! `vacuum_after` ago. The last is the limit for whoever cannot be counted: other engines, a stream that comes back with
//! a position.

use std::collections::{BTreeSet, HashMap};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::encode::HOUR_COLUMN;
use crate::{Error, Result, Table};

/// Which files [`Table::vacuum`] deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vacuum {
    /// Those that were removed from the table, or orphaned, at least `vacuum_after` ago.
    Due,
    /// Those too that were removed later, such as files with rows that a deletion is to have erased. Queries of other
    /// engines, and streams that come back with an older position, may find them gone: an error, never a gap.
    Now,
}

/// What a vacuum deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuumed {
    /// Files of rows.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were removed from the table and are still in storage, because a reader holds them or it is not time.
    pub left: u64,
    /// Commits and checkpoints of the log.
    pub log_entries: u64,
}

/// What decides on a file. Times are ms since 1970.
struct Needed {
    /// Files of the table and of a pending commit.
    live: BTreeSet<Path>,
    /// Files that a reader holds.
    held: BTreeSet<Path>,
    /// When files were removed.
    removed: HashMap<Path, i64>,
    /// Uploads before this that no commit names are orphans.
    orphan_before: i64,
    /// Removals before this are long enough ago.
    removed_before: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Needed,
    /// Removed from the table, and not yet to be deleted.
    Left,
    Deleted,
}

impl Needed {
    fn fate(&self, path: &Path, uploaded: i64) -> Fate {
        if self.live.contains(path) {
            return Fate::Needed;
        }
        match self.removed.get(path) {
            Some(_) if self.held.contains(path) => Fate::Left,
            Some(at) if *at > self.removed_before => Fate::Left,
            Some(_) => Fate::Deleted,
            // The log may have forgotten that it had it.
            None if self.held.contains(path) || uploaded > self.orphan_before => Fate::Needed,
            None => Fate::Deleted,
        }
    }
}

impl Table {
    /// Deletes files that nobody needs. The loop does it by itself, see [`crate::MaintenanceOptions`].
    ///
    /// Lists the table's folder. Errors: `Retry` if storage does not answer; what was deleted until then is gone, and
    /// nothing that is needed ever is.
    pub async fn vacuum(&self, which: Vacuum) -> Result<Vacuumed> {
        // No compaction or deletion has uploads on their way meanwhile; those of a flush are made with `log` held.
        let _one_at_a_time = self.replacing.lock().await;
        let options = self.state().upkeep.options;
        let now = jiff::Timestamp::now().as_millisecond();
        let before =
            |age: std::time::Duration| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        let mut needed = {
            let mut log = self.log.lock().await;
            if log.pending.is_some() {
                self.settle(&mut log).await?;
            }
            let pending = log.pending.iter().flat_map(|pending| &pending.files);
            let live = pending.map(|file| file.path.clone()).collect();
            let removed = log.tombstones().await?;
            Needed {
                live,
                held: BTreeSet::new(),
                removed,
                orphan_before: before(options.vacuum_after),
                removed_before: match which {
                    Vacuum::Due => before(options.vacuum_after),
                    Vacuum::Now => i64::MAX,
                },
            }
        };
        let listed = self.listed(&format!("{}/", self.name())).await?;
        {
            // After the list: what was flushed since is not in it or is in the table.
            let state = self.state();
            needed
                .live
                .extend(state.files.iter().map(|file| file.path.clone()));
            needed.held = state.upkeep.held();
        }
        let mut vacuumed = Vacuumed::default();
        let mut doomed = Vec::new();
        for object in listed.iter().filter(|object| self.is_data(&object.location)) {
            match needed.fate(&object.location, object.last_modified.timestamp_millis()) {
                Fate::Needed => {}
                Fate::Left => vacuumed.left += 1,
                Fate::Deleted => {
                    vacuumed.files += 1;
                    vacuumed.bytes += object.size;
                    doomed.push(object.location.clone());
                }
            }
        }
        self.remove(doomed).await?;
        {
            let stats = &mut self.state().upkeep.stats;
            stats.files_vacuumed += vacuumed.files;
            stats.bytes_vacuumed += vacuumed.bytes;
        }
        let entries = self.listed(&format!("{}/_delta_log/", self.name())).await?;
        let expired = expired_entries(&entries, before(options.log_retention.max(options.vacuum_after)));
        vacuumed.log_entries = expired.len() as u64;
        self.remove(expired).await?;
        Ok(vacuumed)
    }

    /// Whether a path is one of a file of rows; whatever else lies in the folder is left alone.
    fn is_data(&self, path: &Path) -> bool {
        let below = path.as_ref().strip_prefix(self.name());
        below.is_some_and(|path| path.starts_with(&format!("/{HOUR_COLUMN}=")) && path.ends_with(".parquet"))
    }

    async fn listed(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let listed = self.store().list(Some(&Path::from(folder))).try_collect().await;
        listed.map_err(|error| Error::storage("cannot list the files", self.name(), error))
    }

    async fn remove(&self, paths: Vec<Path>) -> Result<()> {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut deleted = self.store().delete_stream(paths);
        while let Some(deleted) = deleted.next().await {
            match deleted {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(Error::storage("cannot delete a file", self.name(), error)),
            }
        }
        Ok(())
    }
}

/// Commits and checkpoints of versions before the newest checkpoint that was written before `before` (ms): every
/// version from that one on can still be read.
fn expired_entries(entries: &[ObjectMeta], before: i64) -> Vec<Path> {
    let versions = || {
        entries
            .iter()
            .filter_map(|entry| Some((version_of(entry)?, entry)))
    };
    let checkpoint = versions()
        .filter(|(_, entry)| entry.location.as_ref().ends_with(".checkpoint.parquet"))
        .filter(|(_, entry)| entry.last_modified.timestamp_millis() <= before)
        .map(|(version, _)| version)
        .max();
    let expired =
        versions().filter(|(version, _)| checkpoint.is_some_and(|checkpoint| *version < checkpoint));
    expired.map(|(_, entry)| entry.location.clone()).collect()
}

/// The version that a file of the log is of: its name is twenty digits, a dot and what it is.
fn version_of(entry: &ObjectMeta) -> Option<u64> {
    let (version, _) = entry.location.filename()?.split_once('.')?;
    (version.len() == 20).then(|| version.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn what_is_needed_stays() {
        let path = |name: &str| Path::from(name);
        let needed = Needed {
            live: [path("live"), path("live again")].into(),
            held: [path("held"), path("held orphan")].into(),
            removed: [("live again", 5), ("held", 5), ("long ago", 50), ("lately", 51)]
                .map(|(name, at)| (path(name), at))
                .into(),
            orphan_before: 50,
            removed_before: 50,
        };
        for (name, uploaded, expected) in [
            ("live", 0, Fate::Needed),
            ("live again", 0, Fate::Needed),
            ("held", 0, Fate::Left),
            ("long ago", 49, Fate::Deleted),
            ("lately", 0, Fate::Left),
            ("orphan", 50, Fate::Deleted),
            ("upload", 51, Fate::Needed),
            ("held orphan", 0, Fate::Needed),
        ] {
            assert_eq!(needed.fate(&path(name), uploaded), expected, "{name}");
        }
    }

    #[test]
    fn entries_behind_a_checkpoint_expire() {
        let entry = |version: u64, what: &str, at: i64| ObjectMeta {
            location: Path::from(format!("t/_delta_log/{version:020}.{what}")),
            last_modified: (UNIX_EPOCH + Duration::from_millis(at as u64)).into(),
            size: 1,
            e_tag: None,
            version: None,
        };
        let mut entries: Vec<ObjectMeta> = (0..130).map(|v| entry(v, "json", v as i64)).collect();
        entries.extend([50, 100].map(|v| entry(v, "checkpoint.parquet", v as i64)));
        entries.push(ObjectMeta {
            location: Path::from("t/_delta_log/_last_checkpoint"),
            ..entry(0, "json", 0)
        });
        for (before, expected) in [(49, 0), (50, 50), (99, 50), (100, 101), (1_000, 101)] {
            let expired = expired_entries(&entries, before);
            assert_eq!(expired.len(), expected, "before={before}");
            assert!(!expired.contains(&Path::from("t/_delta_log/_last_checkpoint")));
        }
    }
}
