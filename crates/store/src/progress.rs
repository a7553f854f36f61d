//! How far a job has come.

use std::collections::BTreeMap;
use std::fmt;

/// For each part of a job's input, the offset of the next slice to take: `part → offset`.
///
/// A part that is not named has not been begun: its offset is 0. Progress only grows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Progress(pub BTreeMap<String, u64>);

impl Progress {
    /// The next offset of a part, 0 if it has not been begun.
    pub fn of(&self, part: &str) -> u64 {
        self.0.get(part).copied().unwrap_or(0)
    }

    /// Moves a part on to `next`.
    pub fn advance(&mut self, part: &str, next: u64) {
        match self.0.get_mut(part) {
            Some(offset) => *offset = next,
            None => {
                self.0.insert(part.to_owned(), next);
            }
        }
    }

    /// Whether every part is at least as far as in `other`.
    pub fn covers(&self, other: &Progress) -> bool {
        other.0.iter().all(|(part, offset)| self.of(part) >= *offset)
    }
}

impl<S: Into<String>> FromIterator<(S, u64)> for Progress {
    fn from_iter<I: IntoIterator<Item = (S, u64)>>(parts: I) -> Self {
        Self(
            parts
                .into_iter()
                .map(|(part, offset)| (part.into(), offset))
                .collect(),
        )
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (part, offset)) in self.0.iter().enumerate() {
            write!(f, "{}{part}:{offset}", if i == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}
