//! A real server, killed with SIGKILL and started again at random moments while events are sent and a job counts
//! them: every acked event is in the raw table and in the aggregate once, and nothing else is.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{Client, ClientOptions};
use sanderling::prelude::*;
use serde::Deserialize;
use serde_json::json;

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

/// A server process on fixed ports, so that clients find it again.
struct Process {
    child: Child,
}

impl Process {
    fn start(data_dir: &Path, doors: &[SocketAddr; 3]) -> Self {
        let settings = data_dir.join("settings.toml");
        std::fs::create_dir_all(data_dir).unwrap();
        // Flushes happen often, so that kills hit them too.
        std::fs::write(
            &settings,
            "[warehouse]\nflush_age = \"200ms\"\n[queue]\nsegment_bytes = \"1MiB\"\n",
        )
        .unwrap();
        let start = Instant::now();
        loop {
            let mut child = Command::new(env!("CARGO_BIN_EXE_sanderling"))
                .args([
                    "up",
                    "--config",
                    settings.to_str().unwrap(),
                    "--data-dir",
                    data_dir.to_str().unwrap(),
                ])
                .args(["--http", &doors[0].to_string(), "--flight", &doors[1].to_string()])
                .args(["--postgres", &doors[2].to_string()])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let out = BufReader::new(child.stdout.take().unwrap());
            if out.lines().map_while(Result::ok).any(|line| line == "ready") {
                return Self { child };
            }
            // The port may still be held by the connections of the one that was killed.
            let _ = child.wait();
            assert!(start.elapsed() < PATIENCE, "the server does not start");
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Three free ports below those that the system gives to outgoing connections: a client that tries to reach a
/// server which is down could otherwise be given the server's port.
fn free_doors() -> [SocketAddr; 3] {
    let first = 20_000 + (std::process::id() % 10_000) as u16;
    let mut free = (first..first + 2_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    // All three are held until the last is found, so that they differ.
    let held: [TcpListener; 3] = std::array::from_fn(|_| free.next().expect("three of 2,000 ports are free"));
    held.map(|listener| listener.local_addr().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_it_keeps_every_acked_event_once() {
    let folder = tempfile::tempdir().unwrap();
    let doors = free_doors();
    let endpoint = format!("http://{}", doors[1]);
    let mut server = Process::start(folder.path(), &doors);
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
        server = tokio::task::spawn_blocking(move || Process::start(&folder, &doors))
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
