//! Protobuf messages: what another implementation writes, and what is damaged.

use std::collections::BTreeMap;
use std::sync::Arc;

use event::protobuf::{MessageType, count};
use event::{
    DatasetSchema, DatasetSettings, Decoded, Decoder, Encoding, ErrorKind, SchemaSettings, UnknownFields,
};
use proptest::prelude::*;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
};
use serde_json::{Value, json};

use super::{batch, own};

#[derive(Clone, PartialEq, Message)]
struct Click {
    #[prost(int64, tag = "1")]
    id: i64,
    #[prost(string, optional, tag = "2")]
    note: Option<String>,
    #[prost(int32, tag = "3")]
    color: i32,
    #[prost(string, repeated, tag = "4")]
    tags: Vec<String>,
    #[prost(btree_map = "string, double", tag = "5")]
    scores: BTreeMap<String, f64>,
    #[prost(message, optional, tag = "6")]
    user: Option<User>,
    #[prost(oneof = "Kind", tags = "7, 8")]
    kind: Option<Kind>,
    #[prost(message, optional, tag = "9")]
    at: Option<prost_types::Timestamp>,
    #[prost(message, optional, tag = "10")]
    took: Option<prost_types::Duration>,
    #[prost(message, optional, tag = "11")]
    wrapped: Option<i64>,
    #[prost(message, optional, tag = "12")]
    any_json: Option<prost_types::Struct>,
    #[prost(uint64, tag = "13")]
    large: u64,
    /// Not in the descriptors.
    #[prost(string, optional, tag = "99")]
    newer: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct User {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(message, optional, boxed, tag = "2")]
    friend: Option<Box<User>>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Kind {
    #[prost(bool, tag = "7")]
    Paid(bool),
    #[prost(string, tag = "8")]
    Free(String),
}

fn field(name: &str, number: i32, of: Type) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(of.into()),
        ..FieldDescriptorProto::default()
    }
}

fn named(name: &str, number: i32, of: Type, type_name: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        type_name: Some(type_name.into()),
        ..field(name, number, of)
    }
}

fn repeated(of: FieldDescriptorProto) -> FieldDescriptorProto {
    FieldDescriptorProto {
        label: Some(Label::Repeated.into()),
        ..of
    }
}

fn optional(of: FieldDescriptorProto, oneof: i32) -> FieldDescriptorProto {
    FieldDescriptorProto {
        oneof_index: Some(oneof),
        ..of
    }
}

pub(crate) fn message(name: &str, fields: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto {
        name: Some(name.into()),
        field: fields,
        ..DescriptorProto::default()
    }
}

pub(crate) fn encoded(file: FileDescriptorProto) -> Vec<u8> {
    // The files of Google's own types come with the library; a set must name all that it imports.
    let mut files: Vec<FileDescriptorProto> = prost_reflect_files();
    files.push(file);
    FileDescriptorSet { file: files }.encode_to_vec()
}

fn prost_reflect_files() -> Vec<FileDescriptorProto> {
    let wanted =
        ["timestamp", "duration", "wrappers", "struct"].map(|name| format!("google/protobuf/{name}.proto"));
    let pool = prost_reflect::DescriptorPool::global();
    let files = pool
        .files()
        .filter(|file| wanted.contains(&file.name().to_owned()));
    files.map(|file| file.file_descriptor_proto().clone()).collect()
}

fn descriptors() -> Vec<u8> {
    let entry = DescriptorProto {
        options: Some(MessageOptions {
            map_entry: Some(true),
            ..MessageOptions::default()
        }),
        ..message(
            "ScoresEntry",
            vec![field("key", 1, Type::String), field("value", 2, Type::Double)],
        )
    };
    let mut note = optional(field("note", 2, Type::String), 1);
    note.proto3_optional = Some(true);
    let click = DescriptorProto {
        nested_type: vec![entry],
        oneof_decl: ["kind", "_note"]
            .map(|name| OneofDescriptorProto {
                name: Some(name.into()),
                options: None,
            })
            .into(),
        ..message(
            "Click",
            vec![
                field("id", 1, Type::Int64),
                note,
                named("color", 3, Type::Enum, ".shop.Color"),
                repeated(field("tags", 4, Type::String)),
                repeated(named("scores", 5, Type::Message, ".shop.Click.ScoresEntry")),
                named("user", 6, Type::Message, ".shop.User"),
                optional(field("paid", 7, Type::Bool), 0),
                optional(field("free", 8, Type::String), 0),
                named("at", 9, Type::Message, ".google.protobuf.Timestamp"),
                named("took", 10, Type::Message, ".google.protobuf.Duration"),
                named("wrapped", 11, Type::Message, ".google.protobuf.Int64Value"),
                named("any_json", 12, Type::Message, ".google.protobuf.Struct"),
                field("large", 13, Type::Uint64),
            ],
        )
    };
    let user = message(
        "User",
        vec![
            field("key", 1, Type::Bytes),
            named("friend", 2, Type::Message, ".shop.User"),
        ],
    );
    let value = |name: &str, number| EnumValueDescriptorProto {
        name: Some(name.into()),
        number: Some(number),
        options: None,
    };
    encoded(FileDescriptorProto {
        name: Some("shop.proto".into()),
        package: Some("shop".into()),
        syntax: Some("proto3".into()),
        dependency: ["timestamp", "duration", "wrappers", "struct"]
            .map(|name| format!("google/protobuf/{name}.proto"))
            .into(),
        message_type: vec![click, user],
        enum_type: vec![EnumDescriptorProto {
            name: Some("Color".into()),
            value: vec![value("COLOR_UNSPECIFIED", 0), value("RED", 1)],
            ..EnumDescriptorProto::default()
        }],
        ..FileDescriptorProto::default()
    })
}

fn clicks(schema: Option<SchemaSettings>) -> Decoder {
    let settings = DatasetSettings {
        schema,
        ..DatasetSettings::default()
    };
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &settings).unwrap();
    decoder.with_protobuf(MessageType::new(&descriptors(), "shop.Click").unwrap())
}

fn payload(clicks: &[Click]) -> Vec<u8> {
    clicks
        .iter()
        .flat_map(Message::encode_length_delimited_to_vec)
        .collect()
}

fn decode(decoder: &Decoder, payload: Vec<u8>) -> Decoded {
    decoder.decode(&batch(Encoding::Protobuf, payload))
}

fn full() -> Click {
    let text = |text: &str| prost_types::Value {
        kind: Some(prost_types::value::Kind::StringValue(text.into())),
    };
    Click {
        id: 7,
        note: Some(String::new()),
        color: 1,
        tags: vec!["a".into(), "b".into()],
        scores: [("y".to_owned(), 0.5), ("x".to_owned(), f64::INFINITY)].into(),
        user: Some(User {
            key: vec![0, 255],
            friend: Some(Box::default()),
        }),
        kind: Some(Kind::Free("f".into())),
        at: Some(prost_types::Timestamp {
            seconds: -1,
            nanos: 500_000_999,
        }),
        took: Some(prost_types::Duration {
            seconds: -1,
            nanos: -500_000_000,
        }),
        wrapped: Some(0),
        any_json: Some(prost_types::Struct {
            fields: [
                ("b".to_owned(), text("t")),
                ("a".to_owned(), prost_types::Value::default()),
            ]
            .into(),
        }),
        large: 1 << 40,
        newer: None,
    }
}

#[test]
fn every_type_has_its_column() {
    let clicks = [
        full(),
        Click::default(),
        Click {
            color: 9,
            ..Click::default()
        },
    ];
    let bytes = payload(&clicks);
    assert_eq!(count(&bytes).unwrap(), 3);
    let decoded = decode(&self::clicks(None), bytes);
    assert!(decoded.rejects.is_empty(), "{:?}", decoded.rejects);
    let rows = own(&decoded.rows);
    let scores = rows[0]["scores"].clone();
    assert_eq!(
        (&scores[0]["key"], &scores[1]),
        (&json!("x"), &json!({"key": "y", "value": 0.5}))
    );
    let mut first = rows[0].clone();
    first.as_object_mut().unwrap().remove("scores");
    assert_eq!(
        first,
        json!({
            "id": 7, "note": "", "color": "RED", "tags": ["a", "b"],
            "user": {"key": "00ff", "friend": {"key": ""}}, "free": "f", "at": "1969-12-31T23:59:59.500Z",
            "took": "-1.5s", "wrapped": 0, "any_json": "{\"a\":null,\"b\":\"t\"}", "large": 1_i64 << 40
        })
    );
    let unset = |color| json!({"id": 0, "color": color, "tags": [], "scores": [], "large": 0});
    assert_eq!(rows[1..], [unset("COLOR_UNSPECIFIED"), unset("9")]);
}

#[test]
fn what_is_not_good_is_one_reject_each() {
    let schema: SchemaSettings = toml::from_str(
        "unknown_fields='extra'\nfields=[{name='id',type='int8'},{name='large',type='int64'}]",
    )
    .unwrap();
    let with_id = |id| Click {
        id,
        ..Click::default()
    };
    let mut bytes = payload(&[with_id(1), with_id(300)]);
    bytes.extend([2, 0x08, 0x80]); // a message whose number is cut short
    bytes.extend(payload(&[
        Click {
            large: u64::MAX,
            ..with_id(2)
        },
        with_id(3),
    ]));
    let whole = bytes.len();
    bytes.extend([200, 1, 0]);
    let decoded = decode(&clicks(Some(schema.clone())), bytes.clone());
    let ids: Vec<Value> = own(&decoded.rows).iter().map(|row| row["id"].clone()).collect();
    assert_eq!(ids, [1, 3]);
    let rejects: Vec<_> = decoded
        .rejects
        .iter()
        .map(|r| (r.line, r.stage, r.reason.as_str()))
        .collect();
    assert_eq!(
        rejects[0],
        (2, "validate", "field id: beyond int8, -128 to 127 value=300")
    );
    assert_eq!(rejects[1].0, 3);
    assert!(
        rejects[1].2.starts_with("not a message of shop.Click"),
        "{}",
        rejects[1].2
    );
    assert_eq!(
        rejects[2],
        (
            4,
            "validate",
            "field large: expected an integer, got an integer beyond 64 bits"
        )
    );
    assert_eq!(rejects[3].0, 6);
    assert!(
        rejects[3].2.ends_with(&format!("byte={whole}")),
        "{}",
        rejects[3].2
    );
    assert_eq!(count(&bytes).unwrap_err().kind(), ErrorKind::Invalid);

    let newer = payload(&[Click {
        newer: Some("x".into()),
        ..with_id(1)
    }]);
    let extra = own(&decode(&clicks(Some(schema.clone())), newer.clone()).rows)[0]["_extra"].clone();
    let extra: Value = serde_json::from_str(extra.as_str().unwrap()).unwrap();
    assert_eq!(extra["unknown fields"], "mgYBeA==", "field 99 as it was encoded");
    let strict = SchemaSettings {
        unknown_fields: UnknownFields::Reject,
        ..schema
    };
    assert_eq!(decode(&clicks(Some(strict)), newer).rejects.len(), 1);
}

#[test]
fn a_dataset_without_a_type_rejects_message_by_message() {
    let decoder = super::decoder(None);
    let decoded = decode(&decoder, payload(&[full(), full()]));
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (0, 2));
    assert_eq!(decoded.rejects[1].raw, full().encode_to_vec());
}

#[test]
fn descriptors_that_do_not_have_it_say_what_they_have() {
    let error = MessageType::new(&descriptors(), "shop.Clicks")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("shop.Click, ") && error.contains("shop.User"),
        "{error}"
    );
    assert!(MessageType::new(b"what", "shop.Click").is_err());
}

#[test]
fn a_message_that_nests_without_end_is_a_reject() {
    let mut user = User::default();
    for _ in 0..80 {
        user = User {
            friend: Some(Box::new(user)),
            ..User::default()
        };
    }
    let deep = Click {
        user: Some(user),
        ..Click::default()
    };
    let decoded = decode(&clicks(None), payload(&[deep, full()]));
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (1, 1));
    assert!(
        decoded.rejects[0].reason.contains("too deep"),
        "{}",
        decoded.rejects[0].reason
    );
}

#[test]
fn a_payload_with_any_byte_wrong_is_rows_or_rejects() {
    let good = payload(&[
        full(),
        Click {
            newer: Some("n".into()),
            ..full()
        },
    ]);
    let decoder = clicks(None);
    for at in 0..good.len() {
        for byte in [0, 1, 0x7F, 0x80, 0xFF, good[at] ^ 1, good[at] ^ 8] {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let decoded = decode(&decoder, bytes);
            assert!(
                decoded.rows.num_rows() + decoded.rejects.len() > 0,
                "at={at} byte={byte}"
            );
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>) {
        let decoded = decode(&clicks(None), bytes.clone());
        prop_assert!(bytes.is_empty() || decoded.rows.num_rows() + decoded.rejects.len() > 0);
    }

    /// As many messages as are counted, whatever they are.
    #[test]
    fn each_message_is_a_row_or_a_reject(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)) {
        let mut bytes = Vec::new();
        for message in &messages {
            bytes.push(message.len() as u8);
            bytes.extend(message);
        }
        prop_assert_eq!(count(&bytes).unwrap(), messages.len() as u64);
        let decoded = decode(&clicks(None), bytes);
        prop_assert_eq!(decoded.rows.num_rows() + decoded.rejects.len(), messages.len());
    }
}
