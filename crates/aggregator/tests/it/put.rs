//! The binary door.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aggregator::AggregatorOptions;
use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::utils::batches_to_flight_data;
use arrow_flight::{FlightData, FlightDescriptor};
use async_trait::async_trait;
use event::wire::{PutAck, PutHeader};
use event::{Batch, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use queue::{ErrorKind, MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::door::{self, Doors};

const EMITTER: EmitterId = EmitterId(Uuid::from_u128(7));

fn rows(from: i64, count: i64) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(
        (from..from + count).map(|n| format!("n{n}")),
    ));
    RecordBatch::try_from_iter([("n", n), ("name", name)]).unwrap()
}

fn header(sequence: u64) -> PutHeader {
    PutHeader {
        emitter: EMITTER,
        epoch: Epoch(0),
        sequence: Sequence(sequence),
        events: None,
        encoding: Encoding::ArrowIpc,
        generated_at_us: Some(1_000),
        received_at_us: None,
    }
}

/// What a stock encoder makes of batches: a schema, dictionaries, record batches; the path on the first.
async fn encoded(dataset: &str, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec![dataset.into()])))
        .build(futures::stream::iter(
            batches.into_iter().map(Ok::<_, FlightError>),
        ))
        .try_collect()
        .await
        .unwrap()
}

fn is_record_batch(data: &FlightData) -> bool {
    let message = arrow::ipc::root_as_message(&data.data_header).unwrap();
    message.header_as_record_batch().is_some()
}

fn with_headers(mut messages: Vec<FlightData>, sequences: impl IntoIterator<Item = u64>) -> Vec<FlightData> {
    let batches = messages.iter_mut().filter(|data| is_record_batch(data));
    for (data, sequence) in batches.zip(sequences) {
        data.app_metadata = serde_json::to_vec(&header(sequence)).unwrap().into();
    }
    messages
}

fn lines(sequence: u64, events: u32, body: &str) -> FlightData {
    let header = PutHeader {
        events: Some(events),
        encoding: Encoding::Ndjson,
        ..header(sequence)
    };
    FlightData::new()
        .with_data_body(body.to_owned().into_bytes())
        .with_app_metadata(serde_json::to_vec(&header).unwrap())
}

fn flight(doors: &Doors) -> FlightServiceClient<Channel> {
    FlightServiceClient::new(Channel::from_shared(doors.flight.clone()).unwrap().connect_lazy())
}

async fn put(doors: &Doors, messages: Vec<FlightData>) -> (Vec<PutAck>, Option<Status>) {
    let mut client = flight(doors);
    let mut answers = client
        .do_put(futures::stream::iter(messages))
        .await
        .unwrap()
        .into_inner();
    let mut acks = Vec::new();
    loop {
        match answers.next().await {
            Some(Ok(answer)) => acks.push(serde_json::from_slice(&answer.app_metadata).unwrap()),
            Some(Err(status)) => return (acks, Some(status)),
            None => return (acks, None),
        }
    }
}

fn decoded(batch: &Batch) -> Vec<RecordBatch> {
    assert_eq!(batch.header.encoding, Encoding::ArrowIpc);
    let reader = StreamReader::try_new(&batch.payload[..], None).unwrap();
    reader.collect::<Result<_, _>>().unwrap()
}

fn ack(sequence: u64, events: u32, duplicate: bool) -> PutAck {
    PutAck {
        sequence: Sequence(sequence),
        events,
        duplicate,
        spooled: false,
    }
}

#[tokio::test]
async fn batches_are_kept_as_streams_of_their_own_and_acked_in_order() {
    let doors = door::open().await;
    let sent = vec![rows(0, 3), rows(3, 2), rows(5, 1)];
    let messages = with_headers(encoded("orders", sent.clone()).await, 0..);
    assert_eq!(
        put(&doors, messages).await.0,
        [ack(0, 3, false), ack(1, 2, false), ack(2, 1, false)]
    );
    let kept = doors.batches("orders").await;
    assert_eq!(kept.iter().flat_map(decoded).collect::<Vec<_>>(), sent);
    assert_eq!(kept[1].header.key.emitter, EMITTER);
    assert_eq!(kept[1].header.generated_at.as_microsecond(), 1_000);
    assert!(kept[1].header.received_at.as_microsecond() > 1_000);
    let counts = doors.aggregator.counts()[&"orders".parse::<DatasetName>().unwrap()];
    assert_eq!(
        (counts.events_received, counts.events_acked, counts.batches),
        (6, 6, 3)
    );
}

#[tokio::test]
async fn a_resend_is_a_duplicate_and_a_gap_ends_the_stream_after_the_acks() {
    let doors = door::open().await;
    let messages = |sequences: Vec<u64>| async move {
        let sent = sequences.iter().map(|n| rows(*n as i64, 1)).collect();
        with_headers(encoded("orders", sent).await, sequences)
    };
    put(&doors, messages(vec![0, 1]).await).await;
    let (acks, status) = put(&doors, messages(vec![0, 1, 2, 5, 6]).await).await;
    assert_eq!(acks, [ack(0, 1, true), ack(1, 1, true), ack(2, 1, false)]);
    let status = status.unwrap();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains('3'),
        "names the sequence it expects: {}",
        status.message()
    );
    assert_eq!(doors.batches("orders").await.len(), 3);
}

#[tokio::test]
async fn a_stock_client_needs_no_headers() {
    let doors = door::open().await;
    let sent = vec![rows(0, 2), rows(0, 0), rows(2, 2)];
    // This encoder does not leave out batches without rows.
    let mut messages = batches_to_flight_data(&rows(0, 0).schema(), sent).unwrap();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_path(vec!["orders".into()]));
    let (acks, status) = put(&doors, messages).await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(acks, [ack(0, 2, false), ack(1, 0, false), ack(1, 2, false)]);
    put(&doors, encoded("orders", vec![rows(4, 1)]).await).await;
    let kept = doors.batches("orders").await;
    assert_eq!(
        kept.iter().flat_map(decoded).collect::<Vec<_>>(),
        [rows(0, 2), rows(2, 2), rows(4, 1)]
    );
    assert_eq!(kept[0].header.key.emitter, kept[1].header.key.emitter);
    assert_ne!(kept[0].header.key.emitter, kept[2].header.key.emitter);
}

#[tokio::test]
async fn each_batch_carries_the_dictionaries_it_needs() {
    let doors = door::open().await;
    let words = |words: &[&str]| {
        let array: ArrayRef = Arc::new(words.iter().copied().collect::<DictionaryArray<Int32Type>>());
        RecordBatch::try_from_iter([("word", array)]).unwrap()
    };
    let sent = vec![words(&["a", "b", "a"]), words(&["c", "c"]), words(&["d", "a"])];
    let messages = with_headers(encoded("words", sent.clone()).await, 0..);
    assert!(
        messages.len() > 1 + sent.len(),
        "dictionaries are messages of their own"
    );
    assert_eq!(put(&doors, messages).await.0.len(), 3);
    let text = |batch: &RecordBatch| {
        let array = batch
            .column(0)
            .as_any()
            .downcast_ref::<DictionaryArray<Int32Type>>()
            .unwrap()
            .clone();
        array
            .downcast_dict::<StringArray>()
            .unwrap()
            .into_iter()
            .map(|w| w.unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let kept: Vec<_> = doors
        .batches("words")
        .await
        .iter()
        .flat_map(decoded)
        .map(|batch| text(&batch))
        .collect();
    assert_eq!(kept, sent.iter().map(text).collect::<Vec<_>>());
}

#[tokio::test]
async fn lines_and_rows_mix() {
    let doors = door::open().await;
    let mut messages = with_headers(encoded("mixed", vec![rows(0, 1)]).await, [0]);
    messages.push(lines(1, 2, "{\"a\":1}\n\nnot json\n"));
    assert_eq!(
        put(&doors, messages).await.0,
        [ack(0, 1, false), ack(1, 2, false)]
    );
    let kept = doors.batches("mixed").await;
    assert_eq!(kept[1].payload, "{\"a\":1}\n\nnot json\n");
    assert_eq!(
        (kept[1].header.events, kept[1].header.encoding),
        (2, Encoding::Ndjson)
    );
}

#[tokio::test]
async fn what_cannot_be_a_batch_is_refused_with_a_reason() {
    let doors = door::open().await;
    let good = with_headers(encoded("orders", vec![rows(0, 1)]).await, [0]);
    let path = |path: &[&str], mut data: FlightData| {
        let path = path.iter().map(|s| (*s).to_owned()).collect();
        data.flight_descriptor = Some(FlightDescriptor::new_path(path));
        data
    };
    let cut = {
        let mut batch = good[1].clone();
        batch.data_body.truncate(batch.data_body.len() - 8);
        vec![good[0].clone(), batch]
    };
    let noise = FlightData::new().with_data_header(vec![9; 64]);
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(event::limits::BATCH_BYTES_MAX));
    let wrong_metadata = vec![
        good[0].clone(),
        good[1].clone().with_app_metadata("{\"emitter\":1}"),
    ];
    for (messages, reason) in [
        (vec![lines(0, 1, "{}")], "descriptor"),
        (vec![path(&["a", "b"], lines(0, 1, "{}"))], "path"),
        (vec![path(&["a$failed"], lines(0, 1, "{}"))], "not a dataset name"),
        (vec![path(&["a"], lines(0, 2, "{}"))], "lines=1"),
        (vec![path(&["a"], lines(0, 0, ""))], "events=0"),
        (vec![path(&["a"], lines(0, 1, &large))], "too large"),
        (vec![path(&["a"], noise)], "data_header"),
        (vec![path(&["a"], good[1].clone())], "schema"),
        (cut, "shorter"),
        (wrong_metadata, "app_metadata"),
    ] {
        let (acks, status) = put(&doors, messages).await;
        let status = status.unwrap();
        assert_eq!(
            (acks.len(), status.code()),
            (0, Code::InvalidArgument),
            "{status:?}"
        );
        assert!(
            status.message().contains(reason),
            "{reason}: {}",
            status.message()
        );
    }
    assert!(doors.batches("orders").await.is_empty() && doors.batches("a").await.is_empty());
}

/// Answers the appends of a queue in its own way; remembers how much was under way.
struct Gate {
    queue: MemoryQueue,
    fail_at: u64,
    under_way: Arc<AtomicU64>,
    under_way_max: AtomicU64,
}

#[async_trait]
impl Queue for Gate {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        if batch.header.key.sequence.0 >= self.fail_at {
            let error = queue::Error::new(ErrorKind::Retry, "disk is full");
            return futures::future::ready(Err(error)).boxed();
        }
        let under_way = Arc::clone(&self.under_way);
        let now = under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.under_way_max.fetch_max(now, Ordering::SeqCst);
        let append = self.queue.append(batch);
        async move {
            tokio::task::yield_now().await;
            let receipt = append.await;
            under_way.fetch_sub(1, Ordering::SeqCst);
            receipt
        }
        .boxed()
    }
    async fn create(&self, dataset: &DatasetName, partitions: u32) -> queue::Result<u32> {
        self.queue.create(dataset, partitions).await
    }
    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> queue::Result<Vec<Record>> {
        self.queue.read(dataset, partition, from, bytes_max).await
    }
    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.queue.ends(dataset)
    }
    fn datasets(&self) -> tokio::sync::watch::Receiver<Vec<DatasetName>> {
        self.queue.datasets()
    }
}

fn gate(fail_at: u64) -> Arc<Gate> {
    Arc::new(Gate {
        queue: MemoryQueue::default(),
        fail_at,
        under_way: Arc::default(),
        under_way_max: AtomicU64::new(0),
    })
}

#[tokio::test]
async fn a_failing_queue_ends_the_stream_after_the_acks() {
    let doors = door::open_before(gate(2), AggregatorOptions::default()).await;
    let sent = (0..4).map(|n| rows(n, 1)).collect();
    let (acks, status) = put(&doors, with_headers(encoded("orders", sent).await, 0..)).await;
    assert_eq!(acks, [ack(0, 1, false), ack(1, 1, false)]);
    let status = status.unwrap();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "disk is full")
    );
}

#[tokio::test]
async fn a_stream_has_only_so_much_under_way() {
    let gate = gate(u64::MAX);
    let options = AggregatorOptions {
        stream_bytes_max: 4 << 10,
        ..AggregatorOptions::default()
    };
    let doors = door::open_before(Arc::clone(&gate) as Arc<dyn Queue>, options).await;
    let mut messages: Vec<_> = (0..500).map(|n| lines(n, 1, "{}")).collect();
    messages[0].flight_descriptor = Some(FlightDescriptor::new_path(vec!["orders".into()]));
    let (acks, status) = put(&doors, messages).await;
    assert_eq!((acks.len(), status.is_none()), (500, true));
    let most = gate.under_way_max.load(Ordering::SeqCst);
    assert!((1..=4).contains(&most), "under way at most: {most}");
}

#[tokio::test]
async fn closing_ends_open_streams_after_their_acks() {
    let doors = door::open().await;
    let mut first = lines(0, 1, "{}");
    first.flight_descriptor = Some(FlightDescriptor::new_path(vec!["orders".into()]));
    let messages = futures::stream::iter([first]).chain(futures::stream::pending());
    let mut client = flight(&doors);
    let mut answers = client.do_put(messages).await.unwrap().into_inner();
    answers.next().await.unwrap().unwrap();
    doors.aggregator.close();
    assert_eq!(
        answers.next().await.unwrap().unwrap_err().code(),
        Code::Unavailable
    );
}

/// An Arrow stream of two batches, as a queue may hold it.
pub(crate) fn stream_of_rows(count: i64) -> Vec<u8> {
    let batches = [rows(0, 1), rows(1, count - 1)];
    let mut writer = arrow::ipc::writer::StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

#[tokio::test]
async fn a_whole_payload_is_taken_as_it_is() {
    let doors = door::open().await;
    let whole = |sequence, events, payload: Vec<u8>| {
        let header = PutHeader {
            events: Some(events),
            ..header(sequence)
        };
        FlightData::new()
            .with_data_body(payload)
            .with_app_metadata(serde_json::to_vec(&header).unwrap())
    };
    let payload = stream_of_rows(5);
    let first = FlightData::new().with_descriptor(FlightDescriptor::new_path(vec!["numbers".into()]));
    let (acks, end) = put(&doors, vec![first.clone(), whole(0, 5, payload.clone())]).await;
    assert_eq!((acks, end.map(|end| end.code())), (vec![ack(0, 5, false)], None));
    assert_eq!(doors.batches("numbers").await[0].payload, payload);
    let marked = payload.len() - 8;
    assert_eq!(&payload[marked..marked + 4], [0xFF; 4], "it ends with a mark");
    let cases = [
        (4, payload.clone()),
        (5, payload[..marked - 8].to_vec()),
        (5, payload[1..].to_vec()),
        (0, Vec::new()),
        (1, b"{}\n".to_vec()),
    ];
    for (events, body) in cases {
        let (acks, end) = put(&doors, vec![first.clone(), whole(1, events, body)]).await;
        assert_eq!((acks.len(), end.unwrap().code()), (0, Code::InvalidArgument));
    }
}
