//! Binary content mode: attributes as headers, the data as the body.

use std::borrow::Cow;

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;

use super::attributes::Attributes;
use crate::http::header::media_type;
use crate::http::rows::write_text;
use crate::{Error, Result};

/// What the headers of a request say of its event.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) attributes: Attributes,
    /// All attributes by name, in the order of the headers.
    all: Vec<(String, String)>,
    content_type: Option<String>,
    data: DataKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataKind {
    Json,
    Text,
    Binary,
}

impl Head {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self> {
        let mut attributes = Attributes::default();
        let mut all: Vec<(String, String)> = Vec::new();
        for (header, value) in headers {
            let Some(name) = header.as_str().strip_prefix("ce-") else {
                continue;
            };
            let named = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            if !named || matches!(name, "data" | "datacontenttype") {
                return Err(Error::invalid(format_args!(
                    "not the name of an attribute, use letters and digits; the content type is a header of its own header={header}"
                )));
            }
            if all.iter().any(|(known, _)| known == name) {
                return Err(Error::invalid(format_args!(
                    "header stands twice header={header}"
                )));
            }
            let value = decoded(value.as_bytes()).ok_or_else(|| {
                Error::invalid(format_args!(
                    "header is not percent-encoded UTF-8 header={header}"
                ))
            })?;
            if let Some(slot) = attributes.slot(name) {
                *slot = Some(value.clone());
            }
            all.push((name.to_owned(), value));
        }
        let content_type = match headers.get(header::CONTENT_TYPE) {
            None => None,
            Some(value) => Some(
                value
                    .to_str()
                    .map_err(|_| Error::invalid("header is not text header=content-type"))?
                    .to_owned(),
            ),
        };
        Ok(Self {
            attributes,
            all,
            content_type,
            data: kind_of(&media_type(headers)),
        })
    }

    /// Writes the event in the JSON format.
    pub(super) fn write(&self, body: &[u8], row: &mut Vec<u8>) -> Result<()> {
        row.push(b'{');
        for (name, value) in &self.all {
            write_text(row, name);
            row.push(b':');
            write_text(row, value);
            row.push(b',');
        }
        if let Some(content_type) = &self.content_type {
            row.extend_from_slice(b"\"datacontenttype\":");
            write_text(row, content_type);
            row.push(b',');
        }
        match (self.data, std::str::from_utf8(body)) {
            (_, Ok("")) => {
                row.pop();
            }
            (DataKind::Json, _) => {
                let data: &RawValue = serde_json::from_slice(body).map_err(|error| {
                    Error::invalid(format_args!(
                        "body is not JSON, as its content type says: {error}"
                    ))
                })?;
                row.extend_from_slice(b"\"data\":");
                row.extend_from_slice(data.get().as_bytes());
            }
            (DataKind::Text, Ok(text)) => {
                row.extend_from_slice(b"\"data\":");
                write_text(row, text);
            }
            (_, _) => {
                row.extend_from_slice(b"\"data_base64\":");
                write_text(row, &BASE64_STANDARD.encode(body));
            }
        }
        row.push(b'}');
        Ok(())
    }
}

/// What `data` of a media type is in the JSON format.
fn kind_of(media_type: &str) -> DataKind {
    let (kind, subtype) = media_type.split_once('/').unwrap_or((media_type, ""));
    let is = |format: &str| {
        subtype == format
            || subtype
                .strip_suffix(format)
                .is_some_and(|rest| rest.ends_with('+'))
    };
    if is("json") {
        DataKind::Json
    } else if kind == "text" || is("xml") {
        DataKind::Text
    } else {
        DataKind::Binary
    }
}

/// The value of a header: quotes are taken off, then percent-encoding; `None` when that is not UTF-8.
fn decoded(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let value = match quoted {
        None => Cow::Borrowed(value),
        Some(quoted) => {
            let mut plain = String::with_capacity(quoted.len());
            let mut chars = quoted.chars();
            while let Some(c) = chars.next() {
                plain.extend(if c == '\\' { chars.next() } else { Some(c) });
            }
            Cow::Owned(plain)
        }
    };
    let decoded = percent_decode_str(&value).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_values_are_unquoted_and_decoded_once() {
        for (value, expected) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("\"a \\\"b\\\" c\"", Some("a \"b\" c")),
            ("%2541", Some("%41")),
            ("100%", Some("100%")),
            ("%C0%A0", None),
            ("\"", Some("\"")),
        ] {
            assert_eq!(decoded(value.as_bytes()).as_deref(), expected, "{value}");
        }
        assert_eq!(decoded(b"\xff"), None);
    }

    #[test]
    fn media_types_say_what_data_is() {
        for (media_type, kind) in [
            ("application/json", DataKind::Json),
            ("application/vnd.shop+json", DataKind::Json),
            ("text/plain", DataKind::Text),
            ("application/xml", DataKind::Text),
            ("image/svg+xml", DataKind::Text),
            ("application/notjson", DataKind::Binary),
            ("application/octet-stream", DataKind::Binary),
            ("", DataKind::Binary),
        ] {
            assert_eq!(kind_of(media_type), kind, "{media_type}");
        }
    }
}
