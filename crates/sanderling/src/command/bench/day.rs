//! A day of events in minutes: how many files a table has, and what queries take, hour by hour.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use sanderling::generator::{Generator, UserBehaviorEvent};
use serde::Serialize;
use serde_json::json;

use super::super::Failure;
use super::machine::{Machine, Usage, Used};
use super::process::ServerProcess;
use super::report::{Plot, Report, Scale, Table, ms, short, thousands};
use super::watch::{ask, check_once};
use super::{Common, DATASET, TAIL_TIME_MAX};

const BEGIN: &str = "2026-01-01T00:00:00Z";
/// One event in so many is late, by up to six hours.
const LATE_ONE_IN: u64 = 100;
const LATE_MINUTES_MAX: u64 = 360;
const MINUTES_AN_HOUR: u64 = 60;

/// A day of events, each minute of which is flushed.
#[derive(clap::Args)]
pub(crate) struct Day {
    #[command(flatten)]
    common: Common,
    /// Events of each minute of event time; one in a hundred is late by up to six hours.
    #[arg(long, default_value_t = 5_000)]
    events: u64,
    /// Hours of event time.
    #[arg(long, default_value_t = 24)]
    hours: u64,
}

#[derive(Serialize)]
struct Timed {
    #[serde(flatten)]
    event: UserBehaviorEvent,
    at: Timestamp,
}

/// What there was at the end of an hour of event time.
#[derive(Serialize)]
struct Hour {
    hour: u64,
    rows: u64,
    files: f64,
    file_bytes: f64,
    rewritten_bytes: f64,
    last_hour_ms: f64,
    all_ms: f64,
}

impl Day {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let settings =
            "[warehouse]\nflush_age = \"100ms\"\n[datasets.user_behavior_events]\nevent_time = \"at\"\n";
        let server = ServerProcess::start(&self.common.data_dir(), settings).await?;
        let client = server.client(self.common.client_options())?;
        let dataset = client.dataset(DATASET)?;
        let begin: Timestamp = BEGIN.parse().map_err(|_| "not a time".to_owned())?;
        let (mut generator, mut hours) = (Generator::new(1, 1_000), Vec::new());
        let (begun, usage) = (Instant::now(), Usage::now(server.id()?)?);
        for minute in 0..self.hours * MINUTES_AN_HOUR {
            for _ in 0..self.events {
                let event = generator.event();
                let late = match event.number % LATE_ONE_IN {
                    0 => event.user_id % LATE_MINUTES_MAX,
                    _ => 0,
                };
                let at = begin + SignedDuration::from_mins(minute.saturating_sub(late) as i64);
                dataset.emit_wait(&Timed { event, at }).await?;
            }
            client.flush().await?;
            let rows = (minute + 1) * self.events;
            self.flushed(&server, rows).await?;
            if (minute + 1) % MINUTES_AN_HOUR == 0 {
                let hour = self
                    .hour(&server, &client, rows, begin, minute / MINUTES_AN_HOUR)
                    .await?;
                println!(
                    "{:>2} h: {} rows, {} files, the last hour {} ms, all rows {} ms",
                    hour.hour,
                    thousands(rows as f64),
                    hour.files,
                    short(hour.last_hour_ms),
                    short(hour.all_ms)
                );
                hours.push(hour);
            }
        }
        let used = usage.until(&Usage::now(server.id()?)?);
        check_once(&client, DATASET, self.hours * MINUTES_AN_HOUR * self.events).await?;
        client.close().await?;
        self.report(&hours, begun.elapsed(), used)
            .finish(self.common.out.as_deref())
    }

    /// Waits until so many rows are in files, and none in the hot tail.
    async fn flushed(&self, server: &ServerProcess, rows: u64) -> Result<(), Failure> {
        let begun = Instant::now();
        while begun.elapsed() < TAIL_TIME_MAX {
            let page = server.metrics().await?;
            let sum = |name| page.sum(name, |dataset| dataset == DATASET);
            if sum("table_file_rows") as u64 >= rows {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("rows do not get into files rows={rows}").into())
    }

    async fn hour(
        &self,
        server: &ServerProcess,
        client: &client::Client,
        rows: u64,
        begin: Timestamp,
        hour: u64,
    ) -> Result<Hour, Failure> {
        let [from, to] = [hour, hour + 1].map(|hour| begin + SignedDuration::from_hours(hour as i64));
        let sql = |condition: &str| {
            format!(
                "SELECT event.action, count(*) AS events FROM {DATASET} {condition} GROUP BY event.action"
            )
        };
        let of_hour = format!("WHERE eventTime >= TIMESTAMP '{from}' AND eventTime < TIMESTAMP '{to}'");
        let (last, found) = ask(client, &sql(&of_hour), 3).await?;
        if found == 0 {
            return Err(format!("no rows of an hour hour={from}").into());
        }
        let (all, _) = ask(client, &sql(""), 3).await?;
        let page = server.metrics().await?;
        let sum = |name| page.sum(name, |dataset| dataset == DATASET);
        Ok(Hour {
            hour: hour + 1,
            rows,
            files: sum("table_files"),
            file_bytes: sum("table_file_bytes"),
            rewritten_bytes: sum("table_rewritten_bytes_total"),
            last_hour_ms: ms(&last, 0.5),
            all_ms: ms(&all, 0.5),
        })
    }

    fn report(&self, hours: &[Hour], took: Duration, used: Used) -> Report {
        let row = |hour: &Hour| {
            vec![
                hour.hour.to_string(),
                thousands(hour.rows as f64),
                thousands(hour.files),
                format!("{:.1}", hour.files / hour.hour as f64),
                thousands(hour.file_bytes / 1e6),
                thousands(hour.rewritten_bytes / 1e6),
                short(hour.last_hour_ms),
                short(hour.all_ms),
            ]
        };
        let line = |name: &str, of: fn(&Hour) -> f64| {
            let points = hours.iter().map(|hour| (hour.hour as f64, of(hour)));
            (name.to_owned(), points.collect())
        };
        Report {
            name: "day",
            title: "A day of events, with files merged all the while",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!("{} minutes of event time with {} events each, one in {LATE_ONE_IN} of them late by up to six hours; each minute is flushed before the next one is sent, so its files are of {} rows and less. All of it in {:.0} s: CPU of the server {:.1} µs an event, steal {:.1} %. In the end each event was there once.",
                    self.hours * MINUTES_AN_HOUR, thousands(self.events as f64), thousands(self.events as f64), took.as_secs_f64(),
                    used.server_cpu_seconds * 1e6 / (self.hours * MINUTES_AN_HOUR * self.events) as f64, used.steal_percent),
                "*Last hour*: actions counted over the hour of event time that has just ended; *all*: over all rows. The median of three. *Rewritten*: what merges wrote.".to_owned(),
            ],
            tables: vec![Table {
                title: String::new(),
                head: vec!["hours", "rows", "files", "files an hour", "MB of files", "MB rewritten", "query over the last hour, ms", "over all, ms"],
                rows: hours.iter().map(row).collect(),
            }],
            plots: vec![Plot {
                name: "hours",
                x: "hours of event time",
                y: "files an hour; ms",
                scale: Scale::LogY,
                lines: vec![
                    line("files an hour", |hour| hour.files / hour.hour as f64),
                    line("query over the last hour, ms", |hour| hour.last_hour_ms),
                    line("query over all rows, ms", |hour| hour.all_ms),
                ],
            }],
            measured: json!({"hours": hours, "seconds": took.as_secs_f64(), "used": used}),
        }
    }
}
