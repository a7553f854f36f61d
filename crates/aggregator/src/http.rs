//! The text door: events by HTTP.

use std::io::Read;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use event::limits::BATCH_BYTES_MAX;
use event::{BatchHeader, BatchKey, DatasetName, EmitterId, Encoding, Epoch, Sequence};
use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::aggregator::{Aggregator, new_emitter};
use crate::counters::add;
use crate::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use crate::lines::{Content, LineError, Lines, read};
use crate::{Error, ErrorKind, Result};

/// Bodies larger than this are read on a thread that may block.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The routes of the text door.
///
/// `POST /v1/datasets/{dataset}/events`: NDJSON, or a JSON array, of up to 16 MiB, plain or gzip
/// (`Content-Encoding`). One request is one batch: kept as a whole or not at all.
///
/// A line that is not a JSON object, or is larger than an event may be, does not spoil the others: all lines are
/// kept as they were sent, and the bad ones come out in the table `<dataset>$failed`. The answer tells them:
/// `200 {"acked": 2, "rejected": 1, "errors": [{"line": 3, "reason": "…"}], …}`; it is `400` with the same body
/// when no line is good (they are kept all the same). At most 100 lines are explained.
///
/// A retry that must not count twice names itself: `Idempotency-Key: <up to 255 bytes>`, or the headers
/// `Sanderling-Emitter` (UUID), `Sanderling-Epoch` (default 0) and `Sanderling-Sequence`. The answer to a batch
/// that was kept before says `"duplicate": true`. Without either, each request is a batch of its own.
///
/// Errors are `{"error": "…"}`, and nothing of the body is kept: 400, 409 (not the next sequence, or a past
/// epoch), 413 (a limit, named), 415 (unknown `Content-Encoding`), 429 and 503 with `Retry-After`.
pub fn router(aggregator: Aggregator) -> Router {
    Router::new()
        .route("/v1/datasets/{dataset}/events", post(post_events))
        .with_state(aggregator)
}

#[derive(serde::Serialize)]
struct Answer {
    /// Good events, kept.
    acked: u32,
    /// Bad lines, kept in `rejected_to`.
    rejected: u32,
    /// Whether an earlier request had brought this batch.
    duplicate: bool,
    errors: Vec<LineError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_to: Option<String>,
}

async fn post_events(
    State(aggregator): State<Aggregator>,
    Path(dataset): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    match take(&aggregator, &dataset, &headers, body).await {
        Ok(answer) => {
            let status = if answer.acked == 0 {
                StatusCode::BAD_REQUEST
            } else {
                StatusCode::OK
            };
            (status, Json(answer)).into_response()
        }
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &Error) -> Response {
    let body = Json(serde_json::json!({ "error": error.to_string() }));
    let mut response = (error.http_status(), body).into_response();
    if let Some(seconds) = error.retry_after_seconds() {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn take(aggregator: &Aggregator, dataset: &str, headers: &HeaderMap, body: Body) -> Result<Answer> {
    if aggregator.is_closing() {
        return Err(Error::new(
            ErrorKind::Retry,
            "this server is shutting down, send it again later",
        ));
    }
    let dataset: DatasetName = dataset.parse()?;
    let key = key_of(&dataset, headers)?;
    let gzip = is_gzip(headers)?;
    let content = content_of(headers);
    let length = text_of(headers, "content-length")?.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > BATCH_BYTES_MAX) {
        return Err(too_large());
    }
    // What the body may grow to is not known before it is unpacked.
    let room = aggregator.room(&dataset, length.filter(|_| !gzip).unwrap_or(BATCH_BYTES_MAX))?;
    let body = to_bytes(body, BATCH_BYTES_MAX).await.map_err(|error| {
        let limit = std::error::Error::source(&error)
            .is_some_and(|source| source.to_string().contains("length limit exceeded"));
        if limit {
            too_large()
        } else {
            Error::invalid(format_args!("body cannot be read: {error}"))
        }
    })?;
    let Lines {
        payload,
        events,
        rejected,
        errors,
    } = if gzip || body.len() > INLINE_BYTES_MAX {
        let prepare = move || read(if gzip { unpacked(&body)? } else { body }, content);
        tokio::task::spawn_blocking(prepare)
            .await
            .map_err(|error| Error::new(ErrorKind::Retry, error))??
    } else {
        read(body, content)?
    };
    let now = aggregator.now();
    let header = BatchHeader {
        key,
        events,
        encoding: Encoding::Ndjson,
        generated_at: now,
        received_at: now,
    };
    let opened = aggregator.open(dataset).await?;
    let ack = aggregator.append(&opened, header, payload)?.await?;
    drop(room);
    if !ack.duplicate {
        add(&opened.known.counters.rejected, u64::from(rejected));
    }
    let rejected_to = (rejected > 0).then(|| opened.name.failed());
    Ok(Answer {
        acked: events - rejected,
        rejected,
        duplicate: ack.duplicate,
        errors,
        rejected_to,
    })
}

fn too_large() -> Error {
    Error::too_large(format_args!(
        "body is too large, split it bytes_max={BATCH_BYTES_MAX}"
    ))
}

fn unpacked(body: &[u8]) -> Result<Bytes> {
    let mut unpacked = Vec::with_capacity(body.len().saturating_mul(4).min(BATCH_BYTES_MAX));
    MultiGzDecoder::new(body)
        .take(BATCH_BYTES_MAX as u64 + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| Error::invalid(format_args!("body is not gzip: {error}")))?;
    if unpacked.len() > BATCH_BYTES_MAX {
        return Err(Error::too_large(format_args!(
            "body is too large when unpacked, split it bytes_max={BATCH_BYTES_MAX}"
        )));
    }
    Ok(unpacked.into())
}

fn is_gzip(headers: &HeaderMap) -> Result<bool> {
    match text_of(headers, "content-encoding")? {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") => Ok(true),
        Some(other) => Err(Error::new(
            ErrorKind::Unsupported,
            format_args!("unknown content encoding, use gzip or identity encoding={other:?}"),
        )),
    }
}

fn content_of(headers: &HeaderMap) -> Content {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    match content_type.split(';').next().unwrap_or("").trim() {
        "application/json" => Content::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Content::Lines
        }
        _ => Content::Unsaid,
    }
}

fn key_of(dataset: &DatasetName, headers: &HeaderMap) -> Result<BatchKey> {
    let idempotency = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    let emitter = text_of(headers, "sanderling-emitter")?;
    let epoch = text_of(headers, "sanderling-epoch")?;
    let sequence = text_of(headers, "sanderling-sequence")?;
    match (idempotency, emitter, sequence) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(Error::invalid(
            "give either idempotency-key or sanderling-emitter and sanderling-sequence",
        )),
        (Some(key), None, None) => {
            if key.is_empty() || key.len() > IDEMPOTENCY_KEY_BYTES_MAX {
                return Err(Error::invalid(format_args!(
                    "idempotency-key must have 1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes bytes={}",
                    key.len()
                )));
            }
            Ok(first_of(idempotent_emitter(dataset, key)))
        }
        (None, Some(emitter), Some(sequence)) => Ok(BatchKey {
            emitter: EmitterId(Uuid::try_parse(emitter).map_err(|error| {
                Error::invalid(format_args!("sanderling-emitter is not a UUID: {error}"))
            })?),
            epoch: Epoch(number("sanderling-epoch", epoch.unwrap_or("0"))?),
            sequence: Sequence(number("sanderling-sequence", sequence)?),
        }),
        (None, None, None) if epoch.is_none() => Ok(first_of(new_emitter())),
        _ => Err(Error::invalid(
            "sanderling-emitter and sanderling-sequence go together, give both or neither",
        )),
    }
}

fn first_of(emitter: EmitterId) -> BatchKey {
    BatchKey {
        emitter,
        epoch: Epoch(0),
        sequence: Sequence(0),
    }
}

/// The emitter that a key stands for: always the same, and its only batch has sequence 0. Frozen: a retry may
/// come after an update of the server. A UUID of version 8 over the first 16 bytes of SHA-256.
fn idempotent_emitter(dataset: &DatasetName, key: &[u8]) -> EmitterId {
    let mut hash = Sha256::new();
    hash.update(dataset.as_str());
    hash.update([0]);
    hash.update(key);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    EmitterId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
}

fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
    headers
        .get(name)
        .map(|value| {
            value
                .to_str()
                .map(str::trim)
                .map_err(|_| Error::invalid(format_args!("header is not text header={name}")))
        })
        .transpose()
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        Error::invalid(format_args!(
            "header is not a number header={name} value={text:?}"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_emitter_of_a_key_is_frozen() {
        let of = |dataset: &str, key: &str| idempotent_emitter(&dataset.parse().unwrap(), key.as_bytes());
        assert_eq!(of("a", "k"), of("a", "k"));
        assert_ne!(of("a", "k"), of("b", "k"));
        assert_ne!(of("a", "k"), of("a", "k2"));
        assert_eq!(of("orders", "req-1").0.get_version_num(), 8);
    }
}
