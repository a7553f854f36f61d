//! The example `words` on real tweets, on every platform, over files and over a server, run as a user would.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Command;

use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::{data, digest, reference, server_with};

const FILE: &str = "tweets-maymac-2017-08-27.ndjson.gz";

/// What an example prints of all stores, by store and key.
pub(crate) async fn pairs_of(example: &'static str, arguments: Vec<String>) -> BTreeMap<String, Value> {
    let run = move || {
        let tests = std::env::current_exe().unwrap();
        let path: PathBuf = tests.ancestors().nth(2).unwrap().join("examples").join(example);
        assert!(
            path.exists(),
            "build it first: cargo build -p sanderling --example {example}"
        );
        Command::new(path)
            .args(&arguments)
            .args(["--print", "all", "--format", "json"])
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let lines = std::str::from_utf8(&output.stdout).unwrap().lines();
    let pair = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let store = line["store"].as_str().unwrap_or_default().to_owned();
        (format!("{store}{}", line["key"]), line["value"].take())
    };
    lines.map(pair).collect()
}

/// As the talk has it, in plain loops.
fn talk() -> BTreeMap<String, Value> {
    let file = std::fs::File::open(data().join(FILE)).unwrap();
    let mut counts = BTreeMap::<String, u64>::new();
    for line in BufReader::new(MultiGzDecoder::new(file)).lines() {
        let tweet: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let mut word = String::new();
        for c in tweet["text"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .chars()
            .chain([' '])
        {
            if c.is_ascii_alphanumeric() {
                word.push(c);
            } else if " \t\n\r\u{b}\u{c}".contains(c) && !word.is_empty() {
                *counts
                    .entry(json!(std::mem::take(&mut word)).to_string())
                    .or_default() += 1;
            }
        }
    }
    counts
        .into_iter()
        .map(|(word, count)| (word, json!(count)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_the_reference_on_every_platform() {
    let folder = tempfile::tempdir().unwrap();
    let server = server_with(folder.path(), "tweets", FILE, "created_at").await;
    let address = format!("http://{}", server.flight());
    let file = format!("ndjson:{}", data().join(FILE).display());
    let of_file = ["--source".to_owned(), file.clone()];
    let live = [
        "--source".to_owned(),
        format!("tweets@{address}"),
        "--once".to_owned(),
    ];
    let history = ["--history".to_owned(), file];
    let on = |platform: &str| ["--platform".to_owned(), platform.to_owned()];
    let cut = [
        "--batch".to_owned(),
        "10m".to_owned(),
        "--until".to_owned(),
        "2017-08-27T04:40:00Z".to_owned(),
    ];
    for words in ["talk", "ascii", "ws"] {
        let arguments = |parts: &[&[String]]| {
            [
                &["--words".to_owned(), words.to_owned()],
                parts.concat().as_slice(),
            ]
            .concat()
        };
        let to_server = |name: &str| ["--store".to_owned(), format!("server:{words}_{name}@{address}")];
        let to_folder = |name: &str| {
            [
                "--store".to_owned(),
                format!("file:{}", folder.path().join(words).join(name).display()),
            ]
        };
        let first = pairs_of("words", arguments(&[&of_file, &on("memory")])).await;
        match words {
            "talk" => assert_eq!(first, talk()),
            _ => {
                let lines = first
                    .iter()
                    .map(|(key, count)| (serde_json::from_str(key).unwrap(), count.to_string()));
                let expected = &reference("tweets")["maps"][format!("words_{words}")]["sha256"];
                assert_eq!(digest(lines.collect()), *expected, "{words}");
            }
        }
        for parts in [
            &[&of_file[..], &on("local"), &to_folder("local")][..],
            &[&of_file, &on("batch"), &to_folder("batch")],
            &[&of_file, &on("hybrid"), &cut],
            &[&live, &on("local"), &to_server("live")],
            &[&live, &on("batch"), &to_server("batch")],
            &[&live, &history, &on("hybrid"), &cut, &to_server("hybrid")],
        ] {
            assert_eq!(
                pairs_of("words", arguments(parts)).await,
                first,
                "{words} {parts:?}"
            );
        }
    }
    server.shutdown().await.unwrap();
}
