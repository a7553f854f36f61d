//! What a decoder costs an event, by encoding: `cargo bench -p event`.
//!
//! One batch of 10,000 events of twelve fields (text, numbers, booleans, a time) in each encoding, decoded into a
//! dataset that has its columns already.

#![expect(clippy::unwrap_used, reason = "a bench may fail where it stands")]

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::ipc::writer::StreamWriter;
use arrow_avro::reader::ReaderBuilder;
use arrow_avro::writer::AvroWriter;
use divan::Bencher;
use divan::counter::ItemsCount;
use event::protobuf::MessageType;
use event::{
    Batch, BatchHeader, BatchKey, DatasetSchema, DatasetSettings, Decoder, EmitterId, Encoding, Epoch,
    FieldSettings, FieldType, SchemaSettings, Sequence,
};
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const EVENTS: u64 = 10_000;

fn main() {
    divan::main();
}

/// Its fields, with the type they have in a schema and in Protobuf.
const FIELDS: [(&str, FieldType, Type); 12] = [
    ("id", FieldType::Int64, Type::Int64),
    ("user", FieldType::Int64, Type::Int64),
    ("page", FieldType::Text, Type::String),
    ("referrer", FieldType::Text, Type::String),
    ("country", FieldType::Text, Type::String),
    ("city", FieldType::Text, Type::String),
    ("device", FieldType::Text, Type::String),
    ("isNew", FieldType::Boolean, Type::Bool),
    ("isMobile", FieldType::Boolean, Type::Bool),
    ("duration", FieldType::Float64, Type::Double),
    ("bytes", FieldType::Int64, Type::Int64),
    ("at", FieldType::Text, Type::String),
];

fn schema() -> SchemaSettings {
    let fields = FIELDS.map(|(name, data_type, _)| FieldSettings::new(name, data_type));
    SchemaSettings {
        fields: fields.into(),
        ..SchemaSettings::default()
    }
}

#[derive(Clone, PartialEq, Message)]
struct Click {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(int64, tag = "2")]
    user: i64,
    #[prost(string, tag = "3")]
    page: String,
    #[prost(string, tag = "4")]
    referrer: String,
    #[prost(string, tag = "5")]
    country: String,
    #[prost(string, tag = "6")]
    city: String,
    #[prost(string, tag = "7")]
    device: String,
    #[prost(bool, tag = "8")]
    is_new: bool,
    #[prost(bool, tag = "9")]
    is_mobile: bool,
    #[prost(double, tag = "10")]
    duration: f64,
    #[prost(int64, tag = "11")]
    bytes: i64,
    #[prost(string, tag = "12")]
    at: String,
}

fn clicks() -> Vec<Click> {
    let click = |n: u64| Click {
        id: n as i64,
        user: (n * 7_919 % 100_000) as i64,
        page: format!("/products/{}/details", n % 977),
        referrer: "https://www.example.com/search".to_owned(),
        country: ["DE", "FR", "US", "JP"][n as usize % 4].to_owned(),
        city: ["Berlin", "Paris", "New York", "Tokyo"][n as usize % 4].to_owned(),
        device: "Mozilla/5.0 (X11; Linux x86_64)".to_owned(),
        is_new: n.is_multiple_of(3),
        is_mobile: n.is_multiple_of(2),
        duration: n as f64 / 8.0,
        bytes: (n * 31 % 65_536) as i64,
        at: format!("2015-09-12T00:46:{:02}.771Z", n % 60),
    };
    (0..EVENTS).map(click).collect()
}

fn lines() -> Vec<u8> {
    let line = |click: Click| {
        let fields = serde_json::json!({
            "id": click.id, "user": click.user, "page": click.page, "referrer": click.referrer,
            "country": click.country, "city": click.city, "device": click.device, "isNew": click.is_new,
            "isMobile": click.is_mobile, "duration": click.duration, "bytes": click.bytes, "at": click.at,
        });
        format!("{fields}\n")
    };
    clicks().into_iter().map(line).collect::<String>().into_bytes()
}

fn batch(encoding: Encoding, payload: Vec<u8>) -> Batch {
    Batch {
        dataset: "clicks".parse().unwrap(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::nil()),
                epoch: Epoch(0),
                sequence: Sequence(0),
            },
            events: EVENTS as u32,
            encoding,
            generated_at: jiff::Timestamp::UNIX_EPOCH,
            received_at: jiff::Timestamp::UNIX_EPOCH,
        },
        payload: payload.into(),
    }
}

fn decoder(schema: Option<SchemaSettings>) -> Decoder {
    let settings = DatasetSettings {
        schema,
        ..DatasetSettings::default()
    };
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap();
    let field = |(number, (name, _, of)): (i32, (&str, FieldType, Type))| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(of.into()),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: Some("Click".into()),
        field: (1..).zip(FIELDS).map(field).collect(),
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("click.proto".into()),
        syntax: Some("proto3".into()),
        message_type: vec![message],
        ..FileDescriptorProto::default()
    };
    let descriptors = FileDescriptorSet { file: vec![file] }.encode_to_vec();
    decoder.with_protobuf(MessageType::new(&descriptors, "Click").unwrap())
}

fn rows() -> RecordBatch {
    let rows = decoder(None).decode(&batch(Encoding::Ndjson, lines())).rows;
    rows.project(&(6..rows.num_columns()).collect::<Vec<_>>())
        .unwrap()
}

fn container() -> Vec<u8> {
    let rows = rows();
    let mut writer = AvroWriter::new(Vec::new(), rows.schema().as_ref().clone()).unwrap();
    for start in (0..rows.num_rows()).step_by(1_000) {
        writer.write(&rows.slice(start, 1_000)).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner()
}

fn messages() -> Vec<u8> {
    let encoded = clicks().into_iter();
    encoded
        .flat_map(|click| click.encode_length_delimited_to_vec())
        .collect()
}

fn decode(bencher: Bencher, encoding: Encoding, payload: Vec<u8>, schema: Option<SchemaSettings>) {
    let (decoder, batch) = (decoder(schema), batch(encoding, payload));
    let decoded = decoder.decode(&batch);
    assert_eq!(
        (decoded.rows.num_rows() as u64, decoded.rejects.len()),
        (EVENTS, 0)
    );
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench(|| decoder.decode(&batch));
}

#[divan::bench]
fn ndjson(bencher: Bencher) {
    decode(bencher, Encoding::Ndjson, lines(), None);
}

#[divan::bench]
fn ndjson_declared(bencher: Bencher) {
    decode(bencher, Encoding::Ndjson, lines(), Some(schema()));
}

/// All fields are required, and integers have a range.
#[divan::bench]
fn ndjson_declared_and_checked(bencher: Bencher) {
    let mut schema = schema();
    for field in &mut schema.fields {
        field.required = true;
        if field.data_type == FieldType::Int64 {
            field.data_type = FieldType::Int32;
        }
    }
    decode(bencher, Encoding::Ndjson, lines(), Some(schema));
}

#[divan::bench]
fn arrow(bencher: Bencher) {
    let rows = rows();
    let mut payload = Vec::new();
    let mut writer = StreamWriter::try_new(&mut payload, &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    drop(writer);
    decode(bencher, Encoding::ArrowIpc, payload, None);
}

#[divan::bench]
fn avro(bencher: Bencher) {
    decode(bencher, Encoding::Avro, container(), None);
}

#[divan::bench]
fn protobuf(bencher: Bencher) {
    decode(bencher, Encoding::Protobuf, messages(), None);
}

/// The reader of the crate `arrow-avro`, for comparison: rows alone, without system columns or checks.
#[divan::bench]
fn avro_by_arrow(bencher: Bencher) {
    let container = container();
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let reader = ReaderBuilder::new().build(&container[..]).unwrap();
        reader.map(|rows| rows.unwrap().num_rows()).sum::<usize>()
    });
}
