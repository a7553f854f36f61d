//! The HTTP door: events in, queries and stores out, health and metrics.

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use flow::JobState;

use crate::server::Parts;

const INDEX: &str = "sanderling

POST /v1/datasets/{dataset}/events   NDJSON or a JSON array of events
POST /v1/query                       SQL; ?format=json|ndjson|csv|arrow
GET  /v1/stores/{job}/{key}          the sum of a job for a key
GET  /health  /ready  /metrics
";

/// All routes of a server.
pub(crate) fn router(parts: &Parts) -> Router {
    let own = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(parts.clone());
    own.merge(aggregator::router(parts.aggregator.clone()))
        .merge(sql::router(parts.engine.clone()))
}

/// 200 when every dataset's job runs, 503 with the names of those that do not.
async fn ready(State(parts): State<Parts>) -> impl IntoResponse {
    let mut down = String::new();
    for dataset in parts.processor.status() {
        let runs = dataset.job.is_some_and(|job| job.state == JobState::Running);
        if !runs {
            let reason = dataset.last_error.unwrap_or_else(|| "starting".to_owned());
            let _ = writeln!(down, "{}: {reason}", dataset.dataset);
        }
    }
    match down.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, down),
    }
}

/// Counters in the text format of Prometheus.
async fn metrics(State(parts): State<Parts>) -> impl IntoResponse {
    let mut text = String::new();
    let received = parts.aggregator.counts();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, u64)>| {
        let _ = writeln!(
            text,
            "# HELP sanderling_{name} {help}\n# TYPE sanderling_{name} {kind}"
        );
        for (dataset, value) in samples {
            let _ = writeln!(text, "sanderling_{name}{{dataset=\"{dataset}\"}} {value}");
        }
    };
    let counts = |of: fn(&aggregator::DatasetCounts) -> u64| {
        received
            .iter()
            .map(|(name, counts)| (name.to_string(), of(counts)))
            .collect::<Vec<_>>()
    };
    family(
        "events_received_total",
        "counter",
        "Events that reached a door.",
        counts(|c| c.events_received),
    );
    family(
        "events_acked_total",
        "counter",
        "Events kept in the queue.",
        counts(|c| c.events_acked),
    );
    family(
        "batches_duplicate_total",
        "counter",
        "Batches sent again that had been kept.",
        counts(|c| c.duplicates),
    );
    family(
        "received_bytes_total",
        "counter",
        "Payload that reached a door.",
        counts(|c| c.bytes),
    );
    let status = parts.processor.status();
    let behind = status
        .iter()
        .map(|dataset| (dataset.dataset.to_string(), dataset.behind_batches))
        .collect();
    family(
        "job_behind_batches",
        "gauge",
        "Batches that the dataset's job has not taken.",
        behind,
    );
    let tables: Vec<_> = parts
        .warehouse
        .tables()
        .iter()
        .map(|table| (table.name().to_owned(), table.stats()))
        .collect();
    let table = |of: fn(&warehouse::TableStats) -> u64| {
        tables
            .iter()
            .map(|(name, stats)| (name.clone(), of(stats)))
            .collect::<Vec<_>>()
    };
    family(
        "table_hot_rows",
        "gauge",
        "Rows in the hot tail.",
        table(|s| s.hot_rows),
    );
    family(
        "table_hot_bytes",
        "gauge",
        "Memory of the hot tail.",
        table(|s| s.hot_bytes),
    );
    family(
        "table_file_rows",
        "gauge",
        "Rows in files.",
        table(|s| s.file_rows),
    );
    family("table_files", "gauge", "Data files.", table(|s| s.files));
    family(
        "table_file_bytes",
        "gauge",
        "Size of the data files.",
        table(|s| s.file_bytes),
    );
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
