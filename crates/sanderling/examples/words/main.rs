//! The word count of the Summingbird talk, as a program with a flag of its own.
//!
//! ```sh
//! cargo run --release --example words -- --source 'ndjson:tweets-*.ndjson.gz'
//! cargo run --release --example words -- --source tweets@http://127.0.0.1:8081 --store server:words@http://127.0.0.1:8081
//! ```

use std::process::ExitCode;

use clap::ValueEnum;
use sanderling::job::{Ports, Program};
use sanderling::prelude::*;
use serde::Deserialize;

/// What the job reads of an event; other fields and columns are not read.
#[derive(Clone, Deserialize)]
struct Tweet {
    text: Option<String>,
    /// Only for tweets in files: a dataset's have their event time.
    #[serde(default)]
    created_at: Option<String>,
}

fn word_count<P: Platform>(
    tweets: &Producer<P, Tweet>,
    counts: P::Store<String, u64>,
    words: Words,
) -> impl Tail<P> + use<P> {
    tweets
        .filter_map(|tweet| tweet.text)
        .filter(|text| !text.is_empty())
        .flat_map(move |text| words.of(&text).into_iter().map(|word| (word, 1)))
        .sum_by_key(counts)
}

/// How text becomes words.
#[derive(Clone, Copy, ValueEnum)]
enum Words {
    /// As in the talk: in lower case, without what is neither letter, digit nor white space (ASCII), between white space.
    Talk,
    /// Runs of ASCII letters and digits, in lower case.
    Ascii,
    /// Between white space, as they stand.
    Ws,
}

impl Words {
    fn of(self, text: &str) -> Vec<String> {
        // U+000B is white space to a tokenizer, though not to Rust's ASCII.
        let is_space = |c: char| c.is_ascii_whitespace() || c == '\u{b}';
        let not_empty = |words: Vec<&str>| -> Vec<String> {
            let words = words.into_iter().filter(|word| !word.is_empty());
            words.map(str::to_owned).collect()
        };
        match self {
            Self::Talk => {
                let text = text.to_lowercase();
                let kept: String = text
                    .chars()
                    .filter(|c| c.is_ascii_alphanumeric() || is_space(*c))
                    .collect();
                not_empty(kept.split(is_space).collect())
            }
            Self::Ascii => {
                let text = text.to_ascii_lowercase();
                not_empty(text.split(|c: char| !c.is_ascii_alphanumeric()).collect())
            }
            Self::Ws => not_empty(text.split(is_space).collect()),
        }
    }
}

#[derive(clap::Args)]
struct Flags {
    /// How text becomes words.
    #[arg(long, env = "SANDERLING_WORDS", value_enum, default_value = "talk")]
    words: Words,
}

enum WordCount {}

impl Program for WordCount {
    const NAME: &'static str = "words";
    const ABOUT: &'static str = "Counts the words of tweets.";
    type Flags = Flags;

    fn tail<P: Platform, I: Ports<P>>(
        flags: &Flags,
        ports: &mut I,
    ) -> sanderling::job::Result<impl Tail<P> + use<P, I>> {
        let tweets = ports.source("tweets", |tweet: &Tweet| {
            tweet.created_at.as_deref().map(str::parse::<jiff::Timestamp>)
        })?;
        let counts = ports.store("counts")?;
        Ok(word_count(&tweets, counts, flags.words))
    }
}

fn main() -> ExitCode {
    sanderling::job::main::<WordCount>()
}
