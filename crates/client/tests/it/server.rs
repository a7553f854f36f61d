//! A server that can be killed, and can lose acks.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::store::{MemoryStore, Store};
use aggregator::access::{Access, Scope};
use aggregator::{Aggregator, AggregatorOptions, ServeOptions, do_put, flight_incoming, limits};
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest,
    HandshakeResponse, PollInfo, PutResult, SchemaResult, Ticket,
};
use bytes::Bytes;
use event::Batch;
use event::flags::Flags;
use event::wire::{FlagsAnswer, action};
use futures::StreamExt;
use futures::stream::BoxStream;
use queue::{Offset, Partition, Queue};
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status, Streaming};

/// A server in a runtime of its own: dropping it cuts all its connections.
pub(crate) struct Server {
    runtime: Option<Runtime>,
    pub(crate) address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What a server does.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) aggregator: Aggregator,
    /// Every so many acks, over all streams, one is lost with its stream; 0 for never.
    pub(crate) lose_every: u64,
    pub(crate) acks: Arc<AtomicU64>,
    /// Keeps batches, but says nothing of them.
    pub(crate) is_mute: bool,
    pub(crate) access: Access,
    pub(crate) store: MemoryStore<Bytes, Bytes>,
    /// What it answers to who asks for flags.
    pub(crate) flags: Arc<Mutex<Option<Flags>>>,
}

impl Service {
    pub(crate) fn new(queue: Arc<dyn Queue>) -> Self {
        let aggregator = Aggregator::new(queue, AggregatorOptions::default());
        Self {
            aggregator,
            lose_every: 0,
            acks: Arc::default(),
            is_mute: false,
            access: Access::open(),
            store: MemoryStore::new(),
            flags: Arc::default(),
        }
    }
}

impl Service {
    fn flags_answer(&self, body: &[u8]) -> Result<Vec<u8>, Status> {
        let flags = self.flags.lock().unwrap();
        let flags = flags.as_ref().ok_or_else(|| Status::unavailable("no flags"))?;
        let answer = FlagsAnswer::new(flags, &serde_json::from_slice(body).unwrap());
        Ok(serde_json::to_vec(&answer).unwrap())
    }
}

pub(crate) fn serve(service: Service) -> Server {
    serve_at(service, "127.0.0.1:0".parse().unwrap())
}

pub(crate) fn serve_at(service: Service, address: SocketAddr) -> Server {
    serve_with(service, address, ServeOptions::default())
}

pub(crate) fn serve_with(service: Service, address: SocketAddr, options: ServeOptions) -> Server {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let guard = runtime.enter();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let listener = socket.listen(64).unwrap();
    let address = listener.local_addr().unwrap();
    let incoming = flight_incoming(listener, options);
    let service =
        FlightServiceServer::new(service).max_decoding_message_size(limits::FLIGHT_MESSAGE_BYTES_MAX);
    runtime.spawn(
        tonic::transport::Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    drop(guard);
    Server {
        runtime: Some(runtime),
        address,
    }
}

/// All batches of a dataset, which has one partition.
pub(crate) async fn batches(queue: &dyn Queue, dataset: &str) -> Vec<Batch> {
    let name = dataset.parse().unwrap();
    let end = queue.ends(&name).first().copied().unwrap_or_default();
    let mut batches = Vec::new();
    while (batches.len() as u64) < end.0 {
        let from = Offset(batches.len() as u64);
        let records = queue.read(&name, Partition(0), from, usize::MAX).await.unwrap();
        batches.extend(records.into_iter().map(|record| record.batch));
    }
    batches
}

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn not_here<T>() -> Result<T, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl FlightService for Service {
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
        let (acks, lose_every) = (Arc::clone(&self.acks), self.lose_every);
        let (metadata, _, messages) = request.into_parts();
        let messages = self.access.put(&metadata, messages)?;
        let answers = do_put(self.aggregator.clone(), messages).map(move |answer| {
            let ack = acks.fetch_add(1, Ordering::SeqCst) + 1;
            if lose_every > 0 && ack % lose_every == 0 {
                Err(Status::unavailable("cut"))
            } else {
                answer
            }
        });
        if self.is_mute {
            let silence = answers.filter_map(|_| futures::future::ready(None));
            return Ok(Response::new(silence.chain(futures::stream::pending()).boxed()));
        }
        Ok(Response::new(answers.boxed()))
    }
    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        self.access.check_metadata(request.metadata(), &Scope::Query)?;
        super::read::answer(&request.into_inner().ticket)
            .await
            .map(Response::new)
    }
    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        self.access.check_metadata(request.metadata(), &Scope::Query)?;
        let request = request.into_inner();
        let store: &dyn Store<Bytes, Bytes> = &self.store;
        let body = match request.r#type.as_str() {
            action::FLAGS => self.flags_answer(&request.body)?,
            _ => super::store::answer(store, &request).await?,
        };
        let answer = futures::stream::iter([Ok(arrow_flight::Result { body: body.into() })]);
        Ok(Response::new(answer.boxed()))
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
