//! Real files give the answers that two independent computations gave, in each format.
//!
//! `SANDERLING_DATA` names the folder of the data files; the answers are in `../reference` beside it.

#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::FieldRef;
use files::{FileSource, Malformed};
use flow::{Element, JobOptions, Local, Producer, Source, Timestamp};
use parquet::arrow::ArrowWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_arrow::schema::{SchemaLike, TracingOptions};
use serde_json::Value;
use sha2::{Digest, Sha256};
use store::{MemoryStore, Progress, Store};

fn data(file: &str) -> PathBuf {
    let folder =
        std::env::var_os("SANDERLING_DATA").expect("SANDERLING_DATA names the folder of the real data");
    Path::new(&folder).join(file)
}

fn reference(dataset: &str) -> Value {
    serde_json::from_slice(&std::fs::read(data("../reference").join(format!("{dataset}.json"))).unwrap())
        .unwrap()
}

#[tokio::main]
async fn counts<T: Element>(
    source: impl Source<T> + 'static,
    keys: impl Fn(T) -> Vec<String> + Send + Sync + 'static,
) -> BTreeMap<String, u64> {
    let store = MemoryStore::<String, u64>::new();
    let elements = Producer::<Local, T>::source(Arc::new(source) as Arc<dyn Source<T>>);
    let tail = elements
        .flat_map(move |element| keys(element).into_iter().map(|key| (key, 1)).collect::<Vec<_>>())
        .sum_by_key(Arc::new(store.clone()) as Arc<dyn Store<String, u64>>);
    Local::run("real", &tail, JobOptions::default())
        .unwrap()
        .join()
        .await
        .unwrap();
    store.entries().into_iter().collect()
}

/// The digest of a map as the reference has it.
fn digest(map: &BTreeMap<String, u64>) -> String {
    let text: String = map
        .iter()
        .map(|(key, count)| format!("{key}\t{count}\n"))
        .collect();
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn check_map(reference: &Value, name: &str, map: &BTreeMap<String, u64>) {
    let expected = &reference["maps"][name];
    assert_eq!(
        map.values().sum::<u64>(),
        expected["sums"][0].as_u64().unwrap(),
        "{name}"
    );
    assert_eq!(digest(map), expected["sha256"], "{name}");
}

/// Split at ASCII white space, vertical tab included.
fn words(text: &str) -> Vec<String> {
    let words = text.split([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[test]
fn moby_dick() {
    let book = || FileSource::text([data("moby-dick*")], |_| Timestamp(0)).unwrap();
    let reference = reference("moby-dick");
    let lines = counts(book(), |_| vec!["lines".to_owned()]);
    assert_eq!(lines["lines"], reference["scalars"]["lines"].as_u64().unwrap());
    check_map(&reference, "words_ws", &counts(book(), |line| words(&line)));
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Edit {
    time: jiff::Timestamp,
    channel: String,
    city_name: Option<String>,
    comment: String,
    is_robot: bool,
    page: String,
    user: String,
    delta: i64,
    added: i64,
}

const EDITS: &str = "wikiticker-2015-09-12-sampled.json.gz";

fn edits() -> FileSource<Edit> {
    FileSource::ndjson([data(EDITS)], |edit: &Edit| edit.time).unwrap()
}

#[test]
fn wikiticker() {
    let reference = reference("wikiticker");
    check_map(
        &reference,
        "comment_words_ws",
        &counts(edits(), |edit| words(&edit.comment)),
    );
    check_map(&reference, "by_page", &counts(edits(), |edit| vec![edit.page]));
}

#[tokio::main]
async fn all<T: Element>(source: impl Source<T>) -> Vec<(Timestamp, T)> {
    let (mut at, mut items) = (Progress::default(), Vec::new());
    while let Some(slices) = source.read(&at, None, 1 << 20).await.unwrap() {
        for slice in slices {
            at.advance(&slice.part, slice.next);
            items.extend(slice.items);
        }
    }
    items
}

/// The same edits as CSV and as Parquet are the same elements.
#[test]
fn wikiticker_in_other_formats() {
    let folder = tempfile::tempdir().unwrap();
    let edits = all(edits());
    let rows: Vec<&Edit> = edits.iter().map(|(_, edit)| edit).collect();

    let csv_path = folder.path().join("edits.csv");
    let mut csv = csv::Writer::from_path(&csv_path).unwrap();
    rows.iter().for_each(|edit| csv.serialize(edit).unwrap());
    csv.flush().unwrap();
    let from_csv = all(FileSource::csv([&csv_path], |edit: &Edit| edit.time).unwrap());
    assert!(from_csv == edits, "CSV");

    let parquet_path = folder.path().join("edits.parquet");
    let options = TracingOptions::default().guess_dates(true);
    let fields = Vec::<FieldRef>::from_samples(&rows, options).unwrap();
    let batch = serde_arrow::to_record_batch(&fields, &rows).unwrap();
    let mut parquet =
        ArrowWriter::try_new(File::create(&parquet_path).unwrap(), batch.schema(), None).unwrap();
    parquet.write(&batch).unwrap();
    parquet.close().unwrap();
    let from_parquet = all(FileSource::parquet([&parquet_path], |edit: &Edit| edit.time).unwrap());
    assert!(from_parquet == edits, "Parquet");
}

fn records<T: Element + DeserializeOwned>(dataset: &str, file: &str, key: fn(T) -> String, map: &str) {
    let source = FileSource::<T>::ndjson([data(file)], |_| Timestamp(0)).unwrap();
    let counted = counts(source, move |record| vec![key(record)]);
    let reference = reference(dataset);
    assert_eq!(
        counted.values().sum::<u64>(),
        reference["scalars"]["records"].as_u64().unwrap()
    );
    check_map(&reference, map, &counted);
}

#[test]
fn tweets() {
    #[derive(Clone, Deserialize)]
    struct Tweet {
        user: String,
    }
    records(
        "tweets",
        "tweets-maymac-2017-08-27.ndjson.gz",
        |tweet: Tweet| tweet.user,
        "by_user",
    );
}

#[test]
fn openbandit() {
    #[derive(Clone, Deserialize)]
    struct Impression {
        click: u64,
    }
    let file = "openbandit-impressions-2019-11-24_30.ndjson.gz";
    let source = FileSource::<Impression>::ndjson([data(file)], |_| Timestamp(0)).unwrap();
    let counted = counts(source, |impression| vec![impression.click.to_string()]);
    let scalars = &reference("openbandit")["scalars"];
    assert_eq!(counted["1"], scalars["clicks"].as_u64().unwrap());
    assert_eq!(counted["0"] + counted["1"], scalars["records"].as_u64().unwrap());
}

/// Lines of a log as NDJSON: none of them is JSON, all of them are there.
#[test]
fn weblog() {
    let log = [data("semicomplete-access-2015-05-17_20.log.gz")];
    let lines = counts(FileSource::text(&log, |_| Timestamp(0)).unwrap(), |line| {
        vec![line]
    });
    let total = reference("weblog")["scalars"]["lines"].as_u64().unwrap();
    assert_eq!(lines.values().sum::<u64>(), total);

    let json = FileSource::<Value>::ndjson(&log, |_| Timestamp(0))
        .unwrap()
        .results(|_: &Malformed| Timestamp(0));
    let malformed = counts(json, |line| {
        vec![String::from_utf8(line.unwrap_err().raw).unwrap()]
    });
    assert!(malformed == lines);
}
