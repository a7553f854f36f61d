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

/// The numbers `n` in all plain files of a dataset that are JSON by line in gzip, in ascending order.
pub(crate) fn plain_numbers(data_dir: &Path, dataset: &str) -> Vec<u64> {
    let mut folders = vec![data_dir.join("plain").join(dataset)];
    let mut numbers = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "gz") {
                let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
                for line in std::io::BufRead::lines(std::io::BufReader::new(file)) {
                    let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
                    numbers.push(event["n"].as_u64().unwrap());
                }
            }
        }
    }
    numbers.sort_unstable();
    numbers
}
