//! Aggregators that are ready: counts, sums and means here; choices, collections and sketches in the modules below.

mod choices;
mod collections;

use std::fmt;
use std::marker::PhantomData;

pub use choices::{FirstOf, LastOf, MaxByOf, MaxOf, MinByOf, MinOf, first, last, max, max_by, min, min_by};
pub use collections::{Distinct, ToMap, ToSet, ToVec, distinct, to_map, to_set, to_vec};

use super::{After, Aggregator, AggregatorExt as _, Filter};
use crate::sketch::{Largest, Sketch, Smallest};
use crate::{All, Any, Average, ExactSum, Semigroup, Sum};

/// An aggregator without parts, and the function that gives it. What it takes is a parameter, so that it can be
/// inferred when the aggregator is made.
macro_rules! without_parts {
    ($(#[$doc:meta])* $name:ident, $(#[$function_doc:meta])* $function:ident) => {
        $(#[$doc])*
        pub struct $name<T: ?Sized>(std::marker::PhantomData<fn(&T)>);

        $(#[$function_doc])*
        pub fn $function<T: ?Sized>() -> $name<T> {
            $name(std::marker::PhantomData)
        }

        impl<T: ?Sized> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T: ?Sized> Copy for $name<T> {}

        impl<T: ?Sized> std::fmt::Debug for $name<T> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

pub(super) use without_parts;

without_parts! {
    /// [`count`]: how many items.
    Count,
    /// How many items.
    count
}

impl<T: ?Sized> Aggregator<T> for Count<T> {
    type State = u64;
    type Output = u64;

    #[inline]
    fn prepare(&self, _item: &T) -> u64 {
        1
    }

    #[inline]
    fn present(&self, state: u64) -> u64 {
        state
    }
}

/// [`count_if`]: how many items for which something holds.
pub type CountIf<T, P> = Filter<Count<T>, P>;

/// How many items for which `holds`.
pub fn count_if<T: ?Sized, P: Fn(&T) -> bool>(holds: P) -> CountIf<T, P> {
    count().filter(holds)
}

/// An aggregator of what is said of each item, as one of the two sums of `bool`.
macro_rules! whether {
    ($name:ident, $state:ident, $(#[$doc:meta])* $function:ident) => {
        #[doc = concat!("[`", stringify!($function), "`]: a yes or no.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $name<P> {
            holds: P,
        }

        $(#[$doc])*
        pub fn $function<T: ?Sized, P: Fn(&T) -> bool>(holds: P) -> $name<P> {
            $name { holds }
        }

        impl<T: ?Sized, P: Fn(&T) -> bool> Aggregator<T> for $name<P> {
            type State = $state;
            type Output = bool;

            #[inline]
            fn prepare(&self, item: &T) -> $state {
                $state((self.holds)(item))
            }

            #[inline]
            fn present(&self, state: $state) -> bool {
                state.0
            }
        }
    };
}

whether! {
    Exists, Any,
    /// Whether `holds` for at least one item; not when there are none.
    exists
}
whether! {
    ForAll, All,
    /// Whether `holds` for every item; also when there are none.
    for_all
}

without_parts! {
    /// [`sum`]: the items summed, by their own `⊕`.
    SumOf,
    /// The sum of items of any semigroup, in order. Integers wrap; for floats take [`float_sum`].
    sum
}

impl<T: ToOwned<Owned: Semigroup> + ?Sized> Aggregator<T> for SumOf<T> {
    type State = T::Owned;
    type Output = T::Owned;

    #[inline]
    fn prepare(&self, item: &T) -> T::Owned {
        item.to_owned()
    }

    #[inline]
    fn present(&self, state: T::Owned) -> T::Owned {
        state
    }
}

/// [`float_sum`]: a compensated sum.
pub type FloatSum = After<SumAs<Sum, f64>, fn(Sum) -> f64>;

/// The sum of floats, compensated: within `ε·|Σx|` and a little, however they are grouped ([`Sum`]).
pub fn float_sum() -> FloatSum {
    sum_as().after(|sum| sum.value())
}

/// [`exact_sum`]: an exact sum.
pub type SumExactly = After<Sketched<ExactSum, f64>, fn(ExactSum) -> f64>;

/// The sum of floats, exact and rounded once ([`ExactSum`]): the same however they are grouped and ordered.
pub fn exact_sum() -> SumExactly {
    sketched().after(|sum| sum.value())
}

/// [`average`]: a count and a mean.
pub type Mean = After<SumAs<Average, f64>, fn(Average) -> f64>;

/// The mean of floats ([`Average`]); of none it is 0.
pub fn average() -> Mean {
    sum_as().after(|average| average.mean)
}

/// An aggregator of which only the state's type is known.
macro_rules! of_state {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        pub struct $name<S, T: ?Sized>(PhantomData<fn(&T) -> S>);

        impl<S, T: ?Sized> Clone for $name<S, T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<S, T: ?Sized> Copy for $name<S, T> {}

        impl<S, T: ?Sized> fmt::Debug for $name<S, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    };
}

of_state! {
    /// [`sum_as`]: the items as a type that has a sum.
    SumAs
}

/// The sum of the items as a type that has one, which they become by `From`: `sum_as::<Average, _>()`.
pub fn sum_as<S: Semigroup + From<T>, T: Clone>() -> SumAs<S, T> {
    SumAs(PhantomData)
}

impl<S: Semigroup + From<T>, T: Clone> Aggregator<T> for SumAs<S, T> {
    type State = S;
    type Output = S;

    #[inline]
    fn prepare(&self, item: &T) -> S {
        S::from(item.clone())
    }

    #[inline]
    fn present(&self, state: S) -> S {
        state
    }
}

of_state! {
    /// [`sketched`]: a sketch of the items.
    Sketched
}

/// A sketch of the items, whichever: `sketched::<HyperLogLog<12>, str>().after(|sketch| sketch.estimate())`.
///
/// So come approximate distinct counts, quantiles, histograms and frequent items; also bounded exact ones: a sample
/// is `sketched::<Sample<_, 100, SEED>, _>().before(|event: &Event| (event.id, event.clone()))`. One that has every
/// item with some probability is no sketch, but `.filter(|event: &Event| bernoulli::<SEED>(&event.id, 0.01))`.
pub fn sketched<S: Sketch<T>, T: ?Sized>() -> Sketched<S, T> {
    Sketched(PhantomData)
}

impl<S: Sketch<T>, T: ?Sized> Aggregator<T> for Sketched<S, T> {
    type State = S;
    type Output = S;

    #[inline]
    fn prepare(&self, item: &T) -> S {
        S::of(item)
    }

    #[inline]
    fn add(&self, state: &mut S, item: &T) {
        state.add(item);
    }

    #[inline]
    fn present(&self, state: S) -> S {
        state
    }
}

/// [`largest`]: the largest items.
pub type LargestOf<T, const K: usize> = After<Sketched<Largest<T, K>, T>, fn(Largest<T, K>) -> Vec<T>>;

/// The `K` largest items, sorted from the largest down.
///
/// By a key: `largest::<_, 3>().before(|visit: &Visit| (visit.ms, visit.page))`.
pub fn largest<T: Ord + Clone, const K: usize>() -> LargestOf<T, K> {
    sketched().after(|items| items.into_items())
}

/// [`smallest`]: the smallest items.
pub type SmallestOf<T, const K: usize> = After<Sketched<Smallest<T, K>, T>, fn(Smallest<T, K>) -> Vec<T>>;

/// The `K` smallest items, sorted from the smallest up.
pub fn smallest<T: Ord + Clone, const K: usize>() -> SmallestOf<T, K> {
    sketched().after(|items| items.into_items())
}
