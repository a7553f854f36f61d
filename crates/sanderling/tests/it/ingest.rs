//! Events in by every door, and out by SQL.

use arrow::array::{Int64Array, RecordBatch, StringArray};
use serde_json::json;
use std::sync::Arc;

use crate::http::{get, post, start};
use crate::support::{connect, rows, scalar, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn curl_makes_a_dataset_and_bad_lines_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    let body = "{\"userId\":1,\"event\":{\"clientName\":\"web\"}}\nrubbish\n{\"userId\":2,\"event\":{\"clientName\":\"web\"}}\n";
    let (status, answer) = post(server.http(), "/v1/datasets/clicks/events", &[], body).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["acked"], &answer["rejected"]),
        (&json!(2), &json!(1)),
        "{answer}"
    );
    assert_eq!(answer["errors"][0]["line"], 2, "{answer}");

    wait_for(&client, "SELECT count(*) FROM clicks", 2).await;
    wait_for(&client, "SELECT count(*) FROM \"clicks$failed\"", 1).await;
    let failed = rows(
        &client,
        "SELECT stage, line, arrow_cast(raw, 'Utf8') AS raw FROM `clicks$failed`",
    )
    .await
    .unwrap();
    assert_eq!(failed, [json!({"stage": "decode", "line": 2, "raw": "rubbish"})]);
    let found = rows(
        &client,
        "SELECT EVENT.clientname, USERID FROM Clicks ORDER BY userId",
    )
    .await
    .unwrap();
    assert_eq!(found[1], json!({"clientName": "web", "userId": 2}));

    let (status, answer) = post(server.http(), "/v1/datasets/clicks/events", &[], "rubbish\n").await;
    assert_eq!(status, 400, "{answer}");
    let (status, answer) = post(server.http(), "/v1/datasets/no%20name/events", &[], "{}").await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(get(server.http(), "/health").await, (200, "ok\n".to_owned()));
    let (status, metrics) = get(server.http(), "/metrics").await;
    assert_eq!(status, 200);
    assert!(
        metrics.contains("sanderling_events_acked_total{dataset=\"clicks\"}"),
        "{metrics}"
    );
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_sent_twice_with_its_key_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    for _ in 0..2 {
        let (status, _) = post(
            server.http(),
            "/v1/datasets/d/events",
            &["Idempotency-Key: k1"],
            "{\"n\":1}",
        )
        .await;
        assert_eq!(status, 200);
    }
    post(
        server.http(),
        "/v1/datasets/d/events",
        &["Idempotency-Key: k2"],
        "{\"n\":2}",
    )
    .await;
    wait_for(&client, "SELECT count(*) FROM d WHERE n = 2", 1).await;
    assert_eq!(scalar(&client, "SELECT count(*) FROM d").await, Some(2));
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_papers_query_runs_word_for_word_at_every_door() {
    const QUERY: &str = "SELECT event.clientName, COUNT(event.clientName) AS c FROM `user_behavior_events` WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -2 MINUTE) GROUP BY event.clientName ORDER BY c DESC LIMIT 10";
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    let dataset = client.dataset("user_behavior_events").unwrap();
    for n in 0..30 {
        let name = if n % 3 == 0 { "web" } else { "iphone" };
        dataset.emit(&json!({"event": {"clientName": name}})).unwrap();
    }
    client.flush().await.unwrap();
    wait_for(&client, "SELECT count(*) FROM user_behavior_events", 30).await;
    let expected = [
        json!({"clientName": "iphone", "c": 20}),
        json!({"clientName": "web", "c": 10}),
    ];
    assert_eq!(rows(&client, QUERY).await.unwrap(), expected);
    let (status, answer) = post(server.http(), "/v1/query", &[], QUERY).await;
    assert_eq!((status, &answer), (200, &json!(expected)));
    let (status, answer) = post(server.http(), "/v1/query", &[], "SELECT nothing FROM nowhere").await;
    assert_eq!(status, 400, "{answer}");
    server.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn arrow_rows_and_json_meet_in_one_table_and_outlive_the_server() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let server = start(folder.path()).await;
        let client = connect(&server);
        let dataset = client.dataset("mixed").unwrap();
        dataset.emit(&json!({"n": round, "name": "json"})).unwrap();
        let n = Arc::new(Int64Array::from(vec![round, round])) as _;
        let name = Arc::new(StringArray::from(vec!["arrow", "arrow"])) as _;
        dataset
            .emit_rows(&RecordBatch::try_from_iter([("n", n), ("name", name)]).unwrap())
            .unwrap();
        client.close().await.unwrap();
        wait_for(&client, "SELECT count(*) FROM mixed", 3 * (round + 1)).await;
        assert_eq!(
            scalar(&client, "SELECT count(*) FROM mixed WHERE name = 'json'").await,
            Some(round + 1)
        );
        server.shutdown().await.unwrap();
    }
}
