//! Bodies that are not what they say: the text door answers each with 2xx or 4xx, and goes on.

use std::sync::Arc;

use aggregator::{AggregatorOptions, limits, router};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use event::limits::{BATCH_BYTES_MAX, EVENT_BYTES_MAX};
use event::{Batch, DatasetSchema, DatasetSettings, Decoder};
use proptest::prelude::*;
use proptest::sample::Index;
use prost::Message;
use queue::MemoryQueue;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::door::{self, Doors};
use crate::http_cloudevents::{ORDER, ORDERS};
use crate::http_encodings::{ENCODINGS, packed};
use crate::http_logs::{LOGS, PROTOBUF, proto};
use crate::http_segment::BATCH;

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn case(path: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>) -> Case {
    Case {
        path,
        headers: vec![("content-type", content_type)],
        body: body.into(),
    }
}

const LINES: &str = "/v1/datasets/a/events";
const JSON: &str = "application/json";
const EVENT: &str = "application/cloudevents+json";
const EVENTS: &str = "application/cloudevents-batch+json";

/// A record with every field and every kind of value.
fn logs_in_protobuf() -> Vec<u8> {
    let value = |any| Some(proto::AnyValue { value: Some(any) });
    let pair = |key: &str, any| proto::KeyValue {
        key: key.into(),
        value: value(any),
    };
    let attributes = vec![
        pair("text", proto::Any::String("x".into())),
        pair("int", proto::Any::Int(-1)),
        pair("double", proto::Any::Double(0.5)),
        pair("bytes", proto::Any::Bytes(vec![0, 1])),
        pair(
            "list",
            proto::Any::Array(proto::ArrayValue {
                values: vec![value(proto::Any::Bool(true)).unwrap()],
            }),
        ),
        pair(
            "map",
            proto::Any::Kvlist(proto::KeyValueList {
                values: vec![pair("k", proto::Any::Int(1))],
            }),
        ),
    ];
    let record = proto::LogRecord {
        time_unix_nano: 1_772_366_400_123_456_789,
        severity_number: 9,
        severity_text: "INFO".into(),
        body: value(proto::Any::String("hello".into())),
        attributes: attributes.clone(),
        trace_id: vec![7; 16],
        ..Default::default()
    };
    let scope_logs = proto::ScopeLogs {
        log_records: vec![record; 3],
        ..Default::default()
    };
    let resource_logs = proto::ResourceLogs {
        resource: Some(proto::Resource { attributes }),
        scope_logs: vec![scope_logs],
        schema_url: "https://example.com".into(),
    };
    let export = proto::Export {
        resource_logs: vec![resource_logs],
    };
    export.encode_to_vec()
}

/// One of each shape, as senders send them.
fn fixtures() -> Vec<Case> {
    let track =
        r#"{"userId": "u", "event": "Order Completed", "messageId": "m-1", "properties": {"total": 27.0}}"#;
    let lines = "{\"a\":1,\"b\":\"x\"}\n{\"a\":-2.5e3,\"c\":[1,{\"d\":null}]}\n";
    let mut binary = case("/v1/cloudevents", JSON, r#"{"order": 7, "total": 12.5}"#);
    binary.headers.extend([
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.order"),
        ("ce-source", "/shop"),
        ("ce-id", "1"),
    ]);
    let mut all = vec![
        case(LINES, "application/x-ndjson", lines),
        case(LINES, JSON, format!("[{}]", lines.trim().replace('\n', ","))),
        case(LINES, EVENTS, ORDERS),
        case("/v1/cloudevents", EVENT, ORDER),
        case("/v1/cloudevents", EVENTS, ORDERS),
        binary,
        case("/v1/track", JSON, track),
        case("/v1/batch", JSON, BATCH),
        case("/v1/logs", JSON, LOGS),
        case("/v1/logs", PROTOBUF.1, logs_in_protobuf()),
    ];
    for encoding in ENCODINGS {
        let mut packed_case = case("/v1/logs", JSON, packed(encoding, LOGS.as_bytes()));
        packed_case.headers.push(("content-encoding", encoding));
        all.push(packed_case);
    }
    all
}

pub(crate) async fn status(doors: &Doors, case: Case) -> (u16, Vec<u8>) {
    let mut request = Request::post(case.path);
    for (name, value) in &case.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(case.body)).unwrap();
    let answer = router(doors.aggregator.clone()).oneshot(request).await.unwrap();
    let status = answer.status().as_u16();
    (
        status,
        to_bytes(answer.into_body(), 1 << 20).await.unwrap().to_vec(),
    )
}

async fn answers(doors: &Doors, case: Case) -> u16 {
    let shown = format!("{} {:?} {}", case.path, case.headers, case.body.len());
    let (status, body) = status(doors, case).await;
    let fine = (200..300).contains(&status) || (400..500).contains(&status);
    assert!(fine, "{status} {shown} {}", String::from_utf8_lossy(&body));
    status
}

#[derive(Clone, Debug)]
enum Mutation {
    Flip(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Mutation {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, bits) => {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
            Self::Cut(at) => body.truncate(at.index(body.len())),
            Self::Insert(at, bytes) => {
                let at = at.index(body.len());
                body.splice(at..at, bytes.iter().copied());
            }
            Self::Remove(at, bytes) => {
                let at = at.index(body.len());
                body.drain(at..(at + bytes).min(body.len()));
            }
            Self::Repeat(at, bytes) => {
                let at = at.index(body.len());
                let again = body[at..(at + bytes).min(body.len())].to_vec();
                body.splice(at..at, again);
            }
        }
    }
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let tokens = prop::sample::select(vec![
        &b"{"[..],
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"null",
        b"1e999",
        b"-",
        b"\xff\xfe",
        b"\n",
        b"99999999999999999999999999999999",
        b"\"\\ud800\"",
        b"0.1",
        b"{\"a\":",
        b"\x00",
        b"\x80\x80\x80",
    ]);
    prop_oneof![
        (any::<Index>(), 1u8..).prop_map(|(at, bits)| Mutation::Flip(at, bits)),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), tokens).prop_map(|(at, token)| Mutation::Insert(at, token.to_vec())),
        (any::<Index>(), 1usize..20).prop_map(|(at, bytes)| Mutation::Remove(at, bytes)),
        (any::<Index>(), 1usize..200).prop_map(|(at, bytes)| Mutation::Repeat(at, bytes)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_body_brings_the_door_down(
        mutations in prop::collection::vec(mutation(), 1..6),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let doors = door::open().await;
            for mut mutated in fixtures() {
                for mutation in &mutations {
                    mutation.apply(&mut mutated.body);
                }
                answers(&doors, mutated.clone()).await;
                answers(&doors, Case { body: noise.clone(), ..mutated }).await;
            }
            what_is_kept_decodes(&doors).await;
        });
    }
}

/// Every line that was acked is a row or a reject; none is lost on the way.
async fn what_is_kept_decodes(doors: &Doors) {
    let datasets = doors.queue.datasets().borrow().clone();
    for dataset in datasets {
        let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &DatasetSettings::default()).unwrap();
        for batch in doors.batches(dataset.as_str()).await {
            let decoded = decoder.decode(&batch);
            assert_eq!(
                decoded.rows.num_rows() + decoded.rejects.len(),
                batch.header.events as usize
            );
        }
    }
}

#[tokio::test]
async fn the_fixtures_are_good_and_become_rows() {
    let doors = door::open().await;
    for case in fixtures() {
        assert_eq!(answers(&doors, case).await, 200);
    }
    let datasets = doors.queue.datasets().borrow().clone();
    assert_eq!(datasets.len(), 8);
    for dataset in datasets {
        let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &DatasetSettings::default()).unwrap();
        for batch in doors.batches(dataset.as_str()).await {
            let decoded = decoder.decode(&batch);
            assert!(decoded.rejects.is_empty(), "{dataset} {:?}", decoded.rejects);
        }
    }
}

/// What the doors refuse of a body comes out as rejects of the job, with the reason and what was sent.
#[tokio::test]
async fn what_is_refused_comes_out_as_failed() {
    let doors = door::open().await;
    let good = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t"});
    let bad = json!({"specversion": "1.0", "source": "s", "type": "t"});
    let large = json!({"type": "t", "data": "x".repeat(EVENT_BYTES_MAX)});
    let batch = json!([good, bad, large, 7]).to_string();
    assert_eq!(answers(&doors, case(LINES, EVENTS, batch)).await, 200);
    let batches: Vec<Batch> = doors.batches("a").await;
    let decoder = Decoder::new(Arc::new(DatasetSchema::empty()), &DatasetSettings::default()).unwrap();
    let decoded = decoder.decode(&batches[0]);
    assert_eq!((decoded.rows.num_rows(), decoded.rejects.len()), (1, 3));
    let raw: Value = serde_json::from_slice(&decoded.rejects[0].raw).unwrap();
    assert_eq!(raw, json!(["event lacks a required attribute attribute=id", bad]));
    assert_eq!(decoded.rejects[0].stage, "decode");
}

/// `inner` within lists or objects, `depth` of them.
fn nested(depth: usize, open: &str, close: &str, inner: &str) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[tokio::test]
async fn values_that_nest_ten_thousand_deep() {
    let doors = door::open().await;
    let lists = nested(10_000, "[", "]", "");
    let objects = nested(10_000, "{\"a\":", "}", "1");
    let values = nested(10_000, "{\"arrayValue\":{\"values\":[", "]}}", "");
    for deep in [&lists, &objects, &values] {
        let event = format!(
            "{{\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"s\",\"type\":\"t\",\"data\":{deep}}}"
        );
        let record = format!("{{\"body\":{deep},\"attributes\":[{{\"key\":\"a\",\"value\":{deep}}}]}}");
        let logs = |record: &str| {
            format!("{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{record}]}}]}}]}}")
        };
        let small = nested(1_000, "[", "]", "");
        for case in [
            case(LINES, JSON, deep.clone()),
            case(LINES, JSON, format!("[{{\"a\":{deep}}}]")),
            case("/v1/cloudevents", EVENT, deep.clone()),
            case("/v1/cloudevents", EVENT, event.clone()),
            case("/v1/cloudevents", EVENTS, format!("[{event}]")),
            case(
                "/v1/track",
                JSON,
                format!("{{\"userId\":\"u\",\"event\":\"E\",\"p\":{small}}}"),
            ),
            case(
                "/v1/batch",
                JSON,
                format!("{{\"batch\":[{deep}],\"context\":{deep}}}"),
            ),
            case("/v1/batch", JSON, format!("{{\"batch\":{deep}}}")),
            case("/v1/logs", JSON, deep.clone()),
            case("/v1/logs", JSON, format!("{{\"resourceLogs\":{deep}}}")),
            case("/v1/logs", JSON, logs(&record)),
            case("/v1/logs", JSON, logs(deep)),
        ] {
            answers(&doors, case).await;
        }
    }
    // In protobuf each level is a length and the level below.
    let wrap = |number: u8, inner: &[u8]| {
        let mut out = vec![number << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut out).unwrap();
        out.extend_from_slice(inner);
        out
    };
    let mut value = vec![0x18, 0x01];
    for _ in 0..10_000 {
        value = wrap(5, &wrap(1, &value));
    }
    let body = wrap(1, &wrap(2, &wrap(2, &wrap(5, &value))));
    assert_eq!(answers(&doors, case("/v1/logs", PROTOBUF.1, body)).await, 400);
    what_is_kept_decodes(&doors).await;
}

/// A body of very many parts: as many as fit.
fn fill(bytes: usize, start: &str, part: &str, end: &str) -> Vec<u8> {
    let times = (bytes - start.len() - end.len()) / part.len();
    let mut body = start.as_bytes().to_vec();
    body.extend_from_slice(part.repeat(times).as_bytes());
    body.truncate(body.len() - usize::from(part.ends_with(',')));
    body.extend_from_slice(end.as_bytes());
    body
}

/// Parts as small as can be, so that anything held for each shows, with the least room there can be.
#[tokio::test]
async fn bodies_of_very_many_very_small_parts() {
    let options = AggregatorOptions {
        memory_bytes_max: limits::MEMORY_BYTES_MIN,
        ..AggregatorOptions::default()
    };
    let doors = door::open_before(Arc::new(MemoryQueue::default()), options).await;
    let records = "{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[";
    let attributes = "{\"resourceLogs\":[{\"resource\":{\"attributes\":[";
    let (events_max, small) = (3 << 20, 1 << 20);
    for (case, expected) in [
        (case(LINES, JSON, fill(events_max, "[", "1,", "]")), 413),
        (case(LINES, "", fill(events_max, "", "1\n", "")), 413),
        (case("/v1/cloudevents", EVENTS, fill(small, "[", "1,", "]")), 413),
        (
            case("/v1/cloudevents", EVENT, fill(2 * small, "{", "\"\":0,", "}")),
            413,
        ),
        (
            case(
                "/v1/logs",
                JSON,
                fill(events_max + small, records, "{},", "]}]}]}"),
            ),
            413,
        ),
        (case("/v1/logs", JSON, fill(small, records, "1,", "]}]}]}")), 400),
        (
            case("/v1/logs", JSON, fill(small, attributes, "{},", "]}}]}")),
            413,
        ),
        (
            case("/v1/logs", JSON, fill(small, "{\"resourceLogs\":[", "{},", "]}")),
            200,
        ),
        (case("/v1/logs", PROTOBUF.1, fill(small, "", "\n\0", "")), 200),
        (
            case(
                "/v1/logs",
                PROTOBUF.1,
                fill(small, "", "\n\x04\x12\x02\x12\0", ""),
            ),
            200,
        ),
    ] {
        let shown = format!("{} {:?}", case.path, &case.body[..20]);
        assert_eq!(answers(&doors, case).await, expected, "{shown}");
    }
    // All room is given back.
    let event = format!("{{\"a\":\"{}\"}},", " ".repeat(EVENT_BYTES_MAX - 100));
    let last = fill(BATCH_BYTES_MAX, "[", &event, "]");
    assert_eq!(answers(&doors, case(LINES, JSON, last)).await, 200);
}

#[tokio::test]
async fn numbers_and_texts_that_are_too_much() {
    let doors = door::open().await;
    let huge = "9".repeat(100_000);
    for number in ["1e999", "-1e-999", huge.as_str(), "1E+99999999999999999999"] {
        for case in [
            case(LINES, "", format!("{{\"a\":{number}}}")),
            case(
                "/v1/cloudevents",
                EVENT,
                ORDER.replace("17,", &format!("{number},")),
            ),
            case(
                "/v1/batch",
                JSON,
                BATCH.replace("27.0", &number[..number.len().min(900)]),
            ),
            case("/v1/logs", JSON, LOGS.replace("402", number)),
            case(
                "/v1/logs",
                JSON,
                LOGS.replace("\"doubleValue\": 27", &format!("\"doubleValue\": {number}")),
            ),
            case("/v1/logs", JSON, LOGS.replace("1772366400223456789", number)),
        ] {
            answers(&doors, case).await;
        }
    }
    for case in fixtures().into_iter().filter(|case| case.headers.len() == 1) {
        let mut broken = case.clone();
        for at in 0..broken.body.len() {
            if broken.body[at] == b'x' || broken.body[at] == b'e' {
                broken.body[at] = 0xFF;
            }
        }
        answers(&doors, broken).await;
    }
    what_is_kept_decodes(&doors).await;
}
