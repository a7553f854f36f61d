//! Servers on free ports, and what the queue has of a dataset.

use std::sync::Arc;

use aggregator::{Aggregator, AggregatorOptions, do_put, limits, router};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use event::wire::PutHeader;
use event::{Batch, EmitterId, Encoding, Epoch, Sequence};
use futures::stream::BoxStream;
use queue::{MemoryQueue, Offset, Partition, Queue};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

pub(crate) struct Doors {
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) aggregator: Aggregator,
    pub(crate) flight: String,
    pub(crate) http: String,
}

pub(crate) async fn open() -> Doors {
    open_before(Arc::new(MemoryQueue::default()), AggregatorOptions::default()).await
}

pub(crate) async fn open_before(queue: Arc<dyn Queue>, options: AggregatorOptions) -> Doors {
    let aggregator = Aggregator::new(Arc::clone(&queue), options);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flight = format!("http://{}", listener.local_addr().unwrap());
    let service = service(&aggregator);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    tokio::spawn(
        tonic::transport::Server::builder()
            .layer(aggregator.meter(aggregator::limits::FLIGHT_MESSAGE_BYTES_MAX))
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = listener.local_addr().unwrap().to_string();
    let routes = router(aggregator.clone());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Doors {
        queue,
        aggregator,
        flight,
        http,
    }
}

/// A Flight service that takes batches and does nothing else.
pub(crate) fn service(aggregator: &Aggregator) -> FlightServiceServer<impl FlightService + use<>> {
    FlightServiceServer::new(PutOnly(aggregator.clone()))
        .max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX)
}

/// A first message: a batch of one event.
pub(crate) fn line(dataset: &str, sequence: u64) -> FlightData {
    let header = PutHeader {
        emitter: EmitterId(Uuid::from_u128(7)),
        epoch: Epoch(0),
        sequence: Sequence(sequence),
        events: Some(1),
        encoding: Encoding::Ndjson,
        generated_at_us: None,
        received_at_us: None,
        durability: None,
    };
    FlightData::new()
        .with_descriptor(FlightDescriptor::new_path(vec![dataset.to_owned()]))
        .with_data_body(b"{}".to_vec())
        .with_app_metadata(serde_json::to_vec(&header).unwrap())
}

/// A client of a Flight door.
pub(crate) fn flight(address: &str) -> FlightServiceClient<Channel> {
    FlightServiceClient::new(Channel::from_shared(address.to_owned()).unwrap().connect_lazy())
}

impl Doors {
    /// All batches of a dataset, which has one partition.
    pub(crate) async fn batches(&self, dataset: &str) -> Vec<Batch> {
        let name = dataset.parse().unwrap();
        let end = self.queue.ends(&name).first().copied().unwrap_or_default();
        let mut batches = Vec::new();
        while (batches.len() as u64) < end.0 {
            let from = Offset(batches.len() as u64);
            let records = self
                .queue
                .read(&name, Partition(0), from, usize::MAX)
                .await
                .unwrap();
            batches.extend(records.into_iter().map(|record| record.batch));
        }
        batches
    }
}

pub(crate) struct PutOnly(pub(crate) Aggregator);

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl FlightService for PutOnly {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        Ok(Response::new(do_put(self.0.clone(), request.into_inner())))
    }
    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        not_here()
    }
    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        not_here()
    }
    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        not_here()
    }
    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        not_here()
    }
    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        not_here()
    }
    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        not_here()
    }
    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        not_here()
    }
    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        not_here()
    }
    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        not_here()
    }
}
