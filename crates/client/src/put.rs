//! One `DoPut` call: messages out, acks in.

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use event::wire::{PutAck, PutHeader};
use event::{EmitterId, Encoding};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Status;
use tonic::transport::Channel;

use crate::ledger::Numbered;
use crate::outbox::Payload;

/// A `DoPut` under way: batches of one dataset out, acks in. For programs that pass on batches of others; those that
/// emit use [`crate::Client`].
pub struct PutStream {
    messages: mpsc::UnboundedSender<FlightData>,
    answers: BoxStream<'static, Result<PutAck, Status>>,
    /// Given to the first message.
    descriptor: Option<FlightDescriptor>,
    /// The schema that the server has of this stream.
    schema: Option<Bytes>,
}

impl PutStream {
    /// Connects when it is first asked for an answer. What is sent waits unbounded here; the bound is the caller's.
    pub fn open(channel: Channel, dataset: &str) -> Self {
        let (messages, outgoing) = mpsc::unbounded_channel();
        let call = async move {
            let mut client = FlightServiceClient::new(channel);
            client
                .do_put(UnboundedReceiverStream::new(outgoing))
                .await
                .map(tonic::Response::into_inner)
        };
        let answers = futures::stream::once(call).try_flatten().map(|answer| {
            let answer = answer?;
            serde_json::from_slice(&answer.app_metadata)
                .map_err(|error| Status::internal(format!("ack cannot be read: {error}")))
        });
        let descriptor = Some(FlightDescriptor::new_path(vec![dataset.to_owned()]));
        Self {
            messages,
            answers: answers.boxed(),
            descriptor,
            schema: None,
        }
    }

    /// Sends a batch as the queue keeps it: the payload is that of [`event::Batch`], and the header says what it is and
    /// how many events it holds.
    pub fn send_whole(&mut self, header: &PutHeader, payload: Bytes) {
        let header = serde_json::to_vec(header).expect("a header is numbers and names");
        self.push(
            FlightData::new()
                .with_data_body(payload)
                .with_app_metadata(header),
        );
    }

    pub(crate) fn send(&mut self, emitter: EmitterId, numbered: &Numbered) {
        let batch = &numbered.batch;
        let encoding = match batch.payload {
            Payload::Lines(_) => Encoding::Ndjson,
            Payload::Rows(_) => Encoding::ArrowIpc,
        };
        let header = PutHeader {
            emitter,
            epoch: numbered.epoch,
            sequence: numbered.sequence,
            events: Some(batch.events),
            encoding,
            generated_at_us: Some(batch.generated_at.as_microsecond()),
            received_at_us: None,
        };
        let header = serde_json::to_vec(&header).expect("a header is numbers and names");
        match &batch.payload {
            Payload::Lines(lines) => {
                self.push(
                    FlightData::new()
                        .with_data_body(lines.clone())
                        .with_app_metadata(header),
                );
            }
            Payload::Rows(rows) => {
                if self.schema.as_ref() != Some(&rows.schema) {
                    self.push(FlightData::new().with_data_header(rows.schema.clone()));
                    self.schema = Some(rows.schema.clone());
                }
                for (header, body) in &rows.dictionaries {
                    self.push(message(header, body));
                }
                self.push(message(&rows.header, &rows.body).with_app_metadata(header));
            }
        }
    }

    /// The next ack, in the order of the batches; an error is the end, and about the first batch without an ack if it is
    /// about a batch at all. Dropping the future loses nothing.
    pub async fn answer(&mut self) -> Result<PutAck, Status> {
        match self.answers.next().await {
            Some(answer) => answer,
            None => Err(Status::unavailable("server has ended the stream")),
        }
    }

    fn push(&mut self, mut data: FlightData) {
        data.flight_descriptor = self.descriptor.take();
        // Nobody listens any more when the call has failed; its error comes as the next answer.
        let _ = self.messages.send(data);
    }
}

fn message(header: &Bytes, body: &Bytes) -> FlightData {
    FlightData::new()
        .with_data_header(header.clone())
        .with_data_body(body.clone())
}
