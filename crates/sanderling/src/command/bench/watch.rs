//! What is seen in SQL while events come: a query that polls, the paper's query, and the tracers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use client::Client;
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use tokio::time::MissedTickBehavior;

use super::super::Failure;
use super::report::ms;
use super::schedule::Schedule;

/// How long the last events may take to become visible when the emitting has ended.
const TAIL_TIME_MAX: Duration = Duration::from_secs(120);
/// Events of one poll are counted in this many steps at most.
const STEPS: u64 = 200;

pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("the bounds are in order")
}

/// What a polling query saw.
pub(super) struct Seen {
    /// From due to seen, µs, of the events that were due in the time to be measured.
    pub(super) latency: Histogram<u64>,
    /// The same for each second in which events were due, in three digits less.
    pub(super) by_second: Vec<Option<Histogram<u64>>>,
    /// How long the query took, µs.
    pub(super) took: Histogram<u64>,
    /// How often it failed.
    pub(super) failed: u64,
    /// The number of the newest event, counted from 1.
    pub(super) newest: u64,
}

impl Seen {
    /// Seconds after the start, and the 99th percentile in ms of what was due in each.
    pub(super) fn p99_by_second(&self) -> Vec<(f64, f64)> {
        let of =
            |(second, of): (usize, &Option<Histogram<u64>>)| Some((second as f64, ms(of.as_ref()?, 0.99)));
        self.by_second.iter().enumerate().filter_map(of).collect()
    }
}

/// When a polling query ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// When it has seen all that was to be measured.
    Measured,
    /// When it has seen all events.
    All,
}

/// A query that asks again and again up to which number a dataset's events are visible.
pub(super) struct Poll {
    pub(super) client: Client,
    pub(super) dataset: String,
    pub(super) schedule: Arc<Schedule>,
    /// How long it waits after an answer.
    pub(super) every: Duration,
    /// From when to when events must have been due to be counted, after the start.
    pub(super) measured: (Duration, Duration),
    /// When it ends.
    pub(super) until: Until,
}

impl Poll {
    pub(super) async fn run(self) -> Result<Seen, Failure> {
        let mut seen = Seen {
            latency: histogram(),
            by_second: Vec::new(),
            took: histogram(),
            failed: 0,
            newest: 0,
        };
        let start = self.schedule.start();
        let mut over = None;
        loop {
            tokio::time::sleep(self.every).await;
            if self.until == Until::Measured && self.schedule.due(seen.newest) >= self.measured.1 {
                return Ok(seen);
            }
            if self.schedule.is_over() {
                if seen.newest >= self.schedule.emitted() {
                    return Ok(seen);
                }
                if over.get_or_insert_with(Instant::now).elapsed() > TAIL_TIME_MAX {
                    let missing = self.schedule.emitted() - seen.newest;
                    return Err(format!("events did not become visible count={missing}").into());
                }
            }
            let asked = Instant::now();
            match self.newest(&seen).await {
                Ok(newest) => {
                    let _ = seen.took.record((asked.elapsed().as_micros() as u64).max(1));
                    if let Some(newest) = newest {
                        self.count(&mut seen, newest + 1, start.elapsed());
                    }
                }
                // There is no table before the first event, and no server after a crash.
                Err(_) => seen.failed += 1,
            }
        }
    }

    /// The newest number that is visible. Rows that cannot have a newer one are left aside: by time of receipt, and by
    /// number, of which files know the largest.
    async fn newest(&self, seen: &Seen) -> client::Result<Option<u64>> {
        let start = self.schedule.start();
        let behind = start.elapsed().saturating_sub(self.schedule.due(seen.newest));
        let sql = format!(
            "SELECT max(number) FROM {} WHERE number >= {} AND \
             eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -{} SECOND)",
            self.dataset,
            seen.newest,
            2 + 2 * behind.as_secs(),
        );
        let (_, rows) = self.client.query(sql).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let newest = rows.first().filter(|rows| rows.num_rows() > 0);
        let newest = newest.and_then(|rows| rows.column(0).as_primitive_opt::<Int64Type>()?.iter().next()?);
        Ok(newest.and_then(|newest| u64::try_from(newest).ok()))
    }

    fn count(&self, seen: &mut Seen, next: u64, now: Duration) {
        let step = (next.saturating_sub(seen.newest) / STEPS).max(1);
        let mut number = seen.newest;
        while number < next {
            let weight = step.min(next - number);
            let due = self.schedule.due(number);
            let late = (now.saturating_sub(due).as_micros() as u64).max(1);
            if due >= self.measured.0 && due < self.measured.1 {
                seen.latency.saturating_record_n(late, weight);
            }
            let second = due.as_secs() as usize;
            if seen.by_second.len() <= second {
                seen.by_second.resize(second + 1, None);
            }
            let of_second = seen.by_second[second].get_or_insert_with(|| {
                Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("bounds in order")
            });
            of_second.saturating_record_n(late, weight);
            number += weight;
        }
        seen.newest = seen.newest.max(next);
    }
}

/// The query of the Sparrow paper, section IV.A.
pub(super) fn paper_query(dataset: &str) -> String {
    format!(
        "SELECT event.clientName, COUNT(event.clientName) AS c FROM `{dataset}` \
         WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -2 MINUTE) \
         GROUP BY event.clientName ORDER BY c DESC LIMIT 10"
    )
}

/// How long a query takes, µs, asked once a second; and the number that its last answer has in a column, summed up.
pub(super) async fn ask(client: &Client, sql: &str, times: u64) -> Result<(Histogram<u64>, i64), Failure> {
    let (mut took, mut sum) = (histogram(), 0);
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..times {
        ticks.tick().await;
        let asked = Instant::now();
        let (_, rows) = client.query(sql).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        took.saturating_record((asked.elapsed().as_micros() as u64).max(1));
        sum = rows.iter().map(last_column_sum).sum();
    }
    Ok((took, sum))
}

fn last_column_sum(rows: &RecordBatch) -> i64 {
    let last = rows.columns().last();
    let numbers = last.and_then(|column| column.as_primitive_opt::<Int64Type>());
    numbers.map_or(0, |numbers| numbers.iter().flatten().sum())
}

/// The integers of a query's first row.
pub(super) async fn numbers(client: &Client, sql: &str) -> Result<Vec<i64>, Failure> {
    let (_, rows) = client.query(sql).await?;
    let rows: Vec<RecordBatch> = rows.try_collect().await?;
    let Some(rows) = rows.iter().find(|rows| rows.num_rows() > 0) else {
        return Ok(Vec::new());
    };
    let first = rows.columns().iter().map(|column| {
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Int64)?;
        Ok(column
            .as_primitive::<Int64Type>()
            .iter()
            .next()
            .flatten()
            .unwrap_or(0))
    });
    first.collect()
}

/// Whether a dataset's numbers 0 to `count` (not included) are all there, each once.
pub(super) async fn check_once(client: &Client, dataset: &str, count: u64) -> Result<(), Failure> {
    let sql = format!("SELECT count(*), min(number), max(number), sum(number) FROM {dataset}");
    let found = numbers(client, &sql).await?;
    let count = count as i64;
    let expected = [count, 0, count - 1, count * (count - 1) / 2];
    if found != expected {
        return Err(format!(
            "not each event once: count, least, largest, sum of numbers found={found:?} expected={expected:?}"
        )
        .into());
    }
    Ok(())
}

/// How long tracers took from their emission to the dataset's job that takes them, µs.
pub(super) async fn tracers(client: &Client) -> Result<Histogram<u64>, Failure> {
    let sql = "SELECT CAST(CAST(processed_at AS TIMESTAMP) AS BIGINT) - CAST(CAST(at AS TIMESTAMP) AS BIGINT) \
               FROM sanderling.tracers WHERE processed_at IS NOT NULL";
    let (_, rows) = client.query(sql).await?;
    let rows: Vec<RecordBatch> = rows.try_collect().await?;
    let mut took = histogram();
    for rows in rows {
        for ns in rows.column(0).as_primitive::<Int64Type>().iter().flatten() {
            took.saturating_record((ns / 1_000).max(1) as u64);
        }
    }
    Ok(took)
}
