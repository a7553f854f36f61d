//! Sums in the order of their last use: what the caches are made of.

use std::hash::Hash;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::{Bound, TableHasher, Weigh};
use crate::Semigroup;

/// No place: the end of the list.
const NONE: u32 = u32::MAX;

/// A table of sums whose places are also a doubly linked list, from the newest use to the oldest.
#[derive(Clone, Debug)]
pub(super) struct Recent<K, V, W> {
    places: IndexMap<K, Place<V>, TableHasher>,
    newest: u32,
    oldest: u32,
    bytes: usize,
    pub(super) bound: Bound<W>,
}

#[derive(Clone, Debug)]
struct Place<V> {
    value: V,
    bytes: usize,
    newer: u32,
    older: u32,
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> Recent<K, V, W> {
    pub(super) fn new(bound: Bound<W>) -> Self {
        Self {
            places: IndexMap::default(),
            newest: NONE,
            oldest: NONE,
            bytes: 0,
            bound,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether one more key is over the bound.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= self.bound.keys_max
    }

    pub(super) fn oldest(&self) -> Option<&K> {
        self.places.get_index(self.oldest as usize).map(|(key, _)| key)
    }

    /// Sums `value` into what is held, or holds it. Whether it was held before.
    ///
    /// It may then hold too much: [`trim`](Self::trim) follows.
    #[inline]
    pub(super) fn put(&mut self, key: K, value: V) -> bool {
        let at = match self.places.entry(key) {
            Entry::Occupied(entry) => {
                let at = entry.index();
                self.sum_at(at, value);
                return true;
            }
            Entry::Vacant(entry) => {
                let at = entry.index();
                let bytes = self.bound.weigh.bytes(entry.key(), &value);
                self.bytes = self.bytes.saturating_add(bytes);
                entry.insert(Place {
                    value,
                    bytes,
                    newer: NONE,
                    older: NONE,
                });
                at
            }
        };
        self.link_newest(at as u32);
        false
    }

    /// Sums `value` into what is held; gives it back when nothing is.
    #[inline]
    pub(super) fn sum(&mut self, key: &K, value: V) -> Result<(), V> {
        match self.places.get_index_of(key) {
            Some(at) => {
                self.sum_at(at, value);
                Ok(())
            }
            None => Err(value),
        }
    }

    #[inline]
    fn sum_at(&mut self, at: usize, value: V) {
        let (key, place) = self
            .places
            .get_index_mut(at)
            .expect("the place of a key that is held is in the table");
        place.value.plus(value);
        let bytes = self.bound.weigh.bytes(key, &place.value);
        self.bytes = self.bytes.saturating_sub(place.bytes).saturating_add(bytes);
        place.bytes = bytes;
        if self.newest != at as u32 {
            self.unlink(at as u32);
            self.link_newest(at as u32);
        }
    }

    /// Until it is within its bound, what was not used for longest goes out.
    #[inline]
    pub(super) fn trim(&mut self, out: &mut dyn FnMut(K, V)) {
        while self.len() > self.bound.keys_max || self.bytes > self.bound.bytes_max {
            let Some((key, value)) = self.take_oldest() else {
                return;
            };
            out(key, value);
        }
    }

    /// All goes out, in the order of their places.
    pub(super) fn flush(&mut self, out: &mut dyn FnMut(K, V)) {
        (self.newest, self.oldest, self.bytes) = (NONE, NONE, 0);
        self.places
            .drain(..)
            .for_each(|(key, place)| out(key, place.value));
    }

    pub(super) fn take_oldest(&mut self) -> Option<(K, V)> {
        let at = self.oldest;
        if at == NONE {
            return None;
        }
        self.unlink(at);
        let (key, taken) = self.places.swap_remove_index(at as usize)?;
        self.bytes = self.bytes.saturating_sub(taken.bytes);
        // The last place has moved to the one that became free.
        if let Some((_, moved)) = self.places.get_index(at as usize) {
            let (newer, older) = (moved.newer, moved.older);
            self.set_older(newer, at);
            self.set_newer(older, at);
        }
        Some((key, taken.value))
    }

    fn link_newest(&mut self, at: u32) {
        let second = self.newest;
        self.places[at as usize].newer = NONE;
        self.places[at as usize].older = second;
        self.set_newer(second, at);
        self.newest = at;
    }

    fn unlink(&mut self, at: u32) {
        let Place { newer, older, .. } = self.places[at as usize];
        self.set_older(newer, older);
        self.set_newer(older, newer);
    }

    /// What is older than `at`; of the end, the newest.
    fn set_older(&mut self, at: u32, older: u32) {
        match at {
            NONE => self.newest = older,
            at => self.places[at as usize].older = older,
        }
    }

    /// What is newer than `at`; of the end, the oldest.
    fn set_newer(&mut self, at: u32, newer: u32) {
        match at {
            NONE => self.oldest = newer,
            at => self.places[at as usize].newer = newer,
        }
    }
}
