//! Real events in every encoding are the same rows: `SANDERLING_DATA` names the folder of the data files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Schema;
use arrow_avro::writer::AvroWriter;
use event::protobuf::MessageType;
use event::{
    Batch, BatchHeader, BatchKey, DatasetSchema, DatasetSettings, Decoder, EmitterId, Encoding, Epoch,
    FieldSettings, FieldType, SchemaSettings, Sequence,
};
use flate2::read::MultiGzDecoder;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, OneofDescriptorProto,
};
use serde::Deserialize;

/// So that a batch is within its limit of bytes.
const BATCH_LINES: usize = 10_000;
const EVENTS: usize = 39_244;

/// An edit of a page. Integers that are null in most events are so here as well.
#[derive(Clone, PartialEq, Message, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Edit {
    #[prost(string, optional, tag = "1")]
    time: Option<String>,
    #[prost(string, optional, tag = "2")]
    channel: Option<String>,
    #[prost(string, optional, tag = "3")]
    city_name: Option<String>,
    #[prost(string, optional, tag = "4")]
    comment: Option<String>,
    #[prost(string, optional, tag = "5")]
    country_iso_code: Option<String>,
    #[prost(string, optional, tag = "6")]
    country_name: Option<String>,
    #[prost(bool, optional, tag = "7")]
    is_anonymous: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    is_minor: Option<bool>,
    #[prost(bool, optional, tag = "9")]
    is_new: Option<bool>,
    #[prost(bool, optional, tag = "10")]
    is_robot: Option<bool>,
    #[prost(bool, optional, tag = "11")]
    is_unpatrolled: Option<bool>,
    #[prost(int64, optional, tag = "12")]
    metro_code: Option<i64>,
    #[prost(string, optional, tag = "13")]
    namespace: Option<String>,
    #[prost(string, optional, tag = "14")]
    page: Option<String>,
    #[prost(string, optional, tag = "15")]
    region_iso_code: Option<String>,
    #[prost(string, optional, tag = "16")]
    region_name: Option<String>,
    #[prost(string, optional, tag = "17")]
    user: Option<String>,
    #[prost(int64, optional, tag = "18")]
    delta: Option<i64>,
    #[prost(int64, optional, tag = "19")]
    added: Option<i64>,
    #[prost(int64, optional, tag = "20")]
    deleted: Option<i64>,
}

const FIELDS: [(&str, FieldType); 20] = [
    ("time", FieldType::Text),
    ("channel", FieldType::Text),
    ("cityName", FieldType::Text),
    ("comment", FieldType::Text),
    ("countryIsoCode", FieldType::Text),
    ("countryName", FieldType::Text),
    ("isAnonymous", FieldType::Boolean),
    ("isMinor", FieldType::Boolean),
    ("isNew", FieldType::Boolean),
    ("isRobot", FieldType::Boolean),
    ("isUnpatrolled", FieldType::Boolean),
    ("metroCode", FieldType::Int64),
    ("namespace", FieldType::Text),
    ("page", FieldType::Text),
    ("regionIsoCode", FieldType::Text),
    ("regionName", FieldType::Text),
    ("user", FieldType::Text),
    ("delta", FieldType::Int64),
    ("added", FieldType::Int64),
    ("deleted", FieldType::Int64),
];

fn lines() -> Vec<String> {
    let data: PathBuf = std::env::var_os("SANDERLING_DATA")
        .expect("SANDERLING_DATA names the folder of the real data")
        .into();
    let file = std::fs::File::open(data.join("wikiticker-2015-09-12-sampled.json.gz")).unwrap();
    let mut text = String::new();
    MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn descriptors() -> Vec<u8> {
    let field = |at: usize, (name, data_type): (&str, FieldType)| FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(at as i32 + 1),
        label: Some(Label::Optional.into()),
        r#type: Some(
            match data_type {
                FieldType::Text => Type::String,
                FieldType::Boolean => Type::Bool,
                _ => Type::Int64,
            }
            .into(),
        ),
        oneof_index: Some(at as i32),
        proto3_optional: Some(true),
        ..FieldDescriptorProto::default()
    };
    let oneof = |name: &str| OneofDescriptorProto {
        name: Some(format!("_{name}")),
        options: None,
    };
    let message = DescriptorProto {
        name: Some("Edit".into()),
        field: FIELDS
            .into_iter()
            .enumerate()
            .map(|(at, of)| field(at, of))
            .collect(),
        oneof_decl: FIELDS.iter().map(|(name, _)| oneof(name)).collect(),
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("edit.proto".into()),
        package: Some("wiki".into()),
        syntax: Some("proto3".into()),
        message_type: vec![message],
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

fn decoder(schema: Option<SchemaSettings>) -> Decoder {
    let settings = DatasetSettings {
        event_time: Some("time".to_owned()),
        schema,
        ..DatasetSettings::default()
    };
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap();
    decoder.with_protobuf(MessageType::new(&descriptors(), "wiki.Edit").unwrap())
}

/// The event times and the events' own columns, by name.
fn rows(decoder: &Decoder, encoding: Encoding, payload: Vec<u8>, events: usize) -> RecordBatch {
    let decoded = decoder.decode(&Batch {
        dataset: "wikiticker".parse().unwrap(),
        header: BatchHeader {
            key: BatchKey {
                emitter: EmitterId(uuid::Uuid::nil()),
                epoch: Epoch(0),
                sequence: Sequence(0),
            },
            events: events as u32,
            encoding,
            generated_at: jiff::Timestamp::UNIX_EPOCH,
            received_at: jiff::Timestamp::from_second(1_500_000_000).unwrap(),
        },
        payload: payload.into(),
    });
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects.first());
    assert_eq!(decoded.rows.num_rows(), events);
    let names = std::iter::once("eventTime").chain(FIELDS.map(|(name, _)| name));
    let column = |name: &str| -> (String, ArrayRef) {
        (
            name.to_owned(),
            decoded.rows.column_by_name(name).unwrap().clone(),
        )
    };
    let columns: Vec<_> = names.map(column).collect();
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .unwrap()
}

#[test]
fn every_encoding_gives_the_same_rows() {
    let lines = lines();
    assert_eq!(lines.len(), EVENTS);
    let declared = SchemaSettings {
        fields: FIELDS
            .map(|(name, data_type)| FieldSettings::new(name, data_type))
            .into(),
        ..SchemaSettings::default()
    };
    let decoders = [Encoding::Ndjson, Encoding::Avro, Encoding::Protobuf].map(|_| decoder(None));
    let declared = decoder(Some(declared));
    let mut seen = 0;
    for lines in lines.chunks(BATCH_LINES) {
        let text = lines.join("\n").into_bytes();
        let of_json = rows(&declared, Encoding::Ndjson, text.clone(), lines.len());
        assert_eq!(rows(&decoders[0], Encoding::Ndjson, text, lines.len()), of_json);
        let fields = of_json.schema().fields()[1..].to_vec();
        let events =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), of_json.columns()[1..].to_vec()).unwrap();
        let mut writer = AvroWriter::new(Vec::new(), events.schema().as_ref().clone()).unwrap();
        for start in (0..events.num_rows()).step_by(700) {
            writer
                .write(&events.slice(start, 700.min(events.num_rows() - start)))
                .unwrap();
        }
        writer.finish().unwrap();
        let of_avro = rows(&decoders[1], Encoding::Avro, writer.into_inner(), lines.len());
        assert_eq!(of_avro, of_json);
        let edit = |line: &String| serde_json::from_str::<Edit>(line).unwrap();
        let messages: Vec<u8> = lines
            .iter()
            .map(edit)
            .flat_map(|edit| edit.encode_length_delimited_to_vec())
            .collect();
        let of_protobuf = rows(&decoders[2], Encoding::Protobuf, messages, lines.len());
        assert_eq!(of_protobuf, of_json);
        seen += of_protobuf.num_rows();
    }
    assert_eq!(seen, EVENTS);
}
