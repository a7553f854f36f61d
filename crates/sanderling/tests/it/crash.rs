//! A real server, killed with SIGKILL and started again at random moments (during flushes and compactions too) while
//! events are sent, a step rejects some of them, and a job counts the others: every acked event is in the table, or in that
//! of the rejects, once; the aggregate and the plain files have the former; nothing else is there. No query sees rows vanish while the server
//! lives.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use client::{Client, ClientOptions};
use sanderling::prelude::*;
use serde::Deserialize;
use serde_json::json;

use crate::plain::plain_numbers;
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
    // Flushes and compactions happen often, so that kills hit them too.
    let text = "[warehouse]\nflush_age = \"100ms\"\ncompact_files = 2\nmaintain_every = \"200ms\"\n\
                [queue]\nsegment_bytes = \"1MiB\"\n\
                [datasets.numbered.plain]\nformat = \"ndjson.gz\"\nwindow = \"60ms\"\nlateness = \"0ms\"\n\
                [[datasets.numbered.steps]]\nname = \"sevens\"\n\
                sql = \"SELECT *, CASE WHEN n % 7 = 3 THEN 'three' END AS _error FROM events\"\n";
    std::fs::write(&settings, text).unwrap();
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
    let life = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn(never_fewer(endpoint.clone(), life.clone()));
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
        // Odd while there is no server.
        life.fetch_add(1, Ordering::SeqCst);
        server.kill();
        let (folder, doors) = (folder.path().to_owned(), doors);
        server = tokio::task::spawn_blocking(move || start(&folder, &doors))
            .await
            .unwrap();
        life.fetch_add(1, Ordering::SeqCst);
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
    let bad = (0..sent).filter(|n| n % 7 == 3).count() as u64;
    let raw = "SELECT * FROM (SELECT count(*) AS c, count(DISTINCT n) AS d, count(*) FILTER (WHERE n % 7 = 3) AS b FROM numbered), \
               (SELECT count(*) AS f, count(DISTINCT raw) AS g FROM \"numbered$failed\" WHERE step = 'sevens')";
    let expected = json!({"c": sent - bad, "d": sent - bad, "b": 0, "f": bad, "g": bad});
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
    let good: Vec<u64> = (0..sent).filter(|n| n % 7 != 3).collect();
    let start = Instant::now();
    while plain_numbers(folder.path(), "numbered") != good {
        assert!(
            start.elapsed() < PATIENCE,
            "plain files do not have {} rows once",
            good.len()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut job = job.expect("the job was started in the first rounds");
    let sums = "SELECT CAST(sum(value) AS BIGINT) AS s FROM stores.by_residue";
    let start = Instant::now();
    while scalar(&asking, sums).await != Some((sent - bad) as i64) {
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
        let good = (0..sent).filter(|n| n % 7 != 3 && n % 10 == residue).count() as u64;
        assert_eq!(count, good, "residue {residue} of {sent}");
    }
    let taken = "SELECT CAST(sum(next_offset) AS BIGINT) FROM sanderling.stores WHERE store = 'by_residue' AND part = '0'";
    let taken = scalar(&asking, taken).await;
    assert!(
        taken.is_some_and(|batches| batches > 0),
        "{taken:?} batches are in the sums"
    );
    let files = "SELECT count(*) FROM sanderling.files WHERE dataset = 'numbered'";
    let files = scalar(&asking, files).await;
    assert!(
        files.is_some_and(|files| (1..40).contains(&files)),
        "compaction leaves few: {files:?}"
    );
    watching.abort();
    if let Err(error) = watching.await {
        assert!(error.is_cancelled(), "a query saw rows vanish: {error}");
    }
    job.stop();
    job.join().await.unwrap();
}

/// Asks for the numbers of rows and rejects again and again: while one server lives they never fall.
async fn never_fewer(endpoint: String, life: Arc<AtomicU64>) {
    let sql = "SELECT (SELECT count(*) FROM numbered) AS rows, (SELECT count(*) FROM \"numbered$failed\") AS rejects";
    let client = Client::connect(ClientOptions::new(&endpoint)).unwrap();
    let mut last = (0, 0, 0);
    loop {
        let before = life.load(Ordering::SeqCst);
        if let Ok(found) = rows(&client, sql).await
            && before.is_multiple_of(2)
            && before == life.load(Ordering::SeqCst)
        {
            let count = |name: &str| found[0][name].as_u64().unwrap();
            let now = (before, count("rows"), count("rejects"));
            let same_life = last.0 == now.0;
            assert!(
                !same_life || (now.1 >= last.1 && now.2 >= last.2),
                "{last:?} then {now:?}"
            );
            last = now;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
