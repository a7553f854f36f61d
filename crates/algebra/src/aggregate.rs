//! Aggregators: how items become a value that can be summed, and how the sum is read.
//!
//! ```
//! use algebra::aggregate::{self, AggregatorExt};
//!
//! struct Visit { page: &'static str, ms: u64 }
//! #[derive(Debug, PartialEq)]
//! struct Stats { visits: u64, slowest: Option<u64> }
//!
//! let slowest = aggregate::max().of(|visit: &Visit| &visit.ms).optional();
//! let stats = (aggregate::count(), slowest).after(|(visits, slowest)| Stats { visits, slowest });
//! let visits = [Visit { page: "a", ms: 7 }, Visit { page: "b", ms: 9 }, Visit { page: "a", ms: 3 }];
//! assert_eq!(stats.total(&visits), Stats { visits: 3, slowest: Some(9) });
//! assert_eq!(stats.by_key(|visit: &Visit| visit.page).total(&visits)["a"].slowest, Some(7));
//! ```
//!
//! Not here: time (windows are keys), IO, and anything random: a sample is drawn by the hash of the item.

mod after;
mod before;
mod by_key;
mod ext;
mod fold;
mod join;
pub mod laws;
mod ready;
mod running;
mod scan;

pub use after::{After, Optional};
pub use before::{Before, CollectBefore, Filter, Flat, Of, OfEach, OfSome};
pub use by_key::{ByKey, ByKeyOf, HashedByKey};
pub use ext::AggregatorExt;
pub use fold::{Fold, FoldExt, FoldFn, ToFold, fold};
pub use ready::*;
pub use running::Running;
pub use scan::{Index, Scan, ScanExt, ScanFn, Scanned, Then, ToScan, WithItem, index, scan};

use crate::Semigroup;

/// Three functions: an item to a state, states to their sum, and the sum to an answer.
///
/// What is stored and merged is the [`State`](Self::State): plain data, never a closure, so it has bytes when its
/// parts have; the aggregator itself is code. An aggregator is only read, so one serves every thread.
///
/// Laws ([`laws::aggregates`]): `add(s, x) = s ⊕ prepare(x)`; and since `⊕` is associative, the state of `xs ++ ys` is
/// the state of `xs` ⊕ the state of `ys`.
///
/// Tuples to 12 and arrays of aggregators are aggregators: each item passes once, and each part takes it. How to
/// change one is in [`AggregatorExt`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not aggregate a `{T}`: it is not an `Aggregator<{T}>`",
    note = "`.of(|item: &Item| &item.field)` or `.before(|item: &Item| …)` says which part of an item it takes"
)]
pub trait Aggregator<T: ?Sized> {
    /// What is summed and stored.
    type State: Semigroup;
    /// The answer.
    type Output;

    /// The state of one item.
    fn prepare(&self, item: &T) -> Self::State;

    /// `state ← state ⊕ prepare(item)`, where that is cheaper in place.
    #[inline]
    fn add(&self, state: &mut Self::State, item: &T) {
        state.plus(self.prepare(item));
    }

    /// The answer that a state gives.
    fn present(&self, state: Self::State) -> Self::Output;
}

/// A borrowed aggregator is one: for use in two joins.
impl<T: ?Sized, A: Aggregator<T> + ?Sized> Aggregator<T> for &A {
    type State = A::State;
    type Output = A::Output;

    #[inline]
    fn prepare(&self, item: &T) -> Self::State {
        (**self).prepare(item)
    }

    #[inline]
    fn add(&self, state: &mut Self::State, item: &T) {
        (**self).add(state, item);
    }

    #[inline]
    fn present(&self, state: Self::State) -> Self::Output {
        (**self).present(state)
    }
}

#[cfg(test)]
mod tests;
