//! Deleting rows: those that match a predicate, and whole hours that are too old.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use store::Progress;

use crate::encode::{HOUR_US, hour_of};
use crate::log::What;
use crate::rewrite::Test;
use crate::{DataFile, Error, ErrorKind, Result, Table};

/// Which rows [`Table::delete`] looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Files whose rows are all outside of it are not read: `eventTime` (`eventReceivedTime` where there is none), µs
    /// since 1970. It only prunes: rows of files that are read are tested whatever their time. Default: all of time.
    pub event_time: RangeInclusive<i64>,
    /// What the log keeps as the predicate of the commit, for people; it should not hold what is to be forgotten.
    pub reason: String,
}

impl DeleteOptions {
    /// Rows of any time.
    pub fn new(reason: impl Into<String>) -> Self {
        Self {
            event_time: i64::MIN..=i64::MAX,
            reason: reason.into(),
        }
    }
}

/// What a deletion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Rows that are gone.
    pub rows: u64,
    /// Files that were replaced by ones without the rows, or removed where no row was left.
    pub files: u64,
    /// Bytes of the files that were written in their place.
    pub bytes_rewritten: u64,
    /// The table's progress that the deletion looked at. Events before it never come back; the queue holds them until
    /// its own retention lets go of them, and later ones may bring rows that match.
    pub progress: Option<Progress>,
}

impl Table {
    /// Deletes the rows for which `matches` gives true (one value a row; null does not match), hot and cold, of all
    /// that was appended before the call. A query sees all of them or none, and so does a crash.
    ///
    /// The hot tail is flushed first. Files are read once each, those with a match a second time, and replaced in one
    /// commit; appends, flushes and queries go on. Memory as [`Table::compact`], disk: the touched files a second
    /// time. `matches` must give the same row the same answer each time; it sees the columns of the table now.
    ///
    /// The bytes are gone when the replaced files are vacuumed: after `vacuum_after`, or at once with
    /// [`crate::Vacuum::Now`]. The queue, rejects and sums that jobs have made still hold the events.
    ///
    /// Errors, after which it can be called again: `Retry` if storage does not answer; `Conflict` if another process
    /// has written to this table; `Corrupt` if a file is not what was written; `Invalid` from `matches`.
    ///
    /// ```no_run
    /// # async fn forget(table: &warehouse::Table) -> warehouse::Result<()> {
    /// use arrow::array::{AsArray, BooleanArray};
    /// let deleted = table
    ///     .delete(warehouse::DeleteOptions::new("request 17"), |rows| {
    ///         let users = rows.column_by_name("user").expect("the table has users").as_string_view();
    ///         Ok(users.iter().map(|user| Some(user == Some("ada"))).collect::<BooleanArray>())
    ///     })
    ///     .await?;
    /// let gone = table.vacuum(warehouse::Vacuum::Now).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn delete<F>(&self, options: DeleteOptions, matches: F) -> Result<Deleted>
    where
        F: Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync + 'static,
    {
        let _one_at_a_time = self.replacing.lock().await;
        self.flush().await?;
        let (files, progress) = {
            let state = self.state();
            (state.files.clone(), state.durable.clone())
        };
        let test = Test {
            matches: Arc::new(matches),
            schema: self.schema(),
        };
        let (from, to) = (*options.event_time.start(), *options.event_time.end());
        let within = |file: &&DataFile| file.event_time.0 <= to && file.event_time.1 >= from;
        let mut deleted = Deleted {
            progress,
            ..Deleted::default()
        };
        let (mut removed, mut written) = (Vec::new(), Vec::new());
        for file in files.iter().filter(within) {
            let rows = self.count(file.clone(), test.clone()).await?;
            if rows == 0 {
                continue;
            }
            if rows < file.rows {
                let new = self
                    .rewrite(std::slice::from_ref(file), Some(test.clone()))
                    .await?;
                let (new, action) = new
                    .filter(|(new, _)| new.rows + rows == file.rows)
                    .ok_or_else(|| self.unsteady(file))?;
                deleted.bytes_rewritten += new.bytes;
                written.push((new, action));
            }
            deleted.rows += rows;
            removed.push(file.clone());
        }
        deleted.files = removed.len() as u64;
        if !removed.is_empty() {
            let what = What::Delete {
                reason: options.reason,
            };
            self.replace(what, removed, written).await?;
        }
        Ok(deleted)
    }

    /// Drops every hour of files that ended longer ago than `age`, in one commit. Hot rows stay: late ones go at the
    /// first call after they were flushed. The loop calls it, see [`crate::MaintenanceOptions::retention`].
    ///
    /// Errors: as [`Table::delete`].
    pub async fn expire(&self, age: Duration) -> Result<Deleted> {
        let _one_at_a_time = self.replacing.lock().await;
        let files = self.begin_replacing().await?;
        let now = jiff::Timestamp::now().as_microsecond();
        let removed: Vec<DataFile> = expired(&files, now, age).cloned().collect();
        let deleted = Deleted {
            rows: removed.iter().map(|file| file.rows).sum(),
            files: removed.len() as u64,
            bytes_rewritten: 0,
            progress: self.durable_progress(),
        };
        if !removed.is_empty() {
            let what = What::Delete {
                reason: format!("hours that ended more than {age:?} ago"),
            };
            self.replace(what, removed, Vec::new()).await?;
        }
        Ok(deleted)
    }

    fn unsteady(&self, file: &DataFile) -> Error {
        let message = format_args!(
            "a predicate must give a row the same answer each time, nothing was deleted table={} path={}",
            self.name(),
            file.path
        );
        Error::new(ErrorKind::Invalid, message)
    }
}

/// The files of hours that ended `age` before `now` (µs) or earlier. An hour that cannot be read stays.
fn expired(files: &[DataFile], now: i64, age: Duration) -> impl Iterator<Item = &DataFile> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    // Hours before this one had ended.
    let hour_min = now.saturating_sub(age).div_euclid(HOUR_US);
    files
        .iter()
        .filter(move |file| hour_of(&file.hour).is_some_and(|hour| hour < hour_min))
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;

    use super::*;

    #[test]
    fn whole_hours_expire() {
        let file = |hour: &str| DataFile {
            path: Path::from(hour),
            bytes: 1,
            rows: 1,
            hour: hour.to_owned(),
            event_time: (0, 0),
            received_time: (0, 0),
        };
        let files = [
            "-0001-12-31-23",
            "1969-12-31-23",
            "1970-01-01-00",
            "1970-01-01-01",
            "1970-01-01-02",
            "294247-01-10-04",
            "",
            "no hour",
        ]
        .map(file);
        let check = |now: i64, age: u64, expected: &[&str]| {
            let found: Vec<&str> = expired(&files, now, Duration::from_secs(age))
                .map(|file| file.hour.as_str())
                .collect();
            assert_eq!(found, expected, "now={now} age={age}");
        };
        let old = ["-0001-12-31-23", "1969-12-31-23"];
        check(0, 0, &old);
        check(0, 1, &old[..1]);
        check(HOUR_US - 1, 0, &old);
        check(HOUR_US, 0, &[old[0], old[1], "1970-01-01-00"]);
        check(3 * HOUR_US - 1, 3_600, &[old[0], old[1], "1970-01-01-00"]);
        check(
            3 * HOUR_US,
            3_600,
            &[old[0], old[1], "1970-01-01-00", "1970-01-01-01"],
        );
        check(HOUR_US, u64::MAX, &[]);
    }
}
