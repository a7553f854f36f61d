//! One version of a warehouse table as a DataFusion table: the hot tail and the files.

use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::pruning::PrunableStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::{ObjectMeta, ObjectStore};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use event::SystemColumn;
use warehouse::{DataFile, Version};

/// Under which address a query's runtime knows the store of the warehouse's files.
pub(crate) static FILES_URL: LazyLock<ObjectStoreUrl> =
    LazyLock::new(|| ObjectStoreUrl::parse("sanderling://warehouse").expect("the address is one"));

/// One version of a table; every scan of it reads the same rows.
///
/// Files are pruned by their least and greatest times before they are opened, and by their row groups' statistics
/// after. `count(*)` and the range of the two times come from the versions' own counts.
#[derive(Debug)]
pub(crate) struct WarehouseTable {
    version: Arc<Version>,
    store: Arc<dyn ObjectStore>,
}

impl WarehouseTable {
    pub(crate) fn new(version: Arc<Version>, store: Arc<dyn ObjectStore>) -> Self {
        Self { version, store }
    }

    fn hot(
        &self,
        partitions: usize,
        projection: Option<&Vec<usize>>,
    ) -> DataFusionResult<MemorySourceConfig> {
        let parts = deal(&self.version.hot, partitions, RecordBatch::num_rows);
        MemorySourceConfig::try_new(&parts, self.version.schema.clone(), projection.cloned())
    }

    /// The files that can hold rows that pass the filters, by their times.
    fn pruned(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Vec<DataFile>> {
        let schema = &self.version.schema;
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(self.version.files.to_vec());
        };
        let columns = DFSchema::try_from(schema.clone())?;
        let filter = state.create_physical_expr(filter, &columns)?;
        // A filter that says nothing of times prunes nothing.
        let Ok(predicate) = PruningPredicateBuilder::new()
            .with_file_schema(schema.clone())
            .try_build(filter)
        else {
            return Ok(self.version.files.to_vec());
        };
        let known = self
            .version
            .files
            .iter()
            .map(|file| Arc::new(statistics(file, schema)))
            .collect();
        let keep = predicate.prune(&PrunableStatistics::new(known, schema.clone()))?;
        let files = self.version.files.iter().zip(keep);
        Ok(files
            .filter(|(_, keep)| *keep)
            .map(|(file, _)| file.clone())
            .collect())
    }

    fn files(
        &self,
        state: &dyn Session,
        files: &[DataFile],
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let schema = &self.version.schema;
        let all: Vec<Statistics> = files.iter().map(|file| statistics(file, schema)).collect();
        let files: Vec<PartitionedFile> = files.iter().map(|file| partitioned(file, schema)).collect();
        let groups = deal(&files, state.config().target_partitions(), |file| {
            file.object_meta.size as usize
        });
        let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
        // A plan outlives the table it was made from, and its files must stay.
        let store = self.version.holding(self.store.clone());
        let reader = CachedParquetFileReaderFactory::new(store, cache);
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let config = FileScanConfigBuilder::new(FILES_URL.clone(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_statistics(Statistics::try_merge_iter(&all, schema)?)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

#[async_trait]
impl TableProvider for WarehouseTable {
    fn schema(&self) -> SchemaRef {
        self.version.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let mut inputs: Vec<Arc<dyn ExecutionPlan>> = Vec::with_capacity(2);
        if !self.version.hot.is_empty() {
            let hot = self
                .hot(state.config().target_partitions(), projection)?
                .with_limit(limit);
            inputs.push(DataSourceExec::from_data_source(hot));
        }
        let files = self.pruned(state, filters)?;
        if !files.is_empty() {
            inputs.push(self.files(state, &files, projection, limit)?);
        }
        match inputs.len() {
            0 => {
                let schema = &self.version.schema;
                let projected = match projection {
                    Some(columns) => Arc::new(schema.project(columns)?),
                    None => schema.clone(),
                };
                Ok(Arc::new(EmptyExec::new(projected)))
            }
            1 => Ok(inputs.remove(0)),
            _ => UnionExec::try_new(inputs),
        }
    }
}

/// Deals items out to at most `partitions` hands of about the same weight, each hand in the items' order.
fn deal<T: Clone>(items: &[T], partitions: usize, weight: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut hands: Vec<(usize, Vec<T>)> = vec![(0, Vec::new()); partitions.clamp(1, items.len().max(1))];
    for item in items {
        let lightest = hands
            .iter_mut()
            .min_by_key(|(weight, _)| *weight)
            .expect("there is one hand at least");
        lightest.0 += weight(item).max(1);
        lightest.1.push(item.clone());
    }
    hands.into_iter().map(|(_, hand)| hand).collect()
}

fn partitioned(file: &DataFile, schema: &SchemaRef) -> PartitionedFile {
    // A path is never written twice, so the time of change need not be known for the cache of footers.
    let meta = ObjectMeta {
        location: file.path.clone(),
        last_modified: Default::default(),
        size: file.bytes,
        e_tag: None,
        version: None,
    };
    PartitionedFile::new_from_meta(meta).with_statistics(Arc::new(statistics(file, schema)))
}

fn statistics(file: &DataFile, schema: &SchemaRef) -> Statistics {
    let columns = schema.fields().iter().map(|field| {
        let range = match field.name().as_str() {
            name if name == SystemColumn::EventTime.name() => Some(file.event_time),
            name if name == SystemColumn::ReceivedTime.name() => Some(file.received_time),
            _ => None,
        };
        let (Some((least, greatest)), DataType::Timestamp(TimeUnit::Microsecond, zone)) =
            (range, field.data_type())
        else {
            return ColumnStatistics::new_unknown();
        };
        let exact = |time| Precision::Exact(ScalarValue::TimestampMicrosecond(Some(time), zone.clone()));
        ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: exact(least),
            max_value: exact(greatest),
            ..ColumnStatistics::new_unknown()
        }
    });
    Statistics {
        num_rows: Precision::Exact(file.rows as usize),
        total_byte_size: Precision::Inexact(file.bytes as usize),
        column_statistics: columns.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::deal;

    #[test]
    fn dealing_keeps_every_item_once() {
        for partitions in 1..6 {
            for items in 0..20usize {
                let all: Vec<usize> = (0..items).collect();
                let hands = deal(&all, partitions, |item| *item);
                assert!(hands.len() <= partitions);
                let mut dealt = hands.concat();
                dealt.sort_unstable();
                assert_eq!(dealt, all);
            }
        }
    }
}
