//! The datasets: what they are set to be, and how they are doing.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event::DatasetName;
use processor::{ChainStatus, DatasetStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::live::SetBy;
use crate::server::Parts;

/// What was asked cannot be done.
pub(super) struct Refused(StatusCode, &'static str, String);

impl Refused {
    pub(super) fn invalid(error: impl std::fmt::Display) -> Self {
        Self(StatusCode::BAD_REQUEST, "invalid", error.to_string())
    }

    pub(super) fn not_found(error: impl std::fmt::Display) -> Self {
        Self(StatusCode::NOT_FOUND, "not_found", error.to_string())
    }

    fn retry(error: impl std::fmt::Display) -> Self {
        Self(StatusCode::SERVICE_UNAVAILABLE, "retry", error.to_string())
    }

    pub(super) fn of_processor(error: processor::Error) -> Self {
        match error.kind() {
            processor::ErrorKind::NotFound => Self::not_found(error),
            processor::ErrorKind::Invalid => Self::invalid(error),
            _ => Self::retry(error),
        }
    }

    pub(super) fn of_warehouse(error: warehouse::Error) -> Self {
        match error.kind() {
            warehouse::ErrorKind::NotFound => Self::not_found(error),
            warehouse::ErrorKind::Invalid => Self::invalid(error),
            _ => Self::retry(error),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, kind, message) = self;
        (status, Json(json!({"error": {"kind": kind, "message": message}}))).into_response()
    }
}

/// All datasets that are set or have events, by name.
pub(super) async fn list(State(parts): State<Parts>) -> Json<Vec<Value>> {
    let jobs = parts.processor.status();
    let settings = parts.live.now();
    let names = settings
        .datasets
        .keys()
        .chain(jobs.iter().map(|job| &job.dataset));
    let names: BTreeSet<&DatasetName> = names.collect();
    let one = |name: &&DatasetName| {
        let job = jobs.iter().find(|job| job.dataset == **name);
        described(&parts, name, job)
    };
    Json(names.iter().map(one).collect())
}

/// One of them.
pub(super) async fn show(
    State(parts): State<Parts>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Refused> {
    let name: DatasetName = name.parse().map_err(Refused::invalid)?;
    let jobs = parts.processor.status();
    let job = jobs.iter().find(|job| job.dataset == name);
    if job.is_none() && parts.live.set_by(&name).is_none() {
        return Err(Refused::not_found(format_args!(
            "no such dataset, send it an event first or set it with PUT dataset={name}"
        )));
    }
    let mut described = described(&parts, &name, job);
    described["settings"] = match parts.live.set_by(&name) {
        Some((_, Some(text))) => shown(toml::from_str(&text).map_err(Refused::invalid)?),
        _ => Value::Null,
    };
    if let Some(table) = parts.warehouse.table(name.as_str()) {
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| {
            json!({"name": field.name(), "type": field.data_type().to_string(), "nullable": field.is_nullable()})
        });
        described["columns"] = columns.collect();
    }
    Ok(Json(described))
}

fn described(parts: &Parts, name: &DatasetName, job: Option<&DatasetStatus>) -> Value {
    let table = parts.warehouse.table(name.as_str()).map(|table| table.stats());
    let failed = parts.warehouse.table(&name.failed()).map(|table| table.stats());
    json!({
        "dataset": name,
        "set_by": parts.live.set_by(name).map(|(by, _): (SetBy, _)| by),
        "state": job.map(super::jobs::state),
        "last_error": job.and_then(|job| job.last_error.as_deref()),
        "behind_batches": job.map(|job| job.behind_batches),
        "chain": job.and_then(|job| job.chain.as_ref()).map(chain),
        "insert": job.and_then(|job| job.insert.as_ref()).map(|insert| {
            json!({"window_seconds": insert.window.map(|window| window.as_secs_f64()), "reason": insert.reason})
        }),
        "rows": table.as_ref().map(|table| table.hot_rows + table.file_rows),
        "failed_rows": failed.as_ref().map(|table| table.hot_rows + table.file_rows),
        "files": table.as_ref().map(|table| table.files),
        "file_bytes": table.as_ref().map(|table| table.file_bytes),
    })
}

fn chain(chain: &ChainStatus) -> Value {
    let steps = chain.steps.iter().map(|step| {
        json!({
            "name": step.name,
            "rows_in": step.rows_in,
            "rows_out": step.rows_out,
            "rejects": step.rejects,
            "calls": step.calls,
            "broken_calls": step.broken_calls,
            "stuck_calls": step.stuck_calls,
            "seconds": step.time.as_secs_f64(),
            "last_error": step.last_error,
        })
    });
    json!({"version": chain.version, "steps": steps.collect::<Vec<_>>()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Put {
    #[serde(default)]
    dry_run: bool,
}

/// Sets one of them, as its section of the settings file would. The body is TOML, or with
/// `Content-Type: application/json` an object of the same keys.
pub(super) async fn put(
    State(parts): State<Parts>,
    Path(name): Path<String>,
    Query(put): Query<Put>,
    headers: HeaderMap,
    body: String,
) -> Result<Json<Value>, Refused> {
    let name: DatasetName = name.parse().map_err(Refused::invalid)?;
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let text = match kind {
        Some(kind) if kind.starts_with("application/json") => {
            let body = serde_json::from_str(&body).map_err(|error| {
                Refused::invalid(format_args!("the body is not a JSON object of settings: {error}"))
            })?;
            as_toml(body)?
        }
        _ => body,
    };
    let changed = parts.live.put(&name, &text, put.dry_run, &parts.processor).await;
    let changed = changed.map_err(Refused::invalid)?;
    Ok(Json(
        json!({"dataset": name, "changed": !changed.is_empty(), "dry_run": put.dry_run}),
    ))
}

/// Settings for whoever may read: what components are given may be a secret.
fn shown(mut settings: Value) -> Value {
    let steps = settings.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        if let Some(text) = step.get_mut("settings") {
            *text = Value::String("***".to_owned());
        }
    }
    settings
}

/// Settings as they would stand in the file.
pub(super) fn as_toml(settings: Value) -> Result<String, Refused> {
    toml::to_string(&settings)
        .map_err(|error| Refused::invalid(format_args!("settings are an object without nulls: {error}")))
}
