//! What every aggregator can do: run over items, and be changed before and after.

use std::borrow::Borrow;
use std::hash::Hash;

use super::{
    After, Aggregator, Before, ByKey, ByKeyOf, CollectBefore, Filter, Flat, HashedByKey, Of, OfEach, OfSome,
    Optional, Running, ToFold, ToScan,
};
use crate::Monoid;

/// Sugar of every [`Aggregator`].
///
/// What is put before an aggregator comes by reference or computed, once, perhaps, or many times an item:
///
/// | | one | one or none | many |
/// |---|---|---|---|
/// | by reference | [`of`](Self::of) | [`of_some`](Self::of_some) | [`of_each`](Self::of_each) |
/// | computed | [`before`](Self::before) | [`collect_before`](Self::collect_before) | [`flat`](Self::flat) |
///
/// Where an item may give nothing, the state needs a zero; [`optional`](Self::optional) gives it one. Closures name
/// the type they take: `|event: &Event| &event.user`.
pub trait AggregatorExt<T: ?Sized>: Aggregator<T> {
    /// The sum of the states of the items; `None` when there are none.
    fn state_of<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Option<Self::State>
    where
        T: 'a,
    {
        let mut items = items.into_iter();
        let first = self.prepare(items.next()?);
        Some(items.fold(first, |mut state, item| {
            self.add(&mut state, item);
            state
        }))
    }

    /// The answer for the items; `None` when there are none.
    fn aggregate<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Option<Self::Output>
    where
        T: 'a,
    {
        self.state_of(items).map(|state| self.present(state))
    }

    /// The answer for the items; that of zero when there are none.
    fn total<'a>(&self, items: impl IntoIterator<Item = &'a T>) -> Self::Output
    where
        T: 'a,
        Self::State: Monoid,
    {
        let mut total = Self::State::zero();
        items.into_iter().for_each(|item| self.add(&mut total, item));
        self.present(total)
    }

    /// After each item the answer for it and all before it, lazily. The last is [`aggregate`](Self::aggregate)'s.
    fn running<'a, I>(&self, items: I) -> Running<'_, Self, T, I::IntoIter>
    where
        T: 'a,
        I: IntoIterator<Item = &'a T>,
        Self: Sized,
        Self::State: Clone,
    {
        Running::new(self, items.into_iter())
    }

    /// Of a part of each item: `max().of(|visit: &Visit| &visit.ms)`.
    fn of<E: ?Sized, P: Fn(&E) -> &T>(self, part: P) -> Of<Self, P>
    where
        Self: Sized,
    {
        Of {
            aggregator: self,
            part,
        }
    }

    /// Of a part of each item that has it: `max().of_some(|visit: &Visit| visit.user.as_deref())`.
    fn of_some<E: ?Sized, P: Fn(&E) -> Option<&T>>(self, part: P) -> OfSome<Self, P>
    where
        Self: Sized,
        Self::State: Monoid,
    {
        OfSome {
            aggregator: self,
            part,
        }
    }

    /// Of each element of a collection in each item: `count().of_each(|visit: &Visit| &visit.tags)`.
    fn of_each<E: ?Sized, C: ?Sized, P: Fn(&E) -> &C>(self, elements: P) -> OfEach<Self, P>
    where
        for<'a> &'a C: IntoIterator<Item = &'a T>,
        Self: Sized,
        Self::State: Monoid,
    {
        OfEach {
            aggregator: self,
            elements,
        }
    }

    /// Of what is computed of each item: `average().before(|visit: &Visit| visit.ms as f64)`.
    fn before<E: ?Sized, F: Fn(&E) -> T>(self, compute: F) -> Before<Self, F>
    where
        T: Sized,
        Self: Sized,
    {
        Before {
            aggregator: self,
            compute,
        }
    }

    /// Of what is computed of each item for which it is `Some`.
    fn collect_before<E: ?Sized, F: Fn(&E) -> Option<T>>(self, compute: F) -> CollectBefore<Self, F>
    where
        T: Sized,
        Self: Sized,
        Self::State: Monoid,
    {
        CollectBefore {
            aggregator: self,
            compute,
        }
    }

    /// Of each of what is computed of each item: none, one or many.
    fn flat<E: ?Sized, I: IntoIterator<Item = T>, F: Fn(&E) -> I>(self, compute: F) -> Flat<Self, F>
    where
        T: Sized,
        Self: Sized,
        Self::State: Monoid,
    {
        Flat {
            aggregator: self,
            compute,
        }
    }

    /// Of the items for which `keep` holds.
    fn filter<P: Fn(&T) -> bool>(self, keep: P) -> Filter<Self, P>
    where
        Self: Sized,
        Self::State: Monoid,
    {
        Filter {
            aggregator: self,
            keep,
        }
    }

    /// With a zero: the state and the answer are `None` until there is an item.
    fn optional(self) -> Optional<Self>
    where
        Self: Sized,
    {
        Optional { aggregator: self }
    }

    /// With another answer, made of this one.
    fn after<O, F: Fn(Self::Output) -> O>(self, change: F) -> After<Self, F>
    where
        Self: Sized,
    {
        After {
            aggregator: self,
            change,
        }
    }

    /// For each key by itself: an ordered map of answers. It grows with the number of different keys.
    fn by_key<K: Ord, F: Fn(&T) -> K>(self, key: F) -> ByKey<Self, F>
    where
        Self: Sized,
    {
        ByKey {
            aggregator: self,
            key,
        }
    }

    /// As [`by_key`](Self::by_key), of a key that lies in the item: it is copied only when it is new.
    fn by_key_of<Q, F>(self, key: F) -> ByKeyOf<Self, F>
    where
        Q: Ord + ToOwned<Owned: Ord + Borrow<Q>> + ?Sized,
        F: Fn(&T) -> &Q,
        Self: Sized,
    {
        ByKeyOf {
            aggregator: self,
            key,
        }
    }

    /// As [`by_key`](Self::by_key), as a hashed map: a third faster with 1 000 keys, in no order.
    fn hashed_by_key<K: Hash + Eq, F: Fn(&T) -> K>(self, key: F) -> HashedByKey<Self, F>
    where
        Self: Sized,
    {
        HashedByKey {
            aggregator: self,
            key,
        }
    }

    /// As a fold, which starts at zero.
    fn to_fold(self) -> ToFold<Self>
    where
        Self: Sized,
        Self::State: Monoid,
    {
        ToFold { aggregator: self }
    }

    /// As a scan: its output after each item is the answer so far.
    fn to_scan(self) -> ToScan<Self>
    where
        Self: Sized,
        Self::State: Clone,
    {
        ToScan { aggregator: self }
    }
}

impl<T: ?Sized, A: Aggregator<T> + ?Sized> AggregatorExt<T> for A {}
