//! Datasets with a spool: outages and restarts.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::{
    Client, ClientOptions, Dataset, DatasetOptions, ErrorKind, OnFull, OnSpoolFull, SpoolOptions, SpoolSync,
};
use serde_json::json;

use crate::emit::{all, numbers, queue, restart};
use crate::server::{Service, batches, serve};

fn client(address: std::net::SocketAddr) -> Client {
    Client::connect(ClientOptions {
        batch_bytes: 64,
        buffer_bytes_max: 4 << 10,
        in_flight_bytes_max: 1 << 10,
        retry_max: Duration::from_millis(50),
        ..ClientOptions::new(format!("http://{address}"))
    })
    .unwrap()
}

fn spool(folder: &Path) -> SpoolOptions {
    SpoolOptions {
        bytes_max: 1 << 20,
        sync: SpoolSync::Os,
        ..SpoolOptions::new(folder)
    }
}

async fn open(client: &Client, spool: SpoolOptions) -> client::Result<Dataset> {
    let options = DatasetOptions {
        on_full: OnFull::Spool(spool),
        ..DatasetOptions::default()
    };
    client.dataset_with("orders", options).await
}

async fn emit(dataset: &Dataset, from: u64, to: u64) {
    for n in from..to {
        dataset.emit_wait(&json!({ "n": n })).await.unwrap();
    }
}

/// Waits until all that was emitted is in the spool.
async fn spooled(dataset: &Dataset) {
    while dataset.stats().buffered_bytes > 0 {
        tokio::task::yield_now().await;
    }
}

/// A service with its client in a runtime of its own, which ends at once as a process does.
fn life(address: std::net::SocketAddr, folder: &Path, from: u64, to: u64) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = client(address);
        let dataset = open(&client, spool(folder)).await.unwrap();
        emit(&dataset, from, to).await;
        spooled(&dataset).await;
    });
}

#[test]
fn an_outage_larger_than_memory_outlives_the_service() {
    let queue = queue();
    let folder = tempfile::tempdir().unwrap();
    let server = serve(Service::new(Arc::clone(&queue)));
    let address = server.address;
    life(address, folder.path(), 0, 1000);
    drop(server);
    life(address, folder.path(), 1000, 3000);
    life(address, folder.path(), 3000, 4000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let lossy = Service {
            lose_every: 11,
            ..Service::new(Arc::clone(&queue))
        };
        let _server = restart(lossy, address).await;
        let client = client(address);
        let dataset = open(&client, spool(folder.path())).await.unwrap();
        emit(&dataset, 4000, 4500).await;
        client.close().await.unwrap();
        let kept = batches(&*queue, "orders").await;
        assert_eq!(numbers(&kept), all(4500));
        let emitter = kept[0].header.key.emitter;
        assert!(kept.iter().all(|batch| batch.header.key.emitter == emitter));
        let stats = dataset.stats();
        assert!(stats.recovered > 500, "{stats:?}");
        assert_eq!((stats.queued_batches, stats.spool_errors), (0, 0));
    });
}

const ADDRESS: &str = "SANDERLING_TEST_ADDRESS";
const FOLDER: &str = "SANDERLING_TEST_FOLDER";
const FROM: &str = "SANDERLING_TEST_FROM";

/// The service of the test below: emits without end, and says what is in the spool. Nothing when run by itself.
#[tokio::test(flavor = "multi_thread")]
async fn service_that_is_killed() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let variable = |name| std::env::var(name).unwrap();
    let client = client(variable(ADDRESS).parse().unwrap());
    let dataset = open(&client, spool(Path::new(&folder))).await.unwrap();
    let mut n: u64 = variable(FROM).parse().unwrap();
    loop {
        emit(&dataset, n, n + 7).await;
        n += 7;
        spooled(&dataset).await;
        println!("\nspooled {n}");
    }
}

/// Runs the service until it has said so many times what is in the spool; then SIGKILL. Returns what it said last.
fn run_and_kill(address: std::net::SocketAddr, folder: &Path, from: u64, times: usize) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "spool::service_that_is_killed", "--nocapture"])
        .env(ADDRESS, address.to_string())
        .env(FOLDER, folder)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.filter_map(|line| line.unwrap().strip_prefix("spooled ")?.parse().ok());
    let last = said.take(times).last().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_loses_and_doubles_nothing_it_had_spooled() {
    const LIFE: u64 = 1_000_000;
    let queue = queue();
    let folder = tempfile::tempdir().unwrap();
    let service = || Service {
        lose_every: 23,
        ..Service::new(Arc::clone(&queue))
    };
    let server = serve(service());
    let address = server.address;
    let mut said = vec![run_and_kill(address, folder.path(), 0, 60)];
    drop(server);
    said.push(run_and_kill(address, folder.path(), LIFE, 90));
    let _server = restart(service(), address).await;
    said.push(run_and_kill(address, folder.path(), 2 * LIFE, 60));
    let client = client(address);
    let dataset = open(&client, spool(folder.path())).await.unwrap();
    emit(&dataset, 3 * LIFE, 3 * LIFE + 10).await;
    said.push(3 * LIFE + 10);
    client.close().await.unwrap();
    let kept = numbers(&batches(&*queue, "orders").await);
    let mut expected = Vec::new();
    for (life, said) in said.into_iter().enumerate() {
        let from = life as u64 * LIFE;
        let end = kept.iter().filter(|n| **n / LIFE == life as u64).max().unwrap() + 1;
        assert!(end >= said, "life={life} spooled={said} kept={end}");
        expected.extend(from..end);
    }
    assert_eq!(kept, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_spool_waits_or_drops_as_it_was_told() {
    for on_full in [OnSpoolFull::Wait, OnSpoolFull::DropNewest] {
        let queue = queue();
        let folder = tempfile::tempdir().unwrap();
        let server = serve(Service::new(Arc::clone(&queue)));
        let address = server.address;
        drop(server);
        let client = client(address);
        let small = SpoolOptions {
            bytes_max: 8 << 10,
            on_full,
            ..spool(folder.path())
        };
        let dataset = open(&client, small).await.unwrap();
        let mut taken = 0;
        while dataset.stats().dropped.total() == 0 {
            match dataset.emit(&json!({ "n": taken })) {
                Ok(()) => taken += 1,
                Err(error) => {
                    assert_eq!((error.kind(), on_full), (ErrorKind::Full, OnSpoolFull::Wait));
                    if dataset
                        .stats()
                        .last_error
                        .is_some_and(|error| error.contains("spool is full"))
                    {
                        break;
                    }
                }
            }
            tokio::task::yield_now().await;
        }
        let _server = restart(Service::new(Arc::clone(&queue)), address).await;
        client.close().await.unwrap();
        let kept = numbers(&batches(&*queue, "orders").await);
        let stats = dataset.stats();
        assert_eq!(kept.len() as u64 + stats.dropped.total(), taken, "{stats:?}");
        assert!(kept.is_sorted());
        assert_eq!(stats.dropped.total() > 0, on_full == OnSpoolFull::DropNewest);
        assert_eq!(stats.buffered_bytes, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spool_is_one_dataset_s_and_one_process_s() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(Service::new(queue()));
    let (one, two) = (client(server.address), client(server.address));
    let _dataset = open(&one, spool(folder.path())).await.unwrap();
    for client in [&one, &two] {
        let error = open(client, spool(folder.path())).await.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    }
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(&two, spool(&file)).await.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_buffer_drops_the_newest_and_counts_them() {
    let queue = queue();
    let server = serve(Service::new(Arc::clone(&queue)));
    let address = server.address;
    drop(server);
    let client = client(address);
    let options = DatasetOptions {
        on_full: OnFull::DropNewest,
        ..DatasetOptions::default()
    };
    let dataset = client.dataset_with("orders", options).await.unwrap();
    for n in 0..2000u64 {
        dataset.emit(&json!({ "n": n })).unwrap();
    }
    let _server = restart(Service::new(Arc::clone(&queue)), address).await;
    client.close().await.unwrap();
    let stats = dataset.stats();
    let kept = numbers(&batches(&*queue, "orders").await);
    assert!(stats.dropped.full > 0, "{stats:?}");
    assert_eq!(kept.len() as u64, 2000 - stats.dropped.full);
    assert_eq!(
        (stats.emitted, client.stats().dropped),
        (2000, stats.dropped.full)
    );
    assert_eq!(stats.event_bytes.count(), stats.acked);
}
