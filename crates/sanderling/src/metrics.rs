//! Counters and gauges in the text format of Prometheus, each by dataset or table.

use std::collections::BTreeMap;
use std::fmt::Write;

use aggregator::{DatasetCounts, Relay, RelayCounts};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use event::DatasetName;
use hdrhistogram::Histogram;
use warehouse::TableStats;

use crate::entrance::Entrance;
use crate::retention::RetentionCounts;
use crate::server::Parts;

/// Name, kind, help, and where the value comes from.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

const OF_DOORS: [Metric<DatasetCounts>; 6] = [
    (
        "events_received_total",
        "counter",
        "Events that reached a door.",
        |counts| counts.events_received,
    ),
    (
        "events_acked_total",
        "counter",
        "Events kept in the queue.",
        |counts| counts.events_acked,
    ),
    (
        "batches_duplicate_total",
        "counter",
        "Batches sent again that had been kept.",
        |counts| counts.duplicates,
    ),
    (
        "events_rejected_total",
        "counter",
        "Events that were refused, or found malformed at a door.",
        |counts| counts.rejected,
    ),
    (
        "events_lost_total",
        "counter",
        "Events acked as in memory that the queue then did not keep.",
        |counts| counts.lost,
    ),
    (
        "received_bytes_total",
        "counter",
        "Payload that reached a door.",
        |counts| counts.bytes,
    ),
];

const OF_QUEUE: [Metric<RetentionCounts>; 2] = [
    (
        "queue_deleted_batches_total",
        "counter",
        "Batches that retention deleted.",
        |counts| counts.batches,
    ),
    (
        "queue_deleted_bytes_total",
        "counter",
        "Bytes of segments that retention deleted.",
        |counts| counts.bytes,
    ),
];

const OF_RELAY: [Metric<RelayCounts>; 8] = [
    (
        "relay_forwarded_batches_total",
        "counter",
        "Batches that the upstream acked at once.",
        |counts| counts.forwarded_batches,
    ),
    (
        "relay_spooled_batches_total",
        "counter",
        "Batches put into the spool.",
        |counts| counts.spooled_batches,
    ),
    (
        "relay_replayed_batches_total",
        "counter",
        "Batches of the spool that the upstream acked.",
        |counts| counts.replayed_batches,
    ),
    (
        "relay_refused_batches_total",
        "counter",
        "Batches of the spool that the upstream will never take.",
        |counts| counts.refused_batches,
    ),
    (
        "relay_failures_total",
        "counter",
        "Streams to an upstream that failed.",
        |counts| counts.failures,
    ),
    (
        "relay_waiting_batches",
        "gauge",
        "Batches in the spool that the upstream does not have.",
        |counts| counts.waiting_batches,
    ),
    (
        "relay_blocked_emitters",
        "gauge",
        "Emitters whose spooled batches wait for earlier ones that the upstream does not have.",
        |counts| counts.blocked_emitters,
    ),
    (
        "relay_disk_bytes",
        "gauge",
        "What the spool takes of the disk.",
        |counts| counts.disk_bytes,
    ),
];

const OF_TABLES: [Metric<TableStats>; 10] = [
    ("table_hot_rows", "gauge", "Rows in the hot tail.", |stats| {
        stats.hot_rows
    }),
    ("table_hot_bytes", "gauge", "Memory of the hot tail.", |stats| {
        stats.hot_bytes
    }),
    ("table_file_rows", "gauge", "Rows in files.", |stats| {
        stats.file_rows
    }),
    ("table_files", "gauge", "Data files.", |stats| stats.files),
    ("table_file_bytes", "gauge", "Size of the data files.", |stats| {
        stats.file_bytes
    }),
    (
        "table_compactions_total",
        "counter",
        "Compactions of data files.",
        |stats| stats.maintenance.compactions,
    ),
    (
        "table_rewritten_bytes_total",
        "counter",
        "Size of the data files that compactions and deletions wrote.",
        |stats| stats.maintenance.bytes_rewritten,
    ),
    (
        "table_deleted_rows_total",
        "counter",
        "Rows that were deleted, by predicate or for their age.",
        |stats| stats.maintenance.rows_deleted,
    ),
    (
        "table_vacuumed_files_total",
        "counter",
        "Data files that no version needed and that were deleted.",
        |stats| stats.maintenance.files_vacuumed,
    ),
    (
        "table_vacuumed_bytes_total",
        "counter",
        "Size of the data files that were deleted.",
        |stats| stats.maintenance.bytes_vacuumed,
    ),
];

/// Of a dataset's job: name, help, value.
type OfJob = (&'static str, &'static str, fn(&processor::DatasetStatus) -> u64);

const OF_JOBS: [OfJob; 5] = [
    (
        "job_behind_batches",
        "Batches that the dataset's job has not taken.",
        |job| job.behind_batches,
    ),
    (
        "job_lag_seconds",
        "For how long the oldest of them has been there, in whole seconds.",
        |job| job.scale.lag_age.as_secs(),
    ),
    (
        "job_workers",
        "Threads that the job's functions may use.",
        |job| job.scale.workers as u64,
    ),
    (
        "job_workers_wanted",
        "Threads that it wants; 0 while it has nothing to do.",
        |job| job.scale.wanted as u64,
    ),
    (
        "job_stuck",
        "Whether one of its functions does not come back.",
        |job| u64::from(job.scale.is_stuck),
    ),
];

/// Upper bounds of the histogram `visible_seconds`, in ms.
const VISIBLE_MS: [u64; 30] = [
    1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000,
    10_000, 20_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
];

/// `GET /metrics`.
pub(crate) async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let mut text = String::new();
    of_doors(&mut text, &parts.entrance);
    let retained = parts.retainer.counts();
    for (name, kind, help, value) in OF_QUEUE {
        family(
            &mut text,
            (name, kind, help),
            retained
                .iter()
                .map(|(name, counts)| (name.as_str(), value(counts))),
        );
    }
    held(&mut text, &retained);
    let jobs = parts.processor.status();
    for (name, help, value) in OF_JOBS {
        let samples = jobs.iter().map(|job| (job.dataset.as_str(), value(job)));
        family(&mut text, (name, "gauge", help), samples);
    }
    let seen = jobs.iter().filter_map(|job| {
        let seen = parts.processor.visibility(&job.dataset)?.so_far()?;
        Some((&job.dataset, seen))
    });
    visible(&mut text, seen);
    let tables: Vec<_> = parts
        .warehouse
        .tables()
        .into_iter()
        .map(|table| (table.stats(), table))
        .collect();
    for (name, kind, help, value) in OF_TABLES {
        family(
            &mut text,
            (name, kind, help),
            tables.iter().map(|(stats, table)| (table.name(), value(stats))),
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// `GET /metrics` of an edge.
pub(crate) fn of_edge(entrance: &Entrance, relay: &Relay) -> impl IntoResponse + use<> {
    let mut text = String::new();
    of_doors(&mut text, entrance);
    let counts = relay.counts();
    for (name, kind, help, value) in OF_RELAY {
        let samples = counts.iter().map(|(name, counts)| (name.as_str(), value(counts)));
        family(&mut text, (name, kind, help), samples);
    }
    let about = ("relay_state", "gauge", "What becomes of a dataset's batches now.");
    family(&mut text, about, std::iter::empty());
    for (dataset, counts) in &counts {
        let state = counts.state.as_str();
        let _ = writeln!(
            text,
            "sanderling_relay_state{{dataset=\"{dataset}\",state=\"{state}\"}} 1"
        );
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

fn of_doors(text: &mut String, entrance: &Entrance) {
    let doors = entrance.aggregator.counts();
    for (name, kind, help, value) in OF_DOORS {
        let samples = doors.iter().map(|(name, counts)| (name.as_str(), value(counts)));
        family(text, (name, kind, help), samples);
    }
    let denied = entrance.access.denied();
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "# HELP sanderling_doors_memory_bytes Bodies and batches without an ack.\n\
         # TYPE sanderling_doors_memory_bytes gauge\n\
         sanderling_doors_memory_bytes {}\n\
         # HELP sanderling_denied_total Requests that were not let in.\n\
         # TYPE sanderling_denied_total counter\n\
         sanderling_denied_total{{reason=\"unknown\"}} {}\n\
         sanderling_denied_total{{reason=\"scope\"}} {}",
        entrance.aggregator.memory_bytes(),
        denied.unknown,
        denied.beyond_scope,
    );
}

/// What stays in the queue though it is due, by dataset and consumer.
fn held(text: &mut String, retained: &BTreeMap<DatasetName, RetentionCounts>) {
    let about = (
        "queue_held_batches",
        "gauge",
        "Batches that are due for deletion, but that a consumer has yet to take.",
    );
    family(text, about, std::iter::empty());
    for (dataset, counts) in retained {
        for (consumer, batches) in &counts.held {
            let labels = format_args!("dataset=\"{dataset}\",consumer=\"{consumer}\"");
            let _ = writeln!(text, "sanderling_queue_held_batches{{{labels}}} {batches}");
        }
    }
}

/// From the emission of a batch's oldest event to its rows being visible in SQL. The buckets are true to 1 %.
fn visible<'a>(text: &mut String, seen: impl Iterator<Item = (&'a DatasetName, Histogram<u64>)>) {
    let help = "Time from the emission of a batch's oldest event to its rows being visible in SQL, by rows.";
    family(text, ("visible_seconds", "histogram", help), std::iter::empty());
    for (dataset, seen) in seen {
        let mut recorded = seen.iter_recorded().peekable();
        let mut count = 0;
        for ms in VISIBLE_MS {
            while let Some(value) = recorded.next_if(|value| value.value_iterated_to() <= ms * 1_010) {
                count += value.count_since_last_iteration();
            }
            let le = ms as f64 / 1e3;
            let _ = writeln!(
                text,
                "sanderling_visible_seconds_bucket{{dataset=\"{dataset}\",le=\"{le}\"}} {count}"
            );
        }
        let (rows, seconds) = (seen.len(), seen.mean() * seen.len() as f64 / 1e6);
        let _ = writeln!(
            text,
            "sanderling_visible_seconds_bucket{{dataset=\"{dataset}\",le=\"+Inf\"}} {rows}\n\
             sanderling_visible_seconds_sum{{dataset=\"{dataset}\"}} {seconds}\n\
             sanderling_visible_seconds_count{{dataset=\"{dataset}\"}} {rows}"
        );
    }
}

/// One metric with a sample for each dataset. Names of datasets need no escaping.
fn family<'a>(
    text: &mut String,
    (name, kind, help): (&str, &str, &str),
    samples: impl Iterator<Item = (&'a str, u64)>,
) {
    // Writing to a string does not fail.
    let _ = writeln!(
        text,
        "# HELP sanderling_{name} {help}\n# TYPE sanderling_{name} {kind}"
    );
    for (dataset, value) in samples {
        let _ = writeln!(text, "sanderling_{name}{{dataset=\"{dataset}\"}} {value}");
    }
}
