//! Tracers: what a client says of itself, among the events.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use client::{Client, ClientOptions};
use event::{Batch, DatasetName};
use futures::FutureExt;
use futures::future::BoxFuture;
use queue::{MemoryQueue, Offset, Partition, Queue, Receipt, Record};
use serde_json::{Value, json};

use crate::emit::{all, numbers, options, queue};
use crate::server::{Service, batches, serve};

const TRACERS: &str = "sanderling_tracers";

async fn tracers(queue: &dyn Queue) -> Vec<Value> {
    let batches = batches(queue, TRACERS).await;
    let lines = batches
        .iter()
        .flat_map(|batch| batch.payload.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_dataset_has_its_tracers_and_they_have_none() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(ClientOptions {
        tracers: Some(Duration::from_millis(5)),
        ..options(&server)
    })
    .unwrap();
    let (orders, idle) = (client.dataset("orders").unwrap(), client.dataset("idle").unwrap());
    for n in 0..100 {
        orders.emit(&json!({ "n": n })).unwrap();
    }
    client.flush().await.unwrap();
    let of = |rows: &[Value], dataset: &str| -> Vec<Value> {
        rows.iter()
            .filter(|row| row["dataset"] == dataset)
            .cloned()
            .collect()
    };
    let rows = loop {
        let rows = tracers(&*queue).await;
        let has_seen = of(&rows, "orders").iter().any(|row| row["acked"] == 100);
        if has_seen && of(&rows, "idle").len() > 2 {
            break rows;
        }
        tokio::task::yield_now().await;
    };
    let orders_rows = of(&rows, "orders");
    for (at, row) in orders_rows.iter().enumerate() {
        assert_eq!(row["sequence"], at as u64, "{row}");
        assert_eq!(row["emitter"], client.emitter().0.to_string());
        assert_eq!(row["process"], std::process::id());
        assert!(row["at"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }
    let last = orders_rows.iter().find(|row| row["acked"] == 100).unwrap();
    assert_eq!((&last["events"], &last["dropped"]), (&json!(100), &json!(0)));
    assert_eq!(last["bytes"], orders.stats().bytes);
    let measured = |row: &&Value| row["ack_ms"].as_f64().is_some_and(|ms| ms > 0.0);
    assert!(orders_rows.iter().any(|row| measured(&row)), "{orders_rows:?}");
    assert!(
        orders_rows
            .iter()
            .any(|row| row["events_per_second"].as_f64().unwrap() > 0.0)
    );
    assert!(
        of(&rows, "idle")
            .iter()
            .all(|row| row["ack_ms"].is_null() && row["events"] == 0)
    );
    assert!(of(&rows, TRACERS).is_empty());
    assert_eq!(idle.stats().emitted, 0);
}

/// Takes long, for ever, for tracers.
struct Stalls(MemoryQueue);

#[async_trait]
impl Queue for Stalls {
    fn append(&self, batch: Batch) -> BoxFuture<'static, queue::Result<Receipt>> {
        match batch.dataset.as_str() {
            TRACERS => futures::future::pending().boxed(),
            _ => self.0.append(batch),
        }
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
async fn tracers_that_stall_hold_nothing_up() {
    let queue: Arc<dyn Queue> = Arc::new(Stalls(MemoryQueue::default()));
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(ClientOptions {
        tracers: Some(Duration::from_millis(1)),
        ack_timeout: Duration::from_secs(3600),
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    let name: DatasetName = TRACERS.parse().unwrap();
    let mut n = 0;
    while client
        .dataset_stats()
        .get(&name)
        .is_none_or(|stats| stats.queued_batches == 0)
    {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
        client.flush().await.unwrap();
        n += 1;
    }
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
    let stats: HashMap<_, _> = client.dataset_stats().into_iter().collect();
    assert!(stats[&name].queued_batches > 0);
    assert_eq!(stats[&name].acked, 0);
}
