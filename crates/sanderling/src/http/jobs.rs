//! The datasets' jobs: how they are doing, and their graphs. What is said of workers is as old as a second.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use flow::JobState;
use processor::{DatasetStatus, Processor};
use serde::{Deserialize, Serialize};
use sql::SystemTable;

use crate::server::Parts;

/// One line of the list.
#[derive(Serialize)]
pub(super) struct Listed {
    dataset: String,
    /// `starting` while there is none.
    state: &'static str,
    epochs: u64,
    elements: u64,
    behind_batches: u64,
    /// For how long the oldest of them has been there.
    lag_seconds: f64,
    tier: &'static str,
    workers: usize,
    workers_wanted: usize,
    workers_reason: String,
    last_error: Option<String>,
}

/// All of them, by dataset.
pub(super) async fn list(State(parts): State<Parts>) -> Json<Vec<Listed>> {
    let listed = parts.processor.status().into_iter().map(|status| Listed {
        dataset: status.dataset.to_string(),
        state: state(&status),
        epochs: status.job.as_ref().map_or(0, |job| job.epochs),
        elements: status.job.as_ref().map_or(0, |job| job.elements),
        behind_batches: status.behind_batches,
        lag_seconds: status.scale.lag_age.as_secs_f64(),
        tier: status.scale.tier.as_str(),
        workers: status.scale.workers,
        workers_wanted: status.scale.wanted,
        workers_reason: status.scale.reason.to_string(),
        last_error: status.last_error,
    });
    Json(listed.collect())
}

/// The same as the table `sanderling.jobs`.
pub(crate) fn table(processor: Processor) -> SystemTable {
    let rows = move || {
        let jobs = processor.status();
        let texts = |of: &dyn Fn(&DatasetStatus) -> Option<String>| -> ArrayRef {
            Arc::new(jobs.iter().map(of).collect::<StringArray>())
        };
        let numbers = |of: &dyn Fn(&DatasetStatus) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(jobs.iter().map(of)))
        };
        RecordBatch::try_from_iter_with_nullable([
            ("dataset", texts(&|job| Some(job.dataset.to_string())), false),
            ("state", texts(&|job| Some(state(job).to_owned())), false),
            (
                "epochs",
                numbers(&|job| job.job.as_ref().map_or(0, |job| job.epochs)),
                false,
            ),
            (
                "elements",
                numbers(&|job| job.job.as_ref().map_or(0, |job| job.elements)),
                false,
            ),
            ("behind_batches", numbers(&|job| job.behind_batches), false),
            ("last_error", texts(&|job| job.last_error.clone()), true),
        ])
    };
    SystemTable {
        name: "jobs",
        rows: Arc::new(rows),
    }
}

/// A word for how a dataset's job is doing.
pub(super) fn state(status: &DatasetStatus) -> &'static str {
    status.job.as_ref().map_or("starting", |job| word(job.state))
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Waiting => "waiting",
        JobState::Ended => "ended",
        JobState::Stopped => "stopped",
        JobState::Failed => "failed",
        _ => "unknown",
    }
}

#[derive(Deserialize)]
pub(super) struct Drawn {
    #[serde(default)]
    format: Drawing,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Drawing {
    #[default]
    Dot,
    Mermaid,
}

/// One of them.
pub(super) async fn graph(
    State(parts): State<Parts>,
    Path(dataset): Path<String>,
    Query(drawn): Query<Drawn>,
) -> Result<String, (StatusCode, String)> {
    let jobs = parts.processor.status();
    let Some(found) = jobs.iter().find(|status| status.dataset.as_str() == dataset) else {
        let known: Vec<&str> = jobs.iter().map(|status| status.dataset.as_str()).collect();
        let text = format!(
            "no such dataset, there are {} dataset={dataset:?}\n",
            known.join(" ")
        );
        return Err((StatusCode::NOT_FOUND, text));
    };
    let Some(graph) = &found.graph else {
        let text = format!("the job is being started, try again dataset={dataset}\n");
        return Err((StatusCode::SERVICE_UNAVAILABLE, text));
    };
    Ok(match drawn.format {
        Drawing::Dot => graph.to_dot(),
        Drawing::Mermaid => graph.to_mermaid(),
    })
}
