//! Plain files by hour, as a third sink of a dataset's job.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use event::DatasetName;
use flow::{Sink, Timestamp};
use queue::Seek;
use store::Progress;
use warehouse::{Location, PlainFiles, PlainOptions, Table};

use crate::{Error, Result};

/// Tells how the plain files of a dataset are written.
pub type PlainOf = Arc<dyn Fn(&DatasetName) -> Option<PlainOptions> + Send + Sync>;

/// Which datasets have plain files, and where: see [`PlainFiles`].
pub struct PlainSinks {
    /// The files of a dataset are in a folder of its name.
    pub location: Location,
    /// The queue of the processor, to know what it has deleted.
    pub queue: Arc<dyn Seek>,
    /// How the files of a dataset are written; `None` where it has none. Asked when its job starts.
    pub options: PlainOf,
}

impl PlainSinks {
    /// The sink of a dataset's plain files as they are wanted now. What is open of before is closed if it was other.
    pub(crate) async fn sink(
        &self,
        dataset: &DatasetName,
        wanted: Option<PlainOptions>,
        table: &Arc<Table>,
        open: &Mutex<Option<Plain>>,
    ) -> Result<Option<PlainSink>> {
        let locked = || open.lock().unwrap_or_else(PoisonError::into_inner);
        let before = locked().clone();
        let files = match (before, wanted) {
            (Some(before), Some(wanted)) if before.options == wanted => before.files,
            (before, wanted) => {
                if let Some(before) = before {
                    // What this fails to write is in the queue still, for files that are wanted again; it is logged.
                    let _ = before.files.flush().await;
                }
                *locked() = None;
                let Some(options) = wanted else {
                    return Ok(None);
                };
                let unopened = |error: warehouse::Error| {
                    let error = Error::from(error);
                    let text = format_args!(
                        "cannot open the plain files, mend their location or leave them out: {error} location={}",
                        self.location
                    );
                    Error::new(error.kind(), text)
                };
                let store = self.location.open().map_err(unopened)?;
                let files = PlainFiles::open(store, dataset.as_str(), options.clone())
                    .await
                    .map_err(unopened)?;
                *locked() = Some(Plain {
                    options,
                    files: files.clone(),
                });
                files
            }
        };
        Ok(Some(PlainSink {
            files,
            table: table.clone(),
            queue: self.queue.clone(),
            dataset: dataset.clone(),
        }))
    }
}

/// The plain files of a dataset whose job runs, or is to run.
#[derive(Clone)]
pub(crate) struct Plain {
    pub(crate) options: PlainOptions,
    pub(crate) files: Arc<PlainFiles>,
}

/// A dataset's plain files as a sink that knows where to begin.
pub(crate) struct PlainSink {
    pub(crate) files: Arc<PlainFiles>,
    pub(crate) table: Arc<Table>,
    pub(crate) queue: Arc<dyn Seek>,
    pub(crate) dataset: DatasetName,
}

#[async_trait]
impl Sink<RecordBatch> for PlainSink {
    /// New files begin with what the table does not have in files yet, so that its job need not go back for them. Those
    /// that were not written for a while go on where they were, or with the first batch that the queue has still.
    async fn progress(&self) -> flow::Result<Option<Progress>> {
        let held = Sink::<RecordBatch>::progress(self.files.as_ref()).await?;
        let mut progress = held.or_else(|| self.table.durable_progress()).unwrap_or_default();
        for (partition, start) in self.queue.starts(&self.dataset).into_iter().enumerate() {
            let part = partition.to_string();
            let held = progress.of(&part);
            if held < start.0 {
                tracing::warn!(dataset = %self.dataset, partition, from = held, to = start.0,
                    "batches that the queue has deleted are not in the plain files");
                progress.advance(&part, start.0);
            }
        }
        Ok(Some(progress))
    }

    async fn write(&self, items: Vec<(Timestamp, RecordBatch)>, progress: &Progress) -> flow::Result<()> {
        self.files.write(items, progress).await
    }
}
