//! Emitting: once, in order, whatever happens to the server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, ArrayRef, DictionaryArray, Int64Array, StringArray};
use arrow::datatypes::Int32Type;
use arrow::ipc::reader::StreamReader;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use client::{Client, ClientOptions, ErrorKind};
use event::limits::EVENT_BYTES_MAX;
use event::{Batch, DatasetName, Encoding};
use futures::FutureExt;
use futures::future::BoxFuture;
use queue::{LogOptions, LogQueue, MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use serde_json::{Value, json};

use crate::server::{Server, Service, batches, serve, serve_at};

pub(crate) fn queue() -> Arc<dyn Queue> {
    Arc::new(MemoryQueue::default())
}

pub(crate) fn options(server: &Server) -> ClientOptions {
    let retry_max = Duration::from_millis(100);
    ClientOptions {
        retry_max,
        ..ClientOptions::new(format!("http://{}", server.address))
    }
}

/// The `n` of each event, in the order of the queue.
pub(crate) fn numbers(batches: &[Batch]) -> Vec<u64> {
    let lines = batches.iter().flat_map(|batch| {
        assert_eq!(batch.header.encoding, Encoding::Ndjson);
        let lines: Vec<&[u8]> = batch
            .payload
            .split(|b| *b == b'\n')
            .filter(|l| !l.is_empty())
            .collect();
        assert_eq!(lines.len(), batch.header.events as usize);
        lines
    });
    lines
        .map(|line| {
            serde_json::from_slice::<Value>(line).unwrap()["n"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

pub(crate) fn all(count: u64) -> Vec<u64> {
    (0..count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_events_arrive_in_order_once() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    let dataset = client.dataset("orders").unwrap();
    let started = Instant::now();
    for n in 0..100_000u64 {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
    }
    client.flush().await.unwrap();
    let (took, latency) = (started.elapsed(), client.stats().ack_latency);
    println!(
        "100 000 events in {took:?}, acks after {:?} (p50) {:?} (max)",
        latency.quantile(0.5),
        latency.max()
    );
    let kept = batches(&*queue, "orders").await;
    assert_eq!(numbers(&kept), all(100_000));
    assert!(
        kept.iter()
            .all(|batch| batch.header.key.emitter == client.emitter())
    );
    let stats = client.stats();
    assert_eq!(
        (stats.emitted, stats.acked, stats.dropped, stats.buffered_bytes),
        (100_000, 100_000, 0, 0)
    );
    assert_eq!(
        (stats.batches, stats.ack_latency.count()),
        (kept.len() as u64, kept.len() as u64)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_comes_back_gets_each_event_once() {
    let queue = queue();
    let mut server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(ClientOptions {
        batch_bytes: 1 << 10,
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let mut n = 0u64;
    for _ in 0..4 {
        for _ in 0..5_000 {
            dataset.emit_wait(&json!({ "n": n })).await.unwrap();
            n += 1;
        }
        let address = server.address;
        drop(server);
        for _ in 0..500 {
            dataset.emit_wait(&json!({ "n": n })).await.unwrap();
            n += 1;
        }
        server = restart(Service::new(Arc::clone(&queue)), address).await;
    }
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_on_disk_that_is_opened_again_keeps_each_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(LogQueue::open(folder.path(), LogOptions::default()).unwrap().0);
    let mut queue = open();
    let mut server = serve(Service::new(queue.clone()));
    let client = Client::connect(ClientOptions {
        batch_bytes: 1 << 10,
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let mut n = 0u64;
    for _ in 0..3 {
        for _ in 0..2_000 {
            dataset.emit_wait(&json!({ "n": n })).await.unwrap();
            n += 1;
        }
        let address = server.address;
        drop(server);
        // The tasks of the old server hold the old queue, which holds the folder.
        while Arc::strong_count(&queue) > 1 {
            tokio::task::yield_now().await;
        }
        drop(queue);
        queue = open();
        server = restart(Service::new(queue.clone()), address).await;
    }
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
    drop(server);
}

/// The port is free again when the tasks of the old server have ended.
pub(crate) async fn restart(service: Service, address: std::net::SocketAddr) -> Server {
    loop {
        if std::net::TcpListener::bind(address).is_ok() {
            return serve_at(service, address);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_acks_double_nothing() {
    let queue = queue();
    let server = serve(Service {
        lose_every: 7,
        ..Service::new(Arc::clone(&queue))
    });
    let tiny = Duration::from_millis(1);
    let options = ClientOptions {
        batch_bytes: 256,
        retry_min: tiny,
        retry_max: tiny,
        ..options(&server)
    };
    let client = Client::connect(options).unwrap();
    let dataset = client.dataset("orders").unwrap();
    for n in 0..5_000u64 {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
    }
    client.flush().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(5_000));
    let stats = client.stats();
    assert!(stats.duplicates > 0 && stats.retried > 0, "{stats:?}");
    assert_eq!((stats.acked, stats.epochs), (5_000, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_says_so_and_waits_for_room() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let address = server.address;
    let options = ClientOptions {
        buffer_bytes_max: 1 << 10,
        ..options(&server)
    };
    drop(server);
    let client = Client::connect(options).unwrap();
    let dataset = client.dataset("orders").unwrap();
    let mut n = 0u64;
    let error = loop {
        match dataset.emit(&json!({ "n": n })) {
            Ok(()) => n += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Full);
    assert!(n > 50, "taken: {n}");
    let waiting = {
        let dataset = dataset.clone();
        tokio::spawn(async move { dataset.emit_wait(&json!({ "n": n })).await })
    };
    let large = json!({ "n": "x".repeat(2 << 10) });
    assert_eq!(
        dataset.emit_wait(&large).await.unwrap_err().kind(),
        ErrorKind::Invalid
    );
    let _server = restart(Service::new(Arc::clone(&queue)), address).await;
    waiting.await.unwrap().unwrap();
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n + 1));
    assert_eq!(client.stats().buffered_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_an_event_is_refused_at_once() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    let dataset = client.dataset("orders").unwrap();
    let kind = |result: client::Result<()>| result.unwrap_err().kind();
    assert_eq!(
        kind(dataset.emit(&json!({ "n": "x".repeat(EVENT_BYTES_MAX) }))),
        ErrorKind::Invalid
    );
    assert_eq!(kind(dataset.emit(&[1, 2])), ErrorKind::Invalid);
    assert_eq!(kind(dataset.emit_json_line(b"{\"n\":\n1}")), ErrorKind::Invalid);
    assert_eq!(kind(dataset.emit_json_line(b"")), ErrorKind::Invalid);
    assert!(client.dataset("a/b").is_err() && client.dataset("a$failed").is_err());
    dataset.emit_json_line(b"{\"n\":0}\n").unwrap();
    client.close().await.unwrap();
    assert_eq!(kind(dataset.emit(&json!({ "n": 1 }))), ErrorKind::Closed);
    assert_eq!(
        client.dataset("other").map(|_| ()).unwrap_err().kind(),
        ErrorKind::Closed
    );
    assert_eq!(numbers(&batches(&*queue, "orders").await), [0]);
    assert_eq!(client.stats().buffered_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dropped_is_sent_in_the_background() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    client
        .dataset("orders")
        .unwrap()
        .emit(&json!({ "n": 0 }))
        .unwrap();
    drop(client);
    let name = "orders".parse().unwrap();
    while queue.ends(&name).first().is_none_or(|end| end.0 == 0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&batches(&*queue, "orders").await), [0]);
}

fn decoded(batch: &Batch) -> RecordBatch {
    let mut reader = StreamReader::try_new(&batch.payload[..], None).unwrap();
    reader.next().unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_lines_keep_their_order() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    let dataset = client.dataset("mixed").unwrap();
    let word: ArrayRef = Arc::new(
        ["a", "b", "a"]
            .into_iter()
            .collect::<DictionaryArray<Int32Type>>(),
    );
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let rows = RecordBatch::try_from_iter([("n", n), ("word", word)]).unwrap();
    dataset.emit(&json!({ "n": 0 })).unwrap();
    dataset.emit_rows(&rows).unwrap();
    dataset.emit_rows(&rows.slice(1, 2)).unwrap();
    dataset.emit_rows(&rows.slice(0, 0)).unwrap();
    dataset.emit(&json!({ "n": 4 })).unwrap();
    client.flush().await.unwrap();
    let kept = batches(&*queue, "mixed").await;
    let events: Vec<_> = kept
        .iter()
        .map(|batch| (batch.header.key.sequence.0, batch.header.events))
        .collect();
    assert_eq!(events, [(0, 1), (1, 3), (2, 2), (3, 1)]);
    assert_eq!(decoded(&kept[1]), rows);
    assert_eq!(decoded(&kept[2]).column(0), &rows.slice(1, 2).column(0).clone());
    let words = decoded(&kept[2])
        .column(1)
        .as_any()
        .downcast_ref::<DictionaryArray<Int32Type>>()
        .unwrap()
        .clone();
    let words = words
        .downcast_dict::<StringArray>()
        .unwrap()
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("");
    assert_eq!(words, "ba");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_rows_are_cut_into_batches() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..40).map(|_| "x".repeat(1 << 20)),
    ));
    let rows = RecordBatch::try_from_iter([("text", text)]).unwrap();
    client
        .dataset("large")
        .unwrap()
        .emit_rows_wait(&rows)
        .await
        .unwrap();
    client.flush().await.unwrap();
    let kept = batches(&*queue, "large").await;
    assert!(kept.len() >= 3, "batches: {}", kept.len());
    assert_eq!(kept.iter().map(|batch| batch.header.events).sum::<u32>(), 40);
}

/// Refuses batches with the word `poison` for good, and does not tell the queue behind it.
pub(crate) struct Picky(pub(crate) MemoryQueue);

#[async_trait]
impl Queue for Picky {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        if batch.payload.windows(6).any(|word| word == b"poison") {
            let error = queue::Error::new(queue::ErrorKind::Invalid, "poison");
            return futures::future::ready(Err(error)).boxed();
        }
        self.0.append(batch)
    }
    async fn create(&self, dataset: &DatasetName, partitions: u32) -> queue::Result<u32> {
        self.0.create(dataset, partitions).await
    }
    async fn read(
        &self,
        dataset: &DatasetName,
        partition: Partition,
        from: Offset,
        bytes_max: usize,
    ) -> queue::Result<Vec<Record>> {
        self.0.read(dataset, partition, from, bytes_max).await
    }
    fn ends(&self, dataset: &DatasetName) -> Vec<Offset> {
        self.0.ends(dataset)
    }
    fn datasets(&self) -> tokio::sync::watch::Receiver<Vec<DatasetName>> {
        self.0.datasets()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_told_and_the_rest_goes_on() {
    let queue: Arc<dyn Queue> = Arc::new(Picky(MemoryQueue::default()));
    let server = serve(Service {
        lose_every: 5,
        ..Service::new(Arc::clone(&queue))
    });
    let client = Client::connect(ClientOptions {
        batch_bytes: 1,
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let poisoned = [0, 7, 8, 29];
    for n in 0..30u64 {
        let word = if poisoned.contains(&n) { "poison" } else { "" };
        dataset.emit(&json!({ "n": n, "word": word })).unwrap();
    }
    let error = client.flush().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(
        error.to_string().contains("poison") && error.to_string().contains("events=4"),
        "{error}"
    );
    client.flush().await.unwrap();
    dataset.emit(&json!({ "n": 30 })).unwrap();
    client.close().await.unwrap();
    let good: Vec<u64> = (0..31).filter(|n| !poisoned.contains(n)).collect();
    assert_eq!(numbers(&batches(&*queue, "orders").await), good);
    let stats = client.stats();
    assert_eq!((stats.acked, stats.dropped, stats.buffered_bytes), (27, 4, 0));
    assert!(stats.epochs > 0, "{stats:?}");
}
