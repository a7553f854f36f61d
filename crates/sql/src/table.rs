//! One version of a warehouse table as a DataFusion table: the hot tail and the files.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use async_trait::async_trait;
use datafusion::catalog::memory::{DataSourceExec, MemorySourceConfig};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::config::TableParquetOptions;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::{ObjectMeta, ObjectStore};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;
use event::SystemColumn;
use warehouse::{DataFile, Times, Version};

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

    /// The hot tail's batches that can hold rows that pass, if there are any.
    fn hot(
        &self,
        partitions: usize,
        passing: Option<&PruningPredicate>,
        projection: Option<&Vec<usize>>,
    ) -> DataFusionResult<Option<MemorySourceConfig>> {
        let version = &self.version;
        let kept = match passing {
            None => version.hot.to_vec(),
            Some(passing) => {
                let keep = passing.prune(&Spans::new(&version.schema, version.hot_times.iter().copied()))?;
                let batches = version.hot.iter().zip(keep);
                let kept = batches.filter(|(_, keep)| *keep);
                kept.map(|(batch, _)| batch.clone()).collect()
            }
        };
        if kept.is_empty() {
            return Ok(None);
        }
        let parts = deal(&kept, partitions, RecordBatch::num_rows);
        MemorySourceConfig::try_new(&parts, version.schema.clone(), projection.cloned()).map(Some)
    }

    /// What the filters say of times; `None` if they prune nothing by them.
    fn passing(&self, state: &dyn Session, filters: &[Expr]) -> DataFusionResult<Option<PruningPredicate>> {
        let schema = &self.version.schema;
        let Some(filter) = conjunction(filters.iter().cloned()) else {
            return Ok(None);
        };
        let columns = DFSchema::try_from(schema.clone())?;
        let filter = state.create_physical_expr(filter, &columns)?;
        let predicate = PruningPredicateBuilder::new().with_file_schema(schema.clone());
        Ok(predicate.try_build(filter).ok())
    }

    /// The files that can hold rows that pass, by their times.
    fn pruned(&self, passing: Option<&PruningPredicate>) -> DataFusionResult<Vec<DataFile>> {
        let files = &self.version.files;
        let Some(passing) = passing else {
            return Ok(files.to_vec());
        };
        let keep = passing.prune(&Spans::new(
            &self.version.schema,
            files.iter().map(DataFile::times),
        ))?;
        let files = files.iter().zip(keep).filter(|(_, keep)| *keep);
        Ok(files.map(|(file, _)| file.clone()).collect())
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
        let passing = self.passing(state, filters)?;
        let partitions = state.config().target_partitions();
        if let Some(hot) = self.hot(partitions, passing.as_ref(), projection)? {
            inputs.push(DataSourceExec::from_data_source(hot.with_limit(limit)));
        }
        let files = self.pruned(passing.as_ref())?;
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

/// The times of containers of rows: batches, or files.
struct Spans<'a> {
    schema: &'a SchemaRef,
    times: Vec<Times>,
}

impl<'a> Spans<'a> {
    fn new(schema: &'a SchemaRef, times: impl Iterator<Item = Times>) -> Self {
        let times = times.collect();
        Self { schema, times }
    }

    fn values(&self, column: &Column, of: fn((i64, i64)) -> i64) -> Option<ArrayRef> {
        let range: fn(&Times) -> (i64, i64) = match column.name() {
            name if name == SystemColumn::EventTime.name() => |times| times.event,
            name if name == SystemColumn::ReceivedTime.name() => |times| times.received,
            _ => return None,
        };
        let DataType::Timestamp(TimeUnit::Microsecond, zone) =
            self.schema.field_with_name(column.name()).ok()?.data_type()
        else {
            return None;
        };
        let values = self.times.iter().map(|times| of(range(times)));
        let values = TimestampMicrosecondArray::from_iter_values(values);
        Some(Arc::new(values.with_timezone_opt(zone.clone())))
    }
}

impl PruningStatistics for Spans<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |range| range.0)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.values(column, |range| range.1)
    }

    fn num_containers(&self) -> usize {
        self.times.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
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
