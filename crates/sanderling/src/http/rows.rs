//! A dataset's rows: seen live, sent again, deleted.

use std::sync::Arc;

use arrow::array::RecordBatch;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use event::DatasetName;
use futures::stream;
use jiff::Timestamp;
use processor::{FailedFilter, REPLAYS, Tap, TapPoint};
use serde::Deserialize;
use serde_json::{Value, json};
use warehouse::{DeleteOptions, Vacuum};

use super::datasets::Refused;
use crate::limits::TAP_EVENTS_MAX;
use crate::server::Parts;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TapAt {
    at: Option<String>,
}

/// The events at a point of their way, a JSON object a line, until the client goes away.
pub(super) async fn tap(
    State(parts): State<Parts>,
    Path(name): Path<String>,
    Query(TapAt { at }): Query<TapAt>,
) -> Result<Response, Refused> {
    let name: DatasetName = name.parse().map_err(Refused::invalid)?;
    let point = point(at.as_deref().unwrap_or("inserted"))?;
    let tap = parts.processor.tap(&name, point, TAP_EVENTS_MAX).await;
    let tap = tap.map_err(Refused::of_processor)?;
    let lines = stream::unfold((tap, 0), next_line);
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((kind, Body::from_stream(lines)).into_response())
}

async fn next_line(
    (mut tap, told): (Tap, u64),
) -> Option<(Result<Bytes, std::convert::Infallible>, (Tap, u64))> {
    let tapped = tap.next().await?;
    let mut line = Value::Object(tapped.event).to_string();
    line.push('\n');
    let dropped = tap.dropped();
    if dropped > told {
        line.push_str(&json!({"_dropped": dropped}).to_string());
        line.push('\n');
    }
    Some((Ok(line.into()), (tap, dropped)))
}

fn point(text: &str) -> Result<TapPoint, Refused> {
    Ok(match (text, text.split_once(':')) {
        ("decoded", _) => TapPoint::Decoded,
        ("inserted", _) => TapPoint::Inserted,
        ("rejected", _) => TapPoint::Rejected,
        (_, Some(("before", step))) => TapPoint::Before(step.to_owned()),
        (_, Some(("after", step))) => TapPoint::After(step.to_owned()),
        _ => {
            return Err(Refused::invalid(format_args!(
                "no such point, take decoded, before:<step>, after:<step>, inserted or rejected at={text:?}"
            )));
        }
    })
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Replay {
    stage: Option<String>,
    step: Option<String>,
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Sends rejected events again.
pub(super) async fn replay(
    State(parts): State<Parts>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let name: DatasetName = name.parse().map_err(Refused::invalid)?;
    let replay: Replay = match body.is_empty() {
        true => Replay::default(),
        false => serde_json::from_slice(&body).map_err(|error| {
            Refused::invalid(format_args!(
                "the body is not {{\"stage\": …, \"step\": …, \"from\": …, \"until\": …}}: {error}"
            ))
        })?,
    };
    let filter = FailedFilter {
        stage: replay.stage,
        step: replay.step,
        received_from: replay.from,
        received_until: replay.until,
    };
    let replayed = parts.processor.replay_failed(&name, &filter).await;
    let replayed = replayed.map_err(Refused::of_processor)?;
    Ok(Json(json!({
        "sent": replayed.sent,
        "resumed": replayed.resumed,
        "missing": replayed.missing,
        "unfit": replayed.unfit,
        "more": replayed.more,
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Delete {
    #[serde(rename = "where")]
    condition: String,
    #[serde(default)]
    reason: String,
    /// Also delete the replaced files at once.
    #[serde(default)]
    vacuum: bool,
}

/// Deletes rows of a dataset, or of its rejects (`<dataset>$failed`).
pub(super) async fn delete(
    State(parts): State<Parts>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Json<Value>, Refused> {
    let delete: Delete = serde_json::from_slice(&body).map_err(|error| {
        Refused::invalid(format_args!(
            "the body is not {{\"where\": \"…\", \"reason\": \"…\", \"vacuum\": false}}: {error}"
        ))
    })?;
    delete_from(&parts, &name, delete).await.map(Json)
}

impl Delete {
    pub(super) fn new(condition: String) -> Self {
        Self {
            condition,
            reason: String::new(),
            vacuum: false,
        }
    }
}

pub(super) async fn delete_from(parts: &Parts, name: &str, delete: Delete) -> Result<Value, Refused> {
    let Some(table) = parts.warehouse.table(name) else {
        return Err(Refused::not_found(format_args!("no such table table={name:?}")));
    };
    if name == REPLAYS {
        return Err(Refused::invalid(
            "this table says which rejects were sent again: without its rows they would be sent twice",
        ));
    }
    let filter = sql::RowFilter::new(&delete.condition, &table.schema()).map_err(Refused::invalid)?;
    let filter = Arc::new(filter);
    let matches = move |rows: &RecordBatch| {
        filter
            .met(rows)
            .map_err(|error| warehouse::Error::new(warehouse::ErrorKind::Invalid, error))
    };
    let deleted = table.delete(DeleteOptions::new(delete.reason), matches).await;
    let deleted = deleted.map_err(Refused::of_warehouse)?;
    let vacuumed = match delete.vacuum {
        true => Some(table.vacuum(Vacuum::Now).await.map_err(Refused::of_warehouse)?),
        false => None,
    };
    tracing::info!(
        table = name,
        rows = deleted.rows,
        files = deleted.files,
        "rows were deleted"
    );
    Ok(json!({
        "rows": deleted.rows,
        "files": deleted.files,
        "bytes_rewritten": deleted.bytes_rewritten,
        "files_vacuumed": vacuumed.as_ref().map(|vacuumed| vacuumed.files),
        "files_left": vacuumed.as_ref().map(|vacuumed| vacuumed.left),
    }))
}
