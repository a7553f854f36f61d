//! The loop that sends one dataset's batches and takes their acks.

use std::sync::Arc;
use std::time::Duration;

use arrow_flight::FlightData;
use arrow_flight::FlightDescriptor;
use arrow_flight::flight_service_client::FlightServiceClient;
use bytes::Bytes;
use event::wire::{PutAck, PutHeader};
use event::{EmitterId, Encoding};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::Error;
use crate::ledger::{Ledger, Numbered};
use crate::outbox::{Outbox, Payload};
use crate::stats::add;

/// What a sender needs to know.
pub(crate) struct SenderOptions {
    pub(crate) channel: Channel,
    pub(crate) emitter: EmitterId,
    pub(crate) in_flight_bytes_max: usize,
    pub(crate) retry_min: Duration,
    pub(crate) retry_max: Duration,
}

/// Sends until the outbox is over and all is acked or given up.
pub(crate) async fn run(outbox: Arc<Outbox>, options: SenderOptions) {
    Sender {
        outbox,
        options,
        ledger: Ledger::default(),
        stream: None,
        attempts: 0,
        retry_at: None,
    }
    .run()
    .await;
}

struct Sender {
    outbox: Arc<Outbox>,
    options: SenderOptions,
    ledger: Ledger,
    stream: Option<PutStream>,
    /// Failures since the last ack.
    attempts: u32,
    retry_at: Option<Instant>,
}

impl Sender {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            for batch in self.outbox.take(now) {
                self.ledger.push(batch);
            }
            self.send(now);
            if self.ledger.is_empty() && self.outbox.is_over() {
                return;
            }
            let due = self.outbox.due();
            let retry_at = self.retry_at;
            tokio::select! {
                () = self.outbox.woken() => {}
                () = until(due) => {}
                () = until(retry_at) => self.retry_at = None,
                answer = next_answer(&mut self.stream) => self.answered(answer),
            }
        }
    }

    fn send(&mut self, now: Instant) {
        if !self.ledger.has_unsent() || self.retry_at.is_some_and(|at| at > now) {
            return;
        }
        self.retry_at = None;
        let name = &self.outbox.name;
        let channel = &self.options.channel;
        let stream = self
            .stream
            .get_or_insert_with(|| PutStream::open(channel.clone(), name.as_str()));
        while let Some(numbered) = self.ledger.send(self.options.in_flight_bytes_max) {
            if numbered.sends > 1 {
                add(&self.outbox.counts.retried, 1);
            }
            stream.send(self.options.emitter, numbered);
        }
    }

    fn answered(&mut self, answer: Result<PutAck, Status>) {
        match answer {
            Ok(ack) => match self.ledger.ack(&ack) {
                Some(numbered) => self.acked(&numbered, &ack),
                None => self.failed(Status::internal(format!(
                    "ack is not of the oldest batch sequence={}",
                    ack.sequence.0
                ))),
            },
            Err(status) => self.failed(status),
        }
    }

    fn acked(&mut self, numbered: &Numbered, ack: &PutAck) {
        let counts = &self.outbox.counts;
        self.attempts = 0;
        add(&counts.acked, u64::from(numbered.batch.events));
        add(&counts.batches, 1);
        add(&counts.bytes, numbered.batch.bytes as u64);
        add(&counts.duplicates, u64::from(ack.duplicate));
        counts.took(numbered.batch.emitted.elapsed());
        self.outbox.finish(&numbered.batch, None);
    }

    /// The stream has ended. Acks come in order, so the failure is about the oldest batch under way, if it is
    /// about a batch at all.
    fn failed(&mut self, status: Status) {
        self.stream = None;
        if !self.ledger.is_under_way() {
            // A stream that nothing was sent on: the server has gone, or has had enough of waiting.
            return;
        }
        let counts = &self.outbox.counts;
        counts.went_wrong(format!(
            "{}: {} code={:?}",
            self.outbox.name,
            status.message(),
            status.code()
        ));
        tracing::debug!(dataset = %self.outbox.name, code = ?status.code(), "put stream ended: {}", status.message());
        match status.code() {
            Code::InvalidArgument | Code::OutOfRange => {
                if let Some(numbered) = self.ledger.refuse() {
                    add(&counts.dropped, u64::from(numbered.batch.events));
                    self.outbox.finish(&numbered.batch, Some(Error::from(status)));
                }
                self.ledger.lost_stream();
            }
            Code::FailedPrecondition if self.ledger.conflict() => add(&counts.epochs, 1),
            _ => {
                self.ledger.lost_stream();
                self.retry_at = Some(Instant::now() + self.back_off());
                self.attempts += 1;
            }
        }
    }

    /// Doubles with each attempt, up to the maximum; between half and all of it, by the emitter's random bits,
    /// so that emitters do not come back all at once.
    fn back_off(&self) -> Duration {
        let factor = 1u32 << self.attempts.min(16);
        let whole = self
            .options
            .retry_min
            .saturating_mul(factor)
            .min(self.options.retry_max);
        let mixed = (self.options.emitter.0.as_u128() as u64 ^ u64::from(self.attempts))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            >> 32;
        whole.mul_f64(0.5 + mixed as f64 / (1u64 << 33) as f64)
    }
}

/// A `DoPut` under way.
struct PutStream {
    messages: mpsc::UnboundedSender<FlightData>,
    answers: BoxStream<'static, Result<PutAck, Status>>,
    /// Given to the first message.
    descriptor: Option<FlightDescriptor>,
    /// The schema that the server has of this stream.
    schema: Option<Bytes>,
}

impl PutStream {
    /// Connects when it is first asked for an answer. What is sent waits unbounded here; the bound is the
    /// ledger's.
    fn open(channel: Channel, dataset: &str) -> Self {
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

    fn send(&mut self, emitter: EmitterId, numbered: &Numbered) {
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

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn next_answer(stream: &mut Option<PutStream>) -> Result<PutAck, Status> {
    match stream {
        None => std::future::pending().await,
        Some(stream) => match stream.answers.next().await {
            Some(answer) => answer,
            None => Err(Status::unavailable("server has ended the stream")),
        },
    }
}
