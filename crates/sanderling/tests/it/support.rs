//! A server in this process on free ports, and what tests ask of it.

use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use client::{Client, ClientOptions};
use futures::TryStreamExt;
use sanderling::{Server, Settings};
use serde_json::Value;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn settings(data_dir: &Path) -> Settings {
    let any = "127.0.0.1:0".parse().unwrap();
    Settings {
        data_dir: data_dir.to_owned(),
        http: any,
        flight: any,
        postgres: any,
        ..Settings::default()
    }
}

pub(crate) fn connect(server: &Server) -> Client {
    Client::connect(ClientOptions::new(format!("http://{}", server.flight()))).unwrap()
}

/// Rows of a query as JSON objects.
pub(crate) async fn rows(client: &Client, sql: &str) -> Result<Vec<Value>, client::Error> {
    let (_, batches) = client.query(sql).await?;
    let batches: Vec<RecordBatch> = batches.try_collect().await?;
    let mut out = Vec::new();
    let mut writer = arrow::json::LineDelimitedWriter::new(&mut out);
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    Ok(out
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect())
}

/// The one value of a query, once it is there.
pub(crate) async fn scalar(client: &Client, sql: &str) -> Option<i64> {
    let rows = rows(client, sql).await.ok()?;
    rows.first()?.as_object()?.values().next()?.as_i64()
}

/// Asks until the query's one value is `expected`.
pub(crate) async fn wait_for(client: &Client, sql: &str, expected: i64) {
    let start = Instant::now();
    loop {
        let value = scalar(client, sql).await;
        if value == Some(expected) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{sql}: {value:?} is not {expected}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
