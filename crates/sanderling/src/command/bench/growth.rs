//! The cost of an event and the time of queries, by the number of datasets, of connections, and by history.

use std::sync::Arc;
use std::time::Duration;

use client::{Client, Dataset};
use serde::Serialize;
use serde_json::json;

use super::super::Failure;
use super::feed::{Feed, Format};
use super::machine::{Machine, Usage, Used, memory_max};
use super::process::{ServerProcess, visible_ms};
use super::report::{Plot, Report, Scale, Table, ms, short, thousands};
use super::schedule::Schedule;
use super::watch::ask;
use super::{Common, DATASET, wait_visible};

/// How fast history is made, in events a minute: as fast as the server takes it.
const FILL_PER_MINUTE: u64 = 600_000_000;
const FILL_PREFIX: &str = "growth";

/// The cost of an event by datasets, connections and history.
#[derive(clap::Args)]
pub(crate) struct Growth {
    #[command(flatten)]
    common: Common,
    /// Events a minute over all datasets and connections.
    #[arg(long, default_value_t = 500_000)]
    rate: u64,
    /// How long each point is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Numbers of datasets.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    datasets: Vec<u64>,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000")]
    connections: Vec<u64>,
    /// Rows that a table has before.
    #[arg(long, value_delimiter = ',', default_value = "1000000,10000000,100000000")]
    history: Vec<u64>,
}

/// What was measured at one point of a curve.
#[derive(Clone, Serialize)]
struct Point {
    of: u64,
    client_ns: f64,
    server_ns: f64,
    visible_p50_ms: f64,
    visible_p99_ms: f64,
    memory_max: u64,
    used: Used,
    /// Of a query over the last ten seconds, and of one over all rows, which has so many.
    newest_query_p50_ms: f64,
    all_query_p50_ms: f64,
    rows: i64,
    files: f64,
}

impl Growth {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut curves = Vec::new();
        let mut datasets = Vec::new();
        for count in &self.datasets {
            let server = self.server().await?;
            let client = server.client(self.common.client_options())?;
            let all: Result<Vec<Dataset>, _> = (0..*count)
                .map(|number| client.dataset(&format!("{FILL_PREFIX}_{number}")))
                .collect();
            let all = all?;
            // The tables are made before it is measured.
            for dataset in &all {
                dataset.emit(&json!({"number": -1}))?;
            }
            client.flush().await?;
            for dataset in &all {
                wait_visible(&client, dataset.name().as_str(), 1).await?;
            }
            datasets.push(self.point(&server, &client, all, *count).await?);
        }
        curves.push(("datasets", datasets));
        let mut connections = Vec::new();
        for count in &self.connections {
            let server = self.server().await?;
            let clients: Result<Vec<Client>, Failure> = (0..*count)
                .map(|_| server.client(self.common.client_options()))
                .collect();
            let clients = clients?;
            let all: Result<Vec<Dataset>, _> = clients.iter().map(|client| client.dataset(DATASET)).collect();
            connections.push(self.point(&server, &clients[0], all?, *count).await?);
        }
        curves.push(("connections", connections));
        curves.push(("rows before", self.history().await?));
        self.report(&curves).finish(self.common.out.as_deref())
    }

    async fn server(&self) -> Result<ServerProcess, Failure> {
        ServerProcess::start(&self.common.data_dir(), &self.common.settings()).await
    }

    /// One server, whose table grows.
    async fn history(&self) -> Result<Vec<Point>, Failure> {
        let (server, mut points, mut held) = (self.server().await?, Vec::new(), 0);
        for count in &self.history {
            let client = server.client(self.common.client_options())?;
            let add = count.saturating_sub(held);
            let fill = Feed::new(vec![client.dataset(DATASET)?], Format::Arrow)?;
            let seconds = (add * 60).div_ceil(FILL_PER_MINUTE).max(1);
            let schedule = Arc::new(Schedule::new(&[(seconds, add * 60 / seconds)]));
            fill.run(schedule.clone()).await?;
            client.flush().await?;
            held += schedule.emitted();
            wait_visible(&client, DATASET, held).await?;
            // Files and merges of what has just come.
            tokio::time::sleep(Duration::from_secs(30)).await;
            let point = self
                .point(&server, &client, vec![client.dataset(DATASET)?], *count)
                .await?;
            held = point.rows as u64;
            points.push(point);
        }
        Ok(points)
    }

    async fn point(
        &self,
        server: &ServerProcess,
        client: &Client,
        datasets: Vec<Dataset>,
        of: u64,
    ) -> Result<Point, Failure> {
        let name = datasets[0].name().to_string();
        let schedule = Arc::new(Schedule::new(&[(self.common.warm_up + self.seconds, self.rate)]));
        let emitting = tokio::spawn(Feed::new(datasets, self.common.format)?.run(schedule.clone()));
        let ours = |name: &str| name == DATASET || name.starts_with(FILL_PREFIX);
        tokio::time::sleep(Duration::from_secs(self.common.warm_up)).await;
        let (usage, emitted) = (Usage::now(server.id()?)?, schedule.emitted());
        let before = server.metrics().await?.visible(ours);
        super::joined(emitting.await)?;
        let used = usage.until(&Usage::now(server.id()?)?);
        let page = server.metrics().await?;
        let (after, events) = (page.visible(ours), (schedule.emitted() - emitted) as f64);
        client.flush().await?;
        let newest = format!(
            "SELECT count(*) FROM {name} WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -10 SECOND)"
        );
        let (newest, _) = ask(client, &newest, 5).await?;
        let all = format!(
            "SELECT event.action, count(*) AS events FROM {name} WHERE number >= 0 GROUP BY event.action"
        );
        let (all, rows) = ask(client, &all, 5).await?;
        let point = Point {
            of,
            client_ns: used.client_cpu_seconds * 1e9 / events,
            server_ns: used.server_cpu_seconds * 1e9 / events,
            visible_p50_ms: visible_ms(&before, &after, 0.5),
            visible_p99_ms: visible_ms(&before, &after, 0.99),
            memory_max: memory_max(server.id()?)?,
            used,
            newest_query_p50_ms: ms(&newest, 0.5),
            all_query_p50_ms: ms(&all, 0.5),
            rows,
            files: page.sum("table_files", ours),
        };
        println!(
            "{of}: CPU {:.0} + {:.0} ns an event, visible p99 {} ms, queries {} and {} ms, steal {:.1} %",
            point.client_ns,
            point.server_ns,
            short(point.visible_p99_ms),
            short(point.newest_query_p50_ms),
            short(point.all_query_p50_ms),
            used.steal_percent,
        );
        Ok(point)
    }

    fn report(&self, curves: &[(&'static str, Vec<Point>)]) -> Report {
        let table = |(name, points): &(&'static str, Vec<Point>)| Table {
            title: format!("By {name}"),
            head: vec![
                name,
                "CPU ns an event: load + client",
                "server",
                "visible p50, ms",
                "p99",
                "query over the last 10 s, ms",
                "over all rows, ms",
                "rows then",
                "files",
                "server's memory, MiB",
                "steal %",
            ],
            rows: points
                .iter()
                .map(|point| {
                    vec![
                        thousands(point.of as f64),
                        thousands(point.client_ns),
                        thousands(point.server_ns),
                        short(point.visible_p50_ms),
                        short(point.visible_p99_ms),
                        short(point.newest_query_p50_ms),
                        short(point.all_query_p50_ms),
                        thousands(point.rows as f64),
                        thousands(point.files),
                        (point.memory_max >> 20).to_string(),
                        format!("{:.1}", point.used.steal_percent),
                    ]
                })
                .collect(),
        };
        let plot = |name, y, of: fn(&Point) -> f64| Plot {
            name,
            x: "datasets, connections; million rows before",
            y,
            scale: Scale::LogBoth,
            lines: curves
                .iter()
                .map(|(name, points)| {
                    let x = |point: &Point| match *name {
                        "rows before" => point.of as f64 / 1e6,
                        _ => point.of as f64,
                    };
                    (
                        (*name).to_owned(),
                        points.iter().map(|point| (x(point), of(point))).collect(),
                    )
                })
                .collect(),
        };
        Report {
            name: "growth",
            title: "Cost by datasets, connections and history",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!("{} events a minute at each point, in all, for {} s after {} s of warm-up; no query runs meanwhile. Events go to the datasets, or over the connections, in turn. Each point has a new server, but for history, whose table grows; it is made with Arrow batches. Queries: the median of five, after the load.", thousands(self.rate as f64), self.seconds, self.common.warm_up),
                "*visible*: from a batch's oldest event to the swap after which any new query sees it, of all datasets together.".to_owned(),
            ],
            tables: curves.iter().map(table).collect(),
            plots: vec![
                plot("cpu", "server's CPU, ns an event", |point| point.server_ns),
                plot("visible", "visible p99, ms", |point| point.visible_p99_ms),
            ],
            measured: json!(curves.iter().map(|(name, points)| (*name, points.clone())).collect::<std::collections::BTreeMap<_, _>>()),
        }
    }
}
