//! Counters and gauges in the text format of Prometheus, each by dataset or table.

use std::collections::BTreeMap;
use std::fmt::Write;

use aggregator::DatasetCounts;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use event::DatasetName;
use warehouse::TableStats;

use crate::retention::RetentionCounts;
use crate::server::Parts;

/// Name, kind, help, and where the value comes from.
type Metric<T> = (&'static str, &'static str, &'static str, fn(&T) -> u64);

const OF_DOORS: [Metric<DatasetCounts>; 4] = [
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

const OF_TABLES: [Metric<TableStats>; 5] = [
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
];

/// `GET /metrics`.
pub(crate) async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let mut text = String::new();
    let doors = parts.aggregator.counts();
    for (name, kind, help, value) in OF_DOORS {
        family(
            &mut text,
            (name, kind, help),
            doors.iter().map(|(name, counts)| (name.as_str(), value(counts))),
        );
    }
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
    let behind = (
        "job_behind_batches",
        "gauge",
        "Batches that the dataset's job has not taken.",
    );
    family(
        &mut text,
        behind,
        jobs.iter().map(|job| (job.dataset.as_str(), job.behind_batches)),
    );
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
