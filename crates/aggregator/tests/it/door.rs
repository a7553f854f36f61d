//! Servers on free ports, and what the queue has of a dataset.

use std::sync::Arc;

use aggregator::{Aggregator, AggregatorOptions, limits, router};
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{FlightData, FlightDescriptor};
use event::wire::PutHeader;
use event::{Batch, EmitterId, Encoding, Epoch, Sequence};
use queue::{MemoryQueue, Offset, Partition, Queue};
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;
use uuid::Uuid;

use crate::put_only::PutOnly;

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
