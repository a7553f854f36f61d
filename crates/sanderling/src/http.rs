//! The HTTP door: events in, queries and stores out, health and metrics.

mod datasets;
pub(crate) mod jobs;
mod rows;
mod statements;

use std::fmt::Write;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use flow::JobState;

use crate::metrics::metrics;
use crate::server::Parts;

const INDEX: &str = "sanderling

POST /v1/datasets/{dataset}/events   NDJSON or a JSON array of events
POST /v1/cloudevents                 CloudEvents: binary, structured, batched
POST /v1/{track,identify,page,screen,group,alias,batch}   Segment's calls
POST /v1/logs                        OTLP logs, JSON or protobuf
POST /v1/query                       SQL; ?format=json|ndjson|csv|arrow
POST /v1/statements                  CREATE DATASET …, DELETE FROM …
GET  /v1/queries                     those that run; DELETE /v1/queries/{id} ends one
GET  /v1/stores/{job}/{key}          the sum of a job for a key
GET  /v1/datasets                    the datasets: state, chain, rows
GET  /v1/datasets/{dataset}          one of them, with its columns; PUT sets it: TOML or JSON, ?dry_run=true
GET  /v1/datasets/{dataset}/tap      its events live; ?at=decoded|before:<step>|after:<step>|inserted|rejected
POST /v1/datasets/{dataset}/replay   its rejected events again
POST /v1/datasets/{dataset}/delete   {\"where\": \"…\"}: deletes rows
GET  /v1/jobs                        the jobs of the datasets
GET  /v1/jobs/{dataset}/graph        a job's graph with its counts; ?format=dot|mermaid
GET  /health  /ready  /metrics
";

/// All routes of a server.
pub(crate) fn router(parts: &Parts) -> Router {
    let own = Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/health", get(|| async { "ok\n" }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/datasets", get(datasets::list))
        .route("/v1/datasets/{dataset}", get(datasets::show).put(datasets::put))
        .route("/v1/statements", post(statements::run))
        .route("/v1/datasets/{dataset}/tap", get(rows::tap))
        .route("/v1/datasets/{dataset}/replay", post(rows::replay))
        .route("/v1/datasets/{dataset}/delete", post(rows::delete))
        .route("/v1/jobs", get(jobs::list))
        .route("/v1/jobs/{dataset}/graph", get(jobs::graph))
        .with_state(parts.clone());
    own.merge(aggregator::router(parts.entrance.aggregator.clone()))
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
