//! Sums of the keys used last.

use std::hash::Hash;

use super::recent::Recent;
use super::{Bound, Buffer, Unweighed, Weigh};
use crate::Semigroup;

/// The sums of the keys used last (LRU): when there are too many, the one not used for longest goes out with its sum.
#[derive(Clone, Debug)]
pub struct SummingCache<K, V, W = Unweighed> {
    held: Recent<K, V, W>,
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> SummingCache<K, V, W> {
    /// An empty cache with this bound.
    pub fn new(bound: Bound<W>) -> Self {
        Self {
            held: Recent::new(bound),
        }
    }
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> Buffer<K, V> for SummingCache<K, V, W> {
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V)) {
        self.held.put(key, value);
        self.held.trim(out);
    }

    fn flush(&mut self, out: &mut dyn FnMut(K, V)) {
        self.held.flush(out);
    }

    fn len(&self) -> usize {
        self.held.len()
    }
}
