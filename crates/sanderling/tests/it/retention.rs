//! What is deleted from the queue, and that nothing is lost by it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use client::Client;
use event::wire::Position;
use futures::TryStreamExt;
use sanderling::{Keep, QueueSettings, Server, Settings, WarehouseSettings};
use serde_json::json;

use crate::http::get;
use crate::support::{PATIENCE, connect, settings, wait_for};

/// Everything that is in files is due at once, and small segments and fast flushes make much of it.
fn eager(data_dir: &Path) -> Settings {
    let settings = settings(data_dir);
    Settings {
        queue: QueueSettings {
            segment_bytes: 4 << 10,
            retention: Keep::UpTo(Duration::from_millis(1)),
            retention_every: Duration::from_millis(20),
            ..settings.queue
        },
        warehouse: WarehouseSettings {
            flush_age: Duration::from_millis(20),
            ..settings.warehouse
        },
        ..settings
    }
}

/// Sends numbers in batches of ten.
async fn send(client: &Client, range: std::ops::Range<i64>) {
    let dataset = client.dataset("numbers").unwrap();
    for n in range {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
        if n % 10 == 9 {
            client.flush().await.unwrap();
        }
    }
    client.flush().await.unwrap();
}

async fn stream(client: &Client, from: Option<Position>) -> Result<(BTreeSet<i64>, usize), client::Error> {
    let (mut numbers, mut rows) = (BTreeSet::new(), 0);
    let mut stream = std::pin::pin!(client.stream("numbers", from, false));
    while let Some((batch, _)) = stream.try_next().await? {
        rows += batch.num_rows();
        if let Some(column) = batch.column_by_name("n") {
            numbers.extend(column.as_primitive::<Int64Type>().values());
        }
    }
    Ok((numbers, rows))
}

/// The first offset that the queue's files hold.
fn first_offset(data_dir: &Path) -> u64 {
    let files = std::fs::read_dir(data_dir.join("queue/numbers/0")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .min()
        .unwrap()
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn metric(server: &Server, sample: &str) -> Option<u64> {
    let (_, text) = get(server.http(), "/metrics").await;
    let line = text.lines().find(|line| line.starts_with(sample))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_go_when_their_rows_are_in_files_and_no_row_does() {
    const COUNT: &str = "SELECT count(DISTINCT n) FROM numbers";
    let folder = tempfile::tempdir().unwrap();
    for life in 0..3 {
        let server = Server::start(eager(folder.path())).await.unwrap();
        let client = connect(&server);
        if life > 0 {
            wait_for(&client, "SELECT count(*) FROM numbers", life * 500).await;
        }
        send(&client, life * 500..(life + 1) * 500).await;
        wait_for(&client, COUNT, (life + 1) * 500).await;
        // Fifty batches of each life; a retry after a slow ack may have split them in other ways.
        let before = (life as u64) * 40;
        until("segments do not go", || first_offset(folder.path()) > before + 20).await;
        wait_for(&client, "SELECT count(*) FROM numbers", (life + 1) * 500).await;
        let all = (0..(life + 1) * 500).collect();
        assert_eq!(
            stream(&client, None).await.unwrap(),
            (all, (life as usize + 1) * 500)
        );

        let deleted = "sanderling_queue_deleted_batches_total{dataset=\"numbers\"}";
        assert!(metric(&server, deleted).await.unwrap() > 0);
        let bytes = "sanderling_queue_deleted_bytes_total{dataset=\"numbers\"}";
        assert!(metric(&server, bytes).await.unwrap() > 0);

        // A position that stood still for too long is told so, not given a gap.
        let error = stream(&client, Some(Position::from([("0".to_owned(), 1)])))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), client::ErrorKind::NotFound);
        assert!(
            error.to_string().contains("read again from the first row"),
            "{error}"
        );
        client.close().await.unwrap();
        server.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_open_stream_has_yet_to_read_stays() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(eager(folder.path())).await.unwrap();
    let client = connect(&server);
    send(&client, 0..10).await;
    wait_for(&client, "SELECT count(*) FROM numbers", 10).await;
    // Not polled yet beyond its first rows, while much is sent and deleted behind it.
    let processor = server.processor();
    let name: event::DatasetName = "numbers".parse().unwrap();
    let mut open = processor.stream(name.clone(), None, None, false).await.unwrap();
    let (first, position) = open.next().await.unwrap().unwrap();
    drop(open);
    let mut open = processor
        .stream(name.clone(), Some(position.clone()), None, true)
        .await
        .unwrap();
    send(&client, 10..500).await;
    wait_for(&client, "SELECT count(*) FROM numbers", 500).await;
    let start = Instant::now();
    let held = "sanderling_queue_held_batches{dataset=\"numbers\",consumer=\"streams\"}";
    while metric(&server, held).await.unwrap_or(0) < 10 {
        assert!(start.elapsed() < PATIENCE, "nothing is held for the stream");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut rows: usize = first.iter().map(|rows| rows.num_rows()).sum();
    while rows < 500 {
        let (slice, _) = open.next().await.unwrap().unwrap();
        rows += slice.iter().map(|rows| rows.num_rows()).sum::<usize>();
    }
    assert_eq!(rows, 500);
    drop(open);
    until("nothing goes after the stream", || {
        first_offset(folder.path()) > 20
    })
    .await;
    server.shutdown().await.unwrap();
}
