//! Tracers: rows about a client's datasets that travel with the others (Sparrow paper, section VI).

use std::collections::HashMap;
use std::sync::Weak;

use event::{DatasetName, EmitterId};
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};

use crate::client::Inner;
use crate::{Client, DatasetStats, Times};

/// The dataset of the tracers. Its rows are sent at best effort, and no flush waits for them.
pub(crate) const DATASET: &str = "sanderling_tracers";

/// One row. Counts are since the client was made; rates and times are of the time since the tracer before.
#[derive(Debug, Serialize)]
struct Tracer<'a> {
    host: Option<&'a str>,
    process: u32,
    emitter: EmitterId,
    dataset: &'a str,
    at: Timestamp,
    /// Counts the tracers of this dataset and emitter: 0, 1, 2 …
    sequence: u64,
    events: u64,
    bytes: u64,
    acked: u64,
    dropped: u64,
    events_per_second: f64,
    /// Half of the batches took no longer from their first event to their sealing.
    batch_generation_ms: Option<f64>,
    /// Half of the batches took no longer from their oldest event to their ack.
    ack_ms: Option<f64>,
}

/// What was known of a dataset at its last tracer.
struct Before {
    stats: DatasetStats,
    at: Instant,
    sequence: u64,
}

/// Emits a tracer for each dataset, as often as the options say, until the client is closed or dropped.
pub(crate) async fn run(client: Weak<Inner>) {
    let Some(every) = client.upgrade().and_then(|inner| inner.options.tracers) else {
        return;
    };
    let host = host().await;
    let mut before = HashMap::new();
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = client.upgrade() else { return };
        if trace(&Client { inner }, host.as_deref(), &mut before).is_err() {
            return;
        }
    }
}

fn trace(
    client: &Client,
    host: Option<&str>,
    before: &mut HashMap<DatasetName, Before>,
) -> crate::Result<()> {
    let tracers = client.tracers()?;
    let at = Instant::now();
    for (name, stats) in client.dataset_stats() {
        if name.as_str() == DATASET {
            continue;
        }
        let last = before.remove(&name);
        let earlier = last.as_ref().map(|last| &last.stats);
        let seconds = last.as_ref().map(|last| (at - last.at).as_secs_f64());
        let events = stats.emitted - earlier.map_or(0, |earlier| earlier.emitted);
        let sequence = last.as_ref().map_or(0, |last| last.sequence + 1);
        let tracer = Tracer {
            host,
            process: std::process::id(),
            emitter: client.emitter(),
            dataset: name.as_str(),
            at: (client.inner.options.clock)(),
            sequence,
            events: stats.emitted,
            bytes: stats.bytes,
            acked: stats.acked,
            dropped: stats.dropped.total(),
            events_per_second: events as f64 / seconds.unwrap_or_else(|| client.age().as_secs_f64()),
            batch_generation_ms: half_ms(&stats.batch_time, earlier.map(|earlier| &earlier.batch_time)),
            ack_ms: half_ms(&stats.ack_latency, earlier.map(|earlier| &earlier.ack_latency)),
        };
        // A full buffer drops it, and counts it there.
        tracers.emit(&tracer)?;
        before.insert(name, Before { stats, at, sequence });
    }
    Ok(())
}

/// The median of the times since, if there were any.
fn half_ms(now: &Times, earlier: Option<&Times>) -> Option<f64> {
    let since = earlier.map_or_else(|| now.clone(), |earlier| now.since(earlier));
    (since.count() > 0).then(|| since.quantile(0.5).as_secs_f64() * 1e3)
}

/// The name of this machine, where the system tells it in a file.
async fn host() -> Option<String> {
    let name = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await;
    name.ok().map(|name| name.trim().to_owned())
}
