//! The JSON codec: a key or value of any serde type as compact JSON bytes, and back.
//!
//! JSON, since it is read without the type: by SQL, by a person, by a later version with one more field.
//! What a type must obey: equal keys encode to equal bytes (so no hash maps in keys), and values decode to what
//! was encoded. A bare `f64` that is NaN or infinite does not: JSON writes it as `null`, and reading it is an
//! error; use a type that keeps it, as `algebra::Sum` does.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, ErrorKind, Result};

/// How much of a key an error shows, in characters.
const SHOWN_CHARS_MAX: usize = 100;

/// A key as compact JSON.
///
/// # Errors
/// `Invalid` when the type cannot be written as JSON, for instance a map whose keys are not text or numbers.
pub fn encode_key<K: Serialize + ?Sized>(store: &str, key: &K) -> Result<Bytes> {
    serde_json::to_vec(key).map(Bytes::from).map_err(|cause| {
        let text = "a key cannot be written as JSON: use a type that serde_json can write as the job's key";
        Error::new(ErrorKind::Invalid, format!("{text} store={store} cause={cause}")).with_source(cause)
    })
}

/// The value of a key as compact JSON.
///
/// # Errors
/// `Invalid` when the type cannot be written as JSON, for instance a map whose keys are not text or numbers.
pub fn encode_value<V: Serialize + ?Sized>(store: &str, key: &[u8], value: &V) -> Result<Bytes> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|cause| {
        let text =
            "a value cannot be written as JSON: use a type that serde_json can write as the job's value";
        let key = shown(key);
        Error::new(
            ErrorKind::Invalid,
            format!("{text} store={store} key={key} cause={cause}"),
        )
        .with_source(cause)
    })
}

/// The key that [`encode_key`] wrote.
///
/// # Errors
/// `Corrupt` when the bytes are not this type's JSON.
pub fn decode_key<K: DeserializeOwned>(store: &str, key: &[u8]) -> Result<K> {
    serde_json::from_slice(key).map_err(|cause| foreign("key", store, key, cause))
}

/// The value that [`encode_value`] wrote for a key.
///
/// # Errors
/// `Corrupt` when the bytes are not this type's JSON.
pub fn decode_value<V: DeserializeOwned>(store: &str, key: &[u8], value: &[u8]) -> Result<V> {
    serde_json::from_slice(value).map_err(|cause| foreign("value", store, key, cause))
}

fn foreign(what: &str, store: &str, key: &[u8], cause: serde_json::Error) -> Error {
    let text = format!(
        "a stored {what} is not of the job's {what} type: give fields that were added a serde default, or give \
         the job a new name so that it fills a new store"
    );
    let key = shown(key);
    Error::new(
        ErrorKind::Corrupt,
        format!("{text} store={store} key={key} cause={cause}"),
    )
    .with_source(cause)
}

/// A key for an error: as text, cut.
fn shown(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn is_compact_json() {
        assert_eq!(encode_key("s", &("ant", 3)).unwrap(), r#"["ant",3]"#);
        assert_eq!(
            encode_value("s", b"k", &BTreeMap::from([("a", 1)])).unwrap(),
            r#"{"a":1}"#
        );
    }

    #[test]
    fn errors_say_where_and_how_to_mend() {
        let error = decode_value::<u64>("counts", br#""ant""#, b"\"x\"").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        let text = error.to_string();
        for part in [
            "store=counts",
            r#"key="ant""#,
            "give the job a new name",
            "expected u64",
        ] {
            assert!(text.contains(part), "{text}");
        }

        let error = encode_key("counts", &BTreeMap::from([((1, 2), 3)])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("key must be a string"), "{error}");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn long_keys_are_cut_in_errors() {
        let key = "ü".repeat(1_000);
        let error = decode_value::<u64>("s", key.as_bytes(), b"x").unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("key={}… ", "ü".repeat(SHOWN_CHARS_MAX))),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn decode_undoes_encode(
            key: (String, i64, Option<bool>),
            value: BTreeMap<String, Vec<f64>>,
        ) {
            let key_bytes = encode_key("s", &key).unwrap();
            prop_assert_eq!(decode_key::<(String, i64, Option<bool>)>("s", &key_bytes).unwrap(), key);
            let bytes = encode_value("s", &key_bytes, &value).unwrap();
            prop_assert_eq!(decode_value::<BTreeMap<String, Vec<f64>>>("s", &key_bytes, &bytes).unwrap(), value);
        }
    }
}
