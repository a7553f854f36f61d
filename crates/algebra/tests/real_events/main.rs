//! Aggregates of real events against the answers that two independent computations gave.
//!
//! `SANDERLING_DATA` names the folder of the data files; the answers are in `../reference` beside it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod exact;
mod sketches;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use algebra::Semigroup;
use algebra::aggregate::Aggregator;
use algebra::codec::Codec;
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn data() -> PathBuf {
    std::env::var_os("SANDERLING_DATA")
        .expect("SANDERLING_DATA names the folder of the real data")
        .into()
}

fn reference(dataset: &str) -> Value {
    let path = data().join("../reference").join(format!("{dataset}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn lines(file: &str) -> impl Iterator<Item = String> {
    let file = std::fs::File::open(data().join(file)).unwrap();
    BufReader::new(MultiGzDecoder::new(file))
        .lines()
        .map(Result::unwrap)
}

fn events<T: DeserializeOwned>(file: &str) -> Vec<T> {
    lines(file)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

/// The digest of a whole map: its lines `key TAB values LF` in the order of the keys' bytes.
fn digest<K: std::fmt::Display>(map: &BTreeMap<K, Vec<String>>) -> String {
    let mut lines: Vec<String> = map
        .iter()
        .map(|(key, values)| format!("{key}\t{}\n", values.join("\t")))
        .collect();
    lines.sort();
    let digest = Sha256::digest(lines.concat());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The answer for the whole, worked out as many machines would: each a part of the items, its state sent as bytes, the
/// states merged two by two, in an order that has nothing to do with that of the items.
fn over_machines<T, A>(aggregator: &A, items: &[T]) -> A::Output
where
    A: Aggregator<T>,
    A::State: Codec,
{
    let mut sent: Vec<Vec<u8>> = items
        .chunks(items.len() / 37 + 1)
        .map(|part| {
            let mut state = aggregator.prepare(&part[0]);
            part[1..].iter().for_each(|item| aggregator.add(&mut state, item));
            state.to_bytes()
        })
        .collect();
    let read = |bytes: &[u8]| A::State::from_bytes(bytes).unwrap();
    while sent.len() > 1 {
        let turn = 7 % sent.len();
        sent.rotate_left(turn);
        sent = sent
            .chunks(2)
            .map(|pair| {
                let mut state = read(&pair[0]);
                pair.get(1).into_iter().for_each(|right| state.plus(read(right)));
                state.to_bytes()
            })
            .collect();
    }
    aggregator.present(read(&sent[0]))
}
