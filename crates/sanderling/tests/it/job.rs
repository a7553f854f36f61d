//! Jobs on a running server's data, from outside it.

use std::collections::BTreeMap;

use sanderling::algebra::sketch::{HyperLogLog, Sketch};
use sanderling::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::http::{get, start};
use crate::support::{connect, rows, wait_for};

#[derive(Clone, Deserialize)]
struct Line {
    text: Option<String>,
}

fn word_count<P: Platform>(lines: Producer<P, Line>, counts: P::Store<String, u64>) -> impl Tail<P> {
    lines
        .filter_map(|line| line.text)
        .flat_map(|text| {
            text.split(' ')
                .map(|word| (word.to_owned(), 1))
                .collect::<Vec<_>>()
        })
        .sum_by_key(counts)
}

fn text(n: u64) -> String {
    format!("w{} w{} the", n % 7, n % 11)
}

fn expected(events: u64) -> BTreeMap<String, u64> {
    let counts = <Memory as Platform>::Store::default();
    let lines: Vec<_> = (0..events)
        .map(|n| (Timestamp(0), Line { text: Some(text(n)) }))
        .collect();
    Memory::run(&word_count(Producer::source(lines), counts.clone()));
    counts.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_counts_history_and_live_once_and_its_sums_are_read_by_http_and_sql() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = start(folder.path()).await;
    let mut sent = 0;
    // Some events are files by now, some are in the queue only, and some come while the job runs.
    for round in 0..3 {
        let client = connect(&server);
        let dataset = client.dataset("lines").unwrap();
        for n in sent..sent + 500 {
            dataset.emit(&json!({"text": text(n)})).unwrap();
        }
        sent += 500;
        client.flush().await.unwrap();
        if round == 0 {
            wait_for(&client, "SELECT count(*) FROM lines", 500).await;
            server.shutdown().await.unwrap();
            server = start(folder.path()).await;
        }
    }
    let client = connect(&server);
    let remote = Remote::connect(&format!("http://{}", server.flight())).unwrap();
    let store = remote.store::<String, u64>("word_count").await.unwrap();
    let job = |store| word_count::<Local>(Producer::source(remote.dataset("lines").unwrap()), store);
    let mut running = Local::run("word_count", &job(store.clone()), JobOptions::default()).unwrap();
    let total = |sent| format!("SELECT count(*) FROM stores.word_count WHERE key = 'the' AND value = {sent}");
    wait_for(&client, &total(sent), 1).await;
    running.stop();
    running.join().await.unwrap();

    // A second run goes on where the first one ended.
    let dataset = client.dataset("lines").unwrap();
    for n in sent..sent + 100 {
        dataset.emit(&json!({"text": text(n)})).unwrap();
    }
    sent += 100;
    client.flush().await.unwrap();
    let mut running = Local::run("word_count", &job(store.clone()), JobOptions::default()).unwrap();
    wait_for(&client, &total(sent), 1).await;
    running.stop();
    running.join().await.unwrap();

    let sums: BTreeMap<String, u64> = store.scan(None, 1_000).await.unwrap().into_iter().collect();
    assert_eq!(sums, expected(sent));
    let (status, body) = get(server.http(), "/v1/stores/word_count/the").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&body).unwrap()["value"],
        json!(sent)
    );
    assert_eq!(get(server.http(), "/v1/stores/word_count/absent").await.0, 404);
    assert_eq!(get(server.http(), "/v1/stores/nobody/the").await.0, 404);
    let top = rows(
        &client,
        "SELECT key, value FROM stores.word_count ORDER BY value DESC LIMIT 1",
    )
    .await
    .unwrap();
    assert_eq!(top, [json!({"key": "the", "value": sent})]);
    server.shutdown().await.unwrap();
}

#[derive(Clone, Deserialize)]
struct Visit {
    page: String,
    user: u64,
}

#[derive(Clone, Debug, PartialEq, Semigroup, Serialize, Deserialize)]
#[algebra(crate = sanderling::algebra)]
struct Page {
    visits: u64,
    visitors: HyperLogLog<12>,
}

fn pages<P: Platform>(visits: Producer<P, Visit>, pages: P::Store<String, Page>) -> impl Tail<P> {
    visits
        .map(|visit| {
            let visitors = HyperLogLog::of(&visit.user);
            (visit.page, Page { visits: 1, visitors })
        })
        .sum_by_key(pages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sketch_is_summed_on_the_server_as_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let visits: Vec<_> = (0..3_000_u64)
        .map(|n| (format!("p{}", n % 3), n * n % 1_000))
        .collect();
    let client = connect(&server);
    let dataset = client.dataset("visits").unwrap();
    for (page, user) in &visits {
        dataset.emit(&json!({"page": page, "user": user})).unwrap();
    }
    client.flush().await.unwrap();
    wait_for(&client, "SELECT count(*) FROM visits", 3_000).await;

    let remote = Remote::connect(&format!("http://{}", server.flight())).unwrap();
    let store = remote.store::<String, Page>("pages").await.unwrap();
    let job = pages::<Local>(Producer::source(remote.history("visits").unwrap()), store.clone());
    let options = JobOptions {
        epoch_bytes_max: 4 << 10,
        ..JobOptions::default()
    };
    Local::run("pages", &job, options).unwrap().join().await.unwrap();

    let memory = <Memory as Platform>::Store::default();
    let source: Vec<_> = visits
        .iter()
        .cloned()
        .map(|(page, user)| (Timestamp(0), Visit { page, user }))
        .collect();
    Memory::run(&pages(Producer::source(source), memory.clone()));
    let summed: BTreeMap<String, Page> = store.scan(None, 10).await.unwrap().into_iter().collect();
    assert_eq!(summed, *memory.lock().unwrap());
    for page in summed.values() {
        assert_eq!(page.visits, 1_000);
    }
    let users: std::collections::BTreeSet<u64> = visits
        .iter()
        .filter(|(page, _)| page == "p0")
        .map(|(_, user)| *user)
        .collect();
    let estimate = summed["p0"].visitors.estimate();
    assert!(
        (estimate - users.len() as f64).abs() <= 0.05 * users.len() as f64,
        "{estimate} {}",
        users.len()
    );
    server.shutdown().await.unwrap();
}
