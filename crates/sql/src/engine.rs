//! The engine: SQL text in, a stream of Arrow batches out.

use std::fmt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::datafusion_pg_catalog;
use datafusion_postgres::datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use futures::Stream;
use store::Embedded;
use warehouse::Warehouse;

use crate::catalog::{CATALOG, PUBLIC, Pinning, SCHEMAS, Tables, TablesIn};
use crate::limits::{
    QUERIES_MEMORY_BYTES, QUERIES_RUNNING, QUERY_BYTES_MAX, QUERY_MEMORY_BYTES, QUERY_TIMEOUT, SPILL_BYTES,
};
use crate::memory::QueryMemory;
use crate::rewrite::{Catalog, parse, rewrite_statement};
use crate::running::{Lease, Running};
use crate::system::{System, SystemTable};
use crate::table::FILES_URL;
use crate::{Error, ErrorKind, Result, RunningQuery};

const PG_CATALOG: &str = "pg_catalog";

/// What an [`Engine`] reads, and how much it may use.
#[derive(Clone)]
pub struct EngineOptions {
    /// The datasets' tables.
    pub warehouse: Arc<Warehouse>,
    /// The jobs' stores.
    pub stores: Arc<Embedded>,
    /// Bytes that all running queries hold together; default 1 GiB.
    pub memory_bytes_max: usize,
    /// Bytes that one query holds, default 512 MiB; beyond it its steps go on on disk, if there is
    /// [`EngineOptions::spill`].
    pub query_memory_bytes_max: usize,
    /// Where queries put what they have no memory for; default: nowhere, such a query fails.
    pub spill: Option<Spill>,
    /// How long a query runs, from its start to its last row; default 5 minutes.
    pub timeout: Duration,
    /// Rows that a query answers; default: without limit.
    pub rows_max: Option<u64>,
    /// Queries that run at once; default 64.
    pub queries_max: usize,
    /// More tables of the schema `sanderling`; default: none.
    pub system: Vec<SystemTable>,
    /// Threads' worth of partitions of each query; default: the machine's cores.
    pub partitions: usize,
}

/// Where queries put what they have no memory for.
#[derive(Clone, Debug)]
pub struct Spill {
    /// A folder of the engine's own: what is in it when the engine is made is removed.
    pub folder: PathBuf,
    /// What all queries together may have there; default 10 GiB.
    pub bytes_max: u64,
}

impl Spill {
    /// The defaults, in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: SPILL_BYTES,
        }
    }
}

/// What one query asks for beside its text.
#[derive(Clone, Debug, Default)]
pub struct QueryOptions {
    /// How long it may run, if that is shorter than [`EngineOptions::timeout`].
    pub timeout: Option<Duration>,
    /// The values of `$1`, `$2` …; of `?`, in their order.
    pub parameters: Vec<ScalarValue>,
}

impl EngineOptions {
    /// The defaults, over these tables and stores.
    pub fn new(warehouse: Arc<Warehouse>, stores: Arc<Embedded>) -> Self {
        Self {
            warehouse,
            stores,
            memory_bytes_max: QUERIES_MEMORY_BYTES,
            query_memory_bytes_max: QUERY_MEMORY_BYTES,
            spill: None,
            timeout: QUERY_TIMEOUT,
            rows_max: None,
            queries_max: QUERIES_RUNNING,
            system: Vec::new(),
            partitions: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Answers queries; cheap to share as `Arc<Engine>`.
pub struct Engine {
    options: EngineOptions,
    base: SessionContext,
    pg_catalog: Arc<dyn SchemaProvider>,
    /// As they are now.
    tables: Arc<Tables>,
    system: System,
}

/// A query's answer: its columns at once, its rows as they come.
///
/// A stream of batches of `schema`; dropping it ends the query.
pub struct QueryStream {
    schema: SchemaRef,
    /// `None` after its end.
    batches: Option<SendableRecordBatchStream>,
    lease: Lease,
    rows_max: Option<u64>,
}

/// One query's session: the tables it has met stay at the version they had.
pub(crate) struct Session {
    pub(crate) context: SessionContext,
    tables: Arc<Tables>,
}

impl Engine {
    /// An engine.
    ///
    /// # Errors
    /// `Retry` if the folder of [`EngineOptions::spill`] cannot be made, `Bug` if the runtime cannot be set up.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, PUBLIC)
            .with_target_partitions(options.partitions.max(1));
        // Names are resolved by `rewrite`, in the case that they are stored in.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        // What a sort sets aside for merging, of each of its parts: a share of what it may have.
        let share = options.query_memory_bytes_max / (8 * options.partitions.max(1));
        let execution = &mut config.options_mut().execution;
        execution.sort_spill_reservation_bytes = execution.sort_spill_reservation_bytes.min(share);
        // Errors tell their place.
        config.options_mut().sql_parser.collect_spans = true;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(options.memory_bytes_max)))
            .with_disk_manager_builder(disk(options.spill.as_ref())?)
            .build_arc()?;
        runtime.register_object_store(FILES_URL.as_ref(), options.warehouse.store());
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        let base = SessionContext::new_with_state(state);
        crate::sketch::register(&base);

        let system = System {
            warehouse: options.warehouse.clone(),
            stores: options.stores.clone(),
            running: Running::new(options.queries_max),
            more: options.system.clone(),
        };
        base.register_udf(crate::system::cancel(system.running.clone()));
        let live = Tables::new(system.clone(), options.stores.clone(), Pinning::Never);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        register(catalog.as_ref(), &live)?;
        base.register_catalog(CATALOG, catalog.clone());
        datafusion_pg_catalog::setup_pg_catalog(&base, CATALOG, EmptyContextProvider).map_err(|e| *e)?;
        base.register_udf(crate::system::version());
        let pg_catalog = catalog
            .schema(PG_CATALOG)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "pg_catalog was not registered"))?;
        Ok(Self {
            options,
            base,
            pg_catalog,
            tables: live,
            system,
        })
    }

    /// Runs one query.
    ///
    /// # Errors
    /// `Invalid` if the text, a name or a type is wrong, or if the statement would change something; `Retry` if
    /// too many queries run; `Timeout` and `Cancelled`. Errors of running it come through the stream.
    pub async fn query(&self, sql: &str) -> Result<QueryStream> {
        self.query_with(sql, QueryOptions::default()).await
    }

    /// Runs one query, with what it asks for beside its text.
    ///
    /// # Errors
    /// As [`Engine::query`].
    pub async fn query_with(&self, sql: &str, options: QueryOptions) -> Result<QueryStream> {
        let lease = self.begin(check_size(sql)?, options.timeout)?;
        let statement = one(parse(sql)?)?;
        let values = ParamValues::from(options.parameters);
        let run = self.run(lease, statement, Some(&values).filter(|values| has_any(values)));
        run.await.map_err(|error| error.within(sql))
    }

    /// The columns that a query with these parameters would answer, and the types of its parameters by number, where
    /// they are known. Without all parameters the columns are what can be said without them.
    ///
    /// # Errors
    /// `Invalid`, as [`Engine::query`].
    pub async fn describe(
        &self,
        sql: &str,
        values: &[ScalarValue],
    ) -> Result<(SchemaRef, Vec<Option<DataType>>)> {
        let statement = one(parse(check_size(sql)?)?)?;
        let described = async {
            let session = self.session()?;
            let mut plan = session.plan(statement).await?;
            let parameters = parameters(&plan)?;
            if !values.is_empty() {
                plan = plan.replace_params_with_values(&ParamValues::from(values.to_vec()))?;
            }
            if parameters.len() > values.len() {
                return Ok((plan.schema().inner().clone(), parameters));
            }
            // The very schema of the rows.
            let plan = session.context.state().create_physical_plan(&plan).await?;
            Ok((plan.schema(), parameters))
        };
        described.await.map_err(|error: Error| error.within(sql))
    }

    /// The names of the schemas that tables are in.
    pub fn schemas(&self) -> &'static [&'static str] {
        &SCHEMAS
    }

    /// The names of a schema's tables.
    pub fn tables(&self, schema: &str) -> Vec<String> {
        Catalog::names(self.tables.as_ref(), Some(schema))
    }

    /// The columns of a table.
    ///
    /// # Errors
    /// `Invalid` if the name fits several tables, and those of opening a store.
    pub fn columns(&self, schema: &str, table: &str) -> Result<Option<SchemaRef>> {
        let found = self.tables.find(Some(schema), table)?;
        Ok(found.map(|found| Arc::new(Schema::new(found.columns))))
    }

    /// The queries that run now, oldest first.
    pub fn running(&self) -> Vec<Arc<RunningQuery>> {
        self.system.running.list()
    }

    /// Ends the query of this [number](RunningQuery::id).
    ///
    /// # Errors
    /// `NotFound` if it does not run.
    pub fn cancel(&self, id: u64) -> Result<()> {
        let Some(query) = self.system.running.find(id) else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no such query runs query={id}"),
            ));
        };
        query.cancel();
        Ok(())
    }

    /// Leave to run one more query.
    pub(crate) fn begin(&self, sql: &str, timeout: Option<Duration>) -> Result<Lease> {
        let timeout = timeout.map_or(self.options.timeout, |own| own.min(self.options.timeout));
        let all = self.base.runtime_env().memory_pool.clone();
        let memory = QueryMemory::new(self.options.query_memory_bytes_max, all);
        self.system.running.begin(sql, timeout, Arc::new(memory))
    }

    /// Plans and starts a statement.
    pub(crate) async fn run(
        &self,
        mut lease: Lease,
        statement: Statement,
        values: Option<&ParamValues>,
    ) -> Result<QueryStream> {
        let memory = lease.query().memory().clone();
        let batches = lease
            .within(async {
                let session = self.session_in(memory)?;
                let mut plan = session.plan(statement).await?;
                if let Some(values) = values {
                    plan = plan.replace_params_with_values(values)?;
                }
                let frame = session.context.execute_logical_plan(plan).await?;
                Ok(frame.execute_stream().await?)
            })
            .await?;
        Ok(QueryStream {
            schema: batches.schema(),
            batches: Some(batches),
            lease,
            rows_max: self.options.rows_max,
        })
    }

    /// The stores.
    pub(crate) fn stores(&self) -> &Arc<Embedded> {
        &self.options.stores
    }

    /// A session for planning.
    pub(crate) fn session(&self) -> Result<Session> {
        self.session_in(self.base.runtime_env().memory_pool.clone())
    }

    /// A session for one query, which holds what it holds in this memory.
    fn session_in(&self, memory: Arc<dyn MemoryPool>) -> Result<Session> {
        let mut runtime = self.base.runtime_env().as_ref().clone();
        runtime.memory_pool = memory;
        let tables = Tables::new(self.system.clone(), self.options.stores.clone(), Pinning::Once);
        let catalog = MemoryCatalogProvider::new();
        register(&catalog, &tables)?;
        catalog.register_schema(PG_CATALOG, self.pg_catalog.clone())?;
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = SessionStateBuilder::new_from_existing(self.base.state())
            .with_catalog_list(Arc::new(list))
            .with_runtime_env(Arc::new(runtime))
            .build();
        Ok(Session {
            context: SessionContext::new_with_state(state),
            tables,
        })
    }
}

impl Session {
    /// Plans a parsed statement.
    pub(crate) async fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        let statement = rewrite_statement(statement, self.tables.as_ref())?;
        let state = self.context.state();
        let plan = state
            .statement_to_plan(DfStatement::Statement(Box::new(statement)))
            .await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        Ok(plan)
    }
}

impl QueryStream {
    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The query as it is listed while it runs.
    pub fn query(&self) -> &Arc<RunningQuery> {
        self.lease.query()
    }

    fn counted(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let rows = self.query().count(batch.num_rows());
        match self.rows_max {
            Some(max) if rows > max => Err(Error::new(
                ErrorKind::Limit,
                format!(
                    "query answers more rows than it may, write LIMIT or raise query.rows_max rows_max={max}"
                ),
            )),
            _ => Ok(batch),
        }
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(batches) = &mut this.batches else {
            return Poll::Ready(None);
        };
        // Its end is asked for first: a query that is always busy leaves it no turn after.
        let polled = match this.lease.ended().poll(cx) {
            Poll::Ready(error) => Poll::Ready(Some(Err(error))),
            Poll::Pending => batches.as_mut().poll_next(cx).map_err(Error::from),
        };
        let polled = polled.map(|batch| batch.map(|batch| self.counted(batch?)));
        // Whatever it holds is let go at its end, though its reader may keep the stream.
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.batches = None;
        }
        polled
    }
}

impl Drop for Engine {
    /// The tables of `pg_catalog` hold the catalog that holds them: taken out here, or the stores and the
    /// warehouse would stay open for ever.
    fn drop(&mut self) {
        let taken = self
            .base
            .catalog(CATALOG)
            .map(|catalog| catalog.deregister_schema(PG_CATALOG, true));
        if let Some(Err(error)) = taken {
            tracing::warn!(%error, "an engine's tables stay in memory");
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("running", &self.system.running.list().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for QueryStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryStream")
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

/// The text, if it is not too long.
pub(crate) fn check_size(sql: &str) -> Result<&str> {
    if sql.len() > QUERY_BYTES_MAX {
        let bytes = sql.len();
        return Err(Error::invalid(format!(
            "query is too long bytes={bytes} bytes_max={QUERY_BYTES_MAX}"
        )));
    }
    Ok(sql)
}

/// The statement, if it is exactly one.
pub(crate) fn one(mut statements: Vec<Statement>) -> Result<Statement> {
    match statements.len() {
        1 => Ok(statements.remove(0)),
        0 => Err(Error::invalid("query is empty")),
        n => Err(Error::invalid(format!(
            "send one statement at a time statements={n}"
        ))),
    }
}

fn register(catalog: &MemoryCatalogProvider, tables: &Arc<Tables>) -> Result<()> {
    for schema in SCHEMAS {
        catalog.register_schema(
            schema,
            Arc::new(TablesIn {
                schema,
                tables: tables.clone(),
            }),
        )?;
    }
    Ok(())
}

fn has_any(values: &ParamValues) -> bool {
    !matches!(values, ParamValues::List(values) if values.is_empty())
}

/// The types of `$1`, `$2` …, where the plan says.
pub(crate) fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let types = plan.get_parameter_types()?;
    let number = |name: &String| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX);
    let mut types: Vec<_> = types.into_iter().map(|(name, of)| (number(&name), of)).collect();
    types.sort_by_key(|(number, _)| *number);
    Ok(types.into_iter().map(|(_, of)| of).collect())
}

/// Where steps without memory go on: in the folder, emptied of what a crash has left there.
fn disk(spill: Option<&Spill>) -> Result<DiskManagerBuilder> {
    let Some(Spill { folder, bytes_max }) = spill else {
        return Ok(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled));
    };
    let bad = |error: std::io::Error| {
        let folder = folder.display();
        Error::new(
            ErrorKind::Retry,
            format!("cannot make the folder of queries: {error} folder={folder}"),
        )
    };
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(bad(error)),
        _ => std::fs::create_dir_all(folder).map_err(bad)?,
    }
    Ok(DiskManagerBuilder::default()
        .with_mode(DiskManagerMode::Directories(vec![folder.clone()]))
        .with_max_temp_directory_size(*bytes_max))
}
