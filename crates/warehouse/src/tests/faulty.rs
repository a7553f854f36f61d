//! Storage that fails on demand.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

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

#[derive(Debug)]
pub(super) struct Faulty {
    inner: SyncedFolder,
    fault: Mutex<(Option<Fault>, bool)>,
    told: Notify,
}

impl Faulty {
    pub(super) fn new(root: &std::path::Path) -> Self {
        Self {
            inner: SyncedFolder::open(root).unwrap(),
            fault: Mutex::new((None, false)),
            told: Notify::new(),
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
            _ => self.inner.put_opts(location, payload, opts).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.check_read()?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.check_read()?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.check_read() {
            Ok(()) => self.inner.list(prefix),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.check_read()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
