//! Storage that fails on demand.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

use crate::synced::SyncedFolder;

/// What fails, until told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Puts of Parquet files.
    Upload,
    /// Puts of commits; they do not happen.
    CommitRefused,
    /// Puts of commits; they happen all the same.
    CommitAnswerLost,
    /// The same, and after it the log cannot be read.
    CommitAnswerLostThenNoReads,
    /// Puts of Parquet files wait until told otherwise.
    Stall,
}

/// Whether an operation that fails has happened all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Before,
    After,
}

#[derive(Debug)]
pub(super) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    fault: Mutex<(Option<Fault>, bool)>,
    once: Arc<Mutex<Once>>,
    told: Notify,
}

/// Operations are counted, and one of them fails.
#[derive(Debug, Default)]
struct Once {
    operations: u64,
    fails: Option<(u64, Moment)>,
}

impl Once {
    fn next(&mut self) -> Option<Moment> {
        /// Operations after one whose answer is lost that fail too.
        const AWAY: u64 = 3;
        let operation = self.operations;
        self.operations += 1;
        let (at, moment) = self.fails?;
        if operation == at {
            return Some(moment);
        }
        let away = moment == Moment::After && operation > at && operation - at <= AWAY;
        away.then_some(Moment::Before)
    }
}

impl Faulty {
    pub(super) fn new(root: &std::path::Path) -> Self {
        Self::over(Arc::new(SyncedFolder::open(root).unwrap()))
    }

    pub(super) fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self {
            inner,
            fault: Mutex::new((None, false)),
            once: Arc::default(),
            told: Notify::new(),
        }
    }

    /// From now on operations are counted from 0, and this one fails; if its answer is lost, the next ones fail too.
    pub(super) fn fail_at(&self, operation: u64, moment: Moment) {
        *self.once.lock().unwrap() = Once {
            operations: 0,
            fails: Some((operation, moment)),
        };
    }

    /// The storage itself, without faults.
    pub(super) fn behind(&self) -> Arc<dyn ObjectStore> {
        self.inner.clone()
    }

    /// Operations since [`Self::fail_at`].
    pub(super) fn operations(&self) -> u64 {
        self.once.lock().unwrap().operations
    }

    /// Does an operation, unless it is the one that fails before.
    async fn once<T>(&self, what: &str, operation: impl Future<Output = Result<T>>) -> Result<T> {
        let fails = self.once.lock().unwrap().next();
        match fails {
            None => operation.await,
            Some(Moment::Before) => Err(failed(what)),
            Some(Moment::After) => {
                operation.await?;
                Err(failed(what))
            }
        }
    }

    pub(super) fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = (fault, false);
        self.told.notify_waiters();
    }

    fn check_read(&self) -> Result<()> {
        if self.fault.lock().unwrap().1 {
            Err(failed("read"))
        } else {
            Ok(())
        }
    }
}

fn failed(what: &str) -> Error {
    Error::Generic {
        store: "Faulty",
        source: format!("a {what} failed on demand").into(),
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let is_commit = location.as_ref().contains("_delta_log");
        let fault = loop {
            let told = self.told.notified();
            let fault = self.fault.lock().unwrap().0;
            if fault != Some(Fault::Stall) || is_commit {
                break fault;
            }
            told.await;
        };
        match fault {
            Some(Fault::Upload) if !is_commit => Err(failed("put")),
            Some(Fault::CommitRefused) if is_commit => Err(failed("put")),
            Some(Fault::CommitAnswerLost | Fault::CommitAnswerLostThenNoReads) if is_commit => {
                self.inner.put_opts(location, payload, opts).await?;
                self.fault.lock().unwrap().1 = fault == Some(Fault::CommitAnswerLostThenNoReads);
                Err(failed("put"))
            }
            _ => {
                self.once("put", self.inner.put_opts(location, payload, opts))
                    .await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.once("upload", self.inner.put_multipart_opts(at, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check_read()?;
        self.once("get", self.inner.get_opts(location, options)).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check_read()?;
        self.once("get", self.inner.get_ranges(location, ranges)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let once = self.once.clone();
        let locations = locations.map(move |location| {
            let fails = once.lock().unwrap().next();
            fails.map_or(location, |_| Err(failed("delete")))
        });
        self.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_read() {
            Ok(()) if self.once.lock().unwrap().next().is_some() => {
                stream::iter([Err(failed("list"))]).boxed()
            }
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_read()?;
        self.once("list", self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
