//! OTLP/HTTP logs at the text door.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use prost::Message;
use serde_json::{Map, Value, json};

use crate::door::{self, Doors};
use crate::http::{Answer, post_to};
use crate::http_cloudevents::rows;

pub(crate) const LOGS: &str = include_str!("fixtures/otlp-logs.json");
const JSON: (&str, &str) = ("content-type", "application/json");
pub(crate) const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

/// The messages as a generated client would have them: field numbers of opentelemetry-proto 1.x.
pub(crate) mod proto {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Export {
        #[prost(message, repeated, tag = "1")]
        pub(crate) resource_logs: Vec<ResourceLogs>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ResourceLogs {
        #[prost(message, optional, tag = "1")]
        pub(crate) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) scope_logs: Vec<ScopeLogs>,
        #[prost(string, tag = "3")]
        pub(crate) schema_url: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(crate) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ScopeLogs {
        #[prost(message, optional, tag = "1")]
        pub(crate) scope: Option<Scope>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) log_records: Vec<LogRecord>,
        #[prost(string, tag = "3")]
        pub(crate) schema_url: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Scope {
        #[prost(string, tag = "1")]
        pub(crate) name: String,
        #[prost(string, tag = "2")]
        pub(crate) version: String,
        #[prost(message, repeated, tag = "3")]
        pub(crate) attributes: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub(crate) time_unix_nano: u64,
        #[prost(fixed64, tag = "11")]
        pub(crate) observed_time_unix_nano: u64,
        #[prost(int32, tag = "2")]
        pub(crate) severity_number: i32,
        #[prost(string, tag = "3")]
        pub(crate) severity_text: String,
        #[prost(message, optional, tag = "5")]
        pub(crate) body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        pub(crate) attributes: Vec<KeyValue>,
        #[prost(uint32, tag = "7")]
        pub(crate) dropped_attributes_count: u32,
        #[prost(fixed32, tag = "8")]
        pub(crate) flags: u32,
        #[prost(bytes = "vec", tag = "9")]
        pub(crate) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "10")]
        pub(crate) span_id: Vec<u8>,
        #[prost(string, tag = "12")]
        pub(crate) event_name: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(crate) key: String,
        #[prost(message, optional, tag = "2")]
        pub(crate) value: Option<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct AnyValue {
        #[prost(oneof = "Any", tags = "1, 2, 3, 4, 5, 6, 7")]
        pub(crate) value: Option<Any>,
    }
    #[derive(Clone, PartialEq, prost::Oneof)]
    pub(crate) enum Any {
        #[prost(string, tag = "1")]
        String(String),
        #[prost(bool, tag = "2")]
        Bool(bool),
        #[prost(int64, tag = "3")]
        Int(i64),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(message, tag = "5")]
        Array(ArrayValue),
        #[prost(message, tag = "6")]
        Kvlist(KeyValueList),
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ArrayValue {
        #[prost(message, repeated, tag = "1")]
        pub(crate) values: Vec<AnyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct KeyValueList {
        #[prost(message, repeated, tag = "1")]
        pub(crate) values: Vec<KeyValue>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Response {
        #[prost(message, optional, tag = "1")]
        pub(crate) partial_success: Option<PartialSuccess>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct PartialSuccess {
        #[prost(int64, tag = "1")]
        pub(crate) rejected_log_records: i64,
        #[prost(string, tag = "2")]
        pub(crate) error_message: String,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Status {
        #[prost(int32, tag = "1")]
        pub(crate) code: i32,
        #[prost(string, tag = "2")]
        pub(crate) message: String,
    }
}
use proto::Any;

async fn post(doors: &Doors, content_type: (&str, &str), body: &[u8]) -> Answer {
    let answer = post_to(doors, "/v1/logs", &[content_type], body).await;
    let said = format!("content-type: {}\r\n", content_type.1);
    assert!(answer.head.contains(&said), "{}", answer.head);
    answer
}

#[tokio::test]
async fn records_in_json_become_rows() {
    let doors = door::open().await;
    let answer = post(&doors, JSON, LOGS.as_bytes()).await;
    assert_eq!((answer.status, answer.body), (200, json!({})));
    let resource = json!({"service.name": "checkout", "service.instance": 3});
    let url = "https://example.com/schemas/1";
    let scope = json!({"name": "checkout.payments", "version": "1.4.0", "attributes": {"team": "money"}});
    let expected = [
        json!({
            "timeUnixNano": 1_772_366_400_123_456_789_u64, "observedTimeUnixNano": 1_772_366_400_200_000_000_u64,
            "severityNumber": 17, "severityText": "ERROR", "body": "card \"declined\"\nby bank",
            "attributes": {
                "http.status": 402, "amount": 27.0, "ratio": null, "retry": false, "tags": ["a", -5],
                "card": {"brand": "V"}, "raw": "AAEC", "nothing": null,
            },
            "droppedAttributesCount": 2, "flags": 1, "traceId": "5b8efff798038103d269b633813fc60c",
            "spanId": "eee19b7ec3c1b174", "resource": resource, "resourceSchemaUrl": url, "scope": scope,
        }),
        json!({
            "timeUnixNano": 1_772_366_400_223_456_789_u64, "eventName": "cart.cleared", "body": "{\"items\":0}",
            "resource": resource, "resourceSchemaUrl": url, "scope": scope,
        }),
        json!({"severityText": "INFO", "body": "no scope", "resource": resource, "resourceSchemaUrl": url}),
        json!({"scope": {"name": "bare"}}),
    ];
    assert_eq!(rows(&doors, "otel_logs").await, expected);
}

#[tokio::test]
async fn the_dataset_and_the_key_may_be_named() {
    let doors = door::open().await;
    let headers = [JSON, ("sanderling-dataset", "applog"), ("idempotency-key", "1")];
    for _ in 0..2 {
        let answer = post_to(&doors, "/v1/logs", &headers, LOGS.as_bytes()).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(rows(&doors, "applog").await.len(), 4);
    for (content_type, body) in [(JSON, &b"{}"[..]), (PROTOBUF, b"")] {
        assert_eq!(
            post(&doors, content_type, body).await.status,
            200,
            "an empty request"
        );
    }
    assert_eq!(doors.queue.datasets().borrow().len(), 1);
}

#[tokio::test]
async fn bad_records_are_a_partial_success_in_the_encoding_of_the_request() {
    let doors = door::open().await;
    let records = json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"body": {"stringValue": "good"}}, {"timeUnixNano": "yesterday"}, {"traceId": "xyz"}, 7,
    ]}]}]});
    let answer = post(&doors, JSON, records.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200);
    let partial = &answer.body["partialSuccess"];
    assert_eq!(partial["rejectedLogRecords"], "3");
    let message = partial["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("record 2") && message.contains("timeUnixNano"),
        "{message}"
    );
    let kept = rows(&doors, "otel_logs").await;
    assert_eq!(kept[0], json!({"body": "good"}));
    assert_eq!(kept[1][1], json!({"timeUnixNano": "yesterday"}));

    let good = proto::LogRecord {
        severity_text: "good".into(),
        ..Default::default()
    };
    // A time as a varint of ten bytes in a value that is a message: cut short within the record.
    let body = framed(&[&good.encode_to_vec(), &[0x2A, 0x05, 0x0A]]);
    let answer = post(&doors, PROTOBUF, &body).await;
    assert_eq!(answer.status, 200);
    let response = proto::Response::decode(&answer.bytes[..]).unwrap();
    let partial = response.partial_success.unwrap();
    assert_eq!(partial.rejected_log_records, 1);
    assert!(
        partial.error_message.contains("record 2"),
        "{}",
        partial.error_message
    );
    assert_eq!(
        rows(&doors, "otel_logs").await.pop().unwrap()[1],
        BASE64_STANDARD.encode([0x2A, 0x05, 0x0A])
    );

    let answer = post(&doors, PROTOBUF, &framed(&[&[0x2A, 0x05, 0x0A]])).await;
    assert_eq!(answer.status, 400, "no record is good");
    let status = proto::Status::decode(&answer.bytes[..]).unwrap();
    assert!(status.message.contains("record 1"), "{}", status.message);
}

/// Records in one scope of one resource.
fn framed(records: &[&[u8]]) -> Vec<u8> {
    let wrap = |number: u8, inner: &[u8]| {
        let mut out = vec![number << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        out.extend_from_slice(inner);
        out
    };
    let records: Vec<u8> = records.iter().flat_map(|record| wrap(2, record)).collect();
    wrap(1, &wrap(2, &records))
}

#[tokio::test]
async fn what_is_not_otlp_is_400_or_415_with_a_status() {
    let doors = door::open().await;
    for body in [
        "",
        "[]",
        "{",
        "{\"resourceLogs\": {}}",
        "{\"resourceLogs\": [5]}",
        "\"\u{1}",
    ] {
        let answer = post(&doors, JSON, body.as_bytes()).await;
        assert_eq!(answer.status, 400, "{body}");
        assert!(!answer.body["message"].as_str().unwrap().is_empty());
    }
    for body in [&b"{}"[..], b"\x0a", b"\x0a\x05\x0a", b"\x00\x00", &[0xFF; 32]] {
        let answer = post(&doors, PROTOBUF, body).await;
        assert_eq!(answer.status, 400, "{body:?}");
        let status = proto::Status::decode(&answer.bytes[..]).unwrap();
        assert!(!status.message.is_empty());
    }
    let answer = post_to(&doors, "/v1/logs", &[("content-type", "text/plain")], b"x").await;
    assert_eq!(answer.status, 415);
    assert!(answer.body["message"].as_str().unwrap().contains("x-protobuf"));
    doors.aggregator.close();
    let answer = post(&doors, PROTOBUF, b"").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"));
}

fn deep(depth: usize) -> proto::AnyValue {
    let mut value = Any::Int(1);
    for _ in 0..depth {
        let inner = proto::AnyValue { value: Some(value) };
        value = Any::Array(proto::ArrayValue { values: vec![inner] });
    }
    proto::AnyValue { value: Some(value) }
}

fn export(record: proto::LogRecord, resource: Vec<proto::KeyValue>, copies: usize) -> Vec<u8> {
    let scope_logs = proto::ScopeLogs {
        log_records: vec![record; copies],
        ..Default::default()
    };
    let resource_logs = proto::ResourceLogs {
        resource: Some(proto::Resource { attributes: resource }),
        scope_logs: vec![scope_logs],
        ..Default::default()
    };
    let export = proto::Export {
        resource_logs: vec![resource_logs],
    };
    export.encode_to_vec()
}

fn text_attribute(bytes: usize) -> proto::KeyValue {
    proto::KeyValue {
        key: "k".into(),
        value: Some(proto::AnyValue {
            value: Some(Any::String("x".repeat(bytes))),
        }),
    }
}

#[tokio::test]
async fn limits_hold_for_depth_context_and_rows() {
    let doors = door::open().await;
    let with_body = |depth| proto::LogRecord {
        body: Some(deep(depth)),
        ..Default::default()
    };
    assert_eq!(
        post(&doors, PROTOBUF, &export(with_body(31), vec![], 1))
            .await
            .status,
        200
    );
    let answer = post(&doors, PROTOBUF, &export(with_body(32), vec![], 1)).await;
    let status = proto::Status::decode(&answer.bytes[..]).unwrap();
    assert_eq!(answer.status, 400);
    assert!(status.message.contains("depth_max=32"), "{}", status.message);

    let empty = proto::LogRecord::default;
    let answer = post(
        &doors,
        PROTOBUF,
        &export(empty(), vec![text_attribute(300 << 10)], 1),
    )
    .await;
    assert_eq!(answer.status, 413);
    // Each record repeats its resource: 170 rows of 100 KiB are more than one batch, 400 are too many.
    let before = doors.batches("otel_logs").await.len();
    let answer = post(
        &doors,
        PROTOBUF,
        &export(empty(), vec![text_attribute(100 << 10)], 170),
    )
    .await;
    assert_eq!(answer.status, 200);
    let batches = &doors.batches("otel_logs").await[before..];
    assert_eq!(batches.len(), 2);
    assert_eq!(batches.iter().map(|batch| batch.header.events).sum::<u32>(), 170);
    assert_eq!(
        batches[0].header.key.emitter, batches[1].header.key.emitter,
        "the second follows the first"
    );
    let answer = post(
        &doors,
        PROTOBUF,
        &export(empty(), vec![text_attribute(100 << 10)], 400),
    )
    .await;
    assert_eq!(answer.status, 413);

    let large = proto::LogRecord {
        attributes: vec![text_attribute(2 << 20)],
        ..Default::default()
    };
    let answer = post(&doors, PROTOBUF, &export(large, vec![], 1)).await;
    assert_eq!(answer.status, 400);
    let status = proto::Status::decode(&answer.bytes[..]).unwrap();
    assert!(status.message.contains("1048576"), "{}", status.message);
}

fn any_value() -> impl Strategy<Value = proto::AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        "\\PC{0,6}".prop_map(|text| Some(Any::String(text))),
        any::<bool>().prop_map(|bool| Some(Any::Bool(bool))),
        any::<i64>().prop_map(|int| Some(Any::Int(int))),
        any::<f64>().prop_map(|double| Some(Any::Double(double))),
        prop::collection::vec(any::<u8>(), 0..5).prop_map(|bytes| Some(Any::Bytes(bytes))),
    ];
    leaf.prop_map(|value| proto::AnyValue { value })
        .prop_recursive(3, 12, 3, |inner| {
            let array = prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|values| Any::Array(proto::ArrayValue { values }));
            let list = pairs(inner).prop_map(|values| Any::Kvlist(proto::KeyValueList { values }));
            prop_oneof![array, list].prop_map(|value| proto::AnyValue { value: Some(value) })
        })
}

/// Pairs whose keys differ, as the protocol asks.
fn pairs(value: impl Strategy<Value = proto::AnyValue>) -> impl Strategy<Value = Vec<proto::KeyValue>> {
    prop::collection::btree_map("\\PC{0,4}", value, 0..3).prop_map(|pairs| {
        let pair = |(key, value)| proto::KeyValue {
            key,
            value: Some(value),
        };
        pairs.into_iter().map(pair).collect()
    })
}

prop_compose! {
    fn log_record()(
        times in any::<(u64, u64)>(),
        (severity_number, flags, dropped) in (0i32..25, any::<u32>(), any::<u32>()),
        (severity_text, event_name) in ("\\PC{0,4}", "\\PC{0,4}"),
        body in prop::option::of(any_value()),
        attributes in pairs(any_value()),
        trace_id in prop::collection::vec(any::<u8>(), 0..17),
    ) -> proto::LogRecord {
        proto::LogRecord {
            time_unix_nano: times.0,
            observed_time_unix_nano: times.1,
            severity_number,
            severity_text,
            body,
            attributes,
            dropped_attributes_count: dropped,
            flags,
            span_id: trace_id.iter().take(8).copied().collect(),
            trace_id,
            event_name,
        }
    }
}

/// The twin of the door: the row of a record, as a tree.
fn row_of(record: &proto::LogRecord) -> Value {
    let mut row = Map::new();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    row.insert("timeUnixNano".into(), record.time_unix_nano.into());
    row.insert(
        "observedTimeUnixNano".into(),
        record.observed_time_unix_nano.into(),
    );
    row.insert("severityNumber".into(), record.severity_number.into());
    row.insert("severityText".into(), record.severity_text.clone().into());
    row.insert("eventName".into(), record.event_name.clone().into());
    row.insert("flags".into(), record.flags.into());
    row.insert(
        "droppedAttributesCount".into(),
        record.dropped_attributes_count.into(),
    );
    row.insert("traceId".into(), hex(&record.trace_id).into());
    row.insert("spanId".into(), hex(&record.span_id).into());
    row.insert("attributes".into(), object_of(&record.attributes));
    row.insert(
        "body".into(),
        match record.body.as_ref().map(json_of).unwrap_or_default() {
            Value::Null => Value::Null,
            Value::String(text) if text.is_empty() => json!([""]), // kept, unlike what is not set
            Value::String(text) => text.into(),
            other => other.to_string().into(),
        },
    );
    row.retain(|_, value| !matches!(value.to_string().as_str(), "0" | "\"\"" | "{}" | "null"));
    if row.get("body") == Some(&json!([""])) {
        row.insert("body".into(), "".into());
    }
    row.into()
}

fn object_of(pairs: &[proto::KeyValue]) -> Value {
    let pairs = pairs.iter();
    let pairs = pairs.map(|pair| {
        (
            pair.key.clone(),
            pair.value.as_ref().map(json_of).unwrap_or_default(),
        )
    });
    Value::Object(pairs.collect())
}

fn json_of(value: &proto::AnyValue) -> Value {
    match &value.value {
        None => Value::Null,
        Some(Any::String(text)) => text.clone().into(),
        Some(Any::Bool(bool)) => (*bool).into(),
        Some(Any::Int(int)) => (*int).into(),
        Some(Any::Double(double)) => (*double).into(),
        Some(Any::Array(array)) => array.values.iter().map(json_of).collect(),
        Some(Any::Kvlist(list)) => object_of(&list.values),
        Some(Any::Bytes(bytes)) => BASE64_STANDARD.encode(bytes).into(),
    }
}

/// The record in the JSON encoding of OTLP.
fn otlp_json(record: &proto::LogRecord) -> Value {
    fn value(any: &proto::AnyValue) -> Value {
        match &any.value {
            None => json!({}),
            Some(Any::String(text)) => json!({"stringValue": text}),
            Some(Any::Bool(bool)) => json!({"boolValue": bool}),
            Some(Any::Int(int)) => json!({"intValue": int.to_string()}),
            Some(Any::Double(double)) if double.is_finite() => json!({"doubleValue": double}),
            Some(Any::Double(_)) => json!({"doubleValue": "NaN"}),
            Some(Any::Array(array)) => {
                json!({"arrayValue": {"values": array.values.iter().map(value).collect::<Vec<_>>()}})
            }
            Some(Any::Kvlist(list)) => json!({"kvlistValue": {"values": pairs(&list.values)}}),
            Some(Any::Bytes(bytes)) => json!({"bytesValue": BASE64_STANDARD.encode(bytes)}),
        }
    }
    fn pairs(pairs: &[proto::KeyValue]) -> Vec<Value> {
        let pairs = pairs.iter();
        pairs
            .map(|pair| json!({"key": pair.key, "value": pair.value.as_ref().map(value)}))
            .collect()
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    json!({
        "timeUnixNano": record.time_unix_nano.to_string(),
        "observedTimeUnixNano": record.observed_time_unix_nano,
        "severityNumber": record.severity_number, "severityText": record.severity_text,
        "eventName": record.event_name, "flags": record.flags,
        "droppedAttributesCount": record.dropped_attributes_count,
        "body": record.body.as_ref().map(value), "attributes": pairs(&record.attributes),
        "traceId": hex(&record.trace_id), "spanId": hex(&record.span_id),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_encodings_make_the_row_of_the_twin(records in prop::collection::vec(log_record(), 1..4)) {
        let expected: Vec<Value> = records.iter().map(row_of).collect();
        let json = json!({"resourceLogs": [{"scopeLogs": [{
            "logRecords": records.iter().map(otlp_json).collect::<Vec<_>>()
        }]}]});
        let encoded: Vec<Vec<u8>> = records.iter().map(Message::encode_to_vec).collect();
        let framed = framed(&encoded.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (in_json, in_protobuf) = runtime.block_on(async {
            let doors = door::open().await;
            let json = json.to_string();
            assert_eq!(post(&doors, JSON, json.as_bytes()).await.status, 200);
            let protobuf = [PROTOBUF, ("sanderling-dataset", "protobuf")];
            let answer = post_to(&doors, "/v1/logs", &protobuf, &framed).await;
            assert_eq!((answer.status, answer.bytes.len()), (200, 0));
            (rows(&doors, "otel_logs").await, rows(&doors, "protobuf").await)
        });
        prop_assert_eq!(&in_json, &expected);
        prop_assert_eq!(&in_protobuf, &expected);
    }
}
