//! A batch of sums.

use std::hash::Hash;

use indexmap::IndexMap;
use indexmap::map::Entry;

use super::{Bound, Buffer, TableHasher, Unweighed, Weigh};
use crate::Semigroup;

/// The sums of the keys since it was last full: when one more key comes, all go out, in the order they first came.
#[derive(Clone, Debug)]
pub struct SummingQueue<K, V, W = Unweighed> {
    sums: IndexMap<K, V, TableHasher>,
    bytes: usize,
    bound: Bound<W>,
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> SummingQueue<K, V, W> {
    /// An empty queue with this bound.
    pub fn new(bound: Bound<W>) -> Self {
        Self {
            sums: IndexMap::default(),
            bytes: 0,
            bound,
        }
    }
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> Buffer<K, V> for SummingQueue<K, V, W> {
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V)) {
        if self.bound.keys_max == 0 {
            out(key, value);
            return;
        }
        if self.sums.len() >= self.bound.keys_max && !self.sums.contains_key(&key) {
            self.flush(out);
        }
        let weigh = &self.bound.weigh;
        match self.sums.entry(key) {
            Entry::Occupied(mut place) => {
                self.bytes = self.bytes.saturating_sub(weigh.bytes(place.key(), place.get()));
                place.get_mut().plus(value);
                self.bytes = self.bytes.saturating_add(weigh.bytes(place.key(), place.get()));
            }
            Entry::Vacant(place) => {
                self.bytes = self.bytes.saturating_add(weigh.bytes(place.key(), &value));
                place.insert(value);
            }
        }
        if self.bytes > self.bound.bytes_max {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut dyn FnMut(K, V)) {
        self.bytes = 0;
        self.sums.drain(..).for_each(|(key, value)| out(key, value));
    }

    fn len(&self) -> usize {
        self.sums.len()
    }
}
