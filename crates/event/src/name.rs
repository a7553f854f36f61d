//! A dataset's name.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits::DATASET_NAME_CHARS_MAX;
use crate::{Error, Result};

/// A dataset's name: 1 to 128 of `A–Z a–z 0–9 _ -`, starting with a letter or `_`.
///
/// It is used as it stands for a table, a folder and a metric label, so nothing else is let in. The suffix
/// `$failed` belongs to the system: [`DatasetName::failed`] makes it, [`FromStr`] refuses it.
///
/// ```
/// use event::DatasetName;
/// let name: DatasetName = "user_behavior_events".parse().unwrap();
/// assert_eq!(name.failed(), "user_behavior_events$failed");
/// assert!("../etc".parse::<DatasetName>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatasetName(Arc<str>);

impl DatasetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the table that holds this dataset's rejected events.
    pub fn failed(&self) -> String {
        format!("{}{}", self.0, crate::FAILED_SUFFIX)
    }
}

impl FromStr for DatasetName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let made_of = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        if !starts || !made_of || name.len() > DATASET_NAME_CHARS_MAX {
            return Err(Error::invalid(format_args!(
                "not a dataset name: use 1 to {DATASET_NAME_CHARS_MAX} of A-Z a-z 0-9 _ - and start with a letter or _ name={:?}",
                name.chars().take(DATASET_NAME_CHARS_MAX).collect::<String>()
            )));
        }
        Ok(Self(name.into()))
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl serde::Serialize for DatasetName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for DatasetName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_let_in_and_kept_out() {
        for good in ["a", "_x", "user_behavior_events", "Wiki-2"] {
            assert_eq!(good.parse::<DatasetName>().unwrap().as_str(), good);
        }
        let long = "a".repeat(DATASET_NAME_CHARS_MAX + 1);
        for bad in ["", "1a", "a/b", "..", "a b", "a$failed", "ä", long.as_str()] {
            assert_eq!(
                bad.parse::<DatasetName>().unwrap_err().kind(),
                crate::ErrorKind::Invalid,
                "{bad}"
            );
        }
    }
}
