//! The binary door: Arrow Flight `DoPut`.

use std::collections::VecDeque;

use arrow_flight::{FlightData, PutResult};
use bytes::Bytes;
use event::limits::BATCH_EVENTS_MAX;
use event::wire::{PutAck, PutHeader};
use event::{DatasetName, Durability, EmitterId, Encoding, Epoch, Sequence};
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesOrdered};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::watch;
use tonic::Status;

use crate::aggregator::{Aggregator, OpenDataset, new_emitter};
use crate::ipc::IpcStream;
use crate::limits::STREAM_BATCH_BYTES_MIN;
use crate::memory::Room;
use crate::{Error, ErrorKind, Result, ipc, lines};

/// Takes the messages of one `DoPut` and answers with one ack a batch, in the order of the batches.
///
/// The first message carries a descriptor with the path `[dataset]`. Then, in any mix:
/// * Arrow messages: a schema, dictionaries (kept for the stream), record batches; each record batch becomes one
///   batch of the queue. `app_metadata` is the JSON of [`PutHeader`]; without it (a stock Flight client) the
///   batch gets an emitter made for this stream and is counted on;
/// * whole payloads: no `data_header`, a [`PutHeader`] with `encoding` and `events`, and as the body the lines of
///   NDJSON, an Arrow IPC stream with all it takes to read it, an Avro container that is not packed, or Protobuf
///   messages, each behind its length.
///
/// Each ack is the JSON of [`PutAck`] and means that the queue has kept the batch, or what its header asked for as
/// `durability`. Many batches may be under
/// way; when their payload reaches [`crate::AggregatorOptions::stream_bytes_max`], or the dataset has its share of
/// [`crate::AggregatorOptions::memory_bytes_max`] or sends too fast, the stream is not read on. A
/// record batch without rows from a stock client is acked with `events` 0 and not appended.
///
/// The first failure ends the stream, after the acks of the batches before it: `UNAVAILABLE` or
/// `RESOURCE_EXHAUSTED` (send again later), `FAILED_PRECONDITION` (not the next sequence; the text names it),
/// `INVALID_ARGUMENT`, `ABORTED` (the epoch is over), `DATA_LOSS`.
pub fn do_put<S>(aggregator: Aggregator, messages: S) -> BoxStream<'static, Result<PutResult, Status>>
where
    S: Stream<Item = Result<FlightData, Status>> + Send + 'static,
{
    let closing = aggregator.closing();
    let put = Put {
        aggregator,
        messages: messages.boxed(),
        closing,
        sender: None,
        ipc: IpcStream::default(),
        owed: FuturesOrdered::new(),
        owed_bytes: VecDeque::new(),
        owed_bytes_total: 0,
        waiting: None,
        room: None,
        end: None,
    };
    futures::stream::unfold(put, |mut put| async move {
        put.next().await.map(|answer| (answer, put))
    })
    .boxed()
}

/// One `DoPut` stream.
struct Put {
    aggregator: Aggregator,
    messages: BoxStream<'static, Result<FlightData, Status>>,
    closing: watch::Receiver<bool>,
    sender: Option<Sender>,
    ipc: IpcStream,
    owed: FuturesOrdered<BoxFuture<'static, Result<PutAck>>>,
    /// What each of `owed` counts towards the limit, and its room in memory.
    owed_bytes: VecDeque<(usize, Option<Room>)>,
    owed_bytes_total: usize,
    /// A message for which there is no room yet; meanwhile none is read.
    waiting: Option<BoxFuture<'static, (Result<Room>, FlightData)>>,
    /// Of the message that is being taken.
    room: Option<Room>,
    /// Set when no more is read: how the stream ends after the acks that it owes.
    end: Option<End>,
}

enum End {
    Done,
    Failed(Status),
}

struct Sender {
    dataset: OpenDataset,
    /// For batches that name no emitter.
    emitter: EmitterId,
    next: Sequence,
}

impl Put {
    async fn next(&mut self) -> Option<Result<PutResult, Status>> {
        loop {
            let read_on = self.end.is_none()
                && self.waiting.is_none()
                && self.owed_bytes_total < self.aggregator.stream_bytes_max();
            tokio::select! {
                biased;
                Some(outcome) = self.owed.next(), if !self.owed.is_empty() => {
                    if let Some((bytes, _)) = self.owed_bytes.pop_front() {
                        self.owed_bytes_total -= bytes;
                    }
                    return Some(match outcome {
                        Ok(ack) => Ok(answer(&ack)),
                        Err(error) => Err(self.fail(error)),
                    });
                }
                () = closed(&mut self.closing), if self.end.is_none() => {
                    let error = Error::new(ErrorKind::Retry, "this server is shutting down, send it again later");
                    self.waiting = None;
                    self.end = Some(End::Failed(error.into()));
                }
                (room, data) = room_soon(&mut self.waiting), if self.waiting.is_some() => {
                    self.waiting = None;
                    let taken = match room {
                        Ok(room) => self.take(data, room),
                        Err(error) => Err(error),
                    };
                    if let Err(error) = taken {
                        self.end = Some(End::Failed(error.into()));
                    }
                }
                message = self.messages.next(), if read_on => match message {
                    None => self.end = Some(End::Done),
                    Some(Err(status)) => self.end = Some(End::Failed(status)),
                    Some(Ok(data)) => {
                        if let Err(error) = self.arrived(data).await {
                            self.end = Some(End::Failed(error.into()));
                        }
                    }
                },
                else => return match self.end.replace(End::Done) {
                    Some(End::Failed(status)) => Some(Err(status)),
                    _ => None,
                },
            }
        }
    }

    /// Ends the stream at a batch that failed; nothing after it is answered.
    fn fail(&mut self, error: Error) -> Status {
        self.owed.clear();
        self.owed_bytes.clear();
        self.waiting = None;
        self.end = Some(End::Done);
        error.into()
    }

    /// Takes a message if there is room for it in memory, else keeps it until there is.
    async fn arrived(&mut self, data: FlightData) -> Result<()> {
        if self.sender.is_none() {
            let dataset = self.aggregator.open(dataset_of(&data)?).await?;
            self.sender = Some(Sender {
                dataset,
                emitter: new_emitter(),
                next: Sequence(0),
            });
        }
        let dataset = &self.sender.as_ref().expect("set by the first message").dataset;
        let bytes = data.data_header.len() + data.data_body.len() + self.ipc.bytes();
        if let Ok(room) = self.aggregator.room(&dataset.name, bytes) {
            return self.take(data, room);
        }
        let turn = self.aggregator.may_wait(&dataset.name, bytes)?;
        let room = self.aggregator.room_soon(dataset, bytes);
        let waited = async move {
            let room = room.await;
            drop(turn);
            (room, data)
        };
        self.waiting = Some(waited.boxed());
        Ok(())
    }

    fn take(&mut self, data: FlightData, room: Room) -> Result<()> {
        self.room = Some(room);
        let taken = self.take_message(data);
        self.room = None;
        taken
    }

    fn take_message(&mut self, data: FlightData) -> Result<()> {
        let said = if data.app_metadata.is_empty() {
            None
        } else {
            Some(&data.app_metadata)
        };
        if data.data_header.is_empty() {
            return match said {
                Some(header) => self.take_whole(put_header(header)?, data.data_body),
                None if data.data_body.is_empty() => Ok(()),
                None => Err(Error::invalid("message has neither data_header nor app_metadata")),
            };
        }
        match self.ipc.take(&data)? {
            // The metadata of a schema or of a dictionary is not a batch's.
            None => Ok(()),
            Some(batch) => {
                let header = said.map(|header| put_header(header)).transpose()?;
                self.take_rows(header, batch.rows, batch.payload)
            }
        }
    }

    /// A body that is the payload as the queue keeps it.
    fn take_whole(&mut self, header: PutHeader, payload: Bytes) -> Result<()> {
        let said = header.events.ok_or_else(|| {
            Error::invalid("header of a message without data_header must say its number of events")
        })?;
        let (counted, what) = match header.encoding {
            Encoding::Ndjson => (lines::count(&payload), "lines"),
            Encoding::ArrowIpc => (ipc::rows(&payload)?, "rows"),
            Encoding::Avro => (event::avro::count(&payload)?, "records"),
            Encoding::Protobuf => (event::protobuf::count(&payload)?, "messages"),
        };
        if counted != u64::from(said) {
            return Err(Error::invalid(format_args!(
                "header does not say how many {what} there are events={said} {what}={counted}"
            )));
        }
        self.append(header, said, payload)
    }

    fn take_rows(&mut self, header: Option<PutHeader>, rows: u64, payload: Bytes) -> Result<()> {
        let events = u32::try_from(rows)
            .ok()
            .filter(|rows| *rows <= BATCH_EVENTS_MAX)
            .ok_or_else(|| {
                Error::too_large(format_args!(
                    "batch has too many rows, split it rows={rows} rows_max={BATCH_EVENTS_MAX}"
                ))
            })?;
        let header = match header {
            Some(header) if header.encoding != Encoding::ArrowIpc => {
                return Err(Error::invalid(
                    "message with data_header must be of encoding arrow_ipc",
                ));
            }
            Some(PutHeader {
                events: Some(said), ..
            }) if said != events => {
                return Err(Error::invalid(format_args!(
                    "header does not say how many rows there are events={said} rows={events}"
                )));
            }
            Some(header) => header,
            None => match self.own_header(events) {
                Some(header) => header,
                None => return Ok(()),
            },
        };
        self.append(header, events, payload)
    }

    /// The header of a batch that came without one; `None` when it has no rows and is only acked.
    fn own_header(&mut self, events: u32) -> Option<PutHeader> {
        let sender = self.sender.as_mut().expect("set by the first message");
        let sequence = sender.next;
        if events == 0 {
            let ack = PutAck {
                sequence,
                events: 0,
                duplicate: false,
                spooled: false,
                durability: Durability::default(),
            };
            self.owe(0, futures::future::ready(Ok(ack)).boxed());
            return None;
        }
        sender.next = sequence.next();
        Some(PutHeader {
            emitter: sender.emitter,
            epoch: Epoch(0),
            sequence,
            events: Some(events),
            encoding: Encoding::ArrowIpc,
            generated_at_us: None,
            received_at_us: None,
            durability: None,
        })
    }

    fn append(&mut self, header: PutHeader, events: u32, payload: Bytes) -> Result<()> {
        let asked = header.durability;
        let header = header.into_header(events, self.aggregator.received_at(header.received_at_us))?;
        let bytes = payload.len();
        let sender = self.sender.as_ref().expect("set by the first message");
        let append = self.aggregator.append(&sender.dataset, header, payload, asked)?;
        self.owe(bytes, append.boxed());
        Ok(())
    }

    fn owe(&mut self, bytes: usize, ack: BoxFuture<'static, Result<PutAck>>) {
        let bytes = bytes.max(STREAM_BATCH_BYTES_MIN);
        self.owed.push_back(ack);
        self.owed_bytes.push_back((bytes, self.room.take()));
        self.owed_bytes_total += bytes;
    }
}

async fn room_soon(
    waiting: &mut Option<BoxFuture<'static, (Result<Room>, FlightData)>>,
) -> (Result<Room>, FlightData) {
    match waiting {
        Some(waiting) => waiting.await,
        None => std::future::pending().await,
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    // An error would mean that the aggregator is gone, and this stream holds one.
    let _ = closing.wait_for(|closing| *closing).await;
}

pub(crate) fn dataset_of(data: &FlightData) -> Result<DatasetName> {
    let path = data
        .flight_descriptor
        .as_ref()
        .map(|descriptor| descriptor.path.as_slice());
    match path {
        Some([dataset]) => Ok(dataset.parse::<DatasetName>()?),
        Some(path) => Err(Error::invalid(format_args!(
            "path of the descriptor must be the dataset alone path={path:?}"
        ))),
        None => Err(Error::invalid(
            "first message has no descriptor, send one with the path [dataset]",
        )),
    }
}

fn put_header(json: &[u8]) -> Result<PutHeader> {
    serde_json::from_slice(json)
        .map_err(|error| Error::invalid(format_args!("app_metadata is not the header of a batch: {error}")))
}

fn answer(ack: &PutAck) -> PutResult {
    let json = serde_json::to_vec(ack).expect("an ack is numbers and a bool");
    PutResult {
        app_metadata: json.into(),
    }
}
