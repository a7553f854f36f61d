//! Arrow Flight SQL, for drivers of ADBC, JDBC and ODBC.
//!
//! [`FlightSql`] answers the messages of Flight that are Flight SQL's; who may ask, and what else is said at the same
//! address, is the server's business. Nothing is kept between two messages: a ticket and the handle of a prepared
//! statement hold the statement's text and the values of its parameters. So there is nothing to close, and none of
//! them goes out of date. A query ends when its client drops the stream, and at the engine's limits.
//!
//! Format: "Arrow Flight SQL", the specification of Apache Arrow.
//!
//! Not here: updates, transactions, Substrait, several rows of parameters at once.

mod metadata;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any, Command,
    DoPutPreparedStatementResult, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, PutResult, SchemaAsIpc, Ticket,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use datafusion::common::ScalarValue;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use serde::{Deserialize, Serialize};
use tonic::{Code, Status};

use crate::limits::PARAMETERS_BYTES_MAX;
use crate::{Engine, Error, ErrorKind, QueryOptions, QueryStream};

/// The actions of `DoAction` that [`FlightSql::action`] answers, with what they are for.
pub const FLIGHT_SQL_ACTIONS: [(&str, &str); 2] = [
    (CREATE_PREPARED, "makes a prepared statement of Flight SQL"),
    (CLOSE_PREPARED, "ends a prepared statement of Flight SQL"),
];

const CREATE_PREPARED: &str = "CreatePreparedStatement";
const CLOSE_PREPARED: &str = "ClosePreparedStatement";

/// The messages of an answer.
pub type FlightMessages = BoxStream<'static, Result<FlightData, Status>>;

/// Flight SQL over an [`Engine`]; clones share it.
#[derive(Clone, Debug)]
pub struct FlightSql {
    engine: Arc<Engine>,
}

/// A statement on its way through a client: what a ticket and a handle hold.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    sql: String,
    /// An Arrow stream of one row, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parameters: Option<String>,
}

impl FlightSql {
    /// Over this engine.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }

    /// `GetFlightInfo`: the columns of an answer, and the ticket that [`FlightSql::get`] gives its rows for.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if the descriptor holds no command, or its statement is wrong; `UNIMPLEMENTED` for
    /// commands that are not offered.
    pub async fn info(&self, descriptor: FlightDescriptor) -> Result<FlightInfo, Status> {
        let (schema, ticket) = match command(&descriptor.cmd)? {
            Command::CommandStatementQuery(query) => {
                self.described(Statement {
                    sql: query.query,
                    parameters: None,
                })
                .await?
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                self.described(Statement::read(&prepared.prepared_statement_handle)?)
                    .await?
            }
            other => {
                let rows = metadata::rows(&self.engine, other)?;
                (rows.schema(), descriptor.cmd.clone())
            }
        };
        FlightInfo::new()
            .try_with_schema(&schema)
            .map(|info| {
                info.with_descriptor(descriptor)
                    .with_endpoint(FlightEndpoint::new().with_ticket(Ticket { ticket }))
            })
            .map_err(|error| Status::internal(error.to_string()))
    }

    /// `DoGet`: the rows of a ticket.
    ///
    /// # Errors
    /// As [`FlightSql::info`], and those of [`Engine::query`]; later ones come through the stream.
    pub async fn get(&self, ticket: &[u8]) -> Result<FlightMessages, Status> {
        let rows = match command(ticket)? {
            Command::TicketStatementQuery(ticket) => {
                return self.run(Statement::read(&ticket.statement_handle)?).await;
            }
            Command::CommandPreparedStatementQuery(prepared) => {
                return self
                    .run(Statement::read(&prepared.prepared_statement_handle)?)
                    .await;
            }
            other => metadata::rows(&self.engine, other)?,
        };
        Ok(messages(rows.schema(), futures::stream::iter([Ok(rows)])))
    }

    /// `DoAction`; `None` if the action is none of Flight SQL's. No answer is an action without a result.
    ///
    /// # Errors
    /// As [`FlightSql::info`].
    pub async fn action(&self, name: &str, body: &[u8]) -> Option<Result<Option<Bytes>, Status>> {
        match name {
            CREATE_PREPARED => Some(self.prepare(body).await.map(Some)),
            CLOSE_PREPARED => Some(Ok(None)),
            _ => None,
        }
    }

    /// `DoPut` of a command: takes the values of a prepared statement's parameters, and answers a handle that holds
    /// them.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` if they are not one row, or too large; `UNIMPLEMENTED` for what would change something.
    pub async fn put(
        &self,
        messages: impl Stream<Item = Result<FlightData, Status>> + Send + 'static,
    ) -> Result<PutResult, Status> {
        let mut messages = messages.boxed();
        let first = match messages.next().await {
            Some(first) => first?,
            None => return Err(Status::invalid_argument("nothing was sent")),
        };
        let descriptor = first.flight_descriptor.clone().unwrap_or_default();
        let Command::CommandPreparedStatementQuery(prepared) = command(&descriptor.cmd)? else {
            return Err(Status::unimplemented(
                "queries only read: DoPut of Flight SQL takes parameters of a prepared statement alone",
            ));
        };
        let statement = Statement::read(&prepared.prepared_statement_handle)?;
        let messages = futures::stream::iter([Ok(first)]).chain(messages);
        let rows = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
        let row = one_row(rows).await?;
        let statement = Statement {
            sql: statement.sql,
            parameters: Some(BASE64_STANDARD.encode(ipc(&row)?)),
        };
        let result = DoPutPreparedStatementResult {
            prepared_statement_handle: Some(statement.write()?),
        };
        Ok(PutResult {
            app_metadata: result.encode_to_vec().into(),
        })
    }

    async fn prepare(&self, body: &[u8]) -> Result<Bytes, Status> {
        let request: Option<ActionCreatePreparedStatementRequest> = Any::decode(body)
            .map_err(|error| Status::invalid_argument(format!("body of the action: {error}")))?
            .unpack()
            .map_err(|error| Status::invalid_argument(format!("body of the action: {error}")))?;
        let Some(request) = request else {
            return Err(Status::invalid_argument("body of the action: no statement"));
        };
        let (schema, parameters) = self.engine.describe(&request.query, &[]).await?;
        let parameters: Vec<Field> = parameters
            .into_iter()
            .enumerate()
            .map(|(i, of)| Field::new(format!("${}", i + 1), of.unwrap_or(DEFAULT_TYPE), true))
            .collect();
        let statement = Statement {
            sql: request.query,
            parameters: None,
        };
        let result = ActionCreatePreparedStatementResult {
            prepared_statement_handle: statement.write()?,
            dataset_schema: schema_bytes(&schema)?,
            parameter_schema: match parameters.is_empty() {
                true => Bytes::new(),
                false => schema_bytes(&Schema::new(parameters))?,
            },
        };
        Ok(result.as_any().encode_to_vec().into())
    }

    async fn described(&self, statement: Statement) -> Result<(SchemaRef, Bytes), Status> {
        let (schema, _) = self.engine.describe(&statement.sql, &statement.values()?).await?;
        let ticket = TicketStatementQuery {
            statement_handle: statement.write()?,
        };
        Ok((schema, ticket.as_any().encode_to_vec().into()))
    }

    async fn run(&self, statement: Statement) -> Result<FlightMessages, Status> {
        let options = QueryOptions {
            parameters: statement.values()?,
            ..QueryOptions::default()
        };
        Ok(flight_messages(
            self.engine.query_with(&statement.sql, options).await?,
        ))
    }
}

/// The type of a parameter that may be of any.
const DEFAULT_TYPE: arrow::datatypes::DataType = arrow::datatypes::DataType::Utf8;

impl Statement {
    fn read(handle: &[u8]) -> Result<Self, Status> {
        serde_json::from_slice(handle)
            .map_err(|error| Status::invalid_argument(format!("no handle of this server: {error}")))
    }

    fn write(&self) -> Result<Bytes, Status> {
        let text = serde_json::to_vec(self).map_err(|error| Status::internal(error.to_string()))?;
        Ok(text.into())
    }

    fn values(&self) -> Result<Vec<ScalarValue>, Status> {
        let Some(parameters) = &self.parameters else {
            return Ok(Vec::new());
        };
        let bad = |error: &dyn std::fmt::Display| {
            Status::invalid_argument(format!("no parameters of this server: {error}"))
        };
        let bytes = BASE64_STANDARD.decode(parameters).map_err(|e| bad(&e))?;
        // Whoever made this may have made anything: a stream's own lengths are not believed, and what the reader asserts
        // is an error.
        let row = std::panic::catch_unwind(|| StreamDecoder::new().decode(&mut Buffer::from(bytes)));
        let row = row.map_err(|_| bad(&"a damaged message"))?.map_err(|e| bad(&e))?;
        let Some(row) = row else {
            return Err(bad(&"no row"));
        };
        if row.num_rows() != 1 {
            return Err(bad(&"not one row"));
        }
        let values = row.columns().iter();
        values
            .map(|column| ScalarValue::try_from_array(column, 0).map_err(|e| bad(&e)))
            .collect()
    }
}

/// An answer as messages: its schema, and then its batches.
pub fn flight_messages(rows: QueryStream) -> FlightMessages {
    messages(rows.schema().clone(), rows)
}

fn messages(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Error>> + Send + 'static,
) -> FlightMessages {
    let rows = rows.map_err(|error| FlightError::Tonic(Box::new(Status::from(error))));
    let encoded = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
    encoded.map_err(Status::from).boxed()
}

/// Whether a ticket or a descriptor's command may be Flight SQL's: it is a protobuf `Any` and no JSON.
pub fn is_flight_sql(command: &[u8]) -> bool {
    command.first().is_some_and(|byte| *byte == 0x0a)
}

fn command(bytes: &[u8]) -> Result<Command, Status> {
    let bad = |error: &dyn std::fmt::Display| {
        Status::invalid_argument(format!("not a command of Flight SQL: {error}"))
    };
    let any = Any::decode(bytes).map_err(|error| bad(&error))?;
    Command::try_from(any).map_err(|error| bad(&error))
}

async fn one_row(mut rows: FlightRecordBatchStream) -> Result<RecordBatch, Status> {
    let mut found: Option<RecordBatch> = None;
    while let Some(batch) = rows.try_next().await.map_err(Status::from)? {
        let rows = batch.num_rows() + found.as_ref().map_or(0, RecordBatch::num_rows);
        if rows > 1 {
            return Err(Status::invalid_argument(
                "a query takes one row of parameters at a time",
            ));
        }
        let bytes = batch.get_array_memory_size();
        if bytes > PARAMETERS_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "parameters are too large bytes={bytes} bytes_max={PARAMETERS_BYTES_MAX}"
            )));
        }
        if batch.num_rows() == 1 {
            found = Some(batch);
        }
    }
    found.ok_or_else(|| Status::invalid_argument("a query takes one row of parameters, there is none"))
}

fn ipc(row: &RecordBatch) -> Result<Vec<u8>, Status> {
    let written = || {
        let mut writer = StreamWriter::try_new(Vec::new(), &row.schema())?;
        writer.write(row)?;
        writer.into_inner()
    };
    written().map_err(|error| Status::internal(error.to_string()))
}

fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let message = IpcMessage::try_from(SchemaAsIpc::new(schema, &IpcWriteOptions::default()));
    let IpcMessage(bytes) = message.map_err(|error| Status::internal(error.to_string()))?;
    Ok(bytes)
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error.kind() {
            ErrorKind::Invalid => Code::InvalidArgument,
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::Retry => Code::ResourceExhausted,
            ErrorKind::Limit => Code::FailedPrecondition,
            ErrorKind::Timeout => Code::DeadlineExceeded,
            ErrorKind::Cancelled => Code::Cancelled,
            ErrorKind::Corrupt => Code::DataLoss,
            ErrorKind::Bug => Code::Internal,
        };
        Self::new(code, error.to_string())
    }
}
