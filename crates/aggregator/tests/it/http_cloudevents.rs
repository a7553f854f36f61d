//! CloudEvents at the text door.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::door::{self, Doors};
use crate::http::{Headers, post_to};
use crate::http_fuzz::{case, status};

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json; charset=utf-8");
const BATCHED: (&str, &str) = ("content-type", "application/cloudevents-batch+json");
pub(crate) const ORDER: &str = include_str!("fixtures/cloudevent.json");
pub(crate) const ORDERS: &str = include_str!("fixtures/cloudevents-batch.json");

pub(crate) async fn rows(doors: &Doors, dataset: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in doors.batches(dataset).await {
        let lines = std::str::from_utf8(&batch.payload).unwrap().lines();
        let parsed: Vec<Value> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(parsed.len(), batch.header.events as usize);
        rows.extend(parsed);
    }
    rows
}

async fn post(doors: &Doors, headers: Headers<'_>, body: &str) -> crate::http::Answer {
    post_to(doors, "/v1/cloudevents", headers, body.as_bytes()).await
}

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "com.example.order.placed"})
}

#[tokio::test]
async fn a_structured_event_is_a_row_of_its_type_and_counts_once() {
    let doors = door::open().await;
    for duplicate in [false, true] {
        let answer = post(&doors, &[STRUCTURED], ORDER).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let expected = json!({
            "acked": 1, "rejected": 0, "duplicate": duplicate, "errors": [],
            "datasets": {"com_example_order_placed": {"acked": 1, "rejected": 0, "duplicate": duplicate}},
        });
        assert_eq!(answer.body, expected);
    }
    let expected: Value = serde_json::from_str(ORDER).unwrap();
    assert_eq!(rows(&doors, "com_example_order_placed").await, [expected]);
}

#[tokio::test]
async fn the_three_modes_make_the_same_row_and_know_each_other() {
    let doors = door::open().await;
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-type", "com.example.order.placed"),
        ("ce-source", "/shop/Z%C3%BCrich%201"),
        ("ce-id", "\"A \\\"1\\\"\""),
        ("ce-time", "2026-03-01T12:00:00Z"),
        ("ce-partitionkey", "50%"),
        ("content-type", "application/json"),
    ];
    let data = r#"{"order": 7, "total": 12.50}"#;
    let answer = post(&doors, &binary, data).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let same = json!({
        "specversion": "1.0", "type": "com.example.order.placed", "source": "/shop/Zürich 1", "id": "A \"1\"",
        "time": "2026-03-01T12:00:00Z", "partitionkey": "50%", "datacontenttype": "application/json",
        "data": {"order": 7, "total": 12.50},
    });
    let structured = post(&doors, &[STRUCTURED], &same.to_string()).await;
    assert_eq!(
        (structured.status, &structured.body["duplicate"]),
        (200, &json!(true))
    );
    let batched = post(&doors, &[BATCHED], &json!([same]).to_string()).await;
    assert_eq!((batched.status, &batched.body["duplicate"]), (200, &json!(true)));
    assert_eq!(rows(&doors, "com_example_order_placed").await, [same]);
}

#[tokio::test]
async fn data_in_binary_mode_is_what_its_content_type_says() {
    let doors = door::open().await;
    let cases: [(Option<&str>, &[u8], Value); 7] = [
        (Some("application/vnd.a+json"), b"1.5", json!({"data": 1.5})),
        (Some("text/plain"), "grüezi".as_bytes(), json!({"data": "grüezi"})),
        (Some("application/xml"), b"<a/>", json!({"data": "<a/>"})),
        (Some("text/plain"), b"\xff", json!({"data_base64": "/w=="})),
        (
            Some("application/octet-stream"),
            b"\x00\x01",
            json!({"data_base64": "AAE="}),
        ),
        (None, b"{}", json!({"data_base64": "e30="})),
        (Some("application/json"), b"", json!({})),
    ];
    for (at, (content_type, body, expected)) in cases.into_iter().enumerate() {
        let id = at.to_string();
        let mut headers = vec![
            ("ce-specversion", "1.0"),
            ("ce-type", "t"),
            ("ce-source", "s"),
            ("ce-id", &id),
        ];
        headers.extend(content_type.map(|content_type| ("content-type", content_type)));
        let answer = post_to(&doors, "/v1/cloudevents", &headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut row = rows(&doors, "t").await.pop().unwrap();
        let row = row.as_object_mut().unwrap();
        for attribute in ["specversion", "type", "source", "id"] {
            assert!(row.remove(attribute).is_some());
        }
        let said = row.remove("datacontenttype");
        assert_eq!(said, content_type.map(Value::from));
        assert_eq!(Value::from(row.clone()), expected);
    }
}

#[tokio::test]
async fn a_batch_goes_to_the_datasets_of_its_types() {
    let doors = door::open().await;
    for duplicate in [false, true] {
        let answer = post(&doors, &[BATCHED], ORDERS).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.body["duplicate"], duplicate);
        assert_eq!(
            (&answer.body["acked"], &answer.body["rejected"]),
            (&json!(3), &json!(0))
        );
    }
    assert_eq!(rows(&doors, "com_example_order_placed").await.len(), 2);
    assert_eq!(rows(&doors, "com_example_order_paid").await.len(), 1);
    for (headers, path) in [
        (vec![BATCHED, ("sanderling-dataset", "orders")], "/v1/cloudevents"),
        (vec![BATCHED], "/v1/cloudevents?dataset=orders"),
        (vec![BATCHED], "/v1/datasets/orders/events"),
    ] {
        let answer = post_to(&doors, path, &headers, ORDERS.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    assert_eq!(
        rows(&doors, "orders").await.len(),
        3,
        "the second and third were duplicates"
    );
    let answer = post(&doors, &[BATCHED], "[]").await;
    assert_eq!((answer.status, &answer.body["acked"]), (200, &json!(0)));
}

#[tokio::test]
async fn bad_events_of_a_batch_are_named_and_kept_as_failed() {
    let doors = door::open().await;
    let without = |attribute: &str| {
        let mut event = event("x");
        event.as_object_mut().unwrap().remove(attribute);
        event
    };
    let mut both = event("both");
    both["data"] = json!(1);
    both["data_base64"] = json!("AA==");
    let batch = json!([
        event("1"), without("id"), without("source"), without("type"), without("specversion"),
        {"specversion": "0.3", "id": "1", "source": "s", "type": "com.example.order.placed"},
        {"specversion": "1.0", "id": 5, "source": "s", "type": "com.example.order.placed"},
        {"specversion": "1.0", "id": "", "source": "s", "type": "com.example.order.placed"},
        "text", both, event("1"), event("2"),
    ]);
    for duplicate in [false, true] {
        let answer = post(&doors, &[BATCHED], &batch.to_string()).await;
        assert_eq!(answer.status, 200);
        let body = answer.body;
        assert_eq!(
            (
                &body["acked"],
                &body["rejected"],
                &body["repeated"],
                &body["duplicate"]
            ),
            (&json!(2), &json!(9), &json!(1), &json!(duplicate))
        );
        let told: Vec<(u64, &str)> = body["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| (error["line"].as_u64().unwrap(), error["reason"].as_str().unwrap()))
            .collect();
        for ((line, reason), (expected, word)) in told.iter().zip([
            (2, "attribute=id"),
            (3, "attribute=source"),
            (4, "attribute=type"),
            (5, "attribute=specversion"),
            (6, "0.3"),
            (7, "attribute=id"),
            (8, "attribute=id"),
            (9, "not an event"),
            (10, "data_base64"),
        ]) {
            assert_eq!(*line, expected);
            assert!(reason.contains(word), "{reason}");
        }
        assert_eq!(
            body["datasets"]["com_example_order_placed"]["rejected_to"],
            "com_example_order_placed$failed"
        );
    }
    let kept = rows(&doors, "com_example_order_placed").await;
    assert_eq!(kept[0], event("1"));
    assert_eq!(
        kept[1],
        json!(["event lacks a required attribute attribute=id", without("id")])
    );
    // Without a type, or unreadable: nothing tells their dataset.
    assert_eq!(rows(&doors, "cloudevents").await.len(), 3);
    let answer = post(&doors, &[BATCHED], "[1, 2]").await;
    assert_eq!((answer.status, &answer.body["rejected"]), (400, &json!(2)));
}

#[tokio::test]
async fn a_single_event_that_is_bad_is_refused_and_nothing_is_kept() {
    let doors = door::open().await;
    let good = event("1").to_string();
    let untyped = good.replace("com.example.order.placed", "...");
    let large = format!("{{\"data\":\"{}\"}}", "x".repeat(1 << 20));
    let nothing: (&str, &str) = ("x-nothing", "");
    let ce = |skip: &str| {
        let all = [
            ("ce-specversion", "1.0"),
            ("ce-type", "t"),
            ("ce-source", "s"),
            ("ce-id", "1"),
        ];
        all.map(|header| if header.0 == skip { nothing } else { header })
            .to_vec()
    };
    let with = |header| [ce(""), vec![header]].concat();
    type Case<'a> = (Vec<(&'a str, &'a str)>, &'a str, u16, &'a str);
    let cases: Vec<Case<'_>> = vec![
        (vec![STRUCTURED], "{}", 400, "attribute=specversion"),
        (vec![STRUCTURED], "[]", 400, "not an event"),
        (vec![STRUCTURED], "{", 400, "not one event"),
        (vec![STRUCTURED], &large, 413, "1048576"),
        (vec![BATCHED], &good, 400, "batch is not a JSON array"),
        (
            vec![("content-type", "application/cloudevents+avro")],
            &good,
            415,
            "avro",
        ),
        (
            vec![("content-type", "application/json")],
            &good,
            400,
            "attribute=specversion",
        ),
        (ce("ce-specversion"), "", 400, "attribute=specversion"),
        (ce("ce-type"), "", 400, "attribute=type"),
        (ce("ce-source"), "", 400, "attribute=source"),
        (ce("ce-id"), "", 400, "attribute=id"),
        (with(("ce-id", "2")), "", 400, "twice"),
        (with(("ce-a", "%ff")), "", 400, "ce-a"),
        (with(("ce-a-b", "x")), "", 400, "ce-a-b"),
        (with(("ce-datacontenttype", "x")), "", 400, "ce-datacontenttype"),
        (with(("content-type", "application/json")), "{", 400, "not JSON"),
        (with(("sanderling-dataset", "a b")), "", 400, "dataset name"),
        (with(("sanderling-sequence", "0")), "", 400, "together"),
        (vec![STRUCTURED], &untyped, 400, "Sanderling-Dataset"),
    ];
    for (headers, body, status, reason) in &cases {
        let answer = post(&doors, headers, body).await;
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert_eq!(answer.status, *status, "{reason}: {}", answer.body);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert_eq!(doors.queue.datasets().borrow().len(), 0);
}

#[tokio::test]
async fn a_key_of_the_request_goes_before_the_ids() {
    let doors = door::open().await;
    let key = [BATCHED, ("idempotency-key", "k")];
    for (id, duplicate) in [("1", false), ("2", true)] {
        let answer = post(&doors, &key, &json!([event(id)]).to_string()).await;
        assert_eq!(answer.body["duplicate"], duplicate);
    }
    let emitter = "01890a5d-ac96-774b-bcce-b302099a8057";
    let numbered = [
        BATCHED,
        ("sanderling-emitter", emitter),
        ("sanderling-sequence", "0"),
    ];
    assert_eq!(
        post(&doors, &numbered, &json!([event("3")]).to_string())
            .await
            .status,
        200
    );
    let mut other = event("4");
    other["type"] = json!("other");
    let answer = post(&doors, &numbered, &json!([event("5"), other]).to_string()).await;
    assert_eq!(answer.status, 400);
    assert!(
        answer.body["error"].as_str().unwrap().contains("several"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn too_many_types_in_one_body_are_413() {
    let doors = door::open().await;
    let events =
        (0..101).map(|n| json!({"specversion": "1.0", "id": "1", "source": "s", "type": format!("t{n}")}));
    let body = Value::from_iter(events).to_string();
    assert_eq!(post(&doors, &[BATCHED], &body).await.status, 413);
    let named = [BATCHED, ("sanderling-dataset", "all")];
    assert_eq!(
        post(&doors, &named, &body).await.body["acked"],
        1,
        "ids are known by source and id"
    );
}

/// Events of few types, sources and ids; some lack an attribute or have one of another kind.
fn any_event() -> impl Strategy<Value = Value> {
    let attribute = |values: &[&str]| {
        let values: Vec<Value> = values.iter().map(|value| json!(value)).collect();
        prop_oneof![
            12 => prop::sample::select(values).prop_map(Some),
            1 => Just(None),
            1 => Just(Some(Value::Null)),
            1 => Just(Some(json!(7))),
        ]
    };
    let version = prop_oneof![20 => Just(json!("1.0")), 1 => Just(json!("0.3"))];
    let types = attribute(&["a.b", "a b", "c", "..."]);
    let attributes = (
        version,
        types,
        attribute(&["s", "t"]),
        attribute(&["1", "2", "3"]),
        any::<u8>(),
    );
    attributes.prop_map(|(version, event_type, source, id, data)| {
        let mut event = json!({"specversion": version, "data": data});
        for (name, value) in [("type", event_type), ("source", source), ("id", id)] {
            if let Some(value) = value {
                event[name] = value;
            }
        }
        event
    })
}

/// The twin of the door: good events and bad ones by dataset, in order, and how many were repeated.
fn sorted(events: &[Value]) -> (BTreeMap<String, Vec<Value>>, usize, usize, usize) {
    let (mut datasets, mut seen) = (BTreeMap::<String, Vec<Value>>::new(), HashSet::new());
    let (mut acked, mut rejected, mut repeated) = (0, 0, 0);
    for event in events {
        let text = |name: &str| event[name].as_str();
        let readable = ["type", "source", "id"]
            .iter()
            .all(|name| text(name).is_some() || event[*name].is_null());
        let dataset = match (text("type"), readable) {
            (Some("a.b" | "a b"), true) => "a_b",
            (Some("c"), true) => "c",
            _ => "cloudevents",
        };
        let id = (dataset, text("source"), text("id"));
        let all = ["type", "source", "id"].iter().all(|name| text(name).is_some());
        if text("specversion") != Some("1.0") || !all || text("type") == Some("...") {
            rejected += 1;
            datasets.entry(dataset.into()).or_default().push(json!([event]));
        } else if seen.insert(id) {
            acked += 1;
            datasets.entry(dataset.into()).or_default().push(event.clone());
        } else {
            repeated += 1;
        }
    }
    (datasets, acked, rejected, repeated)
}

proptest! {
    #[test]
    fn a_batch_comes_to_what_the_twin_says(events in prop::collection::vec(any_event(), 1..12)) {
        let (expected, acked, rejected, repeated) = sorted(&events);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let doors = door::open().await;
            for duplicate in [false, true] {
                let body = Value::from(events.clone()).to_string();
                let (code, answer) = status(&doors, case("/v1/cloudevents", BATCHED.1, body)).await;
                let answer: Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!(code, if acked > 0 { 200 } else { 400 }, "{answer}");
                assert_eq!((&answer["acked"], &answer["rejected"]), (&json!(acked), &json!(rejected)));
                assert_eq!(answer["repeated"].as_u64().unwrap_or_default(), repeated as u64);
                assert_eq!(answer["duplicate"], duplicate);
            }
            let names = doors.queue.datasets().borrow().iter().map(ToString::to_string).collect::<Vec<_>>();
            assert!(names.iter().eq(expected.keys()), "{names:?} {expected:?}");
            for (dataset, expected) in &expected {
                let mut kept = rows(&doors, dataset).await;
                for row in &mut kept {
                    if let Some(refused) = row.as_array_mut() {
                        refused.remove(0); // the reason
                    }
                }
                assert_eq!(&kept, expected);
            }
        });
    }
}
