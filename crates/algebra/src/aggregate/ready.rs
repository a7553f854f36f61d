//! Aggregators that are ready: counts, sums and means here; choices, collections and sketches in the modules below.

mod choices;
mod collections;

use std::marker::PhantomData;

pub use choices::{
    FirstOf, Greatest, LastOf, Least, MaxByOf, MaxOf, MinByOf, MinOf, first, last, max, max_by, min, min_by,
};
pub use collections::{Distinct, ToMap, ToSet, ToVec, distinct, to_map, to_set, to_vec};

use super::{After, Aggregator, AggregatorExt as _, Filter};
use crate::sketch::Sketch;
use crate::{Average, Semigroup, Sum};

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
    /// How many items; stops at the maximum of `u64` only in theory.
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

/// [`exists`], [`for_all`]: a yes or no from a count.
pub type Whether<T, P> = After<CountIf<T, P>, fn(u64) -> bool>;

/// Whether `holds` for at least one item; not when there are none.
pub fn exists<T: ?Sized, P: Fn(&T) -> bool>(holds: P) -> Whether<T, P> {
    count_if(holds).after(|holding| holding > 0)
}

/// Whether `holds` for every item; also when there are none.
pub fn for_all<T: ?Sized, P: Fn(&T) -> bool>(holds: P) -> Whether<T, impl Fn(&T) -> bool> {
    count_if(move |item: &T| !holds(item)).after(|failing| failing == 0)
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

/// An aggregator of floats, whose state is made of one by `From`, and the function that gives it.
macro_rules! of_floats {
    (
        $(#[$doc:meta])* $name:ident, $(#[$function_doc:meta])* $function:ident,
        $state:ty, |$sum:ident| $value:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name;

        $(#[$function_doc])*
        pub fn $function() -> $name {
            $name
        }

        impl Aggregator<f64> for $name {
            type State = $state;
            type Output = f64;

            #[inline]
            fn prepare(&self, item: &f64) -> $state {
                <$state>::from(*item)
            }

            #[inline]
            fn present(&self, $sum: $state) -> f64 {
                $value
            }
        }
    };
}

of_floats! {
    /// [`float_sum`]: a compensated sum.
    FloatSum,
    /// The sum of floats, compensated: within `ε·|Σx|` and a little, however they are grouped ([`Sum`]).
    float_sum,
    Sum, |sum| sum.value()
}
of_floats! {
    /// [`average`]: a count and a mean.
    Mean,
    /// The mean of floats ([`Average`]); of none it is 0.
    average,
    Average, |average| average.mean
}

/// [`sketched`]: a sketch of the items.
pub struct Sketched<S, T: ?Sized>(PhantomData<fn(&T) -> S>);

/// A sketch of the items, whichever: `sketched::<HyperLogLog<12>, str>().after(|sketch| sketch.estimate())`.
pub fn sketched<S: Sketch<T>, T: ?Sized>() -> Sketched<S, T> {
    Sketched(PhantomData)
}

impl<S, T: ?Sized> Clone for Sketched<S, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, T: ?Sized> Copy for Sketched<S, T> {}

impl<S, T: ?Sized> std::fmt::Debug for Sketched<S, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sketched")
    }
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
