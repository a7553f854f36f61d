//! Word counts of a dataset through `sum_by_key`, on `Local` over the wire and on `Memory`, against the digests.

use sanderling::Server;
use sanderling::prelude::*;
use serde_json::Value;

use crate::support::{connect, rows};
use crate::{cell, digest, reference};

/// How text becomes words, by the definitions of the reference.
#[derive(Clone, Copy)]
pub(crate) enum Words {
    Ws,
    Ascii,
}

impl Words {
    fn of(self, text: &str) -> Vec<String> {
        let ws = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}');
        let words = |split: std::vec::Vec<&str>| {
            split
                .into_iter()
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        match self {
            Self::Ws => words(text.split(ws).collect()),
            Self::Ascii => {
                let mut found = words(text.split(|c: char| !c.is_ascii_alphanumeric()).collect());
                found.iter_mut().for_each(|word| word.make_ascii_lowercase());
                found
            }
        }
    }
}

/// A row of either dataset.
#[derive(Clone, serde::Deserialize)]
struct Row {
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    comment: Option<String>,
}

fn word_count<P: Platform>(
    rows: Producer<P, Row>,
    counts: P::Store<String, u64>,
    words: Words,
) -> impl Tail<P> {
    rows.filter_map(|row| row.text.or(row.comment))
        .flat_map(move |text| words.of(&text).into_iter().map(|word| (word, 1)))
        .sum_by_key(counts)
}

pub(crate) async fn check(server: &Server, dataset: &str, field: &str, maps: [(&str, Words); 2]) {
    let client = connect(server);
    let remote = Remote::connect(&format!("http://{}", server.flight())).unwrap();
    let texts = rows(&client, &format!("SELECT {field} AS t FROM {dataset}"))
        .await
        .unwrap();
    for (name, words) in maps {
        let expected = reference(dataset)["maps"][name]["sha256"].clone();
        let store = remote.store::<String, u64>(name).await.unwrap();
        let job = word_count::<Local>(Producer::source(remote.history(dataset).unwrap()), store, words);
        Local::run(name, &job, JobOptions::default())
            .unwrap()
            .join()
            .await
            .unwrap();
        let sums = rows(&client, &format!("SELECT key, value FROM stores.{name}"))
            .await
            .unwrap();
        let lines = sums
            .iter()
            .map(|row| (cell(&row["key"]), cell(&row["value"])))
            .collect();
        assert_eq!(Value::from(digest(lines)), expected, "{name} on Local");

        let counts = <Memory as Platform>::Store::default();
        let memory: Vec<_> = texts
            .iter()
            .map(|row| {
                (
                    Timestamp(0),
                    Row {
                        text: row["t"].as_str().map(str::to_owned),
                        comment: None,
                    },
                )
            })
            .collect();
        Memory::run(&word_count(Producer::source(memory), counts.clone(), words));
        let lines = counts
            .lock()
            .unwrap()
            .clone()
            .into_iter()
            .map(|(word, count)| (word, count.to_string()))
            .collect();
        assert_eq!(Value::from(digest(lines)), expected, "{name} on Memory");
    }
}
