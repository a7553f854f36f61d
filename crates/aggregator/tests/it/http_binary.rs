//! Avro containers and Protobuf messages at both doors.

use std::io::Write;

use arrow_flight::{FlightData, FlightDescriptor};
use event::avro::{Container, write_block, write_header};
use event::limits::BATCH_BYTES_MAX;
use event::wire::PutHeader;
use event::{Batch, DatasetSchema, DatasetSettings, Decoder, EmitterId, Encoding, Epoch, Sequence};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder};
use std::sync::Arc;

use crate::door::{self, Doors};
use crate::http::{Answer, post};
use crate::put::put;

const SCHEMA: &[u8] = br#"{"type":"record","name":"e","fields":[{"name":"n","type":"long"}]}"#;
const SYNC: [u8; 16] = [7; 16];
const AVRO: (&str, &str) = ("content-type", "application/avro");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf; delimited");

/// n = 1, 2, 3 in two blocks.
fn plain() -> Vec<u8> {
    let mut out = Vec::new();
    write_header(&mut out, SCHEMA, SYNC);
    write_block(&mut out, 2, &[2, 4], SYNC);
    write_block(&mut out, 1, &[6], SYNC);
    out
}

/// A header with a codec; lengths below 64 are one byte.
fn header(codec: &str) -> Vec<u8> {
    let mut out = b"Obj\x01\x04\x14avro.codec".to_vec();
    out.push(codec.len() as u8 * 2);
    out.extend(codec.as_bytes());
    out.extend(b"\x16avro.schema");
    let bytes = SCHEMA.len() as u8 * 2;
    out.extend([bytes | 0x80, ((SCHEMA.len() * 2) >> 7) as u8]);
    out.extend(SCHEMA);
    out.push(0);
    out.extend(SYNC);
    out
}

fn packed(codec: &str, pack: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut out = header(codec);
    write_block(&mut out, 2, &pack(&[2, 4]), SYNC);
    write_block(&mut out, 1, &pack(&[6]), SYNC);
    out
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    let mut out = snap::raw::Encoder::new().compress_vec(bytes).unwrap();
    out.extend(crc32fast::hash(bytes).to_be_bytes());
    out
}

fn rows(batch: &Batch) -> (usize, usize) {
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &DatasetSettings::default()).unwrap();
    let decoded = decoder.decode(batch);
    (decoded.rows.num_rows(), decoded.rejects.len())
}

fn refused(answer: &Answer, status: u16, part: &str) {
    let error = answer.body["error"].as_str().unwrap_or_default();
    assert!(
        answer.status == status && error.contains(part),
        "{} {error}",
        answer.status
    );
}

#[tokio::test]
async fn containers_are_counted_and_kept_plain() {
    let doors = door::open().await;
    let bodies = [
        plain(),
        packed("deflate", deflate),
        packed("zstandard", zstd),
        packed("snappy", snappy),
    ];
    for body in &bodies {
        let answer = post(&doors, "d", &[AVRO], body).await;
        assert_eq!((answer.status, &answer.body["acked"]), (200, &3.into()));
    }
    // It says itself what it is, and may be packed as a whole.
    assert_eq!(post(&doors, "d", &[], &plain()).await.body["acked"], 3);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bodies[1]).unwrap();
    let gzip = gzip.finish().unwrap();
    let answer = post(&doors, "d", &[AVRO, ("content-encoding", "gzip")], &gzip).await;
    assert_eq!(answer.body["acked"], 3);
    let kept = doors.batches("d").await;
    assert_eq!(kept.len(), 6);
    for batch in &kept {
        assert_eq!((batch.header.encoding, batch.header.events), (Encoding::Avro, 3));
        let container = Container::open(&batch.payload).unwrap();
        assert_eq!(container.blocks().count(), 2);
        assert_eq!(rows(batch), (3, 0));
    }
}

#[tokio::test]
async fn what_is_no_container_of_records_is_refused() {
    let doors = door::open().await;
    let mut torn = plain();
    torn.pop();
    let mut damaged = packed("snappy", snappy);
    let at = damaged.len() - 20;
    damaged[at] ^= 1;
    let mut short = header("deflate");
    write_block(&mut short, 2, &deflate(&[2, 4])[..2], SYNC);
    let mut none = Vec::new();
    write_header(&mut none, SCHEMA, SYNC);
    for (body, part) in [
        (b"{\"n\":1}".to_vec(), "not an avro container"),
        (torn, "avro container is broken"),
        (damaged, "not snappy, or is damaged"),
        (short, "not deflate"),
        (none, "holds no event"),
        (header("bzip2"), "unknown codec"),
    ] {
        refused(&post(&doors, "d", &[AVRO], &body).await, 400, part);
    }
    assert!(doors.batches("d").await.is_empty());
}

/// Blocks that are small while they are packed.
#[tokio::test]
async fn a_container_that_is_too_large_unpacked_is_refused() {
    let doors = door::open().await;
    let zeros = vec![0; BATCH_BYTES_MAX];
    for (codec, pack) in [
        ("deflate", deflate as fn(&[u8]) -> Vec<u8>),
        ("zstandard", zstd),
        ("snappy", snappy),
    ] {
        let block = pack(&zeros);
        let mut body = header(codec);
        write_block(&mut body, 1, &block, SYNC);
        refused(&post(&doors, "d", &[AVRO], &body).await, 413, "too large");
        let block = pack(&zeros[..BATCH_BYTES_MAX / 2]);
        let mut body = header(codec);
        write_block(&mut body, 1, &block, SYNC);
        write_block(&mut body, 1, &block, SYNC);
        refused(&post(&doors, "d", &[AVRO], &body).await, 413, "too large");
    }
    assert!(doors.batches("d").await.is_empty());
}

#[tokio::test]
async fn messages_are_counted_by_their_lengths() {
    let doors = door::open().await;
    let answer = post(&doors, "d", &[PROTOBUF], &[2, 8, 1, 0, 2, 8, 2]).await;
    assert_eq!((answer.status, &answer.body["acked"]), (200, &3.into()));
    refused(
        &post(&doors, "d", &[PROTOBUF], &[2, 8, 1, 9, 8]).await,
        400,
        "byte=3",
    );
    refused(&post(&doors, "d", &[PROTOBUF], &[]).await, 400, "no event");
    let kept = doors.batches("d").await;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].header.encoding, kept[0].header.events),
        (Encoding::Protobuf, 3)
    );
}

fn message(sequence: u64, events: u32, encoding: Encoding, body: Vec<u8>) -> FlightData {
    let header = PutHeader {
        emitter: EmitterId(uuid::Uuid::from_u128(5)),
        epoch: Epoch(0),
        sequence: Sequence(sequence),
        events: Some(events),
        encoding,
        generated_at_us: None,
        received_at_us: None,
        durability: None,
    };
    FlightData::new()
        .with_descriptor(FlightDescriptor::new_path(vec!["d".into()]))
        .with_data_body(body)
        .with_app_metadata(serde_json::to_vec(&header).unwrap())
}

async fn refused_by_flight(doors: &Doors, message: FlightData, part: &str) {
    let (acks, status) = put(doors, vec![message]).await;
    let status = status.unwrap();
    assert!(acks.is_empty() && status.message().contains(part), "{status}");
}

#[tokio::test]
async fn flight_takes_them_whole() {
    let doors = door::open().await;
    let messages = vec![
        message(0, 3, Encoding::Avro, plain()),
        message(1, 2, Encoding::Protobuf, vec![0, 0]),
    ];
    let (acks, status) = put(&doors, messages).await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(acks.iter().map(|ack| ack.events).collect::<Vec<_>>(), [3, 2]);
    let kept = doors.batches("d").await;
    assert_eq!(
        kept.iter().map(|batch| batch.header.encoding).collect::<Vec<_>>(),
        [Encoding::Avro, Encoding::Protobuf]
    );
    refused_by_flight(&doors, message(2, 4, Encoding::Avro, plain()), "records=3").await;
    let packed = message(2, 3, Encoding::Avro, packed("deflate", deflate));
    refused_by_flight(&doors, packed, "codec=deflate").await;
    refused_by_flight(&doors, message(2, 1, Encoding::Protobuf, vec![5]), "byte=0").await;
    // What a server is told that does not know the encoding.
    let mut unknown = message(2, 1, Encoding::Avro, plain());
    let header = String::from_utf8(unknown.app_metadata.to_vec()).unwrap();
    unknown.app_metadata = header.replace("avro", "orc").into();
    refused_by_flight(&doors, unknown, "unknown variant `orc`").await;
}
