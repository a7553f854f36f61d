//! The text door.

use std::io::Write;
use std::sync::Arc;

use aggregator::AggregatorOptions;
use event::limits::{BATCH_BYTES_MAX, EVENT_BYTES_MAX};
use event::{DatasetName, Encoding};
use flate2::Compression;
use flate2::write::GzEncoder;
use queue::MemoryQueue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::door::{self, Doors};

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

pub(crate) async fn post(doors: &Doors, dataset: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    post_to(doors, &format!("/v1/datasets/{dataset}/events"), headers, body).await
}

pub(crate) async fn post_to(doors: &Doors, path: &str, headers: Headers<'_>, body: &[u8]) -> Answer {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut stream = TcpStream::connect(&doors.http).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // A refusal may come before the whole body is written.
    let _ = stream.write_all(body).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let bytes = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_lowercase(),
        body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        bytes,
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn good_lines_are_acked_and_bad_ones_named_and_kept() {
    let doors = door::open().await;
    let body = "{\"a\":1}\n{\"a\":\n\n{\"a\":2}";
    let answer = post(&doors, "orders", &[], body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.body["acked"], &answer.body["rejected"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(answer.body["errors"][0]["line"], 2);
    assert!(
        answer.body["errors"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("column")
    );
    assert_eq!(answer.body["rejected_to"], "orders$failed");
    let kept = doors.batches("orders").await;
    assert_eq!((kept.len(), &kept[0].payload[..]), (1, body.as_bytes()));
    assert_eq!(
        (kept[0].header.events, kept[0].header.encoding),
        (3, Encoding::Ndjson)
    );
    let counts = doors.aggregator.counts()[&"orders".parse::<DatasetName>().unwrap()];
    assert_eq!((counts.events_acked, counts.rejected), (3, 1));
}

#[tokio::test]
async fn nothing_good_is_400_and_kept_all_the_same() {
    let doors = door::open().await;
    let answer = post(&doors, "orders", &[], b"nope\n[1]").await;
    // A leading n makes it lines, so the array is a line too.
    assert_eq!(
        (answer.status, &answer.body["acked"], &answer.body["rejected"]),
        (400, &json!(0), &json!(2))
    );
    assert_eq!(doors.batches("orders").await[0].payload, "nope\n[1]");
}

#[tokio::test]
async fn arrays_gzip_and_single_objects() {
    let doors = door::open().await;
    let json = [("content-type", "application/json; charset=utf-8")];
    assert_eq!(
        post(&doors, "a", &json, b"[{\"a\":\n1},{\"a\":2}]").await.body["acked"],
        2
    );
    assert_eq!(
        post(&doors, "a", &json, b"{\n \"a\": 3\n}").await.body["acked"],
        1
    );
    let packed = gzip(b"{\"a\":4}\n{\"a\":5}\n");
    assert_eq!(
        post(&doors, "a", &[("content-encoding", "gzip")], &packed)
            .await
            .body["acked"],
        2
    );
    let kept: Vec<_> = doors
        .batches("a")
        .await
        .into_iter()
        .map(|batch| batch.payload)
        .collect();
    assert_eq!(
        kept,
        [
            "{\"a\": 1}\n{\"a\":2}\n",
            "{  \"a\": 3 }\n",
            "{\"a\":4}\n{\"a\":5}\n"
        ]
    );
}

#[tokio::test]
async fn a_named_request_counts_once() {
    let doors = door::open().await;
    let key = [("idempotency-key", "req-1")];
    assert_eq!(post(&doors, "a", &key, b"{}").await.body["duplicate"], false);
    let again = post(&doors, "a", &key, b"{}").await;
    assert_eq!((again.status, &again.body["duplicate"]), (200, &json!(true)));
    assert_eq!(post(&doors, "b", &key, b"{}").await.body["duplicate"], false);
    assert_eq!(doors.batches("a").await.len(), 1);

    let emitter = "01890a5d-ac96-774b-bcce-b302099a8057";
    let at = |sequence| [("sanderling-emitter", emitter), ("sanderling-sequence", sequence)];
    for (sequence, status) in [("0", 200), ("1", 200), ("1", 200), ("5", 409), ("2", 200)] {
        let answer = post(&doors, "c", &at(sequence), b"{}").await;
        assert_eq!(answer.status, status, "{sequence} {}", answer.body);
    }
    assert_eq!(doors.batches("c").await.len(), 3);
    for _ in 0..2 {
        post(&doors, "d", &[], b"{}").await;
    }
    assert_eq!(doors.batches("d").await.len(), 2);
}

#[tokio::test]
async fn refusals_keep_nothing_and_say_why() {
    let doors = door::open().await;
    let large = vec![b' '; BATCH_BYTES_MAX + 1];
    let bomb = gzip(&large);
    let gzipped = ("content-encoding", "gzip");
    let long = "k".repeat(256);
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);
    let cases: [Case<'_>; 12] = [
        ("1a", &[], b"{}", 400, "dataset name"),
        ("a$failed", &[], b"{}", 400, "dataset name"),
        ("a", &[], b"", 400, "no event"),
        ("a", &[], b"[{\"a\":1}", 400, "array"),
        ("a", &[gzipped], b"{}", 400, "gzip"),
        ("a", &[("content-encoding", "br")], b"{}", 415, "br"),
        ("a", &[gzipped], &bomb, 413, "16777216"),
        ("a", &[], &large, 413, "16777216"),
        ("a", &[("idempotency-key", &long)], b"{}", 400, "255"),
        ("a", &[("sanderling-emitter", "x")], b"{}", 400, "together"),
        (
            "a",
            &[("sanderling-emitter", "x"), ("sanderling-sequence", "0")],
            b"{}",
            400,
            "UUID",
        ),
        (
            "a",
            &[("idempotency-key", "k"), ("sanderling-sequence", "0")],
            b"{}",
            400,
            "either",
        ),
    ];
    for (dataset, headers, body, status, reason) in cases {
        let answer = post(&doors, dataset, headers, body).await;
        let error = answer.body["error"].as_str().unwrap_or_default();
        assert_eq!(answer.status, status, "{reason}: {error}");
        assert!(error.contains(reason), "{reason}: {error}");
    }
    assert!(doors.batches("a").await.is_empty());
}

#[tokio::test]
async fn a_large_event_is_named_and_kept_for_the_failed_table() {
    let doors = door::open().await;
    let body = format!("{{\"a\":\"{}\"}}\n{{\"a\":1}}\n", "x".repeat(EVENT_BYTES_MAX));
    let answer = post(&doors, "a", &[], body.as_bytes()).await;
    assert_eq!(
        (answer.status, &answer.body["acked"], &answer.body["rejected"]),
        (200, &json!(1), &json!(1))
    );
    assert_eq!(doors.batches("a").await[0].payload.len(), body.len());
}

#[tokio::test]
async fn a_full_server_and_a_closing_one_say_when_to_come_again() {
    let options = AggregatorOptions {
        datasets_max: 1,
        ..AggregatorOptions::default()
    };
    let doors = door::open_before(Arc::new(MemoryQueue::default()), options).await;
    assert_eq!(post(&doors, "a", &[], b"{}").await.status, 200);
    let answer = post(&doors, "b", &[], b"{}").await;
    assert_eq!(answer.status, 429);
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    doors.aggregator.close();
    let answer = post(&doors, "a", &[], b"{}").await;
    assert_eq!(answer.status, 503);
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
}

#[tokio::test]
async fn what_the_answer_promises_is_asked_for_in_a_header() {
    let doors = door::open().await;
    let ask = async |durability: &str| {
        let headers = [("sanderling-durability", durability)];
        post(&doors, "d", &headers, b"{\"n\":1}").await
    };
    let durable = ask("durable").await;
    assert_eq!((durable.status, &durable.body["durability"]), (200, &Value::Null));
    // A memory queue keeps at once, so nothing is left to promise less.
    assert_eq!(ask("memory").await.status, 200);
    let unknown = ask("forever").await;
    assert_eq!(unknown.status, 400);
    assert!(
        unknown.body["error"]
            .as_str()
            .unwrap()
            .contains("durability=\"forever\"")
    );
    let untold = ask("queryable").await;
    assert_eq!(untold.status, 400, "{}", untold.body);
    assert_eq!(doors.batches("d").await.len(), 2);
}
