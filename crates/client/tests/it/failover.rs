//! Several servers: sending moves on, and comes back.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientOptions, Dataset};
use queue::MemoryQueue;
use serde_json::json;

use crate::emit::{all, numbers, queue, restart};
use crate::server::{Server, Service, batches, serve};

fn at(address: std::net::SocketAddr) -> String {
    format!("http://{address}")
}

fn options(first: String, second: &Server) -> ClientOptions {
    ClientOptions {
        fallbacks: vec![at(second.address)],
        batch_bytes: 64,
        retry_max: Duration::from_millis(50),
        ack_timeout: Duration::from_millis(300),
        return_after: Duration::from_millis(50),
        random: Arc::new(|| 7),
        ..ClientOptions::new(first)
    }
}

async fn emit(dataset: &Dataset, from: u64, to: u64) {
    for n in from..to {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_server_hands_over_and_gets_its_place_back() {
    let queue = queue();
    let service = || Service::new(Arc::clone(&queue));
    let (first, second) = (serve(service()), serve(service()));
    let address = first.address;
    let client = Client::connect(options(at(address), &second)).unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 500).await;
    client.flush().await.unwrap();
    assert_eq!(dataset.stats().endpoint, Some(at(address)));
    drop(first);
    emit(&dataset, 500, 1000).await;
    client.flush().await.unwrap();
    assert_eq!(dataset.stats().endpoint, Some(at(second.address)));
    let _first = restart(service(), address).await;
    let mut n = 1000;
    while dataset.stats().endpoint != Some(at(address)) {
        emit(&dataset, n, n + 1).await;
        client.flush().await.unwrap();
        n += 1;
    }
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
    let stats = dataset.stats();
    assert_eq!((stats.acked, stats.epochs, stats.queued_batches), (n, 0, 0));
    assert!(stats.moves >= 2, "{stats:?}");
}

/// The first server keeps what it gets and never answers: what it has of the queue is not doubled.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_keeps_and_does_not_answer_doubles_nothing() {
    let queue = queue();
    let mute = serve(Service {
        is_mute: true,
        ..Service::new(Arc::clone(&queue))
    });
    let second = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(ClientOptions {
        return_after: Duration::from_secs(60),
        ..options(at(mute.address), &second)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 1000).await;
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(1000));
    let stats = dataset.stats();
    assert!(stats.timeouts > 0 && stats.duplicates > 0, "{stats:?}");
    assert_eq!((stats.acked, stats.epochs), (1000, 0));
}

/// The first server takes connections and does not even read: a stopped process.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_server_is_left() {
    let queue = queue();
    let stopped = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = serve(Service::new(Arc::clone(&queue)));
    let client = Client::connect(options(at(stopped.local_addr().unwrap()), &second)).unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 100).await;
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(100));
    assert!(dataset.stats().timeouts > 0);
}

/// Servers with a queue each: nothing is lost, and a new epoch begins where the first queue has a hole.
#[tokio::test(flavor = "multi_thread")]
async fn servers_with_queues_of_their_own_lose_nothing() {
    let queues = [queue(), Arc::new(MemoryQueue::default()) as Arc<dyn queue::Queue>];
    let first = serve(Service::new(Arc::clone(&queues[0])));
    let second = serve(Service::new(Arc::clone(&queues[1])));
    let address = first.address;
    let client = Client::connect(options(at(address), &second)).unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 100).await;
    client.flush().await.unwrap();
    drop(first);
    emit(&dataset, 100, 200).await;
    client.flush().await.unwrap();
    let _first = restart(Service::new(Arc::clone(&queues[0])), address).await;
    let mut n = 200;
    while dataset.stats().endpoint != Some(at(address)) {
        emit(&dataset, n, n + 1).await;
        client.flush().await.unwrap();
        n += 1;
    }
    client.close().await.unwrap();
    let mut kept = numbers(&batches(&*queues[0], "orders").await);
    kept.extend(numbers(&batches(&*queues[1], "orders").await));
    kept.sort_unstable();
    kept.dedup();
    assert_eq!(kept, all(n));
    assert!(dataset.stats().epochs > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_endpoints_moves_a_client_that_is_well() {
    let queue = queue();
    let service = || Service::new(Arc::clone(&queue));
    let (first, second) = (serve(service()), serve(service()));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints");
    std::fs::write(&file, format!("{}\n", at(first.address))).unwrap();
    let client = Client::connect(ClientOptions {
        endpoints_file: Some(file.clone()),
        ..options("http://127.0.0.1:1".to_owned(), &second)
    })
    .unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 10).await;
    client.flush().await.unwrap();
    assert_eq!(dataset.stats().endpoint, Some(at(first.address)));
    std::fs::write(&file, format!("# moved\n{}\n", at(second.address))).unwrap();
    let mut n = 10;
    while dataset.stats().endpoint != Some(at(second.address)) {
        emit(&dataset, n, n + 1).await;
        client.flush().await.unwrap();
        n += 1;
    }
    client.close().await.unwrap();
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
}
