//! Through a relay: the client stays where its batches are, and each event arrives once.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aggregator::{Relay, RelayOptions, RelayState};
use client::{Client, ClientOptions, DatasetOptions, OnFull, SpoolOptions};
use queue::{LogOptions, LogQueue, Queue};
use serde_json::json;

use crate::emit::{all, numbers, queue, restart};
use crate::server::{Service, batches, serve};

fn at(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn nobody() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

async fn relay(upstream: SocketAddr, folder: &Path) -> Arc<Relay> {
    let options = RelayOptions {
        spool_after: Duration::from_millis(50),
        retry_max: Duration::from_millis(50),
        ..RelayOptions::new(at(upstream), folder)
    };
    Arc::new(Relay::open(options).await.unwrap())
}

fn options(first: SocketAddr, fallbacks: Vec<String>) -> ClientOptions {
    ClientOptions {
        fallbacks,
        batch_bytes: 64,
        retry_max: Duration::from_millis(20),
        return_after: Duration::from_millis(50),
        random: Arc::new(|| 7),
        ..ClientOptions::new(at(first))
    }
}

async fn emit(dataset: &client::Dataset, from: u64, to: u64) {
    for n in from..to {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
    }
}

/// The queue does not know the emitter yet: a later batch by another way would be taken as its first.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_stays_with_the_relay_that_has_its_batches() {
    let (queue, folders) = (
        queue(),
        [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()],
    );
    let core = serve(Service::new(Arc::clone(&queue)));
    let first = relay(nobody(), folders[0].path()).await;
    let second = relay(core.address, folders[1].path()).await;
    let first_door = serve(Service::new(first.clone()));
    let second_door = serve(Service::new(second.clone()));
    let address = first_door.address;
    let client = Client::connect(options(address, vec![at(second_door.address)])).unwrap();
    let dataset = client.dataset("orders").unwrap();
    emit(&dataset, 0, 100).await;
    client.flush().await.unwrap();
    drop(first_door);
    first.close().await;
    emit(&dataset, 100, 200).await;
    // It tries again and again, and the second one would take it.
    let before = dataset.stats().retried;
    while dataset.stats().retried < before + 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(dataset.stats().endpoint, Some(at(address)));
    assert_eq!(batches(&*queue, "orders").await, []);
    let first = relay(core.address, folders[0].path()).await;
    let _first_door = restart(Service::new(first.clone()), address).await;
    client.flush().await.unwrap();
    let mut n = 200;
    // It is free to go when an ack says that all is in the queue.
    loop {
        emit(&dataset, n, n + 1).await;
        client.flush().await.unwrap();
        n += 1;
        let counts = first.counts();
        let is_direct = counts.values().all(|counts| counts.state == RelayState::Direct);
        if is_direct && batches(&*queue, "orders").await.len() as u64 == dataset.stats().batches {
            break;
        }
    }
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(n));
    assert_eq!(dataset.stats().epochs, 0);
    client.close().await.unwrap();
}

/// The core goes and comes, and the relay too; both keep what they have on disk.
#[tokio::test(flavor = "multi_thread")]
async fn each_event_arrives_once_through_a_relay_whatever_stops() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let log = LogOptions {
        partitions: 1,
        ..LogOptions::default()
    };
    let queue: Arc<dyn Queue> = Arc::new(LogQueue::open(folders[0].path(), log).unwrap().0);
    let mut core = serve(Service::new(Arc::clone(&queue)));
    let core_address = core.address;
    let mut edge = relay(core_address, folders[1].path()).await;
    let mut door = serve(Service::new(edge.clone()));
    let door_address = door.address;
    let clients: Vec<_> = (0..3)
        .map(|_| Client::connect(options(door_address, Vec::new())).unwrap())
        .collect();
    let datasets: Vec<_> = clients
        .iter()
        .map(|client| client.dataset("orders").unwrap())
        .collect();
    let mut n = 0;
    for round in 0..4 {
        for dataset in &datasets {
            emit(dataset, n, n + 500).await;
        }
        drop(core);
        for dataset in &datasets {
            emit(dataset, n + 500, n + 1_000).await;
        }
        n += 1_000;
        if round % 2 == 0 {
            for client in &clients {
                client.flush().await.unwrap();
            }
        }
        drop(door);
        edge.close().await;
        edge = relay(core_address, folders[1].path()).await;
        door = restart(Service::new(edge.clone()), door_address).await;
        core = restart(Service::new(Arc::clone(&queue)), core_address).await;
    }
    for client in &clients {
        client.close().await.unwrap();
    }
    while edge
        .counts()
        .values()
        .any(|counts| counts.state != RelayState::Direct)
    {
        tokio::task::yield_now().await;
    }
    let kept = batches(&*queue, "orders").await;
    for client in &clients {
        let of = |batch: &&event::Batch| batch.header.key.emitter == client.emitter();
        let batches: Vec<_> = kept.iter().filter(of).cloned().collect();
        assert_eq!(numbers(&batches), all(n));
        assert_eq!(client.stats().epochs, 0);
    }
    assert!(edge.counts().values().all(|counts| counts.refused_batches == 0));
    drop((door, core));
}

/// The emitter of a spool outlives the process, so the next one has to stay as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_stays_too() {
    let queue = queue();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let core = serve(Service::new(Arc::clone(&queue)));
    let first = relay(nobody(), folders[0].path()).await;
    let first_door = serve(Service::new(first.clone()));
    let address = first_door.address;
    let dataset_options = || DatasetOptions {
        on_full: OnFull::Spool(SpoolOptions::new(folders[1].path())),
        ..DatasetOptions::default()
    };
    let client = Client::connect(options(address, vec![at(core.address)])).unwrap();
    let dataset = client.dataset_with("orders", dataset_options()).await.unwrap();
    emit(&dataset, 0, 100).await;
    client.close().await.unwrap();
    drop((dataset, client, first_door));
    first.close().await;
    let client = Client::connect(options(core.address, Vec::new())).unwrap();
    let dataset = loop {
        // The sender of the first client ends a moment after its last ack.
        match client.dataset_with("orders", dataset_options()).await {
            Ok(dataset) => break dataset,
            Err(error) => assert_eq!(error.kind(), client::ErrorKind::Conflict, "{error}"),
        }
    };
    emit(&dataset, 100, 200).await;
    let before = dataset.stats().retried;
    while dataset.stats().retried < before + 100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(dataset.stats().endpoint, Some(at(address)));
    assert_eq!(batches(&*queue, "orders").await, []);
    let first = relay(core.address, folders[0].path()).await;
    let _first_door = restart(Service::new(first.clone()), address).await;
    client.close().await.unwrap();
    while first
        .counts()
        .values()
        .any(|counts| counts.state != RelayState::Direct)
    {
        tokio::task::yield_now().await;
    }
    assert_eq!(numbers(&batches(&*queue, "orders").await), all(200));
}
