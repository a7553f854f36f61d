//! pgwire's handlers over the engine.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::sql::sqlparser::ast::Statement;
use datafusion_postgres::arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion_postgres::arrow_pg::datatypes::into_pg_type;
use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use datafusion_postgres::pgwire::api::portal::{Format, Portal};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler};
use datafusion_postgres::pgwire::api::results::{FieldInfo, Response};
use datafusion_postgres::pgwire::api::stmt::QueryParser;
use datafusion_postgres::pgwire::api::store::PortalStore;
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, Type};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::response::TransactionStatus;
use futures::Sink;

use super::cancel::{Connection, Connections};
use super::encode::{self, error, state};
use super::startup::{Startup, check_let_in};
use super::{PostgresOptions, settings};
use crate::engine::{check_size, parameters};
use crate::rewrite::parse;
use crate::{Engine, QueryStream, Result};

/// What each connection is served with.
pub(crate) struct Handlers {
    queries: Arc<Queries>,
    startup: Arc<Startup>,
    connections: Arc<Connections>,
}

impl Handlers {
    pub(crate) fn new(engine: Arc<Engine>, options: PostgresOptions) -> Self {
        let connections = Arc::new(Connections::default());
        let parser = Arc::new(Parser {
            engine,
            catalog_parser: PostgresCompatibilityParser::new(),
        });
        Self {
            queries: Arc::new(Queries { parser }),
            startup: Arc::new(Startup::new(connections.clone(), options)),
            connections,
        }
    }
}

impl Handlers {
    /// Who answers queries, in both protocols.
    pub(crate) fn queries(&self) -> Arc<Queries> {
        self.queries.clone()
    }

    /// Who lets connections in.
    pub(crate) fn startup(&self) -> Arc<Startup> {
        self.startup.clone()
    }

    /// Who takes requests to cancel.
    pub(crate) fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }
}

/// Answers queries.
pub(crate) struct Queries {
    parser: Arc<Parser>,
}

/// A statement that was parsed, with what its plan said of it. The plan itself is made anew for each execution,
/// since a plan holds the versions of its tables.
#[derive(Clone)]
pub(crate) struct Prepared {
    statement: Statement,
    text: Arc<str>,
    parameters: Vec<Option<DataType>>,
    schema: SchemaRef,
}

/// Parses and prepares statements.
pub(crate) struct Parser {
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

    /// Runs one statement of this text.
    async fn run(
        &self,
        client: &impl ClientInfo,
        (statement, text): (Statement, &str),
        values: Option<&ParamValues>,
    ) -> Result<QueryStream> {
        let connection = Connection::of(client);
        let timeout = connection.as_ref().and_then(|connection| connection.timeout());
        let lease = self.engine.begin(text, timeout)?;
        if let Some(connection) = connection {
            connection.runs(lease.query());
        }
        let run = self.engine.run(lease, statement, values);
        run.await.map_err(|error| error.within(text))
    }

    async fn prepare(&self, statement: Statement, text: &str) -> Result<Prepared> {
        let text = Arc::from(text);
        if let Some((name, _)) = settings::shown(&statement, None) {
            let schema = Schema::new(vec![arrow::datatypes::Field::new(name, DataType::Utf8, true)]);
            return Ok(Prepared {
                statement,
                text,
                parameters: Vec::new(),
                schema: Arc::new(schema),
            });
        }
        if settings::is_own(&statement) {
            return Ok(Prepared {
                statement,
                text,
                parameters: Vec::new(),
                schema: Arc::new(Schema::empty()),
            });
        }
        let plan = self.engine.session()?.plan(statement.clone()).await?;
        Ok(Prepared {
            statement,
            text,
            parameters: parameters(&plan)?,
            schema: plan.schema().inner().clone(),
        })
    }
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
            1 => {
                let prepared = self.prepare(statements.remove(0), sql).await;
                Ok(Some(prepared.map_err(|e| error(e.within(sql)))?))
            }
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
            if let Some(response) = settings::respond(&statement, Connection::of(client).as_deref()) {
                responses.push(response?);
                continue;
            }
            let rows = self
                .parser
                .run(client, (statement, sql), None)
                .await
                .map_err(error)?;
            responses.push(Response::Query(encode::rows(rows, &Format::UnifiedText)?));
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
        if let Some(response) = settings::respond(&prepared.statement, Connection::of(client).as_deref()) {
            return response;
        }
        let mut values = None;
        if !prepared.parameters.is_empty() {
            let types: Vec<Option<&DataType>> = prepared.parameters.iter().map(Option::as_ref).collect();
            let wire = wire_types(prepared)?;
            let wire: Vec<Option<&Type>> = wire.iter().map(Some).collect();
            values = Some(deserialize_parameters_with_server_types(portal, &types, &wire)?);
        }
        let statement = (prepared.statement.clone(), &*prepared.text);
        let rows = self
            .parser
            .run(client, statement, values.as_ref())
            .await
            .map_err(error)?;
        let columns = |schema: &Schema| -> Vec<(String, DataType)> {
            let fields = schema.fields().iter();
            fields
                .map(|field| (field.name().clone(), field.data_type().clone()))
                .collect()
        };
        if columns(rows.schema()) != columns(&prepared.schema) {
            return Err(state("0A000", "cached plan must not change result type"));
        }
        Ok(Response::Query(encode::rows(rows, &portal.result_column_format)?))
    }
}
