//! Table I of the Sparrow paper: from `emit` to visible in SQL, by rate.

use std::sync::Arc;
use std::time::Duration;

use client::ClientOptions;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::super::Failure;
use super::feed::{Feed, Format};
use super::machine::{Usage, Used, memory_max};
use super::process::{ServerProcess, visible_ms};
use super::report::{Plot, Report, Scale, Table, ms, raw, short, thousands, with_unit};
use super::schedule::Schedule;
use super::watch::{Poll, Seen, Until, ask, check_once, paper_query, tracers};
use super::{Common, DATASET};

/// A load ends when all has been measured, at the latest then.
const LOAD_SECONDS_MAX: u64 = 86_400;
const TRACERS_EVERY: Duration = Duration::from_millis(100);
/// The paper's p99 (table I) by events a minute, in ms.
const PAPER_P99_MS: [(u64, f64); 4] = [
    (10_000, 590.0),
    (500_000, 8_400.0),
    (10_000_000, 67_700.0),
    (20_000_000, 432_000.0),
];

/// The way from emit to visible in SQL, at one rate after the other.
#[derive(clap::Args)]
#[command(
    after_help = "Example: sanderling bench latency --rate 10000 --rate 500000 --seconds 60 --out report"
)]
pub(crate) struct Latency {
    #[command(flatten)]
    pub(super) common: Common,
    /// Events a minute; may be given several times.
    #[arg(long = "rate", default_values_t = [10_000, 500_000, 10_000_000, 20_000_000])]
    rates: Vec<u64>,
    /// How long each rate is measured.
    #[arg(long, default_value_t = 300)]
    seconds: u64,
    /// How often the paper's query is asked, once a second, when all else is measured.
    #[arg(long, default_value_t = 60)]
    paper_queries: u64,
}

/// What was measured at one rate.
pub(super) struct Row {
    pub(super) rate: u64,
    pub(super) seen: Seen,
    tracers: Histogram<u64>,
    visible: [f64; 2],
    ack: [f64; 2],
    pub(super) used: Used,
    /// The same while no query polled.
    alone: Used,
    per_second: f64,
    pub(super) memory_max: u64,
    paper: Histogram<u64>,
    paper_rows: i64,
    files: f64,
    file_bytes: f64,
    pub(super) emitted: u64,
}

/// How one rate is measured.
pub(super) struct Trial<'a> {
    pub(super) common: &'a Common,
    pub(super) rate: u64,
    pub(super) seconds: u64,
    pub(super) paper_queries: u64,
}

impl Latency {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut rows = Vec::new();
        for rate in &self.rates {
            let trial = Trial {
                common: &self.common,
                rate: *rate,
                seconds: self.seconds,
                paper_queries: self.paper_queries,
            };
            let row = trial.run().await?;
            println!("{}", row.line());
            rows.push(row);
        }
        report(&self.common, &rows, self.seconds).finish(self.common.out.as_deref())
    }
}

impl Trial<'_> {
    pub(super) async fn run(&self) -> Result<Row, Failure> {
        let server = ServerProcess::start(&self.common.data_dir(), &self.common.settings()).await?;
        let client = server.client(ClientOptions {
            tracers: Some(TRACERS_EVERY),
            ..self.common.client_options()
        })?;
        let warm_up = Duration::from_secs(self.common.warm_up);
        let measured = Duration::from_secs(self.seconds);
        let feed = Feed::new(vec![client.dataset(DATASET)?], self.common.format)?;
        let schedule = Arc::new(Schedule::new(&[(LOAD_SECONDS_MAX, self.rate)]));
        let at = |after: Duration| tokio::time::sleep_until((schedule.start() + after).into());
        let emitting = tokio::spawn(feed.run(schedule.clone()));
        let poll = Poll {
            client: client.clone(),
            dataset: DATASET.to_owned(),
            schedule: schedule.clone(),
            every: self.common.poll_every(self.rate),
            measured: (warm_up, warm_up + measured),
            until: Until::Measured,
        };
        let polling = tokio::spawn(poll.run());

        at(warm_up).await;
        let is_it = |name: &str| name == DATASET;
        let (before, acks) = (server.metrics().await?.visible(is_it), client.stats().ack_latency);
        let begun = (Usage::now(server.id()?)?, schedule.emitted());
        at(warm_up + measured).await;
        let ended = (Usage::now(server.id()?)?, schedule.emitted());
        let (after, acks) = (
            server.metrics().await?.visible(is_it),
            client.stats().ack_latency.since(&acks),
        );
        let seen = super::joined(polling.await)?;
        let alone = Usage::now(server.id()?)?;
        tokio::time::sleep(Duration::from_secs(self.common.alone)).await;
        let alone = alone.until(&Usage::now(server.id()?)?);
        let (paper, paper_rows) = ask(&client, &paper_query(DATASET), self.paper_queries).await?;
        schedule.cut();
        super::joined(emitting.await)?;
        let emitted = schedule.emitted();
        client.flush().await?;
        super::wait_visible(&client, DATASET, emitted).await?;
        check_once(&client, DATASET, emitted).await?;
        let page = server.metrics().await?;
        let row = Row {
            rate: self.rate,
            seen,
            tracers: tracers(&client).await?,
            visible: [0.5, 0.99].map(|quantile| visible_ms(&before, &after, quantile)),
            ack: [0.5, 0.99].map(|quantile| acks.quantile(quantile).as_secs_f64() * 1e3),
            used: begun.0.until(&ended.0),
            alone,
            per_second: (ended.1 - begun.1) as f64 / self.seconds as f64,
            memory_max: memory_max(server.id()?)?,
            paper,
            paper_rows,
            files: page.sum("table_files", is_it),
            file_bytes: page.sum("table_file_bytes", is_it),
            emitted,
        };
        client.close().await?;
        Ok(row)
    }
}

impl Row {
    /// CPU of an event in ns, of the load's process and the server's, while the query polled or not.
    fn cpu_ns(&self, used: &Used) -> [f64; 2] {
        let events = self.per_second * used.seconds;
        [used.client_cpu_seconds, used.server_cpu_seconds].map(|seconds| seconds * 1e9 / events)
    }

    pub(super) fn line(&self) -> String {
        let [client, server] = self.cpu_ns(&self.alone);
        format!(
            "{:>10}/min  emit → seen p50 {} p99 {} max {}  visible p99 {}  ack p99 {}  CPU {client:.0} + {server:.0} ns  steal {:.1} %  {} MiB  paper's query p99 {} over {} rows",
            self.rate,
            with_unit(ms(&self.seen.latency, 0.5)),
            with_unit(ms(&self.seen.latency, 0.99)),
            with_unit(ms(&self.seen.latency, 1.0)),
            with_unit(self.visible[1]),
            with_unit(self.ack[1]),
            self.used.steal_percent,
            self.memory_max >> 20,
            with_unit(ms(&self.paper, 0.99)),
            self.paper_rows,
        )
    }

    pub(super) fn raw(&self) -> Value {
        json!({
            "events_per_minute": self.rate,
            "emitted": self.emitted,
            "emitted_per_second": self.per_second,
            "seen_us": raw(&self.seen.latency),
            "p99_ms_by_second": self.seen.p99_by_second(),
            "tracers_us": raw(&self.tracers),
            "visible_ms": {"p50": self.visible[0], "p99": self.visible[1]},
            "ack_ms": {"p50": self.ack[0], "p99": self.ack[1]},
            "polling_query_us": raw(&self.seen.took),
            "paper_query_us": raw(&self.paper),
            "paper_query_rows": self.paper_rows,
            "used": self.used,
            "used_without_polling": self.alone,
            "server_memory_bytes_max": self.memory_max,
            "files": self.files,
            "file_bytes": self.file_bytes,
        })
    }
}

fn report(common: &Common, rows: &[Row], seconds: u64) -> Report {
    let costs = Table {
        title: "What it costs, and what else was seen".to_owned(),
        head: vec![
            "events a minute",
            "emitted a second",
            "CPU ns an event: load + client",
            "server",
            "both with the polling query",
            "steal %",
            "server's memory, MiB",
            "polling query p50, ms",
            "polling query p99",
            "paper's query p50, ms",
            "paper's query p99",
            "its rows",
            "files",
            "bytes of a row in files",
        ],
        rows: rows.iter().map(costs).collect(),
    };
    let lines = |row: &Row| {
        let points = (0..=400).map(|at| {
            let share = 10f64.powf(-f64::from(at) / 80.0);
            (1.0 / share, ms(&row.seen.latency, 1.0 - share))
        });
        (
            format!("{} a minute", thousands(row.rate as f64)),
            points.collect(),
        )
    };
    Report {
        name: match common.insert.as_str() {
            "streaming" => "latency",
            "auto" => "latency-auto",
            _ => "latency-micro-batch",
        },
        title: "From emit to visible in SQL",
        command: common.command(),
        machine: super::machine::Machine::look(),
        notes: vec![
            format!("Each row: a new server in a process of its own, {} s of warm-up, {seconds} s measured; events of 300 to 400 bytes as JSON ({:?}), one client over TCP in a second process, which is also the load and asks the queries. Acks are durable (fsynced), rows exactly once: in the end all numbers were there once, or the run would have failed. Insert: {}.", common.warm_up, common.format, common.insert),
            "Arrivals are open-loop: an event's latency counts from the moment at which it was due, also when the load was late.".to_owned(),
            format!("*seen by a query*: a query asks for the newest number, waits {}, and asks again; its own time and this wait count. *tracers*: rows that the client sends ten times a second about itself, from their emission to the job that takes them. *visible*: from a batch's oldest event to the swap after which any new query sees it, between the bounds of buckets. *ack*: of a batch, in steps of a power of two.", common.poll_ms.map_or_else(|| "a millisecond for each million events a minute (at least 2)".to_owned(), |ms| format!("{ms} ms"))),
            format!("*CPU* is user and system time of each process, in {} s in which no query polls.", common.alone),
        ],
        tables: vec![latencies(rows), costs],
        plots: vec![Plot {
            name: "tail",
            x: "one event in so many takes longer",
            y: "ms from emit to seen by a query",
            scale: Scale::LogBoth,
            lines: rows.iter().map(lines).collect(),
        }],
        measured: rows.iter().map(Row::raw).collect(),
    }
}

fn latencies(rows: &[Row]) -> Table {
    let quantiles = |histogram: &Histogram<u64>| {
        [0.5, 0.9, 0.95, 0.99, 1.0].map(|quantile| short(ms(histogram, quantile)))
    };
    Table {
        title: "From emit to visible, ms".to_owned(),
        head: vec![
            "events a minute",
            "paper's p99",
            "seen by a query p50",
            "p90",
            "p95",
            "p99",
            "max",
            "tracers p50",
            "tracers p99",
            "tracers max",
            "visible p50",
            "visible p99",
            "ack p50",
            "ack p99",
        ],
        rows: rows
            .iter()
            .map(|row| {
                let paper = PAPER_P99_MS.iter().find(|(rate, _)| *rate == row.rate);
                let tracers = quantiles(&row.tracers);
                let mut cells = vec![
                    thousands(row.rate as f64),
                    paper.map_or_else(|| "–".to_owned(), |(_, ms)| short(*ms)),
                ];
                cells.extend(quantiles(&row.seen.latency));
                cells.extend([&tracers[0], &tracers[3], &tracers[4]].map(Clone::clone));
                cells.extend(row.visible.map(short));
                cells.extend(row.ack.map(short));
                cells
            })
            .collect(),
    }
}

fn costs(row: &Row) -> Vec<String> {
    let [client, server] = row.cpu_ns(&row.alone);
    let polled: f64 = row.cpu_ns(&row.used).iter().sum();
    vec![
        thousands(row.rate as f64),
        thousands(row.per_second),
        thousands(client),
        thousands(server),
        thousands(polled),
        format!("{:.1}", row.used.steal_percent),
        (row.memory_max >> 20).to_string(),
        short(ms(&row.seen.took, 0.5)),
        short(ms(&row.seen.took, 0.99)),
        short(ms(&row.paper, 0.5)),
        short(ms(&row.paper, 0.99)),
        thousands(row.paper_rows as f64),
        thousands(row.files),
        format!("{:.0}", row.file_bytes / row.emitted.max(1) as f64),
    ]
}

/// The highest rate of which 99 % of events are seen within a second.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling bench limit --format arrow --from 30000000")]
pub(crate) struct Limit {
    #[command(flatten)]
    common: Common,
    /// The first rate, in events a minute; each further one is a quarter more.
    #[arg(long, default_value_t = 20_000_000)]
    from: u64,
    /// How long each rate is measured.
    #[arg(long, default_value_t = 40)]
    seconds: u64,
    /// The latency that is still good.
    #[arg(long, default_value_t = 1_000)]
    p99_ms: u64,
}

impl Limit {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let (mut rows, mut rate) = (Vec::new(), self.from);
        loop {
            let trial = Trial {
                common: &self.common,
                rate,
                seconds: self.seconds,
                paper_queries: 0,
            };
            let row = trial.run().await?;
            println!("{}", row.line());
            let is_good = ms(&row.seen.latency, 0.99) <= self.p99_ms as f64
                && row.per_second >= rate as f64 / 60.0 * 0.98;
            rows.push(row);
            if !is_good {
                break;
            }
            rate += rate / 4;
        }
        let mut report = report(&self.common, &rows, self.seconds);
        report.name = match self.common.format {
            Format::Arrow => "limit-arrow",
            Format::Lines => "limit-lines",
            Format::Structs => "limit-structs",
        };
        report.title = "The highest rate";
        report.notes.insert(
            0,
            format!("Each rate is a quarter above the one before; the last one is the first with a p99 of *seen by a query* above {} ms, or which the load could not emit.", self.p99_ms),
        );
        report.finish(self.common.out.as_deref())
    }
}
