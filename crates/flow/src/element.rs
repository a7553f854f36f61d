//! What may flow: elements, keys, values, and the time each element carries.

use std::fmt;
use std::hash::Hash;

/// What may flow between nodes.
pub trait Element: Clone + Send + Sync + 'static {}
impl<T: Clone + Send + Sync + 'static> Element for T {}

/// What may be summed by.
pub trait Key: Element + Eq + Hash + Ord {}
impl<T: Element + Eq + Hash + Ord> Key for T {}

/// What may be summed.
pub trait Value: Element + algebra::Semigroup {}
impl<T: Element + algebra::Semigroup> Value for T {}

/// Event time: milliseconds since the Unix epoch, UTC. Every element carries one, from its source on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
