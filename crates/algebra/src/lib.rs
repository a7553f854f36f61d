//! Semigroups, monoids and groups with their laws, and the aggregators and sketches that are made of them: the values
//! that write-once aggregates sum.
//!
//! ```
//! use std::collections::BTreeMap;
//! use algebra::{Max, Semigroup};
//!
//! let mut seen = BTreeMap::from([("ant", (1_u64, Max(7)))]);
//! seen.plus(BTreeMap::from([("ant", (2, Max(3))), ("bee", (1, Max(1)))]));
//! assert_eq!(seen, BTreeMap::from([("ant", (3, Max(7))), ("bee", (1, Max(1)))]));
//! ```
//!
//! Not here: `bool` (its sum could be "and" or "or": [`All`], [`Any`]), bare floats (their `+` is not associative: take
//! [`Sum`]), time, IO, async.

// The derives write `::algebra::…`, also in this crate's own tests.
extern crate self as algebra;

pub mod aggregate;
pub mod buffer;
pub mod codec;
mod instances;
mod item;
pub mod laws;
mod numbers;
pub mod sketch;
mod statistics;
mod structure;

pub use algebra_derive::{Commutative, Group, Idempotent, Monoid, Semigroup};
pub use instances::*;
pub use item::{Item, hash128};
pub use numbers::*;
pub use statistics::*;
pub use structure::{Commutative, Group, Idempotent, Monoid, Semigroup, Semiring, Times};
