//! The smallest, the largest, the first and the last: by the items' order, or by a key.

use std::borrow::Borrow;

use super::without_parts;
use crate::aggregate::Aggregator;
use crate::{First, Last, Max, MaxBy, Min, MinBy};

macro_rules! ordered {
    ($aggregator:ident, $state:ident, |$item:ident, $chosen:ident| $replaces:expr) => {
        impl<T: Ord + ToOwned<Owned: Ord> + ?Sized> Aggregator<T> for $aggregator<T> {
            type State = $state<T::Owned>;
            type Output = T::Owned;

            #[inline]
            fn prepare(&self, item: &T) -> Self::State {
                $state(item.to_owned())
            }

            /// Copies the item only when it is chosen.
            #[inline]
            fn add(&self, state: &mut Self::State, $item: &T) {
                let $chosen: &T = state.0.borrow();
                if $replaces {
                    *state = self.prepare($item);
                }
            }

            #[inline]
            fn present(&self, state: Self::State) -> T::Owned {
                state.0
            }
        }
    };
}

without_parts! {
    /// [`min`]: the smallest item.
    MinOf,
    /// The smallest item; of equal ones the first.
    min
}
without_parts! {
    /// [`max`]: the largest item.
    MaxOf,
    /// The largest item; of equal ones the first.
    max
}

ordered!(MinOf, Min, |item, chosen| item < chosen);
ordered!(MaxOf, Max, |item, chosen| item > chosen);

without_parts! {
    /// [`first`]: the first item.
    FirstOf,
    /// The first item, in the order of the items.
    first
}
without_parts! {
    /// [`last`]: the last item.
    LastOf,
    /// The last item, in the order of the items.
    last
}

impl<T: ToOwned + ?Sized> Aggregator<T> for FirstOf<T> {
    type State = First<T::Owned>;
    type Output = T::Owned;

    #[inline]
    fn prepare(&self, item: &T) -> First<T::Owned> {
        First(item.to_owned())
    }

    #[inline]
    fn add(&self, _state: &mut First<T::Owned>, _item: &T) {}

    #[inline]
    fn present(&self, state: First<T::Owned>) -> T::Owned {
        state.0
    }
}

impl<T: ToOwned + ?Sized> Aggregator<T> for LastOf<T> {
    type State = Last<T::Owned>;
    type Output = T::Owned;

    #[inline]
    fn prepare(&self, item: &T) -> Last<T::Owned> {
        Last(item.to_owned())
    }

    #[inline]
    fn add(&self, state: &mut Last<T::Owned>, item: &T) {
        item.clone_into(&mut state.0);
    }

    #[inline]
    fn present(&self, state: Last<T::Owned>) -> T::Owned {
        state.0
    }
}

macro_rules! chosen_by_key {
    (
        $aggregator:ident, $state:ident, $(#[$function_doc:meta])* $function:ident,
        |$key:ident, $chosen:ident| $replaces:expr
    ) => {
        #[doc = concat!("[`", stringify!($function), "`]: chosen by a key.")]
        #[derive(Clone, Copy, Debug)]
        pub struct $aggregator<F> {
            key: F,
        }

        $(#[$function_doc])*
        pub fn $function<T: ?Sized, K: Ord, F: Fn(&T) -> K>(key: F) -> $aggregator<F> {
            $aggregator { key }
        }

        impl<T: ToOwned + ?Sized, K: Ord, F: Fn(&T) -> K> Aggregator<T> for $aggregator<F> {
            type State = $state<K, T::Owned>;
            type Output = T::Owned;

            #[inline]
            fn prepare(&self, item: &T) -> Self::State {
                $state::new((self.key)(item), item.to_owned())
            }

            /// Copies the item only when it is chosen.
            #[inline]
            fn add(&self, state: &mut Self::State, item: &T) {
                let key = (self.key)(item);
                let ($key, $chosen) = (&key, &state.key);
                if $replaces {
                    *state = $state::new(key, item.to_owned());
                }
            }

            #[inline]
            fn present(&self, state: Self::State) -> T::Owned {
                state.value
            }
        }
    };
}

chosen_by_key! {
    MinByOf, MinBy,
    /// The item with the smallest key; of equal ones the first.
    min_by,
    |key, chosen| key < chosen
}
chosen_by_key! {
    MaxByOf, MaxBy,
    /// The item with the largest key; of equal ones the first.
    max_by,
    |key, chosen| key > chosen
}
