//! The engine: SQL text in, a stream of Arrow batches out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList, SchemaProvider,
};
use datafusion::common::ParamValues;
use datafusion::execution::memory_pool::FairSpillPool;
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warehouse::Warehouse;

use crate::catalog::{CATALOG, PUBLIC, Pinning, STORES, Tables, TablesIn};
use crate::limits::{QUERIES_RUNNING, QUERY_BYTES_MAX, QUERY_MEMORY_BYTES};
use crate::rewrite::{parse, rewrite_statement};
use crate::table::FILES_URL;
use crate::{Error, ErrorKind, Result};

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
    /// Queries that run at once; default 64.
    pub queries_max: usize,
    /// Threads' worth of partitions of each query; default: the machine's cores.
    pub partitions: usize,
}

impl EngineOptions {
    /// The defaults, over these tables and stores.
    pub fn new(warehouse: Arc<Warehouse>, stores: Arc<Embedded>) -> Self {
        Self {
            warehouse,
            stores,
            memory_bytes_max: QUERY_MEMORY_BYTES,
            queries_max: QUERIES_RUNNING,
            partitions: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// Answers queries; cheap to share as `Arc<Engine>`.
pub struct Engine {
    options: EngineOptions,
    base: SessionContext,
    pg_catalog: Arc<dyn SchemaProvider>,
    permits: Arc<Semaphore>,
}

/// A query's answer: its columns at once, its rows as they come.
///
/// A stream of batches of `schema`; dropping it ends the query.
pub struct QueryStream {
    schema: SchemaRef,
    batches: SendableRecordBatchStream,
    _permit: OwnedSemaphorePermit,
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
    /// `Bug` if the runtime cannot be set up.
    pub fn new(options: EngineOptions) -> Result<Self> {
        let mut config = SessionConfig::new()
            .with_information_schema(true)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(CATALOG, PUBLIC)
            .with_target_partitions(options.partitions.max(1));
        // Names are resolved by `rewrite`, in the case that they are stored in.
        config.options_mut().sql_parser.enable_ident_normalization = false;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes_max)))
            .build_arc()?;
        runtime.register_object_store(FILES_URL.as_ref(), options.warehouse.store());
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_default_features()
            .build();
        let base = SessionContext::new_with_state(state);
        crate::sketch::register(&base);

        let live = Tables::new(options.warehouse.clone(), options.stores.clone(), Pinning::Never);
        let catalog = Arc::new(MemoryCatalogProvider::new());
        register(catalog.as_ref(), &live)?;
        base.register_catalog(CATALOG, catalog.clone());
        datafusion_pg_catalog::setup_pg_catalog(&base, CATALOG, EmptyContextProvider).map_err(|e| *e)?;
        let pg_catalog = catalog
            .schema(PG_CATALOG)
            .ok_or_else(|| Error::new(ErrorKind::Bug, "pg_catalog was not registered"))?;
        let permits = Arc::new(Semaphore::new(options.queries_max));
        Ok(Self {
            options,
            base,
            pg_catalog,
            permits,
        })
    }

    /// Runs one query.
    ///
    /// # Errors
    /// `Invalid` if the text, a name or a type is wrong, or if the statement would change something; `Retry` if
    /// too many queries run. Errors of running it come through the stream.
    pub async fn query(&self, sql: &str) -> Result<QueryStream> {
        let permit = self.permit()?;
        let statement = one(parse(check_size(sql)?)?)?;
        let session = self.session()?;
        let plan = session.plan(statement).await?;
        session.run(plan, permit).await
    }

    /// The stores.
    pub(crate) fn stores(&self) -> &Arc<Embedded> {
        &self.options.stores
    }

    /// Leave to run one more query.
    pub(crate) fn permit(&self) -> Result<OwnedSemaphorePermit> {
        self.permits.clone().try_acquire_owned().map_err(|_| {
            let max = self.options.queries_max;
            Error::new(
                ErrorKind::Retry,
                format!("too many queries run at once, try again queries_max={max}"),
            )
        })
    }

    /// A session for one query.
    pub(crate) fn session(&self) -> Result<Session> {
        let tables = Tables::new(
            self.options.warehouse.clone(),
            self.options.stores.clone(),
            Pinning::Once,
        );
        let catalog = MemoryCatalogProvider::new();
        register(&catalog, &tables)?;
        catalog.register_schema(PG_CATALOG, self.pg_catalog.clone())?;
        let list = MemoryCatalogProviderList::new();
        list.register_catalog(CATALOG.to_owned(), Arc::new(catalog));
        let state = SessionStateBuilder::new_from_existing(self.base.state())
            .with_catalog_list(Arc::new(list))
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

    /// Puts values for `$1`, `$2` …
    pub(crate) fn bind(plan: LogicalPlan, values: &ParamValues) -> Result<LogicalPlan> {
        Ok(plan.replace_params_with_values(values)?)
    }

    /// Starts a plan.
    pub(crate) async fn run(self, plan: LogicalPlan, permit: OwnedSemaphorePermit) -> Result<QueryStream> {
        let frame = self.context.execute_logical_plan(plan).await?;
        let batches = frame.execute_stream().await?;
        Ok(QueryStream {
            schema: batches.schema(),
            batches,
            _permit: permit,
        })
    }
}

impl QueryStream {
    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

impl Stream for QueryStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.as_mut().poll_next(cx).map_err(Error::from)
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
            .field("permits", &self.permits)
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
    for schema in [PUBLIC, STORES] {
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
