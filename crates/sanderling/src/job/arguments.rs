//! The flags that all jobs have.

use std::fmt;

use clap::{Args, Parser, ValueEnum};
use flow::Timestamp;

use super::place::{BatchFlag, SourceFlag, StorePlace, time};

/// Flags of a job; each has a twin in the environment, over which the flag wins.
#[derive(Parser)]
#[group(skip)]
pub(super) struct Arguments<F: Args> {
    #[command(flatten)]
    pub(super) flags: Flags,
    #[command(flatten, next_help_heading = "Flags of this job")]
    pub(super) own: F,
}

// Without a group, whose name would be taken from flags of the job that have the same type name.
#[derive(Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Flags {
    /// What runs it.
    #[arg(long, env = "SANDERLING_PLATFORM", value_enum, default_value = "local")]
    pub(super) platform: PlatformFlag,
    /// Where elements come from: ndjson:FILES, csv:FILES, parquet:FILES, text:FILES (paths or patterns, plain or
    /// compressed) or DATASET@http://host:port, history first, then live. NAME=… for one of several sources.
    #[arg(long, env = "SANDERLING_SOURCE", value_delimiter = ';')]
    pub(super) source: Vec<SourceFlag>,
    /// Where history comes from on batch and hybrid, if not from the source itself; as --source.
    #[arg(long, env = "SANDERLING_HISTORY", value_delimiter = ';')]
    pub(super) history: Vec<SourceFlag>,
    /// Where sums are kept: memory, file:FOLDER or server:NAME@http://host:port.
    #[arg(long, env = "SANDERLING_STORE", default_value = "memory")]
    pub(super) store: StorePlace,
    /// End when everything that a dataset has now has been read, instead of waiting for more.
    #[arg(long, env = "SANDERLING_ONCE")]
    pub(super) once: bool,
    /// What becomes of a record of a file that cannot be read.
    #[arg(long, env = "SANDERLING_MALFORMED", value_enum, default_value = "fail")]
    pub(super) malformed: MalformedFlag,
    /// The batches of event time in which history is summed, on batch and hybrid: 15m, 1h, 1d, or hour, day, month,
    /// year, these perhaps with a zone: day@Europe/Berlin. The default is 1h.
    #[arg(long, env = "SANDERLING_BATCH")]
    pub(super) batch: Option<BatchFlag>,
    /// Where history begins, on batch and hybrid: 2015-09-12T10:00:00Z or a date. Without it, with its earliest
    /// event, which is found by reading it once more.
    #[arg(long, env = "SANDERLING_FROM", value_parser = time)]
    pub(super) from: Option<Timestamp>,
    /// Up to where history is summed in batches (the batch of this time is not), on batch and hybrid. Without it, to
    /// the end of history; on hybrid to the batch of its latest event, which is live.
    #[arg(long, env = "SANDERLING_UNTIL", value_parser = time)]
    pub(super) until: Option<Timestamp>,
    /// Sets an option of a node, NODE.OPTION=VALUE, or of all, OPTION=VALUE: parallelism, epoch_bytes_max, call_keys_max,
    /// calls_max, cache_elements. Nodes have the names that the job gives them, sources those of --source.
    #[arg(long, env = "SANDERLING_OPTION", value_delimiter = ';')]
    pub(super) option: Vec<String>,
    /// Print so many sums at the end, the largest if values are numbers, else the first by key; or all, by key.
    #[arg(long, env = "SANDERLING_PRINT", default_value = "10")]
    pub(super) print: Print,
    /// Run nothing; print the sum of a key as it is in the store, on batch and hybrid with the batches it is made of.
    #[arg(long, env = "SANDERLING_GET", value_name = "KEY")]
    pub(super) get: Option<String>,
    /// Answers up to the batch of this time, on hybrid; without it, to the newest batch there is.
    #[arg(long, env = "SANDERLING_AT", value_parser = time)]
    pub(super) at: Option<Timestamp>,
    /// How sums are printed: a table, one JSON object a line, or CSV with a header.
    #[arg(long, env = "SANDERLING_FORMAT", value_enum, default_value = "table")]
    pub(super) format: Format,
    /// Run nothing; print the graph.
    #[arg(long, env = "SANDERLING_GRAPH", value_enum, num_args = 0..=1, default_missing_value = "dot")]
    pub(super) graph: Option<Drawing>,
    /// Run nothing and change nothing; look whether sources and stores are there and fit, and say what would run.
    #[arg(long, env = "SANDERLING_DRY_RUN")]
    pub(super) dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum PlatformFlag {
    /// One thread, everything in memory: the meaning of the job.
    Memory,
    /// The cores of this machine, epoch by epoch, live or to the end of the source.
    Local,
    /// History up to a cut, into snapshots.
    Batch,
    /// History up to a cut, and live after it, read as one.
    Hybrid,
}

impl PlatformFlag {
    /// Whether sums are kept by batches of event time.
    pub(super) fn cuts(self) -> bool {
        matches!(self, Self::Batch | Self::Hybrid)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum MalformedFlag {
    /// The job fails, and names it.
    Fail,
    /// It is left out, counted and, the first ones, named.
    Skip,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
    Csv,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Drawing {
    /// Graphviz.
    Dot,
    /// Mermaid.
    Mermaid,
}

/// How many sums are printed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Print {
    All,
    Some(usize),
}

impl std::str::FromStr for Print {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            _ => text
                .parse()
                .map(Self::Some)
                .map_err(|_| "use a number or all".to_owned()),
        }
    }
}

impl fmt::Display for Print {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Some(count) => count.fmt(f),
        }
    }
}

/// The last lines of `--help`.
pub(super) fn examples(program: &str) -> String {
    let server = "http://127.0.0.1:8081";
    format!(
        "Examples:\n  \
         {program} --source ndjson:events-*.json.gz\n  \
         {program} --source events@{server} --store server:sums@{server}\n  \
         {program} --platform batch --batch 1d --source ndjson:events-*.json.gz --store file:./sums\n  \
         {program} --platform batch --store file:./sums --batch 1d --get KEY --format json\n  \
         {program} --platform hybrid --source events@{server} --store server:sums@{server}\n  \
         {program} --graph mermaid"
    )
}
