//! No query sees a gap or a double while the hot tail becomes files.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sanderling::{Server, WarehouseSettings};
use serde_json::json;

use crate::support::{connect, rows, settings, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn queries_only_ever_see_a_prefix() {
    const EVENTS: i64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings(folder.path());
    // Small and fast flushes, so that many happen while the queries run.
    settings.warehouse = WarehouseSettings {
        flush_bytes: 32 << 10,
        flush_age: Duration::from_millis(20),
        ..settings.warehouse
    };
    let server = Server::start(settings).await.unwrap();
    let client = connect(&server);
    let done = Arc::new(AtomicBool::new(false));
    let (asking, stop) = (connect(&server), done.clone());
    let queries = tokio::spawn(async move {
        let (mut before, mut asked) = (0, 0);
        while !stop.load(Ordering::Acquire) {
            // One emitter, one partition: what is visible is 0, 1, … c-1, so the sum must be that of a prefix.
            let Ok(found) = rows(
                &asking,
                "SELECT count(*) AS c, sum(n) AS s, max(n) AS m FROM counted",
            )
            .await
            else {
                continue;
            };
            let (count, sum, max) = (
                found[0]["c"].as_i64().unwrap(),
                found[0]["s"].as_i64(),
                found[0]["m"].as_i64(),
            );
            if count == 0 {
                continue;
            }
            assert_eq!(
                (sum, max),
                (Some(count * (count - 1) / 2), Some(count - 1)),
                "count={count}"
            );
            assert!(count >= before, "{count} rows after {before}");
            before = count;
            asked += 1;
        }
        asked
    });
    let dataset = client.dataset("counted").unwrap();
    for n in 0..EVENTS {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
        if n % 200 == 199 {
            client.flush().await.unwrap();
        }
    }
    client.flush().await.unwrap();
    wait_for(&client, "SELECT count(*) FROM counted", EVENTS).await;
    done.store(true, Ordering::Release);
    let asked = queries.await.unwrap();
    assert!(asked > 10, "only {asked} queries ran");
    server.shutdown().await.unwrap();
}
