//! The word count of the Summingbird talk: one function, run in memory over a file, or live on a dataset's stream
//! of a running server.
//!
//! ```sh
//! cargo run --release --example word_count -- memory tweets.ndjson.gz
//! cargo run --release --example word_count -- live tweets --server http://127.0.0.1:8081
//! curl 127.0.0.1:8080/v1/stores/word_count/love
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use flate2::bufread::MultiGzDecoder;
use sanderling::prelude::*;
use serde::Deserialize;

/// What the job reads of an event: its text. Other columns are not read.
#[derive(Clone, Default, Deserialize)]
struct Tweet {
    #[serde(default, alias = "comment")]
    text: Option<String>,
}

fn word_count<P: Platform>(
    tweets: Producer<P, Tweet>,
    counts: P::Store<String, u64>,
    words: Words,
) -> impl Tail<P> {
    tweets
        .filter_map(|tweet| tweet.text)
        .filter(|text| !text.is_empty())
        .flat_map(move |text| words.of(&text).into_iter().map(|word| (word, 1)))
        .sum_by_key(counts)
}

/// How text becomes words.
#[derive(Clone, Copy, ValueEnum)]
enum Words {
    /// Between white space, as they stand.
    Ws,
    /// Runs of ASCII letters and digits, in lower case.
    Ascii,
}

impl Words {
    fn of(self, text: &str) -> Vec<String> {
        match self {
            // U+000B is white space to a tokenizer, though not to Rust's ASCII.
            Self::Ws => text
                .split(|c: char| c.is_ascii_whitespace() || c == '\u{b}')
                .filter(|word| !word.is_empty())
                .map(str::to_owned)
                .collect(),
            Self::Ascii => text
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(str::to_ascii_lowercase)
                .collect(),
        }
    }
}

/// Count words, in memory or live.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    platform: On,
    #[arg(long, global = true, value_enum, default_value = "ascii")]
    words: Words,
}

#[derive(clap::Subcommand)]
enum On {
    /// Over a file of NDJSON (plain or gzip) on `Memory`; prints `word TAB count`.
    Memory { file: PathBuf },
    /// On `Local`, over a dataset of a running server: history first, then live, into the server's store.
    Live {
        dataset: String,
        #[arg(long, default_value = "http://127.0.0.1:8081")]
        server: String,
        /// The job's name, which names its store.
        #[arg(long, default_value = "word_count")]
        name: String,
        /// End when everything there is has been counted.
        #[arg(long)]
        once: bool,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { platform, words } = Arguments::parse();
    match platform {
        On::Memory { file } => {
            let counts = <Memory as Platform>::Store::default();
            Memory::run(&word_count(
                Producer::source(tweets(&file)?),
                counts.clone(),
                words,
            ));
            for (word, count) in counts.lock().expect("the run is over").clone() {
                println!("{word}\t{count}");
            }
        }
        On::Live {
            dataset,
            server,
            name,
            once,
        } => {
            let remote = Remote::connect(&server)?;
            let tweets = if once {
                remote.history(&dataset)?
            } else {
                remote.dataset(&dataset)?
            };
            let counts = remote.store(&name).await?;
            let job = word_count::<Local>(Producer::source(tweets), counts, words);
            let mut job = Local::run(&name, &job, JobOptions::default())?;
            tokio::select! {
                ended = job.join() => ended?,
                told = tokio::signal::ctrl_c() => {
                    told?;
                    job.stop();
                    job.join().await?;
                }
            }
            let status = job.status();
            eprintln!(
                "{} elements in {} epochs, up to {}",
                status.elements, status.epochs, status.progress
            );
        }
    }
    Ok(())
}

fn tweets(file: &PathBuf) -> Result<Vec<(Timestamp, Tweet)>, Box<dyn Error>> {
    let mut input = BufReader::new(File::open(file)?);
    let gzip = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let lines: Box<dyn BufRead> = if gzip {
        Box::new(BufReader::new(MultiGzDecoder::new(input)))
    } else {
        Box::new(input)
    };
    let tweet = |line: std::io::Result<String>| -> Result<_, Box<dyn Error>> {
        let mut fields: HashMap<String, serde_json::Value> = serde_json::from_str(&line?)?;
        let text = fields.remove("text").or_else(|| fields.remove("comment"));
        Ok((
            Timestamp(0),
            Tweet {
                text: text.and_then(|text| text.as_str().map(str::to_owned)),
            },
        ))
    };
    lines.lines().map(tweet).collect()
}
