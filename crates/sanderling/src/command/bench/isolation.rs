//! What one dataset in trouble does to another: a client that floods it, a table that takes nothing.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::json;
use tokio::process::{Child, Command};

use super::super::Failure;
use super::feed::Feed;
use super::machine::{Machine, Usage};
use super::process::ServerProcess;
use super::report::{Report, Table, ms, raw, short, thousands};
use super::schedule::Schedule;
use super::watch::{Poll, Until};
use super::{Common, DATASET};

const NEIGHBOUR: &str = "neighbour";

/// What one dataset in trouble does to another.
#[derive(clap::Args)]
pub(crate) struct Isolation {
    #[command(flatten)]
    common: Common,
    /// Events a minute, of the dataset that is watched and, while all is well, of its neighbour.
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// How long each case is measured.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Events a second that the neighbour may send, in the case with a limit.
    #[arg(long, default_value_t = 10_000)]
    limit: u64,
}

/// What happens to the neighbour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    DeadTable,
    FloodWithLimit,
    Flood,
}

impl Trouble {
    fn name(self) -> &'static str {
        match self {
            Self::None => "all is well",
            Self::DeadTable => "its table cannot be written",
            Self::FloodWithLimit => "a client floods it, with a limit",
            Self::Flood => "a client floods it, without a limit",
        }
    }
}

struct Case {
    trouble: Trouble,
    latency: Histogram<u64>,
    neighbour_per_second: f64,
    server_cores: f64,
    steal: f64,
    errors: usize,
}

impl Isolation {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut cases = Vec::new();
        for trouble in [
            Trouble::None,
            Trouble::DeadTable,
            Trouble::FloodWithLimit,
            Trouble::Flood,
            Trouble::None,
        ] {
            let case = self.case(trouble).await?;
            println!("{}: p99 {} ms", trouble.name(), short(ms(&case.latency, 0.99)));
            cases.push(case);
        }
        let calm: Vec<f64> = cases
            .iter()
            .filter(|case| case.trouble == Trouble::None)
            .map(|case| ms(&case.latency, 0.99))
            .collect();
        let calm = calm.iter().sum::<f64>() / calm.len() as f64;
        let row = |case: &Case| {
            vec![
                case.trouble.name().to_owned(),
                thousands(case.neighbour_per_second),
                short(ms(&case.latency, 0.5)),
                short(ms(&case.latency, 0.99)),
                short(ms(&case.latency, 1.0)),
                format!("{:+.0} %", (ms(&case.latency, 0.99) / calm - 1.0) * 100.0),
                format!("{:.2}", case.server_cores),
                format!("{:.1}", case.steal),
                case.errors.to_string(),
            ]
        };
        let report = Report {
            name: "isolation",
            title: "One dataset in trouble, and another one",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!("Two datasets of one server, each with {} events a minute while all is well; the latency is of the one that is not in trouble, from due to seen by a query that asks again {} ms after each answer, for {} s. The first and the last case are the same; *moved* is beside their mean.", thousands(self.rate as f64), self.common.poll_every(self.rate).as_millis(), self.seconds),
                format!("*its table cannot be written*: a file is put in the place of the table's folder. *floods*: `sanderling send` in a process of its own gives its neighbour as much as it takes; with a limit of {} events a second the server tells it to wait. Without one it takes what the two processors have left: all processes share them.", thousands(self.limit as f64)),
            ],
            tables: vec![Table {
                title: String::new(),
                head: vec!["its neighbour", "neighbour's events a second", "p50, ms", "p99, ms", "max, ms", "p99 moved", "server's processors", "steal %", "errors logged"],
                rows: cases.iter().map(row).collect(),
            }],
            plots: Vec::new(),
            measured: cases
                .iter()
                .map(|case| json!({"case": case.trouble.name(), "seen_us": raw(&case.latency), "neighbour_per_second": case.neighbour_per_second, "server_cores": case.server_cores, "steal_percent": case.steal}))
                .collect(),
        };
        report.finish(self.common.out.as_deref())
    }

    async fn case(&self, trouble: Trouble) -> Result<Case, Failure> {
        let limit = match trouble {
            Trouble::FloodWithLimit => format!("events_per_second = {}\n", self.limit),
            _ => String::new(),
        };
        let settings = format!("{}[datasets.{NEIGHBOUR}]\n{limit}", self.common.settings());
        let server = ServerProcess::start(&self.common.data_dir(), &settings).await?;
        let client = server.client(self.common.client_options())?;
        let neighbour = server.client(self.common.client_options())?;
        let flooding = matches!(trouble, Trouble::Flood | Trouble::FloodWithLimit);
        let total = self.common.warm_up + self.seconds;
        let schedule = Arc::new(Schedule::new(&[(total, self.rate)]));
        let beside = Arc::new(Schedule::new(&[(total, if flooding { 60 } else { self.rate })]));
        let feeds = [(&client, DATASET, &schedule), (&neighbour, NEIGHBOUR, &beside)];
        let mut emitting = Vec::new();
        for (client, dataset, schedule) in feeds {
            let feed = Feed::new(vec![client.dataset(dataset)?], self.common.format)?;
            emitting.push(tokio::spawn(feed.run(schedule.clone())));
        }
        let measured = (
            Duration::from_secs(self.common.warm_up),
            Duration::from_secs(total),
        );
        let poll = Poll {
            client: client.clone(),
            dataset: DATASET.to_owned(),
            schedule: schedule.clone(),
            every: self.common.poll_every(self.rate),
            measured,
            until: Until::All,
        };
        let polling = tokio::spawn(poll.run());
        // The trouble begins in the middle of the warm-up.
        tokio::time::sleep_until((schedule.start() + measured.0 / 2).into()).await;
        let _flood = flooding.then(|| flood(&server)).transpose()?;
        if trouble == Trouble::DeadTable {
            let table = server.folder().join("warehouse").join(NEIGHBOUR);
            std::fs::rename(&table, table.with_extension("away"))?;
            std::fs::write(&table, "no folder")?;
        }
        tokio::time::sleep_until((schedule.start() + measured.0).into()).await;
        let acked = async || -> Result<f64, Failure> {
            Ok(server
                .metrics()
                .await?
                .sum("events_acked_total", |name| name == NEIGHBOUR))
        };
        let (usage, before) = (Usage::now(server.id()?)?, acked().await?);
        tokio::time::sleep_until((schedule.start() + measured.1).into()).await;
        let (used, after) = (usage.until(&Usage::now(server.id()?)?), acked().await?);
        let seen = super::joined(polling.await)?;
        // The neighbour's may wait for its table without end.
        emitting.iter().for_each(tokio::task::JoinHandle::abort);
        let errors = server
            .log()
            .lines()
            .filter(|line| line.contains("ERROR") || line.contains("WARN"))
            .count();
        Ok(Case {
            trouble,
            latency: seen.latency,
            neighbour_per_second: (after - before) / used.seconds,
            server_cores: used.server_cpu_seconds / used.seconds,
            steal: used.steal_percent,
            errors,
        })
    }
}

/// `sanderling send` with a line that comes again and again.
fn flood(server: &ServerProcess) -> Result<Flood, Failure> {
    let program = std::env::current_exe()?;
    let line = serde_json::to_string(&sanderling::generator::Generator::new(2, 1).event())?;
    let child = Command::new("sh")
        .arg("-c")
        .arg("yes \"$1\" | \"$0\" send \"$2\" --server \"$3\"")
        .arg(program)
        .args([&line, NEIGHBOUR, &server.flight()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    Ok(Flood(child))
}

/// The whole group of processes goes at its end.
struct Flood(Child);

impl Drop for Flood {
    fn drop(&mut self) {
        if let Some(id) = self.0.id() {
            let _ = std::process::Command::new("kill")
                .args(["-9", "--", &format!("-{id}")])
                .status();
        }
    }
}
