//! `sanderling bench`: what the whole way costs on this machine, against a server in a process of its own.

mod crash;
mod day;
mod feed;
mod growth;
mod isolation;
mod latency;
mod machine;
mod process;
mod queries;
mod report;
mod schedule;
mod step;
mod watch;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::{Client, ClientOptions};

use super::Failure;
use feed::Format;

const DATASET: &str = "user_behavior_events";
/// How long the last events may take to become visible when the emitting has ended.
const TAIL_TIME_MAX: Duration = Duration::from_secs(600);

/// Measure this machine: each bench starts a server of its own and sends it events through the real client.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling bench latency --rate 500000 --seconds 60")]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The way from emit to visible in SQL, at one rate after the other (table I of the Sparrow paper).
    Latency(latency::Latency),
    /// The highest rate of which 99 % of events are seen in time.
    Limit(latency::Limit),
    /// A step of load up and down again (figure 5 of the Sparrow paper).
    Step(step::Step),
    /// A server that is killed under load, and comes back.
    Crash(crash::Crash),
    /// What one dataset in trouble does to another.
    Isolation(isolation::Isolation),
    /// Queries over history, beside another engine on the same files.
    Queries(queries::Queries),
    /// The cost of an event by datasets, connections and history.
    Growth(growth::Growth),
    /// A day of events in minutes: files and queries hour by hour.
    Day(day::Day),
}

impl Bench {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Latency(bench) => bench.run().await,
            What::Limit(bench) => bench.run().await,
            What::Step(bench) => bench.run().await,
            What::Crash(bench) => bench.run().await,
            What::Isolation(bench) => bench.run().await,
            What::Queries(bench) => bench.run().await,
            What::Growth(bench) => bench.run().await,
            What::Day(bench) => bench.run().await,
        }
    }
}

/// What all benches take.
#[derive(clap::Args)]
struct Common {
    /// Folder for the server's data, made and removed for each run; on the disk to be measured. Default: that of the
    /// system for temporary files.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Folder for the report; without it its tables are printed.
    #[arg(long)]
    out: Option<PathBuf>,
    /// As what events are given to the client.
    #[arg(long, value_enum, default_value_t = Format::Structs)]
    format: Format,
    /// How rows get into the table: streaming, micro_batch(5m) or auto.
    #[arg(long, default_value = "streaming")]
    insert: String,
    /// How long each load runs before it is measured, in seconds.
    #[arg(long, default_value_t = 20)]
    warm_up: u64,
    /// How long the load goes on without the polling query, in seconds, for the cost of an event without it.
    #[arg(long, default_value_t = 20)]
    alone: u64,
    /// How long the polling query waits after an answer, in ms. Default: 1 for each million events a minute, at least 2.
    #[arg(long)]
    poll_ms: Option<u64>,
    /// What the queue keeps of each dataset, beside what is not in files yet.
    #[arg(long, default_value = "256MiB")]
    queue_bytes: String,
}

impl Common {
    fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    fn settings(&self) -> String {
        format!(
            "[queue]\nretention_bytes = {:?}\nretention_every = \"1s\"\n[datasets.{DATASET}]\ninsert = {:?}\n",
            self.queue_bytes, self.insert
        )
    }

    /// Of a client of the server that is started; the endpoint is put in later.
    fn client_options(&self) -> ClientOptions {
        ClientOptions::new("")
    }

    /// How long the polling query waits after an answer: so that it takes more than a small share of the processors at no rate.
    fn poll_every(&self, rate: u64) -> Duration {
        Duration::from_millis(self.poll_ms.unwrap_or((rate / 1_000_000).max(2)))
    }

    /// The command that is running, as one would type it.
    fn command(&self) -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,".contains(&byte);
        let quoted = |argument: String| match argument.bytes().all(is_plain) {
            true => argument,
            false => format!("'{argument}'"),
        };
        let arguments: Vec<String> = std::env::args().skip(1).map(quoted).collect();
        format!(
            "cargo run --profile {} -- {}",
            machine::Machine::look().profile,
            arguments.join(" ")
        )
    }
}

/// What a task that was joined has found.
fn joined<T>(task: Result<Result<T, Failure>, tokio::task::JoinError>) -> Result<T, Failure> {
    task.map_err(|error| Failure::from(error.to_string()))?
}

/// Waits until so many rows of a dataset are visible.
async fn wait_visible(client: &Client, dataset: &str, count: u64) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let sql = format!("SELECT count(*) FROM {dataset}");
        let found = watch::numbers(client, &sql).await.unwrap_or_default();
        let found = found.first().map_or(0, |found| *found as u64);
        if found >= count {
            return Ok(());
        }
        if begun.elapsed() > TAIL_TIME_MAX {
            return Err(format!(
                "events did not become visible dataset={dataset} found={found} sent={count}"
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
