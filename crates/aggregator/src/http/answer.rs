//! What the text door answers.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};

use event::Durability;

use super::encoding;
use super::keep::Kept;
use crate::lines::LineError;
use crate::{Error, ErrorKind};

/// What became of a request: the JSON of its answer.
#[derive(Debug, serde::Serialize)]
pub(super) struct Report {
    /// Good events, kept.
    pub(super) acked: u32,
    /// Bad ones, kept in `rejected_to`.
    pub(super) rejected: u32,
    /// Events that stood in the body a second time, by their ids; only the first counts.
    #[serde(skip_serializing_if = "is_zero")]
    repeated: u32,
    /// Whether an earlier request had brought all of it.
    duplicate: bool,
    /// What holds of all that is kept.
    #[serde(skip_serializing_if = "Durability::is_default")]
    durability: Durability,
    /// Whether some of it is on this machine alone, until the queue can be reached.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    spooled: bool,
    pub(super) errors: Vec<LineError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_to: Option<String>,
    /// By dataset, where the path does not name one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    datasets: BTreeMap<String, PartReport>,
    /// Why a part is not kept.
    #[serde(
        rename = "error",
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_text"
    )]
    pub(super) failure: Option<Error>,
}

#[derive(Debug, serde::Serialize)]
struct PartReport {
    acked: u32,
    rejected: u32,
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    error: Option<Error>,
}

/// Who names the dataset of a request's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    Path,
    Request,
}

impl Report {
    pub(super) fn new(kept: Vec<Kept>, repeated: u32, errors: Vec<LineError>, named_by: NamedBy) -> Self {
        let mut report = Self {
            acked: 0,
            rejected: 0,
            repeated,
            duplicate: kept.iter().any(|part| part.failure.is_none())
                && kept.iter().all(|part| part.duplicate || part.failure.is_some()),
            durability: kept
                .iter()
                .filter(|part| part.failure.is_none())
                .map(|part| part.durability)
                .min()
                .unwrap_or_default(),
            spooled: kept.iter().any(|part| part.spooled),
            errors,
            rejected_to: None,
            datasets: BTreeMap::new(),
            failure: None,
        };
        for part in kept {
            let fails = part.failure.is_some();
            let (acked, rejected) = match fails {
                true => (0, 0),
                false => (part.events - part.rejected, part.rejected),
            };
            report.acked += acked;
            report.rejected += rejected;
            let rejected_to = (rejected > 0).then(|| part.dataset.failed());
            // Of several failures the one that may pass decides: what is kept has a key and is kept once.
            if fails && !report.failure.as_ref().is_some_and(may_pass) {
                report.failure = part.failure.clone();
            }
            if named_by == NamedBy::Path {
                report.rejected_to = rejected_to;
                continue;
            }
            report.datasets.insert(
                part.dataset.to_string(),
                PartReport {
                    acked,
                    rejected,
                    duplicate: part.duplicate,
                    rejected_to,
                    error: part.failure,
                },
            );
        }
        report
    }

    pub(super) fn status(&self) -> StatusCode {
        match &self.failure {
            Some(error) => error.http_status(),
            None if self.acked == 0 && self.rejected > 0 => StatusCode::BAD_REQUEST,
            None => StatusCode::OK,
        }
    }
}

impl IntoResponse for Report {
    fn into_response(self) -> Response {
        match &self.failure {
            Some(error) if self.acked + self.rejected == 0 => refusal(error),
            Some(error) => {
                let headers = headers_of(error);
                (self.status(), headers, Json(self)).into_response()
            }
            None => (self.status(), Json(self)).into_response(),
        }
    }
}

/// The answer to a request of which nothing is kept.
pub(super) fn refusal(error: &Error) -> Response {
    let body = Json(serde_json::json!({ "error": error.to_string() }));
    (error.http_status(), headers_of(error), body).into_response()
}

/// What stands beside an error: when to come again, or in which encoding.
pub(super) fn headers_of(error: &Error) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if error.kind() == ErrorKind::Unsupported {
        headers.insert(header::ACCEPT_ENCODING, encoding::ACCEPTED);
    } else if let Some(seconds) = error.retry_after_seconds() {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    headers
}

fn may_pass(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Retry | ErrorKind::Busy)
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

fn as_text<S: serde::Serializer>(error: &Option<Error>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&error.as_ref().map(ToString::to_string).unwrap_or_default())
}
