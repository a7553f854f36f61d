//! The calls of Segment's HTTP tracking API, so that its libraries can send here.
//!
//! A row is a call as it was sent, with its `type`, without `writeKey`; in a batch what the calls share
//! (`context`, `integrations`, `sentAt`) goes to those that have none of their own.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use bytes::Bytes;
use event::DatasetName;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

use super::answer::{NamedBy, Report, headers_of};
use super::body::{Incoming, receive};
use super::dataset::Naming;
use super::key::{EventId, IdShape, RequestKey, event_id};
use super::room::Room;
use super::rows::{Made, Raw, Rows, Sent, write_text};
use super::{Door, report};
use crate::limits::{SEGMENT_BODY_BYTES_MAX, SEGMENT_EVENT_BYTES_MAX, SEGMENT_FIELDS_MAX};
use crate::lines::each_element;
use crate::{Error, Result};

/// What a batch shares with its calls.
const SHARED: [&str; 3] = ["context", "integrations", "sentAt"];
/// Where calls go that are not good and have no type.
const DATASET_UNNAMED: &str = "segment_batch";

/// A kind of call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl Call {
    pub(super) const ALL: [Self; 6] = [
        Self::Track,
        Self::Identify,
        Self::Page,
        Self::Screen,
        Self::Group,
        Self::Alias,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Track => "/v1/track",
            Self::Identify => "/v1/identify",
            Self::Page => "/v1/page",
            Self::Screen => "/v1/screen",
            Self::Group => "/v1/group",
            Self::Alias => "/v1/alias",
        }
    }

    fn dataset(self, naming: &Naming) -> Result<DatasetName> {
        naming.or(&format!("segment_{}", self.name()))
    }

    /// The fields that a call must have, each one of several.
    fn required(self) -> &'static [&'static [&'static str]] {
        const WHO: &[&str] = &["userId", "anonymousId"];
        match self {
            Self::Track => &[&["event"], WHO],
            Self::Identify | Self::Page | Self::Screen => &[WHO],
            Self::Group => &[&["groupId"], WHO],
            Self::Alias => &[&["userId"], &["previousId"]],
        }
    }
}

/// `POST /v1/track` and its like.
pub(super) async fn post_call(door: Door, call: Call, request: Request) -> Response {
    let bytes_max = SEGMENT_EVENT_BYTES_MAX;
    answer(&door, request, bytes_max, move |body, naming, room| {
        let event: &RawValue = serde_json::from_slice(&body)
            .map_err(|error| Error::invalid(format_args!("body is not JSON: {error}")))?;
        let mut rows = Rows::new(room, body.len());
        let reading = Reading {
            naming,
            shared: &[],
            call: Some(call),
        };
        reading.push(&mut rows, event, 1)?;
        rows.finish().single()
    })
    .await
}

/// `POST /v1/batch`.
pub(super) async fn post_batch(door: Door, request: Request) -> Response {
    let bytes_max = SEGMENT_BODY_BYTES_MAX;
    answer(&door, request, bytes_max, move |body, naming, room| {
        let text = std::str::from_utf8(&body)
            .map_err(|error| Error::invalid(format_args!("body is not UTF-8: {error}")))?;
        let mut fields = fields_of(text)?;
        let batch = fields
            .iter()
            .find(|(name, _)| name == "batch")
            .ok_or_else(|| Error::invalid("body has no field batch, send {\"batch\": [call, …]}"))?
            .1;
        fields.retain(|(name, _)| SHARED.contains(&name.as_str()));
        let mut rows = Rows::new(room, body.len());
        let reading = Reading {
            naming,
            shared: &fields,
            call: None,
        };
        let mut line = 0;
        each_element(batch.get().as_bytes(), |event| {
            line += 1;
            reading.push(&mut rows, event, line)
        })
        .map_err(|error| error.of("batch"))?;
        Ok(rows.finish())
    })
    .await
}

async fn answer(
    door: &Door,
    request: Request,
    bytes_max: usize,
    make: impl FnOnce(Bytes, Naming, &mut Room) -> Result<Made> + Send + 'static,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let take = async {
        let key = RequestKey::of(&parts.headers)?;
        let naming = Naming::of(&mut parts).await?;
        door.check_named(&naming)?;
        let incoming = Incoming {
            dataset: naming.or(DATASET_UNNAMED)?,
            headers: &parts.headers,
            body,
            bytes_max,
        };
        let made = receive(door, incoming, move |body, room| make(body, naming, room));
        let (made, room) = made.await?;
        report(door, made, room, &key, NamedBy::Request).await
    };
    match take.await {
        Ok(report) => {
            let status = report.status();
            let headers = report.failure.as_ref().map(headers_of).unwrap_or_default();
            let success = status == StatusCode::OK;
            (status, headers, Json(Answer { success, report })).into_response()
        }
        Err(error) => {
            let body = Json(serde_json::json!({ "success": false, "error": error.to_string() }));
            (error.http_status(), headers_of(&error), body).into_response()
        }
    }
}

/// What Segment answers, and what became of the calls.
#[derive(serde::Serialize)]
struct Answer {
    success: bool,
    #[serde(flatten)]
    report: Report,
}

type Fields<'a> = Vec<(String, &'a RawValue)>;

/// How the calls of a request are read.
struct Reading<'a> {
    naming: Naming,
    shared: &'a [(String, &'a RawValue)],
    /// What the path says; else each call says it.
    call: Option<Call>,
}

impl Reading<'_> {
    fn push(&self, rows: &mut Rows<'_>, event: &RawValue, line: usize) -> Result<()> {
        let raw = Raw::Json(event.get());
        let fields = if event.get().len() > SEGMENT_EVENT_BYTES_MAX {
            Err(Error::too_large(format_args!(
                "call is too large bytes={} bytes_max={SEGMENT_EVENT_BYTES_MAX}",
                event.get().len()
            )))
        } else {
            fields_of(event.get())
        };
        let call = fields.as_ref().ok().and_then(|fields| self.call_of(fields));
        let dataset = match call {
            Some(call) => call.dataset(&self.naming)?,
            None => self.naming.or(DATASET_UNNAMED)?,
        };
        let sent = Sent {
            dataset: &dataset,
            line,
            id: fields.as_ref().ok().and_then(id_of),
            raw,
        };
        let (fields, call) = match (fields, call) {
            (Err(error), _) => return rows.refuse(sent, error),
            (Ok(_), None) => {
                let text = "call has no known type, use track, identify, page, screen, group or alias";
                return rows.refuse(sent, Error::invalid(text));
            }
            (Ok(fields), Some(call)) => (fields, call),
        };
        if let Some(missing) = missing(call, &fields) {
            let text = format_args!("call lacks {} type={}", missing.join(" or "), call.name());
            return rows.refuse(sent, Error::invalid(text));
        }
        rows.push(sent, |row| {
            write_row(row, call, &fields, self.shared);
            Ok(())
        })
    }

    fn call_of(&self, fields: &Fields<'_>) -> Option<Call> {
        self.call.or_else(|| {
            let name = text_of(fields, "type")?;
            Call::ALL.into_iter().find(|call| call.name() == name)
        })
    }
}

fn write_row(row: &mut Vec<u8>, call: Call, fields: &Fields<'_>, shared: &[(String, &RawValue)]) {
    row.extend_from_slice(b"{\"type\":");
    write_text(row, call.name());
    let own = fields
        .iter()
        .filter(|(name, _)| name != "type" && name != "writeKey");
    let lacking = shared
        .iter()
        .filter(|(name, _)| !fields.iter().any(|(known, _)| known == name));
    for (name, value) in own.chain(lacking) {
        row.push(b',');
        write_text(row, name);
        row.push(b':');
        row.extend_from_slice(value.get().as_bytes());
    }
    row.push(b'}');
}

/// The first of the required groups of which the call has no field.
fn missing(call: Call, fields: &Fields<'_>) -> Option<&'static [&'static str]> {
    let has = |name: &&str| {
        let value = fields.iter().find(|(known, _)| known == name);
        value.is_some_and(|(_, value)| !matches!(value.get(), "null" | "\"\""))
    };
    let groups = call.required();
    groups.iter().find(|group| !group.iter().any(has)).copied()
}

fn id_of(fields: &Fields<'_>) -> Option<EventId> {
    let id = text_of(fields, "messageId").filter(|id| !id.is_empty())?;
    Some(event_id(IdShape::Segment, &[id.as_bytes()]))
}

fn text_of(fields: &Fields<'_>, name: &str) -> Option<String> {
    let (_, value) = fields.iter().find(|(known, _)| known == name)?;
    serde_json::from_str(value.get()).ok()
}

/// The fields of a JSON object, in order.
fn fields_of(object: &str) -> Result<Fields<'_>> {
    struct Read;
    impl<'de> Visitor<'de> for Read {
        type Value = Fields<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut fields = Fields::new();
            while let Some(field) = map.next_entry()? {
                if fields.len() == SEGMENT_FIELDS_MAX {
                    return Err(serde::de::Error::custom(format_args!(
                        "an object has too many fields fields_max={SEGMENT_FIELDS_MAX}"
                    )));
                }
                fields.push(field);
            }
            Ok(fields)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_str(object);
    let fields = deserializer
        .deserialize_map(Read)
        .and_then(|fields| deserializer.end().map(|()| fields));
    fields.map_err(|error| Error::invalid(format_args!("not a JSON object: {error}")))
}
