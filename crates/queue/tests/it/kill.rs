//! `kill -9` while appending: every ack that was printed is there after it, in order, once.
//!
//! The child is this test binary again, told by the environment where its log is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use bytes::Bytes;
use event::{Batch, DatasetName, EmitterId};
use futures::stream::{FuturesOrdered, StreamExt};
use queue::laws::{all, batch};
use queue::{LogOptions, LogQueue, Partition, Queue};
use uuid::Uuid;

const FOLDER: &str = "QUEUE_KILL_TEST_FOLDER";
const EMITTERS: usize = 3;
const IN_FLIGHT: usize = 16;
const ROUNDS: usize = 10;

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 200_000,
        partitions: 2,
        ..LogOptions::default()
    }
}

fn dataset() -> DatasetName {
    "kill".parse().unwrap()
}

fn filled(emitter: u128, sequence: u64) -> Batch {
    let size = 1 + (emitter as u64 ^ sequence.wrapping_mul(0x9E37_79B9_7F4A_7C15)) as usize % 5_000;
    Batch {
        payload: Bytes::from(vec![sequence as u8; size]),
        ..batch(&dataset(), emitter, 0, sequence)
    }
}

/// What the child does: appends until it is killed, and prints each ack. Outside of the test below, nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (queue, _) = LogQueue::open(folder, options()).unwrap();
    let emitters: Vec<_> = (0..EMITTERS).map(|_| Uuid::now_v7().as_u128()).collect();
    let mut acks = FuturesOrdered::new();
    for i in 0u64.. {
        let (emitter, sequence) = (emitters[i as usize % EMITTERS], i / EMITTERS as u64);
        let answer = queue.append(filled(emitter, sequence));
        acks.push_back(async move { (emitter, sequence, answer.await) });
        if acks.len() == IN_FLIGHT {
            let (emitter, sequence, answer) = acks.next().await.unwrap();
            assert!(!answer.unwrap().duplicate);
            // The test harness holds back what is printed the usual way; an ack must be out at once.
            writeln!(std::io::stdout(), "\nack {emitter:x} {sequence}").unwrap();
        }
    }
}

/// Runs the child and kills it after a number of acks; returns every ack that it got out.
fn run_and_kill(folder: &std::path::Path, acks: usize) -> Vec<(u128, u64)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if let Some(ack) = line.strip_prefix("ack ") {
            let (emitter, sequence) = ack.split_once(' ').unwrap();
            printed.push((
                u128::from_str_radix(emitter, 16).unwrap(),
                sequence.parse().unwrap(),
            ));
        }
        if printed.len() == acks {
            child.kill().unwrap();
        }
    }
    assert!(!child.wait().unwrap().success());
    printed
}

#[tokio::test]
async fn an_ack_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked: BTreeMap<u128, u64> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let acks = 1 + (Uuid::new_v4().as_u128() % 600) as usize;
        let path = folder.path().to_owned();
        let printed = tokio::task::spawn_blocking(move || run_and_kill(&path, acks))
            .await
            .unwrap();
        assert!(printed.len() >= acks);
        for (emitter, sequence) in printed {
            let last = acked.insert(emitter, sequence);
            assert_eq!(sequence, last.map_or(0, |last| last + 1), "acks are in order");
        }
        let (queue, recovery) = LogQueue::open(folder.path(), options()).unwrap();
        assert!(recovery.damaged.is_empty(), "{recovery:?}");
        let mut next: BTreeMap<u128, u64> = BTreeMap::new();
        for partition in (0..2).map(Partition) {
            for record in all(&queue, &dataset(), partition).await {
                let key = record.batch.header.key;
                let next = next.entry(key.emitter.0.as_u128()).or_default();
                assert_eq!(key.sequence.0, *next, "in order, once");
                assert_eq!(record.batch, filled(key.emitter.0.as_u128(), *next));
                assert_eq!(partition, Partition::of(EmitterId(key.emitter.0), 2));
                *next += 1;
            }
        }
        for (emitter, sequence) in &acked {
            assert!(next[emitter] > *sequence, "what was acked is there");
            assert!(queue.append(filled(*emitter, *sequence)).await.unwrap().duplicate);
        }
    }
}
