//! A file that is written in parts, by a thread whose priority must not become that of the runtime's.
//!
//! What a store does is done by tasks of the runtime: threads that it begins for them inherit their priority from whoever
//! asks, and would keep it for the work of others.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::async_writer::AsyncFileWriter;
use parquet::errors::{ParquetError, Result};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;

use crate::limits::{REWRITE_PART_BYTES, REWRITE_PARTS_MAX};

/// Does something with a store as a task of the runtime.
pub(crate) fn on<T, E, W>(runtime: &Handle, work: W) -> impl Future<Output = Result<T>> + Send + use<T, E, W>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
    W: Future<Output = Result<T, E>> + Send + 'static,
{
    let task = runtime.spawn(work);
    // Both ways of failing are the store's.
    async move { task.await.map_err(external)?.map_err(external) }
}

fn external(error: impl std::error::Error + Send + Sync + 'static) -> ParquetError {
    ParquetError::External(error.into())
}

/// See the module.
pub(crate) struct Upload {
    /// `None` while a task has it, and for good if that did not come back.
    writer: Option<BufWriter>,
    runtime: Handle,
}

impl Upload {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, path: Path, runtime: Handle) -> Self {
        let writer = BufWriter::with_capacity(store, path, REWRITE_PART_BYTES);
        Self {
            writer: Some(writer.with_max_concurrency(REWRITE_PARTS_MAX)),
            runtime,
        }
    }

    fn take(&mut self) -> Result<BufWriter> {
        let lost = || ParquetError::General("an upload broke off".to_owned());
        self.writer.take().ok_or_else(lost)
    }

    /// Writes bytes, at most a part at a time: more would all be sent at once.
    pub(crate) async fn put(&mut self, mut bytes: Bytes) -> Result<()> {
        let mut writer = self.take()?;
        let put = async move {
            let mut result = Ok(());
            while result.is_ok() && !bytes.is_empty() {
                let part = bytes.split_to(bytes.len().min(REWRITE_PART_BYTES));
                result = writer.put(part).await;
            }
            Ok::<_, object_store::Error>((writer, result))
        };
        let (writer, result) = on(&self.runtime, put).await?;
        self.writer = Some(writer);
        result.map_err(external)
    }

    /// The file is there when this returns.
    pub(crate) async fn finish(&mut self) -> Result<()> {
        let mut writer = self.take()?;
        on(&self.runtime, async move { writer.shutdown().await }).await
    }

    /// Lets go of what was uploaded, as far as that can be done.
    pub(crate) async fn abort(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            let _ = on(&self.runtime, async move { writer.abort().await }).await;
        }
    }
}

impl AsyncFileWriter for Upload {
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<()>> {
        self.put(bytes).boxed()
    }

    fn complete(&mut self) -> BoxFuture<'_, Result<()>> {
        self.finish().boxed()
    }
}
