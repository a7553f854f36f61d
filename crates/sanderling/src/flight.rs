//! The Flight door: `DoPut` takes batches, `DoGet` gives queries' rows and datasets' streams, `DoAction` reaches
//! stores; at the same address, Flight SQL.

use std::sync::Arc;

use aggregator::access::Scope;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use event::wire::{self, FlagsAnswer, FlagsRequest, Position, StreamHeader};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use processor::DatasetStream;
use sql::FlightSql;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::entrance::Entrance;
use crate::limits::FLIGHT_MESSAGE_BYTES_MAX;
use crate::server::Parts;
use crate::stores;

/// All of Flight that a server answers.
pub(crate) struct Doors {
    entrance: Entrance,
    /// What can be read; an edge has nothing.
    parts: Option<Parts>,
}

type Messages = BoxStream<'static, Result<FlightData, Status>>;

impl Doors {
    pub(crate) fn new(entrance: Entrance, parts: Option<Parts>) -> Self {
        Self { entrance, parts }
    }

    fn parts(&self) -> Result<&Parts, Status> {
        self.parts.as_ref().ok_or_else(|| {
            Status::unimplemented(
                "this server passes batches on and keeps nothing, ask the one that it passes them on to",
            )
        })
    }

    /// What an action needs beside a token that is known.
    fn check_action(&self, metadata: &MetadataMap, action: &Action) -> Result<(), Status> {
        let access = &self.entrance.access;
        match stores::scope_of(&action.r#type, &action.body)? {
            Some(scope) => access.check_metadata(metadata, &scope).map(|_| ()),
            None => access.check_known(metadata).map(|_| ()),
        }
    }

    fn flags(&self, body: &[u8]) -> Result<Vec<u8>, Status> {
        let request: FlagsRequest = match body {
            [] => FlagsRequest::default(),
            body => serde_json::from_slice(body)
                .map_err(|error| Status::invalid_argument(format!("body of the action: {error}")))?,
        };
        // Clients keep those that they have.
        let (flags, _) = self.entrance.flags.read().map_err(Status::unavailable)?;
        serde_json::to_vec(&FlagsAnswer::new(&flags, &request))
            .map_err(|error| Status::internal(error.to_string()))
    }

    fn sql(&self) -> Result<FlightSql, Status> {
        Ok(FlightSql::new(Arc::clone(&self.parts()?.engine)))
    }

    async fn query(&self, sql: &str) -> Result<Messages, Status> {
        Ok(sql::flight_messages(self.parts()?.engine.query(sql).await?))
    }

    /// The rows of a ticket: Flight SQL's, or JSON.
    async fn rows(&self, ticket: &[u8]) -> Result<Messages, Status> {
        if sql::is_flight_sql(ticket) {
            return self.sql()?.get(ticket).await;
        }
        let ticket: wire::Ticket = serde_json::from_slice(ticket)
            .map_err(|error| Status::invalid_argument(format!("not a ticket: {error}")))?;
        match ticket {
            wire::Ticket::Query { sql } => self.query(&sql).await,
            wire::Ticket::Stream {
                dataset,
                from,
                until,
                follow,
            } => {
                self.stream(StreamTicket {
                    dataset,
                    from,
                    until,
                    follow,
                })
                .await
            }
        }
    }

    async fn stream(&self, ticket: StreamTicket) -> Result<Messages, Status> {
        let StreamTicket {
            dataset,
            from,
            until,
            follow,
        } = ticket;
        let stream = self
            .parts()?
            .processor
            .stream(dataset, from, until, follow)
            .await
            .map_err(processor_status)?;
        Ok(
            futures::stream::try_unfold((stream, None), |(mut stream, schema)| async move {
                match next_messages(&mut stream, schema).await? {
                    Some((messages, schema)) => Ok(Some((
                        futures::stream::iter(messages.into_iter().map(Ok)),
                        (stream, Some(schema)),
                    ))),
                    None => Ok::<_, Status>(None),
                }
            })
            .try_flatten()
            .boxed(),
        )
    }
}

struct StreamTicket {
    dataset: event::DatasetName,
    from: Option<Position>,
    until: Option<Position>,
    follow: bool,
}

/// The next slice of a dataset's stream as messages: the schema first when the stream begins. `None` at the end,
/// and when the schema has grown: the reader asks again from its position and gets the new one.
async fn next_messages(
    stream: &mut DatasetStream,
    schema: Option<arrow::datatypes::SchemaRef>,
) -> Result<Option<(Vec<FlightData>, arrow::datatypes::SchemaRef)>, Status> {
    let Some((rows, next)) = stream.next().await.map_err(processor_status)? else {
        return Ok(None);
    };
    let now = rows
        .first()
        .map(RecordBatch::schema)
        .or_else(|| schema.clone())
        .unwrap_or_else(|| stream.schema());
    if schema.as_ref().is_some_and(|schema| *schema != now) {
        return Ok(None);
    }
    let batch = concat_batches(&now, &rows).map_err(|error| Status::internal(error.to_string()))?;
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(now.clone())
        .with_max_flight_data_size(FLIGHT_MESSAGE_BYTES_MAX / 2)
        .build(futures::stream::iter([Ok(batch)]))
        .try_collect()
        .await
        .map_err(Status::from)?;
    if schema.is_some() {
        messages.remove(0); // the schema has been sent
    }
    let header =
        serde_json::to_vec(&StreamHeader { next }).map_err(|error| Status::internal(error.to_string()))?;
    if let Some(last) = messages.last_mut() {
        last.app_metadata = header.into();
    }
    Ok(Some((messages, now)))
}

fn processor_status(error: processor::Error) -> Status {
    match error.kind() {
        processor::ErrorKind::Retry => Status::unavailable(error.to_string()),
        processor::ErrorKind::NotFound => Status::not_found(error.to_string()),
        processor::ErrorKind::Corrupt => Status::data_loss(error.to_string()),
        _ => Status::invalid_argument(error.to_string()),
    }
}

/// The answer to an action.
fn results(body: Option<impl Into<Bytes>>) -> BoxStream<'static, Result<arrow_flight::Result, Status>> {
    let result = body.map(|body| Ok(arrow_flight::Result { body: body.into() }));
    futures::stream::iter(result).boxed()
}

fn not_here<T>(what: &str) -> Result<T, Status> {
    Err(Status::unimplemented(format!(
        "{what} is not offered: use DoPut to send, DoGet to read, DoAction for stores"
    )))
}

#[tonic::async_trait]
impl FlightService for Doors {
    type HandshakeStream = BoxStream<'static, Result<HandshakeResponse, Status>>;
    type ListFlightsStream = BoxStream<'static, Result<FlightInfo, Status>>;
    type DoGetStream = BoxStream<'static, Result<FlightData, Status>>;
    type DoPutStream = BoxStream<'static, Result<PutResult, Status>>;
    type DoActionStream = BoxStream<'static, Result<arrow_flight::Result, Status>>;
    type ListActionsStream = BoxStream<'static, Result<ActionType, Status>>;
    type DoExchangeStream = BoxStream<'static, Result<FlightData, Status>>;

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let (metadata, _, mut messages) = request.into_parts();
        self.entrance.access.check_known(&metadata)?;
        let (entrance, sql) = (self.entrance.clone(), self.sql());
        // Its first message says what it is; the client may wait for an answer before it sends that.
        let answers = async move {
            let first = messages.next().await;
            let is_command = matches!(&first, Some(Ok(FlightData { flight_descriptor: Some(descriptor), .. }))
                if sql::is_flight_sql(&descriptor.cmd));
            let messages = futures::stream::iter(first).chain(messages);
            if is_command {
                let put = async {
                    entrance.access.check_metadata(&metadata, &Scope::Query)?;
                    sql?.put(messages).await
                };
                return futures::stream::iter([put.await]).boxed();
            }
            match entrance.access.put(&metadata, messages) {
                Ok(messages) => aggregator::do_put(entrance.aggregator, messages),
                Err(status) => futures::stream::iter([Err(status)]).boxed(),
            }
        };
        Ok(Response::new(futures::stream::once(answers).flatten().boxed()))
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let access = &self.entrance.access;
        let who = access.check_metadata(request.metadata(), &Scope::Query)?;
        let stream = self.rows(&request.into_inner().ticket).await?;
        let stream = access.while_allowed(who, Scope::Query, stream);
        Ok(Response::new(stream.boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let (metadata, _, action) = request.into_parts();
        if sql::FLIGHT_SQL_ACTIONS
            .iter()
            .any(|(name, _)| *name == action.r#type)
        {
            self.entrance.access.check_metadata(&metadata, &Scope::Query)?;
            let answer = self.sql()?.action(&action.r#type, &action.body).await;
            return Ok(Response::new(results(answer.transpose()?.flatten())));
        }
        self.check_action(&metadata, &action)?;
        let body = match action.r#type.as_str() {
            wire::action::FLAGS => Some(self.flags(&action.body)?),
            name => stores::act(Arc::clone(&self.parts()?.stores), name, &action.body).await?,
        };
        Ok(Response::new(results(body)))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        not_here("Handshake")
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        not_here("ListFlights")
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let access = &self.entrance.access;
        access.check_metadata(request.metadata(), &Scope::Query)?;
        Ok(Response::new(self.sql()?.info(request.into_inner()).await?))
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        not_here("PollFlightInfo")
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        not_here("GetSchema")
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        let of_stores = self.parts.iter().flat_map(|_| stores::ACTIONS.iter());
        let flags = (wire::action::FLAGS, "the flags of clients");
        let of_sql = self.parts.iter().flat_map(|_| sql::FLIGHT_SQL_ACTIONS.iter());
        let actions = of_stores
            .chain(of_sql)
            .chain([&flags])
            .map(|(name, description)| {
                Ok(ActionType {
                    r#type: (*name).to_owned(),
                    description: (*description).to_owned(),
                })
            });
        Ok(Response::new(
            futures::stream::iter(actions.collect::<Vec<_>>()).boxed(),
        ))
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        not_here("DoExchange")
    }
}
