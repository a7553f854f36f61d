//! A job's store as a table of `key` and `value`, read page by page.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use store::{EmbeddedStore, Store};

use crate::limits::STORE_PAGE_ROWS;
use crate::shape::{self, Shape};
use crate::{Error, ErrorKind, Result};

/// One store.
///
/// A query sees each page as of when it is read: a store has no versions.
#[derive(Clone)]
pub(crate) struct StoreTable {
    name: String,
    store: Arc<EmbeddedStore>,
    key: Shape,
    value: Shape,
    schema: SchemaRef,
}

impl StoreTable {
    pub(crate) fn new(name: &str, store: Arc<EmbeddedStore>, shape: Option<&serde_json::Value>) -> Self {
        let (key, value) = Shape::pair(shape);
        let schema = shape::schema(&key, &value);
        Self {
            name: name.to_owned(),
            store,
            key,
            value,
            schema,
        }
    }

    fn decode(&self, pairs: &[(Bytes, Bytes)]) -> Result<RecordBatch> {
        let corrupt = |e: &dyn fmt::Display| {
            let text = format!("a pair is not of its store's shape: {e} store={}", self.name);
            Error::new(ErrorKind::Corrupt, text)
        };
        let mut text = Vec::new();
        for (key, value) in pairs {
            text.extend_from_slice(br#"{"key":"#);
            self.key.write(key, &mut text).map_err(|e| corrupt(&e))?;
            text.extend_from_slice(br#","value":"#);
            self.value.write(value, &mut text).map_err(|e| corrupt(&e))?;
            text.extend_from_slice(b"}\n");
        }
        let mut decoder = arrow::json::ReaderBuilder::new(self.schema.clone())
            .with_batch_size(pairs.len())
            .build_decoder()
            .map_err(|e| corrupt(&e))?;
        decoder.decode(&text).map_err(|e| corrupt(&e))?;
        let batch = decoder.flush().map_err(|e| corrupt(&e))?;
        Ok(batch.unwrap_or_else(|| RecordBatch::new_empty(self.schema.clone())))
    }

    async fn page(self, after: Option<Bytes>) -> Result<Option<(RecordBatch, (Self, Option<Bytes>))>> {
        let pairs = self.store.scan(after.as_ref(), STORE_PAGE_ROWS).await?;
        let Some((last, _)) = pairs.last() else {
            return Ok(None);
        };
        let next = Some(last.clone());
        Ok(Some((self.decode(&pairs)?, (self, next))))
    }
}

impl fmt::Debug for StoreTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreTable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl PartitionStream for StoreTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let pages = stream::try_unfold((self.clone(), None), |(table, after)| async move {
            Ok(table.page(after).await?)
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), pages))
    }
}

#[async_trait]
impl TableProvider for StoreTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(self.clone())];
        let exec = StreamingTableExec::try_new(self.schema.clone(), parts, projection, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}
