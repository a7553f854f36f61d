//! A server that is killed with SIGKILL under load and started again: how long until it is back, and until it is level.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::Failure;
use super::feed::Feed;
use super::machine::Machine;
use super::process::ServerProcess;
use super::report::{Plot, Report, Scale, Table, ms, raw, short, thousands};
use super::schedule::Schedule;
use super::watch::{Poll, Until, check_once};
use super::{Common, DATASET, wait_visible};

/// A server that is killed under load, and comes back.
#[derive(clap::Args)]
pub(crate) struct Crash {
    #[command(flatten)]
    common: Common,
    /// Events a minute.
    #[arg(long, default_value_t = 2_000_000)]
    rate: u64,
    /// How long the load goes on before the crash, and after it.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How often it is done, each time with a new server.
    #[arg(long, default_value_t = 3)]
    times: u64,
}

/// One crash.
struct Fall {
    /// From SIGKILL to a server that is ready again.
    ready: Duration,
    /// From SIGKILL to the first event that is seen again, as the due times tell it, and to the last slow one.
    level: Duration,
    worst_ms: f64,
    before_p99_ms: f64,
    after_p99_ms: f64,
    p99: Vec<(f64, f64)>,
    latency: serde_json::Value,
    emitted: u64,
}

impl Crash {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut falls = Vec::new();
        for _ in 0..self.times {
            let fall = self.fall().await?;
            println!(
                "ready again after {} ms, level after {} ms, slowest event {} ms",
                fall.ready.as_millis(),
                fall.level.as_millis(),
                short(fall.worst_ms),
            );
            falls.push(fall);
        }
        let rows = falls.iter().map(|fall| {
            vec![
                thousands(fall.emitted as f64),
                short(fall.ready.as_secs_f64() * 1e3),
                short(fall.level.as_secs_f64() * 1e3),
                short(fall.worst_ms),
                short(fall.before_p99_ms),
                short(fall.after_p99_ms),
            ]
        });
        let line = |(at, fall): (usize, &Fall)| (format!("run {}", at + 1), fall.p99.clone());
        let report = Report {
            name: "crash",
            title: "SIGKILL under load",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!("{} events a minute; after {} s the server is killed and started again at once, on its folder. The client goes on emitting (open-loop) and keeps what has no ack in its memory. In the end each number was there once: nothing was lost or doubled, or the run would have failed.", thousands(self.rate as f64), self.seconds),
                "*ready*: from the kill until the server says so; *level*: until events that are due are seen within twice the p99 of before; *slowest*: of all events, from due to seen.".to_owned(),
            ],
            tables: vec![Table {
                title: String::new(),
                head: vec!["events", "ready after, ms", "level after, ms", "slowest event, ms", "p99 before, ms", "p99 after, ms"],
                rows: rows.collect(),
            }],
            plots: vec![Plot {
                name: "latency",
                x: "second",
                y: "p99, ms from emit to seen by a query",
                scale: Scale::LogY,
                lines: falls.iter().enumerate().map(line).collect(),
            }],
            measured: falls
                .iter()
                .map(|fall| json!({"ready_ms": fall.ready.as_millis(), "level_ms": fall.level.as_millis(), "slowest_ms": fall.worst_ms, "p99_ms": fall.p99, "seen_us": fall.latency}))
                .collect(),
        };
        report.finish(self.common.out.as_deref())
    }

    async fn fall(&self) -> Result<Fall, Failure> {
        let mut server = ServerProcess::start(&self.common.data_dir(), &self.common.settings()).await?;
        // Room for what is due while the server is away.
        let client = server.client(client::ClientOptions {
            buffer_bytes_max: 512 << 20,
            retry_max: Duration::from_millis(200),
            ..self.common.client_options()
        })?;
        let feed = Feed::new(vec![client.dataset(DATASET)?], self.common.format)?;
        let warm_up = self.common.warm_up;
        let schedule = Arc::new(Schedule::new(&[(warm_up + 2 * self.seconds, self.rate)]));
        let emitting = tokio::spawn(feed.run(schedule.clone()));
        let poll = Poll {
            client: client.clone(),
            dataset: DATASET.to_owned(),
            schedule: schedule.clone(),
            every: self.common.poll_every(self.rate),
            measured: (Duration::from_secs(warm_up), Duration::MAX),
            until: Until::All,
        };
        let polling = tokio::spawn(poll.run());
        let crash = Duration::from_secs(warm_up + self.seconds);
        tokio::time::sleep_until((schedule.start() + crash).into()).await;
        let killed = Instant::now();
        server.kill().await?;
        server.again().await?;
        let ready = killed.elapsed();
        super::joined(emitting.await)?;
        client.flush().await?;
        let seen = super::joined(polling.await)?;
        wait_visible(&client, DATASET, schedule.emitted()).await?;
        check_once(&client, DATASET, schedule.emitted()).await?;
        client.close().await?;

        let p99 = |span: std::ops::Range<usize>| {
            let mut values: Vec<f64> = span
                .filter_map(|second| seen.by_second.get(second)?.as_ref())
                .map(|of| ms(of, 0.99))
                .collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
        };
        let (crash, last) = (crash.as_secs() as usize, seen.by_second.len());
        let before_p99_ms = p99(warm_up as usize..crash);
        // Those due in a second are seen by its end and their latency: the last slow one marks the end.
        let slow = (crash..last).rfind(|second| {
            let of = seen.by_second[*second].as_ref();
            of.is_some_and(|of| ms(of, 0.99) > 2.0 * before_p99_ms)
                && second - crash < self.seconds as usize / 2
        });
        let level = slow.map_or(0, |slow| slow + 1 - crash);
        Ok(Fall {
            ready,
            level: Duration::from_secs(level as u64),
            worst_ms: ms(&seen.latency, 1.0),
            before_p99_ms,
            after_p99_ms: p99(last.saturating_sub(self.seconds as usize / 2)..last),
            p99: seen.p99_by_second(),
            latency: raw(&seen.latency),
            emitted: schedule.emitted(),
        })
    }
}
