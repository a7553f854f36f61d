//! A dataset's rows from the first to the live ones.
//!
//! The seam is exact because both sides are cut at one place: a Delta version `v` holds the rows of every batch
//! before the progress `p` committed with it, and the queue is read from `p` on. A position names both: the part
//! `history@v` counts what has been read of the files of `v`, the other parts are the queue's partitions.
//!
//! What the queue deletes is in the files, but a position says nothing of the files that came after `v`: a position
//! whose offsets are deleted is `NotFound`, never a gap. While a stream is open its offsets are not deleted.
//!
//! Files of `v` that were compacted since, or held rows that were deleted, stay while a stream reads them, and
//! `vacuum_after` longer for one that comes back. A position whose files were vacuumed is `NotFound` too. A stream that
//! began before a deletion still gives the rows that were deleted.
//!
//! Batches from the queue go through the dataset's chain here too, each through the one that its rows in the table went
//! through; but a position of an earlier process may name batches that went through a chain which is not known any more.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use event::wire::Position;
use flow::Source;
use store::Progress;
use warehouse::{DataFile, Table};

use crate::chain::Chains;
use crate::limits::{STREAM_BATCH_ROWS_MAX, STREAM_READ_BYTES_MAX};
use crate::readers::Reader;
use crate::{Error, ErrorKind, QueueSource, Result};

const HISTORY: &str = "history@";
/// Offset of a history that has been read to its end; as a signed number it is positive too.
const HISTORY_DONE: u64 = i64::MAX as u64;

/// Reads a dataset's rows slice by slice; each slice comes with the position to go on from after it.
pub struct DatasetStream {
    table: Arc<Table>,
    source: QueueSource,
    chains: Arc<Chains>,
    position: Progress,
    until: Option<Progress>,
    history: Option<History>,
    reader: Reader,
}

/// The files of one Delta version, in a fixed order, and the rows of the row group being sent.
struct History {
    part: String,
    /// While they are held the table keeps them, whatever was merged or deleted since.
    files: Arc<[DataFile]>,
}

impl DatasetStream {
    /// A stream from `from` on, or from the first row there is, to exactly `until`. Without `until` it goes on as
    /// rows come if `follow`, else it ends where the dataset ends now. `reader` was begun before the call.
    ///
    /// # Errors
    /// `Invalid` when the position is not one that a stream of this dataset gave.
    pub(crate) async fn open(
        (source, reader): (QueueSource, Reader),
        (table, chains): (Arc<Table>, Arc<Chains>),
        (from, until): (Option<Position>, Option<Position>),
        follow: bool,
    ) -> Result<Self> {
        let position = match from {
            Some(position) => Progress(position),
            None => first_position(&table),
        };
        let until = match until {
            Some(until) => Some(Progress(until)),
            None => (!follow).then(|| end(&source, &position)),
        };
        reader.stands_at(&position);
        let history = History::of(&table, &position).await?;
        Ok(Self {
            table,
            source,
            chains,
            position,
            until,
            history,
            reader,
        })
    }

    /// The columns that rows have now.
    pub fn schema(&self) -> SchemaRef {
        self.table.schema()
    }

    /// The next slice: rows (perhaps of several batches), and the position after it. `None` at the end.
    ///
    /// # Errors
    /// `NotFound` when the queue has deleted what comes next; `Retry` when files or queue cannot be read; `Corrupt`
    /// when they are not what was written.
    pub async fn next(&mut self) -> Result<Option<(Vec<RecordBatch>, Position)>> {
        // What was given before is the caller's now.
        self.reader.stands_at(&self.position);
        if let Some(history) = &self.history {
            let offset = self.position.of(&history.part);
            if self
                .until
                .as_ref()
                .is_some_and(|until| offset >= until.of(&history.part))
            {
                return Ok(None);
            }
            let (file, group) = ((offset >> 32) as usize, (offset & u64::from(u32::MAX)) as usize);
            let Some(file) = history.files.get(file) else {
                self.position.advance(&history.part, HISTORY_DONE);
                self.history = None;
                return Ok(Some((Vec::new(), self.position.0.clone())));
            };
            let rows = self
                .table
                .read_row_group(file, group, STREAM_BATCH_ROWS_MAX)
                .await?;
            let next = if rows.is_some() {
                offset + 1
            } else {
                ((offset >> 32) + 1) << 32
            };
            self.position.advance(&history.part, next);
            return Ok(Some((rows.unwrap_or_default(), self.position.0.clone())));
        }
        let read = self
            .source
            .read(&self.position, self.until.as_ref(), STREAM_READ_BYTES_MAX)
            .await
            .map_err(|error| self.deleted(error))?;
        let Some(slices) = read else { return Ok(None) };
        let mut rows = Vec::new();
        for slice in slices {
            for (_, record) in slice.items {
                rows.extend(self.chains.begin(record).finish().0);
            }
            self.position.advance(&slice.part, slice.next);
        }
        let schema = self.table.schema();
        let rows = rows
            .iter()
            .filter(|rows| rows.num_rows() > 0)
            .map(|rows| event::conform(rows, &schema).map_err(|error| Error::new(ErrorKind::Corrupt, error)))
            .collect::<Result<Vec<_>>>()?;
        Ok(Some((rows, self.position.0.clone())))
    }

    /// Says what to do about a position that is too old.
    fn deleted(&self, error: flow::Error) -> Error {
        if error.kind() != flow::ErrorKind::NotFound {
            return error.into();
        }
        let text = format_args!(
            "the queue no longer has what follows this position: read again from the first row, into an empty \
             store if it is a job, and keep more than a reader stands still ({error}) position=[{}]",
            self.position
        );
        Error::new(ErrorKind::NotFound, text)
    }
}

/// Where the dataset ends now: all of the position's history and every batch kept.
fn end(source: &QueueSource, position: &Progress) -> Progress {
    let mut end = source.end();
    for part in position.0.keys().filter(|part| part.starts_with(HISTORY)) {
        end.advance(part, HISTORY_DONE);
    }
    end
}

/// The files of the newest Delta version, and the queue from its progress on. A version may have progress and no
/// files, when no event was good: the queue need not have those batches either.
fn first_position(table: &Table) -> Progress {
    let version = table.version();
    let mut position = version.durable.clone().unwrap_or_default();
    if !version.files.is_empty() && !position.0.is_empty() {
        position.advance(&format!("{HISTORY}{}", version.delta_version), 0);
    }
    position
}

impl History {
    /// The history that a position has not come to the end of.
    async fn of(table: &Table, position: &Progress) -> Result<Option<Self>> {
        let Some((part, offset)) = position.0.iter().find(|(part, _)| part.starts_with(HISTORY)) else {
            return Ok(None);
        };
        if *offset >= HISTORY_DONE {
            return Ok(None);
        }
        let version = part[HISTORY.len()..].parse().map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                format_args!("not a position of this dataset's stream part={part:?}"),
            )
        })?;
        let (files, _) = table.files_at(version).await?;
        Ok(Some(Self {
            part: part.clone(),
            files,
        }))
    }
}
