//! The laws as plain functions over values, for property tests.
//!
//! ```
//! algebra::laws::associative(&1_u8, &200, &100)?;
//! algebra::laws::identity(&"ant".to_owned())?;
//! # Ok::<(), algebra::laws::Broken>(())
//! ```
//!
//! Each comes as equality (`==`) and, for floats and sketches, `…_within` an equivalence of yours. What is random or
//! approximate is tried many times with a seed, and [`fails_at_most`] judges the tries.

mod bytes;
mod chance;
mod parts;
mod structures;

use std::fmt::{self, Debug};

pub use bytes::{refuses, round_trip, survives};
pub use chance::fails_at_most;
pub use parts::{adds, bulk_equals_repeated, condenses_within, merge_equals_whole_within};
pub use structures::{
    associative, associative_within, commutative, commutative_within, distributive, distributive_within,
    idempotent, identity, identity_within, inverse, inverse_within, unit,
};

use crate::{Semigroup, Times};

/// A law does not hold; the text names it and shows both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

/// This module's result.
pub type Result = std::result::Result<(), Broken>;

pub(crate) fn agree<T: Debug>(law: &str, left: &T, right: &T, same: impl Fn(&T, &T) -> bool) -> Result {
    if same(left, right) {
        return Ok(());
    }
    Err(Broken(format!(
        "{law} does not hold: left={left:?} right={right:?}"
    )))
}

fn plus<T: Semigroup>(mut left: T, right: T) -> T {
    left.plus(right);
    left
}

fn times<T: Times>(mut left: T, right: T) -> T {
    left.times(right);
    left
}

/// The sum of at least one item, from the left.
#[cfg(test)]
pub(crate) fn sum<T: Semigroup>(items: impl IntoIterator<Item = T>) -> T {
    items
        .into_iter()
        .reduce(plus)
        .expect("tests give at least one item")
}

#[cfg(test)]
mod tests;
