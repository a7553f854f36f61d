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
//! # What is here
//!
//! | where | what |
//! |---|---|
//! | the root | the structures ([`Semigroup`] … [`Semiring`]) with their derives; the sums of numbers, choices, collections, statistics, things that fade |
//! | [`aggregate`] | from items to a sum to an answer: [`Aggregator`](aggregate::Aggregator), ready ones, joins, folds, scans |
//! | [`sketch`] | answers within a stated error from bounded memory: distinct counts, frequencies, quantiles, samples, windows |
//! | [`buffer`] | sums before they are sent on |
//! | [`codec`] | bytes that last |
//! | [`laws`] | the laws as functions, for property tests of these types and of yours |
//!
//! "Which one do I want?" is a page of the guide: `docs/guide/algebra.md`.
//!
//! # What each costs
//!
//! `n` items, `k` of them distinct. Measured by `cargo bench -p algebra` (`docs/benchmarks/algebra.md`): one update and
//! one merge, in ns; bytes in memory, or as bytes where it says so. *Exact*: every grouping gives the same bits.
//!
//! | type | answers | update | merge | size | error |
//! |---|---|---|---|---|---|
//! | `u64`, `i64`, … | sums modulo 2ⁿ | 1 | 1 | itself | exact |
//! | [`Checked`], [`Saturating`] | sums that must not wrap | 1 | 1 | 16 | exact |
//! | [`Sum`] | a sum of floats | 1 | 2 | 16 | about one rounding |
//! | [`ExactSum`] | a sum of floats, always the same | 3 | 22 | 16 to 640 | exact, rounded once |
//! | [`Average`] / [`Moments`] / [`Correlation`] | mean / to the 4th / of pairs | 2 / 7 / 5 | 8 | 16 / 40 / 48 | rounding |
//! | [`Min`], [`Max`], [`First`], [`Last`], [`MinBy`], [`Latest`], … | one of the items | 1 | 1 | the item | exact |
//! | `BTreeMap`, `HashMap`, [`SparseMap`] | a sum for each key | 20 to 80 | the smaller one's keys | the keys | of its values |
//! | [`Sessions`] | events cut where nothing happened | 20 | linear | 24 each | exact |
//! | [`DecayedValue`] / [`DecayedVector`] | what fades by half | 6 / 20 | 1 / linear | 16 | rounding |
//! | [`ExponentialAverage`] / [`ForwardDecay`] | what fades with each item / with its age since a landmark | 2 / 3 | 6 / – | 16 / 32 | rounding |
//! | [`Window`] | the last `N` items | 2 | `N` | `N` items | exact |
//! | [`HyperLogLog<12>`](sketch::HyperLogLog) | distinct items | 5 | 100 | 4 096; as bytes 2 092 | 1.6 %; exact laws |
//! | [`Theta<12>`](sketch::Theta) | distinct items, set operations | 3 | 100 000 | 65 536; as bytes 32 792 | 1.6 % of the union; exact laws |
//! | [`Bloom`](sketch::Bloom) | seen or not | 20 | 20 a kB | as chosen | false "yes" as chosen; exact laws |
//! | [`MinHash<256>`](sketch::MinHash) | how alike two sets are | 3 | 125 | 2 048 | 3 %; exact laws |
//! | [`CountMin<2719, 5>`](sketch::CountMin) | how often an item came | 18 | 2 300 | 108 760 | +0.1 % of n, for 99.3 %; exact laws |
//! | [`FrequentItems<_, 10>`](sketch::FrequentItems) | the most frequent | 14 | 1 100 | 12 320 as bytes | 0.26 % of n, certain |
//! | [`HeavyHitters`](sketch::HeavyHitters) (1 %) | what is at least a share | 43 | 2 800 | its table | misses none |
//! | [`SketchMap`](sketch::SketchMap) | sums of very many keys | 27 | 4 000 | its table | as `CountMin` |
//! | [`Largest`](sketch::Largest)`<_, 100>`, [`Smallest`](sketch::Smallest) | the 100 largest | 1 | 440 | 100 items | exact |
//! | [`Sample`](sketch::Sample)`<_, 100, _>` | 100 items, uniformly | 4 | 3 500 | 100 items | exact laws |
//! | [`DdSketch<100>`](sketch::DdSketch) | quantiles within 1 % of the value | 15 | 2 700 | 1 095 as bytes | 1 %, always; exact laws |
//! | [`Kll<f64, 200>`](sketch::Kll) | quantiles by rank | 25 | 5 600 | 4 371 as bytes | 1.33 % of rank, 99 % |
//! | [`TDigest<200>`](sketch::TDigest) | extreme quantiles | 34 | 15 000 | 3 568 as bytes | none proven |
//! | [`RangeSums`](sketch::RangeSums) | sums over ranges of keys | 89 | 13 400 | 19 400 as bytes | certain bounds |
//! | [`Histogram`](sketch::Histogram) (13 edges) | counts between edges | 3 | 5 | 138 as bytes | exact |
//! | [`DecayingCountMin<_, 1024, 4>`](sketch::DecayingCountMin) | how often an item came, fading by half | 15 | 3 300 | 32 768 | +0.27 % of the faded total, for 98 % |
//! | [`ExponentialHistogram<50, _>`](sketch::ExponentialHistogram) | a count in the last stretch of time | 16 | 15 500 | 4 800 as bytes | 1 % |
//!
//! # Not here
//!
//! `bool` (its sum could be "and" or "or": [`All`], [`Any`]), bare floats (their `+` is not associative: take
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
