//! The token in an `Authorization` header (RFC 9110, section 11; RFC 6750; RFC 7617).

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tonic::metadata::MetadataMap;

/// The token of a gRPC call.
pub(super) fn in_metadata(metadata: &MetadataMap) -> Option<Cow<'_, str>> {
    let given = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok());
    given.and_then(token_of)
}

/// The token of `Bearer <token>`, or of `Basic`: the password, or the user when the password is empty.
pub(super) fn token_of(header: &str) -> Option<Cow<'_, str>> {
    let (scheme, given) = header.trim().split_once(' ')?;
    let given = given.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(given));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(given).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    let token = if password.is_empty() { user } else { password };
    Some(Cow::Owned(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_and_basic() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (header, token) in [
            ("Bearer abc".to_owned(), Some("abc")),
            ("bearer   abc ".to_owned(), Some("abc")),
            (basic("key:"), Some("key")),
            (basic("anyone:pass:word"), Some("pass:word")),
            (basic("key"), None),
            ("Basic ???".to_owned(), None),
            ("Digest abc".to_owned(), None),
            ("abc".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(token_of(&header).as_deref(), token, "{header}");
        }
    }
}
