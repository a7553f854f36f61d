//! Segment's calls at the text door.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::door::{self, Doors};
use crate::http::{Answer, post_to};
use crate::http_cloudevents::rows;
use crate::http_fuzz::{case, status};

pub(crate) const BATCH: &str = include_str!("fixtures/segment-batch.json");

async fn post(doors: &Doors, call: &str, body: &Value) -> Answer {
    let headers = [
        ("content-type", "application/json"),
        ("authorization", "Basic d3JpdGUta2V5Og=="),
    ];
    post_to(
        doors,
        &format!("/v1/{call}"),
        &headers,
        body.to_string().as_bytes(),
    )
    .await
}

fn calls() -> [(&'static str, Value); 6] {
    [
        (
            "track",
            json!({"messageId": "1", "userId": "u", "event": "E", "timestamp": "t", "sentAt": "s"}),
        ),
        (
            "identify",
            json!({"messageId": "1", "userId": 5, "traits": {"a": 1}}),
        ),
        (
            "page",
            json!({"messageId": "1", "anonymousId": "a", "name": "Home"}),
        ),
        ("screen", json!({"messageId": "1", "anonymousId": "a"})),
        ("group", json!({"messageId": "1", "userId": "u", "groupId": "g"})),
        (
            "alias",
            json!({"messageId": "1", "userId": "u", "previousId": "p"}),
        ),
    ]
}

#[tokio::test]
async fn each_call_has_its_dataset_and_counts_once() {
    let doors = door::open().await;
    for (call, body) in calls() {
        for duplicate in [false, true] {
            let answer = post(&doors, call, &body).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            assert_eq!(
                (
                    &answer.body["success"],
                    &answer.body["acked"],
                    &answer.body["duplicate"]
                ),
                (&json!(true), &json!(1), &json!(duplicate))
            );
        }
        let mut expected = body;
        expected["type"] = json!(call);
        assert_eq!(rows(&doors, &format!("segment_{call}")).await, [expected]);
    }
}

#[tokio::test]
async fn a_batch_is_split_by_type_and_shares_what_it_says() {
    let doors = door::open().await;
    let batch: Value = serde_json::from_str(BATCH).unwrap();
    for duplicate in [false, true] {
        let answer = post(&doors, "batch", &batch).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let part = |acked: u32| json!({"acked": acked, "rejected": 0, "duplicate": duplicate});
        let expected = json!({
            "success": true, "acked": 4, "rejected": 0, "duplicate": duplicate, "errors": [],
            "datasets": {"segment_identify": part(1), "segment_page": part(1), "segment_track": part(2)},
        });
        assert_eq!(answer.body, expected);
    }
    let track = rows(&doors, "segment_track").await;
    let mut expected = batch["batch"][1].clone();
    expected["integrations"] = batch["integrations"].clone();
    expected["sentAt"] = batch["sentAt"].clone();
    assert_eq!(track[0], expected, "its own context stays");
    assert_eq!(track[1]["sentAt"], "2026-03-01T12:00:04.000Z");
    assert_eq!(track[1]["integrations"], json!({"All": false}));
    assert_eq!(track[1]["context"], batch["context"]);
    for dataset in ["segment_identify", "segment_page", "segment_track"] {
        for batch in doors.batches(dataset).await {
            assert!(!String::from_utf8_lossy(&batch.payload).contains("secret"));
        }
    }
    let answer = post(&doors, "batch?dataset=web", &batch).await;
    assert_eq!(answer.body["datasets"]["web"]["acked"], 4);
    assert_eq!(rows(&doors, "web").await.len(), 4);
}

#[tokio::test]
async fn a_batch_with_other_neighbours_or_without_ids_is_another() {
    let doors = door::open().await;
    let call = |id: Value| json!({"type": "track", "event": "E", "userId": "u", "messageId": id});
    for batch in [
        json!([call(json!("1"))]),
        json!([call(json!("1")), call(json!("2"))]),
        json!([call(Value::Null)]),
        json!([call(Value::Null)]),
    ] {
        let answer = post(&doors, "batch", &json!({"batch": batch})).await;
        assert_eq!(answer.body["duplicate"], false);
    }
    let answer = post(&doors, "track", &call(json!("1"))).await;
    assert_eq!(answer.body["duplicate"], true, "a batch of one is that one");
    assert_eq!(rows(&doors, "segment_track").await.len(), 5);
}

#[tokio::test]
async fn bad_calls_of_a_batch_are_named_and_kept_as_failed() {
    let doors = door::open().await;
    let large = json!({"type": "track", "event": "E", "userId": "u", "x": "x".repeat(32 << 10)});
    let good = json!({"type": "track", "event": "E", "userId": "u", "messageId": "1"});
    let batch = json!({"batch": [
        good, {"type": "track", "userId": "u"}, {"type": "page"}, {"type": "group", "userId": "u"},
        {"type": "alias", "userId": "u"}, {"type": "delete", "userId": "u"}, {"userId": "u"}, 5, large,
        {"type": "track", "event": "", "userId": "u"}, {"type": "track", "event": "E", "userId": null},
    ]});
    let answer = post(&doors, "batch", &batch).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        (&answer.body["acked"], &answer.body["rejected"]),
        (&json!(1), &json!(10))
    );
    let errors = answer.body["errors"].as_array().unwrap();
    for (error, (line, word)) in errors.iter().zip([
        (2, "lacks event"),
        (3, "userId or anonymousId"),
        (4, "lacks groupId"),
        (5, "lacks previousId"),
        (6, "no known type"),
        (7, "no known type"),
        (8, "not a JSON object"),
        (9, "32768"),
        (10, "lacks event"),
        (11, "userId or anonymousId"),
    ]) {
        assert_eq!(error["line"], line);
        assert!(error["reason"].as_str().unwrap().contains(word), "{error}");
    }
    let track = rows(&doors, "segment_track").await;
    assert_eq!(track[0], good);
    assert_eq!(track[1][1], json!({"type": "track", "userId": "u"}));
    assert_eq!(rows(&doors, "segment_batch").await.len(), 4, "what has no type");
}

#[tokio::test]
async fn refusals_say_why_and_keep_nothing() {
    let doors = door::open().await;
    let large = |bytes: usize| json!({"userId": "u", "event": "E", "x": "x".repeat(bytes)});
    let many: Value = (0..1_001).map(|n| (format!("f{n}"), json!(n))).collect();
    let cases = [
        ("track", json!({"userId": "u"}), 400, "lacks event"),
        ("track", json!([]), 400, "not a JSON object"),
        ("track", large(32 << 10), 413, "32768"),
        ("track", many, 400, "1000"),
        ("batch", json!({}), 400, "no field batch"),
        ("batch", json!({"batch": {}}), 400, "batch is not a JSON array"),
        (
            "batch",
            json!({"batch": [], "x": "x".repeat(500 << 10)}),
            413,
            "512000",
        ),
    ];
    for (call, body, status, reason) in cases {
        let answer = post(&doors, call, &body).await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert_eq!(answer.body["success"], false);
        assert!(
            answer.body["error"].as_str().unwrap().contains(reason),
            "{}",
            answer.body
        );
    }
    assert_eq!(doors.queue.datasets().borrow().len(), 0);
    let empty = post(&doors, "batch", &json!({"batch": []})).await;
    assert_eq!((empty.status, &empty.body["success"]), (200, &json!(true)));
    doors.aggregator.close();
    let answer = post(&doors, "track", &json!({})).await;
    assert_eq!((answer.status, &answer.body["success"]), (503, &json!(false)));
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
}

/// A batch whose second dataset has no room: the first is kept, the answer says so, and the retry counts once.
#[tokio::test]
async fn a_part_that_fails_is_named_and_the_rest_is_kept() {
    let options = aggregator::AggregatorOptions {
        datasets_max: 1,
        ..Default::default()
    };
    let doors = door::open_before(std::sync::Arc::new(queue::MemoryQueue::default()), options).await;
    let batch = json!({"batch": [
        {"type": "track", "event": "E", "userId": "u", "messageId": "1"},
        {"type": "page", "userId": "u", "messageId": "2"},
    ]});
    for duplicate in [false, true] {
        let answer = post(&doors, "batch", &batch).await;
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!(answer.head.contains("retry-after: 1"));
        assert_eq!(
            (&answer.body["success"], &answer.body["acked"]),
            (&json!(false), &json!(1))
        );
        let part = &answer.body["datasets"]["segment_track"];
        assert_eq!(
            (&part["acked"], &part["duplicate"]),
            (&json!(1), &json!(duplicate))
        );
        let error = &answer.body["datasets"]["segment_page"]["error"];
        assert!(error.as_str().unwrap().contains("too many datasets"), "{error}");
    }
    assert_eq!(rows(&doors, "segment_track").await.len(), 1);
}

/// Calls with few ids and types; some lack what they must have.
fn any_call() -> impl Strategy<Value = Value> {
    let types = prop::sample::select(vec![
        Some("track"),
        Some("track"),
        Some("page"),
        Some("group"),
        Some("alias"),
        Some("nope"),
        None,
    ]);
    let maybe = |values: &'static [&'static str]| prop::option::weighted(0.8, prop::sample::select(values));
    let fields = (
        types,
        maybe(&["u"]),
        maybe(&["a"]),
        maybe(&["E", "F"]),
        maybe(&["g"]),
        maybe(&["p"]),
        prop::option::weighted(0.9, prop::sample::select(vec!["1", "2", "3", "4"])),
        any::<bool>(),
    );
    fields.prop_map(|(call, user, anonymous, event, group, previous, id, context)| {
        let mut body = json!({});
        for (name, value) in [
            ("type", call),
            ("userId", user),
            ("anonymousId", anonymous),
            ("event", event),
            ("groupId", group),
            ("previousId", previous),
            ("messageId", id),
        ] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if context {
            body["context"] = json!({"own": true});
        }
        body
    })
}

/// The twin of the door: rows and refused calls by dataset, in order.
fn split(calls: &[Value], shared: &Value) -> BTreeMap<String, Vec<Value>> {
    let (mut datasets, mut seen) = (BTreeMap::<String, Vec<Value>>::new(), HashSet::new());
    for call in calls {
        let has = |name: &str| !call[name].is_null();
        let who = has("userId") || has("anonymousId");
        let name = call["type"].as_str().filter(|name| *name != "nope");
        let good = match name {
            Some("track") => who && has("event"),
            Some("group") => who && has("groupId"),
            Some("alias") => has("userId") && has("previousId"),
            Some(_) => who,
            None => false,
        };
        let rows = datasets.entry(format!("segment_{}", name.unwrap_or("batch")));
        if !good {
            rows.or_default().push(json!([call]));
        } else if !has("messageId") || seen.insert((name, &call["messageId"])) {
            let mut row = shared.clone();
            for (name, value) in call.as_object().unwrap() {
                row[name] = value.clone();
            }
            rows.or_default().push(row);
        }
    }
    datasets
}

proptest! {
    #[test]
    fn a_batch_comes_to_what_the_twin_says(calls in prop::collection::vec(any_call(), 1..12)) {
        let shared = json!({"context": {"own": false}, "sentAt": "s"});
        let expected = split(&calls, &shared);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let doors = door::open().await;
            let mut body = shared.clone();
            body["batch"] = calls.clone().into();
            body["writeKey"] = json!("secret");
            let (_, answer) = status(&doors, case("/v1/batch", "application/json", body.to_string())).await;
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            let refused = expected.values().flatten().filter(|row| row.is_array()).count();
            assert_eq!(answer["rejected"], refused);
            let acked = expected.values().flatten().count() - refused;
            assert_eq!((&answer["acked"], &answer["success"]), (&json!(acked), &json!(acked > 0)));
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
