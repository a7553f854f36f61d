//! What a server tells of itself, as tables of the schema `sanderling`.
//!
//! | table | a row for each |
//! |---|---|
//! | `datasets` | table of a dataset or of its rejects: rows and bytes in files and in memory, its version |
//! | `files` | file of those tables: rows, bytes, hour, least and greatest times |
//! | `failed` | event that was not taken, of all datasets together |
//! | `queries` | query that runs; `sanderling_cancel(id)` ends one |
//! | `stores` | part of what a job's store sums up: up to where it has all of it |
//!
//! [`SystemTable`]s of the server's own stand beside them. A query sees each as of when it met it.

use std::fmt;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::cast::as_int64_array;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Volatility, create_udf,
};
use datafusion::prelude::{col, ident, lit};
use store::Embedded;
use warehouse::Warehouse;

use crate::running::Running;
use crate::table::WarehouseTable;
use crate::{Error, ErrorKind, Result};

/// The tables that each engine has.
const OWN: [&str; 5] = ["datasets", "failed", "files", "queries", "stores"];

/// A table of the schema `sanderling` that the engine's owner fills.
#[derive(Clone)]
pub struct SystemTable {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its rows now; the schema is that of any answer.
    pub rows: Arc<dyn Fn() -> Result<RecordBatch, ArrowError> + Send + Sync>,
}

impl fmt::Debug for SystemTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemTable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All tables of the schema `sanderling` but those of its datasets.
#[derive(Clone)]
pub(crate) struct System {
    pub(crate) warehouse: Arc<Warehouse>,
    pub(crate) stores: Arc<Embedded>,
    pub(crate) running: Arc<Running>,
    pub(crate) more: Vec<SystemTable>,
}

impl System {
    pub(crate) fn names(&self) -> Vec<String> {
        let more = self.more.iter().map(|table| table.name);
        OWN.into_iter().chain(more).map(str::to_owned).collect()
    }

    /// Whether there is a table of this name, without regard to case.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The table of exactly this name.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let rows = match name {
            "datasets" => self.datasets(),
            "files" => self.files(),
            "queries" => self.queries(),
            "failed" => return self.failed().map(Some),
            "stores" => self.stores()?,
            other => match self.more.iter().find(|table| table.name == other) {
                Some(table) => (table.rows)(),
                None => return Ok(None),
            },
        };
        let rows = rows.map_err(|error| Error::new(ErrorKind::Bug, &error).with_source(error))?;
        Ok(Some(Arc::new(MemTable::try_new(
            rows.schema(),
            vec![vec![rows]],
        )?)))
    }

    fn datasets(&self) -> Result<RecordBatch, ArrowError> {
        let versions: Vec<_> = self
            .warehouse
            .tables()
            .iter()
            .map(|table| (table.name().to_owned(), table.version()))
            .collect();
        let numbers = |of: &dyn Fn(&warehouse::Version) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(
                versions.iter().map(|(_, version)| of(version)),
            ))
        };
        let names = StringArray::from_iter_values(versions.iter().map(|(name, _)| name));
        RecordBatch::try_from_iter([
            ("dataset", Arc::new(names) as ArrayRef),
            ("files", numbers(&|v| v.files.len() as u64)),
            (
                "file_rows",
                numbers(&|v| v.files.iter().map(|file| file.rows).sum()),
            ),
            (
                "file_bytes",
                numbers(&|v| v.files.iter().map(|file| file.bytes).sum()),
            ),
            (
                "hot_rows",
                numbers(&|v| v.hot.iter().map(|batch| batch.num_rows() as u64).sum()),
            ),
            (
                "hot_bytes",
                numbers(&|v| v.hot.iter().map(|b| b.get_array_memory_size() as u64).sum()),
            ),
            ("columns", numbers(&|v| v.schema.fields().len() as u64)),
            ("delta_version", numbers(&|v| v.delta_version)),
        ])
    }

    fn files(&self) -> Result<RecordBatch, ArrowError> {
        let tables = self.warehouse.tables();
        let files: Vec<_> = tables
            .iter()
            .flat_map(|table| {
                let (name, files) = (table.name().to_owned(), table.version().files.clone());
                (0..files.len()).map(move |i| (name.clone(), files[i].clone()))
            })
            .collect();
        let texts = |of: &dyn Fn(&(String, warehouse::DataFile)) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(files.iter().map(of)))
        };
        let numbers = |of: &dyn Fn(&warehouse::DataFile) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(
                files.iter().map(|(_, file)| of(file)),
            ))
        };
        let times = |of: &dyn Fn(&warehouse::DataFile) -> i64| times(files.iter().map(|(_, file)| of(file)));
        RecordBatch::try_from_iter([
            ("dataset", texts(&|(name, _)| name.clone())),
            ("path", texts(&|(_, file)| file.path.to_string())),
            ("hour", texts(&|(_, file)| file.hour.clone())),
            ("rows", numbers(&|file| file.rows)),
            ("bytes", numbers(&|file| file.bytes)),
            ("event_time_min", times(&|file| file.event_time.0)),
            ("event_time_max", times(&|file| file.event_time.1)),
            ("received_time_min", times(&|file| file.received_time.0)),
            ("received_time_max", times(&|file| file.received_time.1)),
        ])
    }

    fn queries(&self) -> Result<RecordBatch, ArrowError> {
        let queries = self.running.list();
        let micros = queries.iter().map(|query| {
            let since = query.since().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
        });
        let ids = queries
            .iter()
            .map(|query| i64::try_from(query.id()).unwrap_or(i64::MAX));
        let texts = queries.iter().map(|query| query.text().to_owned());
        let (rows, memory) = (
            queries.iter().map(|query| query.rows()),
            queries.iter().map(|query| query.memory_bytes() as u64),
        );
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef),
            ("sql", Arc::new(StringArray::from_iter_values(texts))),
            ("since", times(micros)),
            ("rows", Arc::new(UInt64Array::from_iter_values(rows))),
            ("memory_bytes", Arc::new(UInt64Array::from_iter_values(memory))),
        ])
    }

    /// Each store with the parts of its progress; one that nothing was committed to has a row without a part.
    fn stores(&self) -> Result<Result<RecordBatch, ArrowError>> {
        let (mut names, mut parts, mut next) = (Vec::new(), Vec::new(), Vec::new());
        for name in self.stores.names() {
            let progress = self.stores.store(&name)?.progress_now()?.unwrap_or_default();
            let none = progress.0.is_empty().then_some((None, None));
            let some = progress
                .0
                .into_iter()
                .map(|(part, offset)| (Some(part), Some(offset)));
            for (part, offset) in some.chain(none) {
                names.push(name.clone());
                parts.push(part);
                next.push(offset);
            }
        }
        Ok(RecordBatch::try_from_iter([
            (
                "store",
                Arc::new(StringArray::from_iter_values(names)) as ArrayRef,
            ),
            ("part", Arc::new(StringArray::from_iter(parts))),
            ("next_offset", Arc::new(UInt64Array::from_iter(next))),
        ]))
    }

    /// The rejects of all datasets, each with its dataset's name.
    fn failed(&self) -> Result<Arc<dyn TableProvider>> {
        let columns = event::failed_schema();
        let mut all: Option<LogicalPlan> = None;
        for table in self.warehouse.tables() {
            let Some(dataset) = table.name().strip_suffix("$failed") else {
                continue;
            };
            let rows = Arc::new(WarehouseTable::new(table.version(), table.store()));
            let rows = with_dataset(dataset, table.name(), rows, &columns)?;
            all = Some(match all {
                Some(before) => LogicalPlanBuilder::from(before).union(rows)?.build()?,
                None => rows,
            });
        }
        let all = match all {
            Some(all) => all,
            None => {
                let none = Arc::new(MemTable::try_new(columns.clone(), vec![vec![]])?);
                with_dataset("", "none", none, &columns)?
            }
        };
        Ok(Arc::new(ViewTable::new(all, None)))
    }
}

fn with_dataset(
    dataset: &str,
    name: &str,
    rows: Arc<dyn TableProvider>,
    columns: &SchemaRef,
) -> Result<LogicalPlan, DataFusionError> {
    let own = columns.fields().iter().map(|field| ident(field.name()));
    let all = std::iter::once(lit(dataset).alias("dataset")).chain(own);
    let name = datafusion::common::TableReference::bare(name.to_owned());
    let scan = LogicalPlanBuilder::scan(name, provider_as_source(rows), None)?;
    // Of no relation, so that all are alike.
    let names = std::iter::once(col("dataset")).chain(columns.fields().iter().map(|f| ident(f.name())));
    scan.project(all)?.alias("failed")?.project(names)?.build()
}

fn times(micros: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"))
}

/// `version()`, in the words by which Postgres's drivers know what they talk to.
pub(crate) fn version() -> ScalarUDF {
    let text = concat!("PostgreSQL 16.6 (sanderling ", env!("CARGO_PKG_VERSION"), ")");
    let version = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(text.into()));
    create_udf(
        "version",
        Vec::new(),
        DataType::Utf8,
        Volatility::Stable,
        Arc::new(version),
    )
}

/// `sanderling_cancel(id)`: ends a query, and says whether there was one.
pub(crate) fn cancel(running: Arc<Running>) -> ScalarUDF {
    let cancel = move |args: &[ColumnarValue]| {
        let ids = ColumnarValue::values_to_arrays(args)?;
        let ids = as_int64_array(&ids[0])?;
        let found = ids.iter().map(|id| {
            let query = running.find(u64::try_from(id?).ok()?);
            if let Some(query) = &query {
                query.cancel();
            }
            Some(query.is_some())
        });
        Ok(ColumnarValue::Array(Arc::new(found.collect::<BooleanArray>())))
    };
    create_udf(
        "sanderling_cancel",
        vec![DataType::Int64],
        DataType::Boolean,
        Volatility::Volatile,
        Arc::new(cancel),
    )
}
