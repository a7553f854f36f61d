//! Reading request headers.

use axum::http::{HeaderMap, header};

use crate::{Error, Result};

/// A header as text without white space around it; `None` when it is not there.
pub(super) fn text_of<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>> {
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

/// The number that a header's text says.
pub(super) fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| {
        Error::invalid(format_args!(
            "header is not a number header={name} value={text:?}"
        ))
    })
}

/// The content type without its parameters, in lower case; empty when there is none.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("");
    let media_type = content_type.split(';').next().unwrap_or("");
    media_type.trim().to_ascii_lowercase()
}
