//! A real server, killed with SIGKILL and started again at random moments while events are sent and a job counts
//! them: every acked event is in the raw table and in the aggregate once, and nothing else is.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use client::{Client, ClientOptions};
use sanderling::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::process::{Process, free_ports};
use crate::support::{PATIENCE, rows, scalar};

const ROUNDS: u64 = 8;

#[derive(Clone, Deserialize)]
struct Numbered {
    n: u64,
}

/// How many events there are of each residue of 10.
fn by_residue<P: Platform>(events: Producer<P, Numbered>, counts: P::Store<u64, u64>) -> impl Tail<P> {
    events.map(|event| (event.n % 10, 1)).sum_by_key(counts)
}

fn start(data_dir: &Path, doors: &[SocketAddr; 3]) -> Process {
    let settings = data_dir.join("settings.toml");
    std::fs::create_dir_all(data_dir).unwrap();
    // Flushes happen often, so that kills hit them too.
    std::fs::write(
        &settings,
        "[warehouse]\nflush_age = \"200ms\"\n[queue]\nsegment_bytes = \"1MiB\"\n",
    )
    .unwrap();
    let doors = doors.map(|door| door.to_string());
    let args = [
        "up",
        "--config",
        settings.to_str().unwrap(),
        "--data-dir",
        data_dir.to_str().unwrap(),
        "--http",
        &doors[0],
        "--flight",
        &doors[1],
        "--postgres",
        &doors[2],
    ];
    Process::start(&args.map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_keeps_every_acked_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let doors = free_ports::<3>(1);
    let endpoint = format!("http://{}", doors[1]);
    let mut server = start(folder.path(), &doors);
    let client = Client::connect(ClientOptions::new(&endpoint)).unwrap();
    let remote = Remote::connect(&endpoint).unwrap();
    let store = remote.store::<u64, u64>("by_residue").await.unwrap();
    let events = remote.dataset::<Numbered>("numbered").unwrap();
    let options = JobOptions {
        retry_wait_max: Duration::from_millis(200),
        conflicts_max: 1_000,
        ..JobOptions::default()
    };

    let emitter = client.clone();
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let emitting = tokio::spawn(async move {
        let dataset = emitter.dataset("numbered").unwrap();
        let mut n = 0u64;
        while !*stopped.borrow_and_update() {
            for _ in 0..20 {
                dataset.emit_wait(&json!({ "n": n })).await.unwrap();
                n += 1;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        n
    });
    let mut job = None;
    let seed = Instant::now();
    for round in 0..ROUNDS {
        // The moment of the kill is random by what the machine does and by this.
        let wait = 150 + (seed.elapsed().as_nanos() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) % 700;
        tokio::time::sleep(Duration::from_millis(wait)).await;
        if job.is_none() && scalar(&client, "SELECT count(*) FROM numbered").await.is_some() {
            let graph = by_residue::<Local>(Producer::source(events.clone()), store.clone());
            job = Some(Local::run("by_residue", &graph, options.clone()).unwrap());
        }
        server.kill();
        let (folder, doors) = (folder.path().to_owned(), doors);
        server = tokio::task::spawn_blocking(move || start(&folder, &doors))
            .await
            .unwrap();
        eprintln!(
            "round {round}: killed after {wait} ms, {} events acked",
            client.stats().acked
        );
    }
    stop.send_replace(true);
    let sent = emitting.await.unwrap();
    client.close().await.unwrap();
    assert_eq!(
        client.stats().acked,
        sent,
        "all that was sent is acked at the end"
    );

    let asking = Client::connect(ClientOptions::new(&endpoint)).unwrap();
    let raw = "SELECT count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM numbered";
    let expected = json!({"c": sent, "d": sent, "m": sent - 1});
    let start = Instant::now();
    loop {
        let found = rows(&asking, raw).await.unwrap_or_default();
        if found.first() == Some(&expected) {
            break;
        }
        assert!(
            start.elapsed() < PATIENCE,
            "raw table: {found:?} is not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut job = job.expect("the job was started in the first rounds");
    let sums = "SELECT CAST(sum(value) AS BIGINT) AS s FROM stores.by_residue";
    let start = Instant::now();
    while scalar(&asking, sums).await != Some(sent as i64) {
        let status = job.status();
        assert!(
            start.elapsed() < PATIENCE,
            "sums do not become {sent}: {:?} {status:?}",
            rows(&asking, sums).await
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let by_key: Vec<(u64, u64)> = store.scan(None, 100).await.unwrap();
    for (residue, count) in by_key {
        assert_eq!(
            count,
            sent / 10 + u64::from(residue < sent % 10),
            "residue {residue} of {sent}"
        );
    }
    job.stop();
    job.join().await.unwrap();
}
