//! Bodies of the text door as NDJSON: counted and skimmed, never parsed into trees.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use event::limits::{BATCH_BYTES_MAX, BATCH_EVENTS_MAX, EVENT_BYTES_MAX};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::ERRORS_SHOWN_MAX;
use crate::{Error, Result};

/// What a body says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// `application/x-ndjson` and its like: lines, whatever they begin with.
    Lines,
    /// `application/json`: an array, one object over several lines, or lines.
    Json,
    /// Anything else: an array if it begins with `[`, else lines.
    Unsaid,
}

/// A body made ready for the queue.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Lines {
    /// NDJSON; what was sent as lines is as it was sent, malformed ones too.
    pub(crate) payload: Bytes,
    /// Lines that are not blank.
    pub(crate) events: u32,
    /// How many of them are not good.
    pub(crate) rejected: u32,
    /// Why, for the first [`ERRORS_SHOWN_MAX`].
    pub(crate) errors: Vec<LineError>,
}

/// Why a line is not good.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct LineError {
    /// Its place in the body, from 1; of an array, the element's place.
    pub(crate) line: usize,
    pub(crate) reason: String,
}

/// Reads a body.
///
/// # Errors
/// `Invalid` when it holds no event, or an array that is not JSON; `TooLarge` when it holds too many events.
pub(crate) fn read(body: Bytes, content: Content) -> Result<Lines> {
    let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    match (content, first) {
        (Content::Json | Content::Unsaid, Some(b'[')) => skim(lines_of_array(&body)?),
        (Content::Json, Some(b'{')) => match serde_json::from_slice::<&RawValue>(&body) {
            Ok(object) => {
                let mut line = BytesMut::with_capacity(body.len() + 1);
                push_line(&mut line, object);
                skim(line.freeze())
            }
            Err(_) => skim(body),
        },
        _ => skim(body),
    }
}

/// How many lines are not blank.
pub(crate) fn count(payload: &[u8]) -> u64 {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', payload).chain([payload.len()]);
    let lines = ends.map(|end| &payload[std::mem::replace(&mut start, end + 1)..end]);
    lines.filter(|line| !line.trim_ascii().is_empty()).count() as u64
}

/// Whether reading the body makes a copy of it.
pub(crate) fn is_copied(body: &[u8], content: Content) -> bool {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match content {
        Content::Lines => false,
        Content::Json => matches!(first, Some(b'[' | b'{')),
        Content::Unsaid => first == Some(&b'['),
    }
}

fn lines_of_array(body: &[u8]) -> Result<Bytes> {
    let mut lines = BytesMut::with_capacity(body.len());
    each_element(body, |element| {
        push_line(&mut lines, element);
        Ok(())
    })
    .map_err(|error| {
        Error::invalid(format_args!(
            "array is not JSON, nothing of it is kept: {error}; send one object a line to have good ones kept"
        ))
    })?;
    if lines.len() > BATCH_BYTES_MAX {
        return Err(Error::too_large(format_args!(
            "body is too large, split it bytes={} bytes_max={BATCH_BYTES_MAX}",
            lines.len()
        )));
    }
    Ok(lines.freeze())
}

/// One value a line. A line break within a JSON text can only be white space, so it may become a space.
fn push_line(lines: &mut BytesMut, value: &RawValue) {
    let start = lines.len();
    lines.extend_from_slice(value.get().as_bytes());
    for byte in &mut lines[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    lines.put_u8(b'\n');
}

/// Hands on the elements of a JSON array one by one, so that what they are held in does not outgrow the text.
/// `visit` may end it by an error.
pub(crate) fn each_element<'a>(
    json: &'a [u8],
    visit: impl FnMut(&'a RawValue) -> Result<()>,
) -> Result<(), ElementsError> {
    struct Elements<F>(F, Option<Error>);
    impl<'de, F: FnMut(&'de RawValue) -> Result<()>> Visitor<'de> for &mut Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            while let Some(element) = elements.next_element::<&'de RawValue>()? {
                if let Err(error) = (self.0)(element) {
                    self.1 = Some(error);
                    return Err(serde::de::Error::custom("visit ended it"));
                }
            }
            Ok(())
        }
    }
    let mut elements = Elements(visit, None);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let outcome = deserializer
        .deserialize_seq(&mut elements)
        .and_then(|()| deserializer.end());
    match (outcome, elements.1) {
        (Ok(()), _) => Ok(()),
        (Err(_), Some(error)) => Err(ElementsError::Visit(error)),
        (Err(error), None) => Err(ElementsError::Json(error)),
    }
}

/// Why [`each_element`] ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ElementsError {
    /// The text is not a JSON array.
    #[error("{0}")]
    Json(serde_json::Error),
    /// The visit said so.
    #[error("{0}")]
    Visit(Error),
}

impl ElementsError {
    /// `what` is the array's name for the sender.
    pub(crate) fn of(self, what: &str) -> Error {
        match self {
            Self::Json(error) => Error::invalid(format_args!("{what} is not a JSON array: {error}")),
            Self::Visit(error) => error,
        }
    }
}

fn skim(payload: Bytes) -> Result<Lines> {
    let (mut events, mut rejected, mut errors) = (0, 0, Vec::new());
    for (at, line) in payload.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        events += 1;
        if let Err(reason) = check(line) {
            rejected += 1;
            if errors.len() < ERRORS_SHOWN_MAX {
                errors.push(LineError { line: at + 1, reason });
            }
        }
    }
    if events == 0 {
        return Err(Error::invalid(
            "body holds no event, send one JSON object a line or an array of them",
        ));
    }
    if events > BATCH_EVENTS_MAX {
        return Err(Error::too_large(format_args!(
            "body holds too many events, split it events={events} events_max={BATCH_EVENTS_MAX}"
        )));
    }
    Ok(Lines {
        payload,
        events,
        rejected,
        errors,
    })
}

fn check(line: &[u8]) -> Result<(), String> {
    if line.len() > EVENT_BYTES_MAX {
        return Err(format!(
            "event is too large bytes={} bytes_max={EVENT_BYTES_MAX}",
            line.len()
        ));
    }
    // A raw value is checked as JSON and as UTF-8, and is not built.
    match serde_json::from_slice::<&RawValue>(line) {
        Err(error) => Err(format!("not JSON: {}", without_line(&error))),
        Ok(_) if line[0] != b'{' => Err("not a JSON object".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// The error with its column; the parser sees one line only, so its own line number would mislead.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text
        .rsplit_once(" at line ")
        .map_or(text.as_str(), |(what, _)| what);
    format!("{what} at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_str(body: &'static str, content: Content) -> Lines {
        read(Bytes::from_static(body.as_bytes()), content).unwrap()
    }

    #[test]
    fn lines_are_kept_as_sent_and_bad_ones_named() {
        let body = "{\"a\":1}\n\n[1]\r\n{\"a\":\n  {\"b\":\"x\"}  ";
        let lines = read_str(body, Content::Unsaid);
        assert_eq!(lines.payload, body);
        assert_eq!((lines.events, lines.rejected), (4, 2));
        assert_eq!(
            lines.errors[0],
            LineError {
                line: 3,
                reason: "not a JSON object".into()
            }
        );
        assert_eq!(lines.errors[1].line, 4);
        assert!(
            lines.errors[1].reason.contains("column"),
            "{}",
            lines.errors[1].reason
        );
        assert_eq!(count(body.as_bytes()), 4);
    }

    #[test]
    fn arrays_become_lines() {
        let lines = read_str(" [ {\"a\":\r\n 1}, 2 ,{\"b\":\"\\n\"}]\n", Content::Unsaid);
        assert_eq!(lines.payload, "{\"a\":   1}\n2\n{\"b\":\"\\n\"}\n");
        assert_eq!((lines.events, lines.rejected), (3, 1));
        assert_eq!(lines.errors[0].line, 2);
    }

    #[test]
    fn the_content_type_decides_what_is_unclear() {
        assert_eq!(read_str("{\n\"a\":1\n}", Content::Json).payload, "{ \"a\":1 }\n");
        assert_eq!(read_str("{\"a\":1}\n{\"a\":2}", Content::Json).events, 2);
        assert_eq!(read_str("[1]\n[2]", Content::Lines).rejected, 2);
    }

    #[test]
    fn nothing_and_broken_arrays_are_refused_whole() {
        for body in ["", " \n\r\n", "[]", "[{\"a\":1},", "[{\"a\":1}] x"] {
            let error = read(Bytes::from_static(body.as_bytes()), Content::Unsaid).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{body}");
        }
    }

    #[test]
    fn bytes_that_are_not_text_are_one_bad_line() {
        let lines = read(Bytes::from_static(b"{\"a\":\"\xff\"}\n{}"), Content::Unsaid).unwrap();
        assert_eq!((lines.events, lines.rejected), (2, 1));
    }

    #[test]
    fn a_large_event_is_named_and_kept() {
        let body = format!("{{\"a\":\"{}\"}}\n{{}}", "x".repeat(EVENT_BYTES_MAX));
        let lines = read(Bytes::from(body), Content::Unsaid).unwrap();
        assert_eq!((lines.events, lines.rejected), (2, 1));
        assert!(lines.errors[0].reason.contains("too large"));
    }

    #[test]
    fn the_list_of_errors_is_bounded() {
        let lines = read(Bytes::from("x\n".repeat(1000)), Content::Unsaid).unwrap();
        assert_eq!((lines.rejected, lines.errors.len()), (1000, ERRORS_SHOWN_MAX));
    }
}
