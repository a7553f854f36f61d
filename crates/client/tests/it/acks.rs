//! Futures of acks, durability, and sending without resending.

use std::sync::Arc;
use std::time::Duration;

use aggregator::{Aggregator, AggregatorOptions};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use client::{
    Client, ClientOptions, Dataset, DatasetOptions, Delivery, ErrorKind, OnFull, OnSpoolFull, SpoolOptions,
    Validation,
};
use event::{Durability, Epoch, Sequence};
use futures::FutureExt;
use queue::{MemoryQueue, Queue};
use serde_json::json;

use crate::emit::{Picky, all, numbers, options, queue, restart};
use crate::server::{Service, batches, serve};

fn small(client: ClientOptions) -> ClientOptions {
    ClientOptions {
        batch_bytes: 20,
        linger: Duration::from_secs(3600),
        ..client
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_has_the_ack_of_its_batch() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(small(options(&server))).unwrap();
    let dataset = client.dataset("orders").unwrap();
    let acks: Vec<_> = (0..7)
        .map(|n| dataset.emit_acked(&json!({ "n": n })).unwrap())
        .collect();
    let open = dataset.emit_json_line_acked(b"{\"n\":7}").unwrap();
    assert!(open.clone().now_or_never().is_none());
    client.flush().await.unwrap();
    let acks = futures::future::try_join_all(acks).await.unwrap();
    let open = open.await.unwrap();
    let kept = batches(&*queue, "orders").await;
    assert_eq!(numbers(&kept), all(8));
    let mut events = acks.iter().chain([&open]);
    for batch in &kept {
        let key = batch.header.key;
        for _ in 0..batch.header.events {
            let ack = events.next().unwrap();
            assert_eq!(
                (ack.emitter, ack.epoch, ack.sequence),
                (key.emitter, key.epoch, key.sequence)
            );
            assert_eq!((ack.events, ack.duplicate), (batch.header.events, false));
            assert_eq!(
                (&ack.dataset, ack.durability),
                (dataset.name(), Durability::Durable)
            );
        }
    }
    assert!(kept.len() > 2 && events.next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_have_the_ack_of_their_last_batch() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(&server)).unwrap();
    let dataset = client.dataset("large").unwrap();
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..20).map(|_| "x".repeat(1 << 20)),
    ));
    let rows = RecordBatch::try_from_iter([("text", text)]).unwrap();
    let ack = dataset.emit_rows_acked(&rows).unwrap().await.unwrap();
    let kept = batches(&*queue, "large").await;
    assert!(kept.len() > 1);
    assert_eq!(ack.sequence, Sequence(kept.len() as u64 - 1));
    assert_eq!(dataset.stats().acked, 20);
    let none = dataset.emit_rows_acked(&rows.slice(0, 0)).map(drop);
    assert_eq!(none.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_diverted_or_dropped_says_so() {
    let queue: Arc<dyn Queue> = Arc::new(Picky(MemoryQueue::default()));
    let server = serve(Service::new(Arc::clone(&queue)));
    let address = server.address;
    let client = Client::connect(ClientOptions {
        buffer_bytes_max: 400,
        ..small(options(&server))
    })
    .unwrap();
    let fields = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    let checked = DatasetOptions {
        on_full: OnFull::DropNewest,
        validation: Some(Validation {
            on_invalid: client::OnInvalid::Divert,
            ..Validation::new(fields.unwrap().schema())
        }),
        ..DatasetOptions::default()
    };
    let dataset = client.dataset_with("orders", checked).await.unwrap();
    let good = || {
        dataset
            .emit_acked(&json!({ "n": 1, "s": "long enough" }))
            .unwrap()
    };
    assert_eq!(good().await.unwrap().sequence, Sequence(0));
    let refused = dataset.emit_acked(&json!({ "n": 1, "s": "poison" })).unwrap();
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Invalid);
    let diverted = dataset.emit_acked(&json!({ "n": "one" })).unwrap().await.unwrap();
    assert_eq!(diverted.dataset.as_str(), "orders_invalid");
    // After the hole that the refusal has left, the next batch has another epoch; the future knows it.
    let after = good().await.unwrap();
    assert_eq!((after.epoch, after.sequence), (Epoch(1), Sequence(0)));
    drop(server);
    let mut waiting = Vec::new();
    let dropped = loop {
        let acked = good();
        match acked.clone().now_or_never() {
            None => waiting.push(acked),
            Some(outcome) => break outcome.unwrap_err(),
        }
    };
    assert_eq!(dropped.kind(), ErrorKind::NotSent);
    assert!(dropped.to_string().contains("full"), "{dropped}");
    let _server = restart(Service::new(Arc::clone(&queue)), address).await;
    assert!(!waiting.is_empty());
    futures::future::try_join_all(waiting).await.unwrap();
}

#[test]
fn futures_end_with_the_runtime_of_their_client() {
    let server = serve(Service::new(queue()));
    let (options, runtime) = (options(&server), tokio::runtime::Runtime::new().unwrap());
    drop(server);
    let client = runtime.block_on(async { Client::connect(small(options)).unwrap() });
    let dataset = client.dataset("orders").unwrap();
    let sealed = dataset
        .emit_acked(&json!({ "n": 1, "s": "long enough" }))
        .unwrap();
    let open = dataset.emit_acked(&json!({ "n": 1 })).unwrap();
    while dataset.stats().last_error.is_none() {
        std::thread::yield_now();
    }
    runtime.shutdown_background();
    assert_eq!(
        futures::executor::block_on(sealed).unwrap_err().kind(),
        ErrorKind::Closed
    );
    drop((client, dataset));
    assert_eq!(
        futures::executor::block_on(open).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

async fn spooled(client: &Client, spool: SpoolOptions) -> Dataset {
    let options = DatasetOptions {
        on_full: OnFull::Spool(spool),
        ..DatasetOptions::default()
    };
    client.dataset_with("orders", options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_keeps_who_waits() {
    let (queue, folder) = (queue(), tempfile::tempdir().unwrap());
    let server = serve(Service::new(Arc::clone(&queue)));
    let address = server.address;
    let client = Client::connect(ClientOptions {
        retry_max: Duration::from_millis(20),
        ..small(options(&server))
    })
    .unwrap();
    drop(server);
    let tiny = SpoolOptions {
        bytes_max: 600,
        on_full: OnSpoolFull::DropNewest,
        ..SpoolOptions::new(folder.path())
    };
    let dataset = spooled(&client, tiny).await;
    let acks: Vec<_> = (0..40)
        .map(|n| {
            dataset
                .emit_acked(&json!({ "n": n, "s": "long enough" }))
                .unwrap()
        })
        .collect();
    while dataset.stats().buffered_bytes > 0 {
        tokio::task::yield_now().await;
    }
    let _server = restart(Service::new(Arc::clone(&queue)), address).await;
    let mut kept = Vec::new();
    for (n, ack) in acks.into_iter().enumerate() {
        match ack.await {
            Ok(ack) => kept.push((n as u64, ack.sequence)),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotSent),
        }
    }
    let stats = dataset.stats();
    assert!(stats.dropped.spool > 0 && !kept.is_empty(), "{stats:?}");
    assert_eq!(kept.len() as u64 + stats.dropped.spool, 40);
    let (numbers_kept, sequences): (Vec<_>, Vec<_>) = kept.into_iter().unzip();
    assert_eq!(numbers(&batches(&*queue, "orders").await), numbers_kept);
    assert_eq!(
        sequences,
        (0..sequences.len() as u64).map(Sequence).collect::<Vec<_>>()
    );
}

fn best_effort() -> DatasetOptions {
    DatasetOptions {
        delivery: Delivery::BestEffort,
        ..DatasetOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn best_effort_gives_up_and_goes_on_without_doubles() {
    let queue = queue();
    let lossy = Service {
        lose_every: 7,
        ..Service::new(Arc::clone(&queue))
    };
    let server = serve(lossy);
    let tiny = Duration::from_millis(1);
    let client = Client::connect(ClientOptions {
        batch_bytes: 20,
        retry_min: tiny,
        retry_max: tiny,
        ..options(&server)
    })
    .unwrap();
    let dataset = client.dataset_with("orders", best_effort()).await.unwrap();
    let mut given_up = 0;
    for n in 0..300u64 {
        let acked = dataset
            .emit_acked(&json!({ "n": n, "s": "long enough" }))
            .unwrap();
        if n % 10 == 9
            && let Err(error) = acked.await
        {
            assert_eq!(error.kind(), ErrorKind::NotSent);
            given_up += 1;
        }
    }
    client.flush().await.unwrap();
    let stats = dataset.stats();
    assert!(stats.dropped.best_effort >= given_up && given_up > 0, "{stats:?}");
    assert_eq!(stats.acked + stats.dropped.total(), 300);
    assert_eq!((stats.retried, stats.duplicates), (0, 0));
    let kept = batches(&*queue, "orders").await;
    let numbers = numbers(&kept);
    assert!(
        numbers.is_sorted_by(|a, b| a < b),
        "in order, none twice: {numbers:?}"
    );
    assert!(numbers.len() as u64 >= stats.acked);
    assert!(kept.last().unwrap().header.key.epoch > Epoch(0));
    assert_eq!(client.stats().buffered_bytes, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn best_effort_never_waits_for_a_server() {
    let server = serve(Service::new(queue()));
    let options = ClientOptions {
        buffer_bytes_max: 1 << 10,
        ..options(&server)
    };
    drop(server);
    let client = Client::connect(options).unwrap();
    let dataset = client.dataset_with("orders", best_effort()).await.unwrap();
    for n in 0..10_000u64 {
        dataset.emit(&json!({ "n": n })).unwrap();
    }
    client.close().await.unwrap();
    let stats = dataset.stats();
    assert!(
        stats.dropped.full > 0 && stats.dropped.best_effort > 0,
        "{stats:?}"
    );
    assert_eq!((stats.acked, stats.dropped.total()), (0, 10_000));
    let folder = tempfile::tempdir().unwrap();
    let both = DatasetOptions {
        on_full: OnFull::Spool(SpoolOptions::new(folder.path())),
        ..best_effort()
    };
    let client = Client::connect(ClientOptions::new("http://127.0.0.1:1")).unwrap();
    let error = client.dataset_with("orders", both).await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread")]
async fn durability_is_asked_for_and_what_cannot_be_had_is_refused() {
    let queue = queue();
    let mut service = Service::new(Arc::clone(&queue));
    service.aggregator = Aggregator::new(Arc::clone(&queue), AggregatorOptions::default());
    let server = serve(service);
    let client = Client::connect(options(&server)).unwrap();
    let asking = |durability| DatasetOptions {
        durability: Some(durability),
        ..DatasetOptions::default()
    };
    // A queue in memory keeps at once, so this ack promises more than was asked for.
    let memory = client
        .dataset_with("fast", asking(Durability::Memory))
        .await
        .unwrap();
    let ack = memory.emit_acked(&json!({ "n": 0 })).unwrap().await.unwrap();
    assert_eq!(ack.durability, Durability::Durable);
    let seen = client
        .dataset_with("seen", asking(Durability::Queryable))
        .await
        .unwrap();
    let error = seen.emit_acked(&json!({ "n": 0 })).unwrap().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("queryable"), "{error}");
}
