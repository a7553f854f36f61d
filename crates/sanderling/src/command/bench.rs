//! `sanderling bench`: the way from `emit` to visible in SQL, measured on this machine.
//!
//! Server, client, load generator and the polling query share one process and its cores; events go over TCP, acks
//! are durable, rows are exactly-once. Arrivals are open-loop: event `n` is due at `start + n / rate`, and its
//! latency counts from then, also when the generator is late.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use client::{Client, ClientOptions};
use event::DatasetName;
use futures::TryStreamExt;
use hdrhistogram::Histogram;
use sanderling::generator::Generator;
use sanderling::{Server, Settings};
use serde::Serialize;

use super::Failure;

const DATASET: &str = "user_behavior_events";
const TICK: Duration = Duration::from_millis(1);
/// How long the last events may take to become visible when the emitting has ended.
const TAIL_WAIT_MAX: Duration = Duration::from_secs(30);
const POLL_EVERY: Duration = Duration::from_millis(2);

/// Measure the way from emit to visible in SQL on this machine, at one or more rates.
#[derive(clap::Args)]
#[command(after_help = "Example: sanderling bench --rate 10000 --rate 500000 --rate 5000000 --seconds 30")]
pub(crate) struct Bench {
    /// Events a minute; may be given several times.
    #[arg(long = "rate", default_values_t = [10_000, 500_000, 5_000_000])]
    rates: Vec<u64>,
    /// How long each rate is measured.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// How long each rate runs before it is measured.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
    /// Folder for the data, made and removed for each rate; on the disk to be measured.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object a rate instead of lines.
    #[arg(long)]
    json: bool,
}

/// What was measured at one rate. Latencies are in milliseconds.
#[derive(Serialize)]
struct Row {
    rate_per_minute: u64,
    seconds: f64,
    events: u64,
    acked_per_second: f64,
    /// From due to seen by a polling query, which adds its own time.
    query_p50_ms: f64,
    query_p99_ms: f64,
    query_max_ms: f64,
    /// From a batch's oldest emit to the swap that makes it visible.
    visible_p50_ms: f64,
    visible_p99_ms: f64,
    ack_p50_ms: f64,
    ack_p99_ms: f64,
    /// User and system time of the whole process.
    cpu_ns_per_event: f64,
    /// Share of the machine's time that the hypervisor took.
    steal_percent: f64,
}

impl Bench {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let base = self.data_dir.clone().unwrap_or_else(std::env::temp_dir);
        for rate in &self.rates {
            let folder = base.join(format!("sanderling-bench-{}-{rate}", std::process::id()));
            std::fs::create_dir_all(&folder)?;
            let row = self.measure(*rate, folder.clone()).await;
            std::fs::remove_dir_all(&folder)?;
            let row = row?;
            if self.json {
                println!("{}", serde_json::to_string(&row)?);
            } else {
                println!(
                    "{:>9}/min  acked {:>8.0}/s  emit→query p50 {:>6.1} p99 {:>6.1} max {:>6.1} ms  emit→visible p50 {:>5.1} p99 {:>5.1} ms  ack p50 {:>5.1} p99 {:>5.1} ms  {:>6.0} ns CPU/event  steal {:.1} %",
                    row.rate_per_minute,
                    row.acked_per_second,
                    row.query_p50_ms,
                    row.query_p99_ms,
                    row.query_max_ms,
                    row.visible_p50_ms,
                    row.visible_p99_ms,
                    row.ack_p50_ms,
                    row.ack_p99_ms,
                    row.cpu_ns_per_event,
                    row.steal_percent,
                );
            }
        }
        Ok(())
    }

    async fn measure(&self, rate: u64, data_dir: PathBuf) -> Result<Row, Failure> {
        let any = "127.0.0.1:0".parse().map_err(|_| "not an address".to_owned())?;
        let settings = Settings {
            data_dir,
            http: any,
            flight: any,
            postgres: any,
            ..Settings::default()
        };
        let server = Server::start(settings).await?;
        let client = Client::connect(ClientOptions::new(format!("http://{}", server.flight())))?;
        let schedule = Arc::new(Schedule::new(rate));
        let total = Duration::from_secs(self.warm_up + self.seconds);
        let emitting = tokio::spawn(emit(client.clone(), schedule.clone(), total));
        let polling = tokio::spawn(poll(
            client.clone(),
            schedule.clone(),
            Duration::from_secs(self.warm_up),
        ));

        tokio::time::sleep(Duration::from_secs(self.warm_up)).await;
        let dataset: DatasetName = DATASET.parse().map_err(|error: event::Error| error.to_string())?;
        let visibility = server
            .processor()
            .visibility(&dataset)
            .ok_or("no event became visible while warming up".to_owned())?;
        visibility.take();
        let (usage, acked, measured) = (Usage::now()?, client.stats().acked, Instant::now());
        emitting.await.map_err(|error| error.to_string())??;
        client.flush().await?;
        let seconds = measured.elapsed().as_secs_f64();
        let used = usage.since()?;
        let events = client.stats().acked - acked;
        let queried = polling.await.map_err(|error| error.to_string())??;
        let (visible, ack) = (visibility.take(), client.stats().ack_latency);
        client.close().await?;
        server.shutdown().await?;
        let ms = |us: u64| us as f64 / 1_000.0;
        Ok(Row {
            rate_per_minute: rate,
            seconds,
            events,
            acked_per_second: events as f64 / seconds,
            query_p50_ms: ms(queried.value_at_quantile(0.5)),
            query_p99_ms: ms(queried.value_at_quantile(0.99)),
            query_max_ms: ms(queried.max()),
            visible_p50_ms: ms(visible.value_at_quantile(0.5)),
            visible_p99_ms: ms(visible.value_at_quantile(0.99)),
            ack_p50_ms: ack.quantile(0.5).as_secs_f64() * 1_000.0,
            ack_p99_ms: ack.quantile(0.99).as_secs_f64() * 1_000.0,
            cpu_ns_per_event: used.cpu.as_nanos() as f64 / events.max(1) as f64,
            steal_percent: used.steal_percent,
        })
    }
}

/// When each event is due, and how many have been emitted.
struct Schedule {
    start: Instant,
    per_second: f64,
    emitted: AtomicU64,
    done: AtomicU64,
}

impl Schedule {
    fn new(rate_per_minute: u64) -> Self {
        let per_second = rate_per_minute.max(1) as f64 / 60.0;
        Self {
            start: Instant::now(),
            per_second,
            emitted: AtomicU64::new(0),
            done: AtomicU64::new(0),
        }
    }

    fn due_by(&self, now: Instant) -> u64 {
        (now.duration_since(self.start).as_secs_f64() * self.per_second) as u64
    }

    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / self.per_second)
    }
}

async fn emit(client: Client, schedule: Arc<Schedule>, total: Duration) -> client::Result<()> {
    let dataset = client.dataset(DATASET)?;
    let mut generator = Generator::new(1, 1_000);
    let mut ticks = tokio::time::interval(TICK);
    let mut emitted = 0;
    while schedule.start.elapsed() < total {
        ticks.tick().await;
        let due = schedule.due_by(Instant::now());
        while emitted < due {
            dataset.emit_wait(&generator.event()).await?;
            emitted += 1;
        }
        schedule.emitted.store(emitted, Ordering::Release);
    }
    schedule.done.store(emitted, Ordering::Release);
    Ok(())
}

/// Asks again and again up to which number events are visible, until the last one is; the histogram holds, in
/// µs, how long after it was due each event of the measured time was seen.
async fn poll(client: Client, schedule: Arc<Schedule>, warm_up: Duration) -> Result<Histogram<u64>, Failure> {
    let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).map_err(|error| error.to_string())?;
    let first_measured = schedule.due_by(schedule.start + warm_up);
    let (mut seen, mut ended) = (0u64, None);
    loop {
        let done = schedule.done.load(Ordering::Acquire);
        if done > 0 {
            let ended: &mut Instant = ended.get_or_insert_with(Instant::now);
            if seen >= done {
                return Ok(histogram);
            }
            if ended.elapsed() > TAIL_WAIT_MAX {
                return Err(format!("{} events did not become visible", done - seen).into());
            }
        }
        if let Some(newest) = newest_visible(&client).await? {
            let now = Instant::now();
            let next = newest + 1;
            // A step per event up to a thousand, then equal steps: enough for three digits of a quantile.
            let step = ((next - seen.min(next)) / 1_000).max(1);
            let mut number = seen.max(first_measured);
            while number < next {
                let weight = step.min(next - number);
                let late = now.saturating_duration_since(schedule.due(number)).as_micros() as u64;
                histogram.saturating_record_n(late.max(1), weight);
                number += step;
            }
            seen = seen.max(next);
        }
        tokio::time::sleep(POLL_EVERY).await;
    }
}

async fn newest_visible(client: &Client) -> Result<Option<u64>, Failure> {
    let sql = format!(
        "SELECT max(number) FROM {DATASET} WHERE eventReceivedTime > TIMESTAMP_ADD(CURRENT_TIMESTAMP(), INTERVAL -10 SECOND)"
    );
    let Ok((_, rows)) = client.query(sql).await else {
        return Ok(None);
    }; // no event has made the table yet
    let rows: Vec<_> = rows.try_collect().await?;
    let newest = rows
        .first()
        .and_then(|rows| rows.column(0).as_primitive::<Int64Type>().iter().next().flatten());
    Ok(newest.and_then(|newest| u64::try_from(newest).ok()))
}

/// Time used by this process, and taken by the hypervisor.
struct Usage {
    cpu: Duration,
    steal_ticks: u64,
    all_ticks: u64,
}

struct Used {
    cpu: Duration,
    steal_percent: f64,
}

impl Usage {
    /// From `/proc`, whose ticks are 10 ms.
    fn now() -> std::io::Result<Self> {
        let own = std::fs::read_to_string("/proc/self/stat")?;
        // utime and stime are fields 14 and 15; the name in parentheses may hold spaces.
        let own: Vec<u64> = own
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        let all = std::fs::read_to_string("/proc/stat")?;
        let all: Vec<u64> = all
            .lines()
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|ticks| ticks.parse().ok())
            .collect();
        Ok(Self {
            cpu: Duration::from_millis(own.iter().sum::<u64>() * 10),
            steal_ticks: all.get(7).copied().unwrap_or(0),
            all_ticks: all.iter().take(8).sum(),
        })
    }

    fn since(&self) -> std::io::Result<Used> {
        let now = Self::now()?;
        let all = now.all_ticks.saturating_sub(self.all_ticks).max(1);
        Ok(Used {
            cpu: now.cpu.saturating_sub(self.cpu),
            steal_percent: now.steal_ticks.saturating_sub(self.steal_ticks) as f64 * 100.0 / all as f64,
        })
    }
}
