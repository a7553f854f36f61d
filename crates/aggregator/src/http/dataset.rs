//! Which dataset the events of a request belong to.

use axum::extract::{FromRequestParts, Query};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use event::DatasetName;
use event::limits::DATASET_NAME_CHARS_MAX;

use super::header::text_of;
use crate::{Error, Result};

/// How a dataset is found for each event.
#[derive(Clone, Debug)]
pub(super) enum Naming {
    /// All belong to this one.
    Given(DatasetName),
    /// Each is found by its type.
    ByType,
}

#[derive(serde::Deserialize)]
struct Named {
    dataset: Option<String>,
}

impl Naming {
    pub(super) async fn of(parts: &mut Parts) -> Result<Self> {
        Ok(named(parts).await?.map_or(Self::ByType, Self::Given))
    }

    /// The dataset that all events belong to, else `default`.
    pub(super) fn or(&self, default: &str) -> Result<DatasetName> {
        match self {
            Self::Given(dataset) => Ok(dataset.clone()),
            Self::ByType => Ok(default.parse()?),
        }
    }
}

/// The dataset that `?dataset=` or the header `Sanderling-Dataset` names.
pub(super) async fn named(parts: &mut Parts) -> Result<Option<DatasetName>> {
    let query: Query<Named> = Query::from_request_parts(parts, &())
        .await
        .map_err(|error| Error::invalid(format_args!("query cannot be read: {error}")))?;
    one_of(query.0.dataset.as_deref(), &parts.headers)
}

fn one_of(query: Option<&str>, headers: &HeaderMap) -> Result<Option<DatasetName>> {
    match (query, text_of(headers, "sanderling-dataset")?) {
        (Some(query), Some(header)) if query != header => Err(Error::invalid(format_args!(
            "dataset is named twice, by ?dataset and by sanderling-dataset query={query:?} header={header:?}"
        ))),
        (Some(name), _) | (None, Some(name)) => Ok(Some(name.parse()?)),
        (None, None) => Ok(None),
    }
}

/// The dataset of a type of events such as `com.example.order.placed`: each run of characters that a name cannot
/// have becomes one `_`, and a `_` goes before a first character that is not a letter or `_`.
///
/// # Errors
/// `Invalid` when the name is too long, or nothing of it would be left.
pub(super) fn of_type(event_type: &str) -> Result<DatasetName> {
    let mut name = String::new();
    let mut gap = false;
    for c in event_type.chars() {
        let kept = c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if kept && gap {
            name.push('_');
        }
        if kept {
            if name.is_empty() && !(c.is_ascii_alphabetic() || c == '_') {
                name.push('_');
            }
            name.push(c);
        }
        gap = !kept;
        if name.len() > DATASET_NAME_CHARS_MAX {
            break;
        }
    }
    name.parse().map_err(|_| {
        Error::invalid(format_args!(
            "no dataset can be called after this type, name one by Sanderling-Dataset type={:?}",
            event_type
                .chars()
                .take(DATASET_NAME_CHARS_MAX)
                .collect::<String>()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn types_become_names() {
        for (event_type, name) in [
            ("com.example.order.placed", "com_example_order_placed"),
            ("Order Placed!", "Order_Placed"),
            ("a..b//c", "a_b_c"),
            ("9lives", "_9lives"),
            (".a", "_a"),
            ("a-b_c", "a-b_c"),
        ] {
            assert_eq!(of_type(event_type).unwrap().as_str(), name, "{event_type}");
        }
        for event_type in ["", "...", "äöü", &"a".repeat(129)] {
            assert!(of_type(event_type).is_err(), "{event_type}");
        }
        assert_eq!(of_type(&"a".repeat(128)).unwrap().as_str().len(), 128);
    }

    proptest! {
        #[test]
        fn a_name_keeps_every_letter_in_order(event_type in "\\PC{0,40}") {
            if let Ok(name) = of_type(&event_type) {
                let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
                prop_assert_eq!(letters(name.as_str()), letters(&event_type));
            }
        }
    }
}
