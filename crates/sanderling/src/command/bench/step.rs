//! Figure 5 of the Sparrow paper: the load steps up a thousand times and down again; how latency and workers follow.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::Failure;
use super::feed::Feed;
use super::machine::{Machine, Usage, Used};
use super::process::ServerProcess;
use super::report::{Plot, Report, Scale, Table, ms, short, thousands};
use super::schedule::Schedule;
use super::watch::{Poll, Seen, Until, check_once};
use super::{Common, DATASET, wait_visible};

/// A step of load up and down again.
#[derive(clap::Args)]
pub(crate) struct Step {
    #[command(flatten)]
    common: Common,
    /// Events a minute before and after the step.
    #[arg(long, default_value_t = 10_000)]
    low: u64,
    /// Events a minute in the step.
    #[arg(long, default_value_t = 10_000_000)]
    high: u64,
    /// How long each of the three parts is.
    #[arg(long, default_value_t = 90)]
    seconds: u64,
}

/// What the server said in one second.
#[derive(Clone, Copy, serde::Serialize)]
pub(super) struct Second {
    pub(super) at: f64,
    pub(super) workers: f64,
    pub(super) wanted: f64,
    pub(super) behind_batches: f64,
}

struct Stepped {
    seen: Seen,
    seconds: Vec<Second>,
    used: Used,
}

/// Looks at the server once a second until all has been emitted.
pub(super) async fn look(server: &ServerProcess, schedule: &Schedule) -> Result<Vec<Second>, Failure> {
    let (mut seconds, mut ticks) = (Vec::new(), tokio::time::interval(Duration::from_secs(1)));
    while !schedule.is_over() {
        ticks.tick().await;
        let at = schedule.start().elapsed().as_secs_f64();
        // There is no server after a crash.
        let Ok(page) = server.metrics().await else {
            continue;
        };
        let sum = |name| page.sum(name, |dataset| dataset == DATASET);
        seconds.push(Second {
            at,
            workers: sum("job_workers"),
            wanted: sum("job_workers_wanted"),
            behind_batches: sum("job_behind_batches"),
        });
    }
    Ok(seconds)
}

impl Step {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let server = ServerProcess::start(&self.common.data_dir(), &self.common.settings()).await?;
        let client = server.client(self.common.client_options())?;
        let feed = Feed::new(vec![client.dataset(DATASET)?], self.common.format)?;
        let parts = [self.low, self.high, self.low].map(|rate| (self.seconds, rate));
        let schedule = Arc::new(Schedule::new(&parts));
        let begun = Usage::now(server.id()?)?;
        let emitting = tokio::spawn(feed.run(schedule.clone()));
        let poll = Poll {
            client: client.clone(),
            dataset: DATASET.to_owned(),
            schedule: schedule.clone(),
            every: self.common.poll_every(self.high),
            measured: (Duration::ZERO, Duration::MAX),
            until: Until::All,
        };
        let polling = tokio::spawn(poll.run());
        let seconds = look(&server, &schedule).await?;
        super::joined(emitting.await)?;
        client.flush().await?;
        let seen = super::joined(polling.await)?;
        let used = begun.until(&Usage::now(server.id()?)?);
        wait_visible(&client, DATASET, schedule.emitted()).await?;
        check_once(&client, DATASET, schedule.emitted()).await?;
        let stepped = Stepped { seen, seconds, used };
        self.report(&parts, &stepped).finish(self.common.out.as_deref())
    }

    /// What is said of one part.
    fn row(&self, part: usize, rate: u64, Stepped { seen, seconds, .. }: &Stepped) -> Vec<String> {
        let long = self.seconds as usize;
        let (from, to) = (part * long, (part + 1) * long);
        let p99 = |second: usize| {
            let of = seen.by_second.get(second)?.as_ref();
            of.map(|of| ms(of, 0.99))
        };
        let worst = (from..to).filter_map(p99).fold(f64::NAN, f64::max);
        let mut half: Vec<f64> = (from + long / 2..to).filter_map(p99).collect();
        half.sort_by(f64::total_cmp);
        let calm = half.get(half.len() / 2).copied().unwrap_or(f64::NAN);
        let last = (from..from + long / 2).rfind(|second| p99(*second).is_some_and(|ms| ms > 2.0 * calm));
        let workers = seconds
            .iter()
            .filter(|second| (from..to).contains(&(second.at as usize)));
        vec![
            thousands(rate as f64),
            short(worst),
            short(calm),
            last.map_or(0, |last| last + 1 - from).to_string(),
            format!("{}", workers.map(|second| second.workers).fold(0.0, f64::max)),
        ]
    }

    fn report(&self, parts: &[(u64, u64)], stepped: &Stepped) -> Report {
        let Stepped { seen, seconds, used } = stepped;
        let at = |second: usize| seen.by_second.get(second).and_then(Option::as_ref);
        let quantile = |quantile: f64| {
            let points = (0..seen.by_second.len())
                .filter_map(|second| Some((second as f64, ms(at(second)?, quantile))));
            points.collect::<Vec<_>>()
        };
        let workers: Vec<_> = seconds.iter().map(|second| (second.at, second.workers)).collect();
        let wanted: Vec<_> = seconds
            .iter()
            .map(|second| (second.at, second.wanted.max(0.1)))
            .collect();
        let rows = parts.iter().enumerate();
        let rows = rows.map(|(part, (_, rate))| self.row(part, *rate, stepped));
        Report {
            name: "step",
            title: "A step of load",
            command: self.common.command(),
            machine: Machine::look(),
            notes: vec![
                format!("One dataset; {} s at each rate; the load, the client and the query that asks again {} ms after each answer share the machine with the server. Latency is from due (open-loop) to seen by that query, by the second in which events were due.", self.seconds, self.common.poll_every(self.high).as_millis()),
                "*worst p99*: of all seconds of the part; *p99 later*: the median of its second half; *recovered*: seconds from the part's start to the end of the last second (in its first half) whose p99 was above twice that.".to_owned(),
                format!("Steal {:.1} %. In the end each number was there once.", used.steal_percent),
            ],
            tables: vec![Table {
                title: String::new(),
                head: vec!["events a minute", "worst p99, ms", "p99 later, ms", "recovered after, s", "most workers"],
                rows: rows.collect(),
            }],
            plots: vec![
                Plot {
                    name: "latency",
                    x: "second",
                    y: "ms from emit to seen by a query",
                    scale: Scale::LogY,
                    lines: vec![("p99".to_owned(), quantile(0.99)), ("p50".to_owned(), quantile(0.5))],
                },
                Plot {
                    name: "workers",
                    x: "second",
                    y: "workers",
                    scale: Scale::LogY,
                    lines: vec![("given".to_owned(), workers), ("wanted".to_owned(), wanted)],
                },
            ],
            measured: json!({"seconds": seconds, "p99_ms": quantile(0.99), "p50_ms": quantile(0.5), "used": used}),
        }
    }
}
