//! OTLP/HTTP logs (OpenTelemetry protocol 1.x), in JSON and in protobuf.
//!
//! A row is one log record:
//!
//! | field | value |
//! |---|---|
//! | `timeUnixNano`, `observedTimeUnixNano` | numbers |
//! | `severityNumber`, `severityText`, `eventName` | as sent |
//! | `body` | text; a body that is not text, as the text of its JSON |
//! | `attributes` | an object by key; bytes are base64, a number that is not finite is null |
//! | `traceId`, `spanId` | lower-case hex |
//! | `flags`, `droppedAttributesCount` | numbers |
//! | `resource` | the attributes of the resource, an object by key |
//! | `resourceSchemaUrl` | as sent |
//! | `scope` | `name`, `version`, `schemaUrl`, `attributes` |
//!
//! What is empty or 0 is left out. Not here: traces, metrics, gRPC; entities, and what was dropped of resources
//! and scopes.

mod json;
mod protobuf;
mod row;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use event::limits::BATCH_BYTES_MAX;

use super::answer::{NamedBy, Report, headers_of};
use super::body::{Incoming, receive};
use super::dataset::Naming;
use super::header::media_type;
use super::key::RequestKey;
use super::rows::Rows;
use super::{Door, report};
use crate::{Error, ErrorKind, Result};

/// Where log records go unless the request names a dataset.
const DATASET: &str = "otel_logs";

/// In what a request is written, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Protobuf,
}

impl Format {
    fn of(headers: &HeaderMap) -> Result<Self> {
        match media_type(headers).as_str() {
            "application/json" => Ok(Self::Json),
            "application/x-protobuf" | "application/protobuf" => Ok(Self::Protobuf),
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format_args!(
                    "unknown content type, use application/json or application/x-protobuf content_type={other:?}"
                ),
            )),
        }
    }
}

/// `POST /v1/logs`.
pub(super) async fn post_logs(door: Door, request: Request) -> Response {
    let format = Format::of(request.headers());
    let report = match &format {
        Ok(format) => take(&door, *format, request).await,
        Err(error) => Err(error.clone()),
    };
    let format = format.unwrap_or(Format::Json);
    let refused = match report {
        Ok(report) => match (report.status(), &report.failure) {
            (StatusCode::OK, _) => return format.answer(StatusCode::OK, HeaderMap::new(), &success(&report)),
            (_, Some(error)) => error.clone(),
            (_, None) => Error::invalid(told(&report)),
        },
        Err(error) => error,
    };
    let answer = Answer::Status(refused.to_string());
    format.answer(refused.http_status(), headers_of(&refused), &answer)
}

async fn take(door: &Door, format: Format, request: Request) -> Result<Report> {
    let (mut parts, body) = request.into_parts();
    let key = RequestKey::of(&parts.headers)?;
    let dataset = Naming::of(&mut parts).await?.or(DATASET)?;
    door.check_caller(&dataset)?;
    let incoming = Incoming {
        dataset: dataset.clone(),
        headers: &parts.headers,
        body,
        bytes_max: BATCH_BYTES_MAX,
    };
    let made = receive(door, incoming, move |body, room| {
        let rows = Rows::new(room, body.len());
        let mut records = row::Records::new(rows, dataset);
        match format {
            Format::Json => json::read(&body, &mut records)?,
            Format::Protobuf => protobuf::read(&body, &mut records)?,
        }
        Ok(records.finish())
    });
    let (made, room) = made.await?;
    report(door, made, room, &key, NamedBy::Request).await
}

/// The messages that answers are.
enum Answer {
    /// `ExportLogsServiceResponse`, with what was refused and why.
    Response(Option<(u32, String)>),
    /// `google.rpc.Status`, with its message.
    Status(String),
}

fn success(report: &Report) -> Answer {
    Answer::Response((report.rejected > 0).then(|| (report.rejected, told(report))))
}

/// What is not good about the records, in a sentence.
fn told(report: &Report) -> String {
    let first = report.errors.first();
    let first = first.map(|error| format!(": record {}: {}", error.line, error.reason));
    format!(
        "{} log records are refused and kept in the table of failed events{}",
        report.rejected,
        first.unwrap_or_default()
    )
}

impl Format {
    fn answer(self, status: StatusCode, mut headers: HeaderMap, answer: &Answer) -> Response {
        let (content_type, body) = match self {
            Self::Json => ("application/json", json::answer(answer)),
            Self::Protobuf => ("application/x-protobuf", protobuf::answer(answer)),
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        (status, headers, body).into_response()
    }
}
