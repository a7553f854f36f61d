//! pgwire's handlers over the engine.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::api::auth::StartupHandler;
use datafusion_postgres::pgwire::api::cancel::{CancelHandler, DefaultCancelHandler};
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{
    ClientInfo, ClientPortalStore, ConnectionManager, PgWireServerHandlers, Type,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use futures::Sink;

use super::encode::{self, error, state};
use super::startup::{Startup, check_let_in};
use super::{PostgresOptions, settings};
use crate::engine::{Session, check_size};
use crate::rewrite::parse;
use crate::{Engine, Result};

/// What each connection is served with.
pub(crate) struct Handlers {
    queries: Arc<Queries>,
    startup: Arc<Startup>,
    cancel: Arc<DefaultCancelHandler>,
}

impl Handlers {
    pub(crate) fn new(engine: Arc<Engine>, options: PostgresOptions) -> Self {
        let connections = Arc::new(ConnectionManager::new());
        let parser = Arc::new(Parser {
            engine,
            catalog_parser: PostgresCompatibilityParser::new(),
        });
        Self {
            queries: Arc::new(Queries { parser }),
            startup: Arc::new(Startup::new(connections.clone(), options)),
            cancel: Arc::new(DefaultCancelHandler::new(connections)),
        }
    }
}

impl PgWireServerHandlers for Handlers {
    fn simple_query_handler(&self) -> Arc<impl SimpleQueryHandler> {
        self.queries.clone()
    }

    fn extended_query_handler(&self) -> Arc<impl ExtendedQueryHandler> {
        self.queries.clone()
    }

    fn startup_handler(&self) -> Arc<impl StartupHandler> {
        self.startup.clone()
    }

    fn cancel_handler(&self) -> Arc<impl CancelHandler> {
        self.cancel.clone()
    }
}

struct Queries {
    parser: Arc<Parser>,
}

/// A statement that was parsed, with what its plan said of it. The plan itself is made anew for each execution,
/// since a plan holds the versions of its tables.
#[derive(Clone)]
pub(crate) struct Prepared {
    statement: Statement,
    parameters: Vec<Option<DataType>>,
    schema: SchemaRef,
}

struct Parser {
    engine: Arc<Engine>,
    catalog_parser: PostgresCompatibilityParser,
}

impl Parser {
    fn parse(&self, sql: &str) -> Result<Vec<Statement>> {
        let sql = check_size(sql)?;
        if sql.to_ascii_lowercase().contains("pg_")
            && let Ok(statements) = self.catalog_parser.parse(sql)
        {
            return Ok(statements);
        }
        parse(sql)
    }

    /// Starts a planned statement.
    async fn run(&self, session: Session, plan: LogicalPlan, format: &Format) -> PgWireResult<Response> {
        let permit = self.engine.permit().map_err(error)?;
        let batches = session.run(plan, permit).await.map_err(error)?;
        Ok(Response::Query(encode::rows(batches, format)?))
    }

    async fn prepare(&self, statement: Statement) -> Result<Prepared> {
        if let Some((name, _)) = settings::shown(&statement) {
            let schema = Schema::new(vec![arrow::datatypes::Field::new(name, DataType::Utf8, true)]);
            return Ok(Prepared {
                statement,
                parameters: Vec::new(),
                schema: Arc::new(schema),
            });
        }
        if settings::respond(&statement).is_some() {
            return Ok(Prepared {
                statement,
                parameters: Vec::new(),
                schema: Arc::new(Schema::empty()),
            });
        }
        let plan = self.engine.session()?.plan(statement.clone()).await?;
        Ok(Prepared {
            statement,
            parameters: parameters(&plan)?,
            schema: plan.schema().inner().clone(),
        })
    }
}

/// The types of `$1`, `$2` …, where the plan says.
fn parameters(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let types = plan.get_parameter_types()?;
    let number = |name: &String| name.trim_start_matches('$').parse::<u32>().unwrap_or(u32::MAX);
    let mut types: Vec<_> = types.into_iter().map(|(name, of)| (number(&name), of)).collect();
    types.sort_by_key(|(number, _)| *number);
    Ok(types.into_iter().map(|(_, of)| of).collect())
}

fn wire_types(prepared: &Prepared) -> PgWireResult<Vec<Type>> {
    let types = prepared.parameters.iter();
    types
        .map(|of| of.as_ref().map_or(Ok(Type::UNKNOWN), into_pg_type))
        .collect()
}

fn check_transaction(client: &impl ClientInfo, statement: &Statement) -> PgWireResult<()> {
    if client.transaction_status() == TransactionStatus::Error && !settings::ends_transaction(statement) {
        let text = "current transaction is aborted, commands ignored until end of transaction block";
        return Err(state("25P02", text));
    }
    Ok(())
}

#[async_trait]
impl QueryParser for Parser {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        check_let_in(client)?;
        let mut statements = self.parse(sql).map_err(error)?;
        match statements.len() {
            0 => Ok(None),
            1 => Ok(Some(self.prepare(statements.remove(0)).await.map_err(error)?)),
            _ => Err(state(
                "42601",
                "cannot insert multiple commands into a prepared statement",
            )),
        }
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        wire_types(prepared)
    }

    fn get_result_schema(
        &self,
        prepared: &Prepared,
        format: Option<&Format>,
    ) -> PgWireResult<Vec<FieldInfo>> {
        encode::fields(&prepared.schema, format.unwrap_or(&Format::UnifiedText))
    }
}

#[async_trait]
impl SimpleQueryHandler for Queries {
    async fn do_query<C>(&self, client: &mut C, sql: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        check_let_in(client)?;
        let statements = self.parser.parse(sql).map_err(error)?;
        let mut responses = Vec::with_capacity(statements.len());
        for statement in statements {
            check_transaction(client, &statement)?;
            if let Some(response) = settings::respond(&statement) {
                responses.push(response?);
                continue;
            }
            let session = self.parser.engine.session().map_err(error)?;
            let plan = session.plan(statement).await.map_err(error)?;
            responses.push(self.parser.run(session, plan, &Format::UnifiedText).await?);
        }
        if responses.is_empty() {
            responses.push(Response::EmptyQuery);
        }
        Ok(responses)
    }
}

#[async_trait]
impl ExtendedQueryHandler for Queries {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        self.parser.clone()
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: std::fmt::Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        check_let_in(client)?;
        let prepared = &portal.statement.statement;
        check_transaction(client, &prepared.statement)?;
        if let Some(response) = settings::respond(&prepared.statement) {
            return response;
        }
        let session = self.parser.engine.session().map_err(error)?;
        let mut plan = session.plan(prepared.statement.clone()).await.map_err(error)?;
        if plan.schema().inner().fields() != prepared.schema.fields() {
            return Err(state("0A000", "cached plan must not change result type"));
        }
        if !prepared.parameters.is_empty() {
            let types: Vec<Option<&DataType>> = prepared.parameters.iter().map(Option::as_ref).collect();
            let wire = wire_types(prepared)?;
            let wire: Vec<Option<&Type>> = wire.iter().map(Some).collect();
            let values = deserialize_parameters_with_server_types(portal, &types, &wire)?;
            plan = Session::bind(plan, &values).map_err(error)?;
        }
        self.parser.run(session, plan, &portal.result_column_format).await
    }
}
