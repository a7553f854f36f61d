//! Rows of files into one new file, without those that match, a batch at a time.
//!
//! Row groups of which every row stays are not decoded if they are large enough, see `concat.rs`.
//!
//! Memory: one row group of a source as it is stored, one row group of the new file twice, as it is encoded and as it is
//! sent ([`REWRITE_GROUP_BYTES_MAX`]; where groups are copied, the source's own), a batch of rows, and the parts of the upload
//! on their way.

use std::ops::Range;
use std::sync::{Arc, Weak};

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use deltalake_core::kernel::Action;
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::AsyncArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::{
    AsyncFileReader, ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use crate::background::{self, Urgency};
use crate::encode::{self, Ranges};
use crate::limits::{
    COPIED_GROUP_BYTES_MIN, REWRITE_BATCH_BYTES, REWRITE_BATCH_ROWS_MAX, REWRITE_GROUP_BYTES_MAX,
};
use crate::log::{self, DataChange};
use crate::upload::{self, Upload};
use crate::{DataFile, Error, ErrorKind, Result, Table, concat};

/// Which rows of a batch match.
pub(crate) type Matches = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync>;

/// What a row is tested with, and the columns that the test sees.
#[derive(Clone)]
pub(crate) struct Test {
    pub(crate) matches: Matches,
    pub(crate) schema: SchemaRef,
}

impl Test {
    /// One value a row, none of them null: a row of which it is not known does not match.
    fn of(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let found = (self.matches)(&event::conform(batch, &self.schema)?)?;
        if found.len() != batch.num_rows() {
            let message = format_args!(
                "a predicate gives one value a row rows={} values={}",
                batch.num_rows(),
                found.len()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok((0..found.len())
            .map(|row| Some(found.is_valid(row) && found.value(row)))
            .collect())
    }
}

/// One piece of work away from the threads that serve.
struct Work {
    table: String,
    store: Arc<dyn ObjectStore>,
    runtime: Handle,
    /// Gone when nobody waits for the work any more.
    wanted: Weak<()>,
}

impl Table {
    /// Writes the rows of neighbours into one file in their place, without those that match; `None` if no row is left.
    /// Nobody sees it before it is committed.
    pub(crate) async fn rewrite(
        &self,
        sources: &[DataFile],
        test: Option<Test>,
    ) -> Result<Option<(DataFile, Action)>> {
        let change = if test.is_some() {
            DataChange::Yes
        } else {
            DataChange::No
        };
        let schema = self.log.lock().await.schema()?;
        let (sources, columns) = (sources.to_vec(), schema.clone());
        // Whoever deletes rows waits for it.
        let urgency = if test.is_some() {
            Urgency::Soon
        } else {
            Urgency::Low
        };
        let written = self
            .away(urgency, move |work| async move {
                work.write(&sources, test, &columns).await
            })
            .await?;
        Ok(written.map(|file| {
            let action = log::add(self.name(), &file, &schema, change);
            (file, action)
        }))
    }

    /// How many rows of a file match.
    pub(crate) async fn count(&self, file: DataFile, test: Test) -> Result<u64> {
        self.away(Urgency::Soon, move |work| async move {
            work.count(&file, &test).await
        })
        .await
    }

    async fn away<T, F>(&self, urgency: Urgency, run: impl FnOnce(Work) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>>,
    {
        let waits = Arc::new(());
        let work = Work {
            table: self.name().to_owned(),
            store: self.store(),
            runtime: Handle::current(),
            wanted: Arc::downgrade(&waits),
        };
        let runtime = Handle::current();
        let result = background::run("rewrite", urgency, move || runtime.block_on(run(work))).await;
        drop(waits);
        result.map_err(|error| Error::storage("rewriting broke off", self.name(), error))?
    }
}

impl Work {
    async fn count(&self, file: &DataFile, test: &Test) -> Result<u64> {
        let mut count = 0;
        let mut rows = self.open(file).await?;
        while let Some(batch) = self.next(&mut rows, file).await? {
            count += test.of(&batch)?.true_count() as u64;
        }
        Ok(count)
    }

    async fn write(
        &self,
        sources: &[DataFile],
        test: Option<Test>,
        schema: &SchemaRef,
    ) -> Result<Option<DataFile>> {
        let path = place(&sources[0].path);
        let mut upload = Upload::new(self.store.clone(), path.clone(), self.runtime.clone());
        if test.is_none()
            && let Some(rows) = self.concat(sources, schema, &mut upload).await?
        {
            let ranges = Ranges {
                rows,
                ..ranges_of(sources)
            };
            return self.written(path, sources, ranges).await.map(Some);
        }
        let properties = encode::properties(schema)
            .set_max_row_group_bytes(Some(REWRITE_GROUP_BYTES_MAX))
            .build();
        let writer = AsyncArrowWriter::try_new(upload, schema.clone(), Some(properties));
        let mut writer = writer.map_err(|error| self.unwritten(error))?;
        let ranges = match self.pass(sources, test, schema, &mut writer).await {
            Ok(ranges) if ranges.rows > 0 => ranges,
            outcome => {
                // What was uploaded is let go of; the first error counts.
                writer.into_inner().abort().await;
                return outcome.map(|_| None);
            }
        };
        writer.finish().await.map_err(|error| self.unwritten(error))?;
        self.written(path, sources, ranges).await.map(Some)
    }

    /// What the log tells of a file that was written in the place of others.
    async fn written(&self, path: Path, sources: &[DataFile], ranges: Ranges) -> Result<DataFile> {
        let (store, at) = (self.store.clone(), path.clone());
        let there = upload::on(&self.runtime, async move { store.head(&at).await }).await;
        let there = there.map_err(|error| self.unwritten(error))?;
        Ok(DataFile {
            path,
            bytes: there.size,
            rows: ranges.rows,
            hour: sources[0].hour.clone(),
            event_time: ranges.event_time,
            received_time: ranges.received_time,
        })
    }

    /// Writes the row groups of files as they are encoded, if they fit; gives the rows.
    async fn concat(
        &self,
        files: &[DataFile],
        schema: &SchemaRef,
        upload: &mut Upload,
    ) -> Result<Option<u64>> {
        // Each has a row group at least, so their footers need not be read to know.
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        if bytes < files.len() as u64 * COPIED_GROUP_BYTES_MIN {
            return Ok(None);
        }
        let mut sources = Vec::with_capacity(files.len());
        for file in files {
            match concat::Source::open(self.reader(file), file.bytes).await {
                Ok(source) => sources.push(source),
                Err(error @ ParquetError::External(_)) => return Err(self.unread(file, error)),
                // Perhaps only what a copy needs cannot be read.
                Err(_) => return Ok(None),
            }
        }
        if !concat::fit(&sources, schema).map_err(|error| self.unwritten(error))? {
            return Ok(None);
        }
        let go_on = || self.wanted.strong_count() > 0;
        match concat::write(sources, schema, upload, go_on).await {
            Ok(rows) => Ok(Some(rows)),
            Err(failed) => {
                upload.abort().await;
                Err(match failed.of {
                    Some(source) => self.unread(&files[source], failed.error),
                    None => self.unwritten(failed.error),
                })
            }
        }
    }

    async fn pass(
        &self,
        sources: &[DataFile],
        test: Option<Test>,
        schema: &SchemaRef,
        writer: &mut AsyncArrowWriter<Upload>,
    ) -> Result<Ranges> {
        let mut ranges = Ranges::default();
        for source in sources {
            let mut rows = self.open(source).await?;
            while let Some(batch) = self.next(&mut rows, source).await? {
                let kept = match &test {
                    Some(test) => {
                        let keep = not(&test.of(&batch)?).map_err(Error::arrow)?;
                        filter_record_batch(&batch, &keep).map_err(Error::arrow)?
                    }
                    None => batch,
                };
                let kept = event::conform(&kept, schema)?;
                ranges.take(&kept, schema)?;
                writer.write(&kept).await.map_err(|error| self.unwritten(error))?;
            }
        }
        Ok(ranges)
    }

    async fn open(&self, file: &DataFile) -> Result<ParquetRecordBatchStream<Reader>> {
        let failed = |error| self.unread(file, error);
        let builder = ParquetRecordBatchStreamBuilder::new(self.reader(file))
            .await
            .map_err(failed)?;
        let groups = builder.metadata().row_groups();
        let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
        let row = usize::try_from(bytes).unwrap_or(0) / usize::try_from(file.rows).unwrap_or(1).max(1);
        let rows = (REWRITE_BATCH_BYTES / row.max(1)).clamp(1, REWRITE_BATCH_ROWS_MAX);
        builder.with_batch_size(rows).build().map_err(failed)
    }

    fn reader(&self, file: &DataFile) -> Reader {
        Reader {
            store: self.store.clone(),
            path: file.path.clone(),
            bytes: file.bytes,
            runtime: self.runtime.clone(),
        }
    }

    async fn next(
        &self,
        rows: &mut ParquetRecordBatchStream<Reader>,
        file: &DataFile,
    ) -> Result<Option<RecordBatch>> {
        if self.wanted.strong_count() == 0 {
            return Err(Error::new(
                ErrorKind::Retry,
                format_args!("nobody waits for it table={}", self.table),
            ));
        }
        rows.try_next().await.map_err(|error| self.unread(file, error))
    }

    fn unread(&self, file: &DataFile, error: ParquetError) -> Error {
        let (table, path) = (&self.table, &file.path);
        match error {
            ParquetError::External(error) => {
                Error::storage(&format!("cannot read a file path={path}"), table, error)
            }
            error => Error::new(
                ErrorKind::Corrupt,
                format_args!("a file is not as it was written: {error} table={table} path={path}"),
            )
            .with_source(error),
        }
    }

    fn unwritten(&self, error: ParquetError) -> Error {
        Error::storage("cannot write a file", &self.table, error)
    }
}

/// A file as Parquet's reader wants it: ranges of it are read when they are needed.
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    bytes: u64,
    runtime: Handle,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, ParquetError>> {
        let (store, path) = (self.store.clone(), self.path.clone());
        upload::on(&self.runtime, async move { store.get_range(&path, range).await }).boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, Result<Vec<Bytes>, ParquetError>> {
        let (store, path) = (self.store.clone(), self.path.clone());
        upload::on(
            &self.runtime,
            async move { store.get_ranges(&path, &ranges).await },
        )
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, Result<Arc<ParquetMetaData>, ParquetError>> {
        let bytes = self.bytes;
        let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
        async move { Ok(Arc::new(reader.load_and_finish(self, bytes).await?)) }.boxed()
    }
}

/// The ranges that the rows of files have together, as the log tells.
fn ranges_of(files: &[DataFile]) -> Ranges {
    files.iter().fold(Ranges::default(), |ranges, file| Ranges {
        rows: ranges.rows + file.rows,
        event_time: both(ranges.event_time, file.event_time),
        received_time: both(ranges.received_time, file.received_time),
    })
}

fn both(one: (i64, i64), other: (i64, i64)) -> (i64, i64) {
    (one.0.min(other.0), one.1.max(other.1))
}

/// A new path that sorts where a file is, before the next one: rows keep their order as files are read by path.
///
/// The first part of a name tells when its first row was written, `part-<UUIDv7>`; it stays, whatever the file was
/// merged with.
fn place(first: &Path) -> Path {
    const STEM: usize = "part-".len() + 36;
    let path = first.as_ref();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let name = name.strip_suffix(".parquet").unwrap_or(name);
    let stem = name.get(..STEM).unwrap_or(name);
    let new = format!("{stem}-{}.parquet", uuid::Uuid::now_v7());
    Path::from_iter(
        folder
            .split('/')
            .filter(|part| !part.is_empty())
            .chain([new.as_str()]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_sorts_in_the_place_of_the_old_one() {
        let folder = "wiki/_hour=2015-09-12-00";
        let ids: Vec<String> = (0..3).map(|_| uuid::Uuid::now_v7().to_string()).collect();
        let paths: Vec<Path> = ids
            .iter()
            .map(|id| Path::from(format!("{folder}/part-{id}.parquet")))
            .collect();
        let mut placed = paths[1].clone();
        for _ in 0..3 {
            let next = place(&placed);
            assert!(next != placed && paths[0] < next && next < paths[2], "{next}");
            assert_eq!(next.as_ref().len(), paths[1].as_ref().len() + 37);
            placed = next;
        }
        assert!(place(&Path::from("a/x.parquet")).as_ref().starts_with("a/x-"));
    }
}
