//! The binary door against messages that nobody should send: whatever comes, it answers and ends, what it acks is
//! kept as it was sent, and what is kept can be given to the decoder.
//!
//! `SANDERLING_FUZZ_CASES` says how many cases; each is made from its number.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorOptions, do_put};
use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use event::wire::{PutAck, PutHeader};
use event::{
    Batch, DatasetSchema, DatasetSettings, Decoder, Durability, EmitterId, Encoding, Epoch, Sequence,
};
use futures::{StreamExt, TryStreamExt};
use queue::{MemoryQueue, Offset, Partition, Queue};
use tonic::Status;
use uuid::Uuid;

use crate::sim::chance::Chance;

const CASES: &str = "SANDERLING_FUZZ_CASES";
const CASES_DEFAULT: u64 = 3_000;

fn cases() -> u64 {
    let text = std::env::var(CASES).ok();
    text.map_or(CASES_DEFAULT, |text| text.parse().expect("a number of cases"))
}

fn header(sequence: u64, encoding: Encoding, events: u32) -> PutHeader {
    PutHeader {
        emitter: EmitterId(Uuid::from_u128(7)),
        epoch: Epoch(0),
        sequence: Sequence(sequence),
        events: Some(events),
        encoding,
        generated_at_us: Some(1_000),
        received_at_us: Some(2_000),
        durability: Some(Durability::Durable),
    }
}

fn rows(from: i64, count: i64) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + count));
    let names: Vec<String> = (from..from + count).map(|n| format!("n{n}")).collect();
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(&names));
    let words = names
        .iter()
        .map(String::as_str)
        .collect::<DictionaryArray<Int32Type>>();
    let word: ArrayRef = Arc::new(words);
    RecordBatch::try_from_iter([("n", n), ("name", name), ("word", word)]).unwrap()
}

/// A stream as it should be: dictionaries and rows, with headers or as a stock client sends them, and lines.
async fn good(with_headers: bool) -> Vec<FlightData> {
    let batches = [rows(0, 3), rows(3, 1), rows(4, 2)].map(Ok::<_, FlightError>);
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_dictionary_handling(DictionaryHandling::Resend)
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec!["orders".into()])))
        .build(futures::stream::iter(batches))
        .try_collect()
        .await
        .unwrap();
    if with_headers {
        let mut sequences = 0..;
        for data in &mut messages {
            let message = arrow::ipc::root_as_message(&data.data_header).unwrap();
            if let Some(batch) = message.header_as_record_batch() {
                let events = batch.length() as u32;
                let header = header(sequences.next().unwrap(), Encoding::ArrowIpc, events);
                data.app_metadata = json(&header);
            }
        }
        for sequence in 3..5 {
            let header = header(sequence, Encoding::Ndjson, 2);
            let lines = FlightData::new().with_data_body("{\"n\":1,\"name\":\"a\"}\n{\"n\":2}\n");
            messages.push(lines.with_app_metadata(json(&header)));
        }
        // Rows as an aggregator passes them on: a stream of their own.
        let mut whole = Vec::new();
        let mut writer = StreamWriter::try_new(&mut whole, &rows(0, 1).schema()).unwrap();
        writer.write(&rows(6, 2)).unwrap();
        writer.finish().unwrap();
        let header = header(5, Encoding::ArrowIpc, 2);
        let whole = FlightData::new().with_data_body(whole);
        messages.push(whole.with_app_metadata(json(&header)));
    }
    messages
}

fn json(header: &PutHeader) -> Bytes {
    serde_json::to_vec(header).unwrap().into()
}

/// Changes bytes: a bit, a run, the end, something put in, something copied, a number at a place where one may be.
fn mutate(bytes: &Bytes, chance: &mut Chance) -> Bytes {
    let mut bytes = bytes.to_vec();
    let at = chance.below(bytes.len() as u64) as usize;
    let to = (at + chance.below(24) as usize).min(bytes.len());
    match chance.below(7) {
        _ if bytes.is_empty() => bytes.push(chance.bits() as u8),
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at..to].fill(chance.pick(&[0, 0xff, b'{', b'"'])),
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..at, chance.bits().to_le_bytes())),
        4 => drop(bytes.drain(at..to)),
        5 => {
            let run = bytes[at..to].to_vec();
            let at = chance.below(bytes.len() as u64) as usize;
            drop(bytes.splice(at..at, run));
        }
        _ => {
            // Lengths and offsets of a flatbuffer stand at multiples of four.
            let at = at & !3;
            let number: i64 = chance.pick(&[0, 1, -1, i64::MAX, i64::MIN, 1 << 31, 1 << 20, 0x7fff_fff0]);
            let width = chance.pick(&[4, 8]);
            let end = (at + width).min(bytes.len());
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
        }
    }
    bytes.into()
}

/// Changes the header of a batch as JSON: a value, a key, or all of it.
fn mutate_json(header: &Bytes, chance: &mut Chance) -> Bytes {
    let Ok(serde_json::Value::Object(mut fields)) = serde_json::from_slice(header) else {
        return mutate(header, chance);
    };
    let values = [
        "null",
        "-1",
        "0",
        "1",
        "2",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "1.5",
        "\"\"",
        "\"ndjson\"",
        "\"arrow_ipc\"",
        "[]",
        "{}",
        "true",
        "9223372036854775807",
        "-9223372036854775808",
        "\"00000000-0000-0000-0000-000000000000\"",
    ];
    let key = fields
        .keys()
        .nth(chance.below(fields.len() as u64) as usize)
        .cloned();
    let Some(key) = key else { return Bytes::new() };
    match chance.below(5) {
        0 => drop(fields.remove(&key)),
        1 => drop(fields.insert(format!("{key}x"), 1.into())),
        2 => return vec![b'['; chance.pick(&[1, 200, 100_000])].into(),
        _ => {
            // As text, since a value need not be one that can be held.
            let value = chance.pick(&values);
            let text = serde_json::to_string(&fields).unwrap();
            let old = format!("\"{key}\":{}", fields[&key]);
            return text.replace(&old, &format!("\"{key}\":{value}")).into();
        }
    }
    serde_json::to_vec(&fields).unwrap().into()
}

/// Changes a stream: one of its messages, or which there are and in which order.
fn mutate_stream(messages: &mut Vec<Result<FlightData, Status>>, other: &[FlightData], chance: &mut Chance) {
    let count = messages.len() as u64;
    let (at, to) = (chance.below(count) as usize, chance.below(count) as usize);
    if messages.is_empty() {
        return;
    }
    match chance.below(12) {
        0 => drop(messages.remove(at)),
        1 => messages.swap(at, to),
        2 => {
            let again = messages[at].clone();
            messages.insert(to, again);
        }
        3 => messages.insert(at, Ok(other[chance.below(other.len() as u64) as usize].clone())),
        4 => messages.insert(at, Err(Status::cancelled("the sender has gone"))),
        change => {
            let Ok(data) = &mut messages[at] else { return };
            match change {
                5 | 6 => data.data_header = mutate(&data.data_header, chance),
                7 => data.data_body = mutate(&data.data_body, chance),
                8 => data.app_metadata = mutate(&data.app_metadata, chance),
                9 | 10 => data.app_metadata = mutate_json(&data.app_metadata, chance),
                _ => {
                    let path = chance.pick(&["", "orders", "a/b", "x$failed", "..", "ORDERS", "\0"]);
                    let paths = vec![path.to_owned(); chance.below(3) as usize];
                    data.flight_descriptor = chance.one_in(4).then(|| FlightDescriptor::new_path(paths));
                }
            }
        }
    }
}

/// What a stream is answered with, and all batches that are kept.
async fn put(messages: Vec<Result<FlightData, Status>>) -> (Vec<PutAck>, Vec<Batch>) {
    let queue = Arc::new(MemoryQueue::new(1));
    let aggregator = Aggregator::new(queue.clone(), AggregatorOptions::default());
    let answers = do_put(aggregator, futures::stream::iter(messages)).collect::<Vec<_>>();
    let answers = tokio::time::timeout(Duration::from_secs(60), answers);
    let answers = answers.await.expect("a stream that ends is answered to its end");
    let (acks, failures): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert!(failures.len() <= 1, "a stream ends at its first failure");
    let acks = acks
        .into_iter()
        .map(|ack| serde_json::from_slice(&ack.unwrap().app_metadata).unwrap());
    let mut batches = Vec::new();
    for name in queue.datasets().borrow().iter() {
        if queue.ends(name)[0] > Offset(0) {
            let records = queue
                .read(name, Partition(0), Offset(0), usize::MAX)
                .await
                .unwrap();
            batches.extend(records.into_iter().map(|record| record.batch));
        }
    }
    (acks.collect(), batches)
}

fn check(acks: &[PutAck], batches: &[Batch], sent: usize) {
    let acked = acks.iter().filter(|ack| ack.events > 0 && !ack.duplicate);
    for (ack, batch) in acked.zip(batches) {
        let header = batch.header;
        assert_eq!((ack.sequence, ack.events), (header.key.sequence, header.events));
    }
    let count = acks.iter().filter(|ack| ack.events > 0 && !ack.duplicate).count();
    assert!(count <= batches.len(), "what is acked is kept");
    let mut keys = HashSet::new();
    for batch in batches {
        assert!(batch.check().is_ok());
        assert!(keys.insert(batch.header.key), "kept once");
        assert!(
            batch.payload.len() <= 2 * sent + 1_024,
            "no more is kept than was sent"
        );
        let schema = Arc::new(DatasetSchema::empty());
        let decoded = Decoder::new(schema, &DatasetSettings::default())
            .unwrap()
            .decode(batch);
        assert!(decoded.rows.num_rows() <= batch.header.events as usize);
    }
}

/// Whether anything stands out in a case, whose number is all it takes to make it again.
async fn case(number: u64, goods: &[Vec<FlightData>; 2]) {
    let mut chance = Chance::new(number);
    let base = &goods[chance.below(2) as usize];
    let mut messages: Vec<_> = base.iter().cloned().map(Ok).collect();
    for _ in 0..chance.within(1..4) {
        mutate_stream(&mut messages, &goods[0], &mut chance);
    }
    let sizes = messages.iter().flatten();
    let sent = sizes
        .map(|data| data.data_body.len() + data.data_header.len())
        .sum();
    let (acks, batches) = put(messages).await;
    check(&acks, &batches, sent);
}

#[test]
fn mutated_streams_are_answered_and_what_is_kept_can_be_decoded() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let goods = runtime.block_on(async { [good(true).await, good(false).await] });
    for (good, batches) in goods.iter().zip([6, 3]) {
        let (acks, kept) = runtime.block_on(put(good.iter().cloned().map(Ok).collect()));
        assert_eq!((acks.len(), kept.len()), (batches, batches));
    }
    let mut failed = Vec::new();
    for number in 0..cases() {
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case(number, &goods))));
        if outcome.is_err() {
            failed.push(number);
        }
    }
    assert_eq!(failed, Vec::<u64>::new(), "the cases that failed");
}

/// Headers and acks that can be read are as they say, whatever was done to their text.
#[test]
fn mutated_headers_and_acks_are_read_or_refused() {
    let ack = PutAck {
        sequence: Sequence(3),
        events: 4,
        duplicate: false,
        spooled: true,
        durability: Durability::Memory,
    };
    let ack = Bytes::from(serde_json::to_vec(&ack).unwrap());
    for number in 0..cases() {
        let mut chance = Chance::new(number);
        let (mut header, mut ack) = (json(&header(3, Encoding::Ndjson, 4)), ack.clone());
        for _ in 0..chance.within(1..4) {
            header = match chance.one_in(2) {
                true => mutate_json(&header, &mut chance),
                false => mutate(&header, &mut chance),
            };
            ack = mutate(&ack, &mut chance);
        }
        if let Ok(read) = serde_json::from_slice::<PutHeader>(&header) {
            assert_eq!(serde_json::from_slice::<PutHeader>(&json(&read)).unwrap(), read);
            if let Ok(kept) = read.into_header(1, "1970-01-01T00:00:00Z".parse().unwrap()) {
                assert_eq!((kept.key.sequence, kept.events), (read.sequence, 1));
            }
        }
        if let Ok(read) = serde_json::from_slice::<PutAck>(&ack) {
            let text = serde_json::to_vec(&read).unwrap();
            assert_eq!(serde_json::from_slice::<PutAck>(&text).unwrap(), read);
        }
    }
}
