//! The text door: events by HTTP, in the shapes that senders have.

mod answer;
mod binary;
mod body;
mod cloudevents;
mod dataset;
mod encoding;
mod header;
mod keep;
mod key;
mod otlp;
mod room;
mod rows;
mod segment;

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use event::limits::BATCH_BYTES_MAX;
use event::{DatasetName, Durability, Encoding};
use tokio::sync::Semaphore;

use crate::access::{Caller, Scope};
use crate::aggregator::Aggregator;
use crate::limits::UNPACKING_MAX;
use crate::lines::{Content, is_copied, read};
use crate::{Error, ErrorKind, Result};
use answer::{NamedBy, Report, refusal};
use body::{Incoming, receive};
use cloudevents::Mode;
use dataset::Naming;
use header::{media_type, text_of};
use keep::keep;
use key::RequestKey;
use room::Room;
use rows::Made;

/// The routes of the text door.
///
/// | route | body |
/// |---|---|
/// | `POST /v1/datasets/{dataset}/events` | NDJSON, a JSON array, an Avro container, Protobuf messages, or CloudEvents if the headers say so |
/// | `POST /v1/cloudevents` | CloudEvents 1.0: binary, structured or batched |
/// | `POST /v1/{track,identify,page,screen,group,alias,batch}` | the calls of Segment's HTTP API |
/// | `POST /v1/logs` | OTLP/HTTP logs, JSON or protobuf |
///
/// A body has up to 16 MiB (those of Segment 500 KiB), also when unpacked: `Content-Encoding` may be gzip, zstd,
/// lz4 (frame) or deflate, not several. What one request brings to one dataset is one batch: kept as a whole or
/// not at all (log records of more than 16 MiB as rows are several).
///
/// An event that is not good does not spoil the others: it comes out in the table `<dataset>$failed`, and the
/// answer tells it: `200 {"acked": 2, "rejected": 1, "errors": [{"line": 3, "reason": "…"}], …}`; it is `400`
/// with the same body when no event is good (they are kept all the same). `line` is the line, or the place in
/// the array. At most 100 are explained. A request that is a single event, and not NDJSON, is refused with it.
///
/// An Avro container (`application/avro`, or by its first bytes; blocks plain or packed with deflate, snappy or
/// zstandard) and Protobuf messages (`application/x-protobuf`, each behind its length) are counted by their frames: a
/// body whose frames are broken is refused, and records that are not good come out in `<dataset>$failed` alone.
///
/// A retry that must not count twice names itself: `Idempotency-Key: <up to 255 bytes>`, or the headers
/// `Sanderling-Emitter` (UUID), `Sanderling-Epoch` (default 0) and `Sanderling-Sequence`. Without these,
/// CloudEvents and Segment's calls are named by the ids of their events, in order. The answer to what was kept
/// before says `"duplicate": true`. Else each request is a batch of its own.
///
/// `Sanderling-Durability: memory`, `durable` or `queryable` asks what the answer is to promise
/// ([`event::Durability`]); it says `"durability"` when that is not `durable`, and `"spooled": true` when an edge has
/// it on its own disk until it can be passed on.
///
/// The shapes whose path names no dataset take it from `?dataset=` or the header `Sanderling-Dataset`, or have
/// one by default; their answer says under `datasets` what became of each. Where callers are asked for tokens
/// ([`crate::access::require`]), theirs must be for all of these datasets.
///
/// Errors are `{"error": "…"}`, and nothing of the body is kept: 400, 403, 409 (not the next sequence, or a past
/// epoch), 413 (a limit, named), 415 (unknown content type or encoding), 429 and 503 with `Retry-After`.
pub fn router(aggregator: Aggregator) -> Router {
    let door = Door {
        aggregator,
        unpacking: Arc::new(Semaphore::new(UNPACKING_MAX)),
        caller: None,
        durability: Ok(None),
    };
    let mut routes = Router::new()
        .route("/v1/datasets/{dataset}/events", post(post_events))
        .route("/v1/cloudevents", post(cloudevents::post_events))
        .route("/v1/batch", post(segment::post_batch))
        .route("/v1/logs", post(otlp::post_logs));
    for call in segment::Call::ALL {
        let post_call = async move |door: Door, request| segment::post_call(door, call, request).await;
        routes = routes.route(call.path(), post(post_call));
    }
    routes.with_state(door)
}

/// What the routes share.
#[derive(Clone)]
struct Door {
    aggregator: Aggregator,
    /// A turn to unpack a body.
    unpacking: Arc<Semaphore>,
    /// Who asks, where callers are asked for tokens.
    caller: Option<Caller>,
    /// What the answer is to promise, if the request says it.
    durability: Result<Option<Durability>>,
}

impl FromRequestParts<Door> for Door {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, door: &Door) -> Result<Self, Infallible> {
        let durability = text_of(&parts.headers, "sanderling-durability");
        Ok(Self {
            caller: parts.extensions.get().cloned(),
            durability: durability.and_then(|text| Ok(text.map(str::parse).transpose()?)),
            ..door.clone()
        })
    }
}

impl Door {
    /// # Errors
    /// `Denied` when the caller may not send to the dataset.
    fn check_caller(&self, dataset: &DatasetName) -> Result<()> {
        let Some(caller) = &self.caller else {
            return Ok(());
        };
        let allowed = caller.may(&Scope::Send(dataset.clone()));
        allowed.map_err(|denied| Error::new(ErrorKind::Denied, denied))
    }

    /// The same for what is named before the body is read, so that nobody takes the room of a dataset that is not theirs.
    fn check_named(&self, naming: &Naming) -> Result<()> {
        match naming {
            Naming::Given(dataset) => self.check_caller(dataset),
            Naming::ByType => Ok(()),
        }
    }
}

async fn post_events(door: Door, Path(dataset): Path<String>, headers: HeaderMap, body: Body) -> Response {
    let answer = async {
        let dataset: DatasetName = dataset.parse()?;
        match Mode::of(&headers)? {
            Some(mode) => {
                let naming = (Naming::Given(dataset), NamedBy::Path);
                cloudevents::take(&door, mode, naming, &headers, body).await
            }
            None => take_body(&door, dataset, &headers, body).await,
        }
    };
    match answer.await {
        Ok(report) => report.into_response(),
        Err(error) => refusal(&error),
    }
}

async fn take_body(door: &Door, dataset: DatasetName, headers: &HeaderMap, body: Body) -> Result<Report> {
    let key = RequestKey::of(headers)?;
    let content = content_of(headers);
    let incoming = Incoming {
        dataset: dataset.clone(),
        headers,
        body,
        bytes_max: BATCH_BYTES_MAX,
    };
    let format = binary::format_of(headers);
    let made = receive(door, incoming, move |body, room| {
        match format {
            Some(Encoding::Protobuf) => return binary::of_protobuf(dataset, body),
            Some(_) => return binary::of_avro(dataset, body, room),
            None if binary::is_container(&body) => return binary::of_avro(dataset, body, room),
            None => {}
        }
        if is_copied(&body, content) {
            room.cover(2 * body.len())?;
        }
        Ok(Made::of_lines(dataset, read(body, content)?))
    });
    let (made, room) = made.await?;
    report(door, made, room, &key, NamedBy::Path).await
}

/// Gives the queue what a body was made into; the room is held until all is answered.
async fn report(door: &Door, made: Made, room: Room, key: &RequestKey, named_by: NamedBy) -> Result<Report> {
    let kept = keep(door, made.parts, key).await?;
    drop(room);
    Ok(Report::new(kept, made.repeated, made.errors, named_by))
}

fn content_of(headers: &HeaderMap) -> Content {
    match media_type(headers).as_str() {
        "application/json" => Content::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Content::Lines
        }
        _ => Content::Unsaid,
    }
}
