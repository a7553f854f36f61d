//! CloudEvents 1.0 over HTTP (CloudEvents specification 1.0.2, HTTP protocol binding and JSON event format).
//!
//! A row has the attributes of the event as fields of their names, and `data` or `data_base64`, as in the JSON
//! event format. An event in the JSON format is kept as it was sent; one in binary mode is written in that format:
//! the values of its `ce-` headers are texts, and the body becomes `data` (JSON if the content type says JSON, a
//! text if it says text or XML) or else `data_base64`.

mod attributes;
mod binary;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use event::DatasetName;
use event::limits::BATCH_BYTES_MAX;
use serde_json::value::RawValue;

use super::answer::{NamedBy, Report, refusal};
use super::body::{Incoming, receive};
use super::dataset::{Naming, of_type};
use super::header::media_type;
use super::key::RequestKey;
use super::room::Room;
use super::rows::{Made, Raw, Rows, Sent};
use super::{Door, report};
use crate::lines::each_element;
use crate::{Error, ErrorKind, Result};
use attributes::Attributes;

/// Where events go that are not good and have no type that names a dataset.
const DATASET_UNNAMED: &str = "cloudevents";

/// How a request carries its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Binary,
    Structured,
    Batched,
}

impl Mode {
    /// What the headers say; `None` when they do not speak of CloudEvents.
    ///
    /// # Errors
    /// `Unsupported` for an event format other than JSON.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let media_type = media_type(headers);
        match media_type.as_str() {
            "application/cloudevents+json" => Ok(Some(Self::Structured)),
            "application/cloudevents-batch+json" => Ok(Some(Self::Batched)),
            other if other.starts_with("application/cloudevents") => Err(Error::new(
                ErrorKind::Unsupported,
                format_args!(
                    "unknown event format, use application/cloudevents+json or application/cloudevents-batch+json content_type={other:?}"
                ),
            )),
            _ => Ok(headers
                .contains_key(HeaderName::from_static("ce-specversion"))
                .then_some(Self::Binary)),
        }
    }
}

/// `POST /v1/cloudevents`: the dataset is given by the request, or made from the type of each event.
pub(super) async fn post_events(door: Door, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let answer = async {
        let naming = Naming::of(&mut parts).await?;
        // What is not marked otherwise is binary mode, by the specification.
        let mode = Mode::of(&parts.headers)?.unwrap_or(Mode::Binary);
        take(&door, mode, (naming, NamedBy::Request), &parts.headers, body).await
    };
    match answer.await {
        Ok(report) => report.into_response(),
        Err(error) => refusal(&error),
    }
}

/// Takes the events of a request.
pub(super) async fn take(
    door: &Door,
    mode: Mode,
    (naming, named_by): (Naming, NamedBy),
    headers: &HeaderMap,
    body: Body,
) -> Result<Report> {
    door.check_named(&naming)?;
    let key = RequestKey::of(headers)?;
    let binary = match mode {
        Mode::Binary => Some(binary::Head::of(headers)?),
        _ => None,
    };
    let incoming = Incoming {
        dataset: naming.or(DATASET_UNNAMED)?,
        headers,
        body,
        bytes_max: BATCH_BYTES_MAX,
    };
    let made = receive(door, incoming, move |body, room| match binary {
        Some(head) => one_binary(&head, &body, &naming, room),
        None if mode == Mode::Batched => batch(&body, &naming, room),
        None => one(&body, &naming, room),
    });
    let (made, room) = made.await?;
    report(door, made, room, &key, named_by).await
}

fn batch(body: &Bytes, naming: &Naming, room: &mut Room) -> Result<Made> {
    let unnamed: DatasetName = DATASET_UNNAMED.parse()?;
    let mut rows = Rows::new(room, body.len());
    let mut line = 0;
    each_element(body, |event| {
        line += 1;
        push(&mut rows, event, line, naming, &unnamed)
    })
    .map_err(|error| error.of("batch"))?;
    Ok(rows.finish())
}

fn one(body: &Bytes, naming: &Naming, room: &mut Room) -> Result<Made> {
    let event: &RawValue = serde_json::from_slice(body)
        .map_err(|error| Error::invalid(format_args!("body is not one event in JSON: {error}")))?;
    let mut rows = Rows::new(room, body.len());
    push(&mut rows, event, 1, naming, &DATASET_UNNAMED.parse()?)?;
    rows.finish().single()
}

fn push(
    rows: &mut Rows<'_>,
    event: &RawValue,
    line: usize,
    naming: &Naming,
    unnamed: &DatasetName,
) -> Result<()> {
    let raw = Raw::Json(event.get());
    let attributes = Attributes::read(event.get());
    let event_type = attributes
        .as_ref()
        .ok()
        .and_then(|read| read.event_type.as_deref());
    let dataset = dataset_of(naming, event_type);
    let checked = attributes.and_then(|attributes| attributes.check());
    let sent = |dataset, id| Sent {
        dataset,
        line,
        id,
        raw,
    };
    match (checked, &dataset) {
        (Ok(id), Ok(dataset)) => rows.push(sent(dataset, Some(id)), |row| {
            row.extend_from_slice(event.get().as_bytes());
            Ok(())
        }),
        (Err(error), dataset) => rows.refuse(sent(dataset.as_ref().unwrap_or(unnamed), None), error),
        (Ok(_), Err(error)) => rows.refuse(sent(unnamed, None), error.clone()),
    }
}

fn one_binary(head: &binary::Head, body: &Bytes, naming: &Naming, room: &mut Room) -> Result<Made> {
    let id = head.attributes.check()?;
    let dataset = dataset_of(naming, head.attributes.event_type.as_deref())?;
    let mut rows = Rows::new(room, body.len());
    let sent = Sent {
        dataset: &dataset,
        line: 1,
        id: Some(id),
        raw: Raw::Binary(body),
    };
    rows.push(sent, |row| head.write(body, row))?;
    rows.finish().single()
}

fn dataset_of(naming: &Naming, event_type: Option<&str>) -> Result<DatasetName> {
    match naming {
        Naming::Given(dataset) => Ok(dataset.clone()),
        Naming::ByType => of_type(event_type.unwrap_or_default()),
    }
}
