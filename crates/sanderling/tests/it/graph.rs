//! The jobs of a server, listed and drawn.

use std::process::Command;

use serde_json::{Value, json};

use crate::http::{get, start};
use crate::support::{connect, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_and_drawn_with_what_has_gone_through() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let client = connect(&server);
    client
        .dataset("clicks")
        .unwrap()
        .emit(&json!({"page": "/"}))
        .unwrap();
    client.flush().await.unwrap();
    wait_for(&client, "SELECT count(*) FROM clicks", 1).await;
    let start = std::time::Instant::now();
    loop {
        let (status, body) = get(server.http(), "/v1/jobs").await;
        assert_eq!(status, 200, "{body}");
        let listed: Value = serde_json::from_str(&body).unwrap();
        if listed[0]["elements"] == json!(1) {
            assert_eq!(
                (&listed[0]["dataset"], &listed[0]["state"]),
                (&json!("clicks"), &json!("running"))
            );
            break;
        }
        assert!(start.elapsed() < crate::support::PATIENCE, "{body}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let (status, dot) = get(server.http(), "/v1/jobs/clicks/graph").await;
    assert_eq!((status, dot.starts_with("digraph")), (200, true), "{dot}");
    assert!(dot.contains("rejects"), "{dot}");
    let (status, mermaid) = get(server.http(), "/v1/jobs/clicks/graph?format=mermaid").await;
    assert_eq!(
        (status, mermaid.starts_with("flowchart LR")),
        (200, true),
        "{mermaid}"
    );
    assert_eq!(
        get(server.http(), "/v1/jobs/clicks/graph?format=svg").await.0,
        400
    );
    let (status, text) = get(server.http(), "/v1/jobs/nobody/graph").await;
    assert_eq!((status, text.contains("there are clicks")), (404, true), "{text}");

    let address = format!("http://{}", server.http());
    let graph = move |arguments: &'static [&'static str]| {
        let mut verb = Command::new(env!("CARGO_BIN_EXE_sanderling"));
        verb.arg("graph").args(arguments).args(["--server", &address]);
        tokio::task::spawn_blocking(move || verb.output().unwrap())
    };
    let listed = graph(&[]).await.unwrap();
    assert!(
        String::from_utf8(listed.stdout)
            .unwrap()
            .starts_with("clicks  running, 1 batches")
    );
    assert_eq!(
        String::from_utf8(graph(&["clicks"]).await.unwrap().stdout).unwrap(),
        dot
    );
    let unknown = graph(&["nobody"]).await.unwrap();
    assert_eq!(unknown.status.code(), Some(1));
    assert!(
        String::from_utf8(unknown.stderr)
            .unwrap()
            .contains("no such dataset")
    );
    server.shutdown().await.unwrap();
}
