//! The caches: least recently used, by time, and for heavy hitters alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Cache;
use crate::{Clock, Key};

/// The pairs that were used last, up to a number. A use costs O(log n).
pub struct Lru<K, V> {
    keys_max: usize,
    uses: u64,
    pub(super) values: BTreeMap<K, (u64, V)>,
    /// Last use → key.
    pub(super) order: BTreeMap<u64, K>,
}

impl<K, V> Lru<K, V> {
    /// A cache of up to `keys_max` pairs.
    pub fn new(keys_max: usize) -> Self {
        Self {
            keys_max,
            uses: 0,
            values: BTreeMap::new(),
            order: BTreeMap::new(),
        }
    }
}

impl<K: Key, V: Clone + Send> Cache<K, V> for Lru<K, V> {
    fn get(&mut self, key: &K) -> Option<V> {
        let (used, value) = self.values.get_mut(key)?;
        self.order.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.order.insert(self.uses, key.clone());
        Some(value.clone())
    }

    fn put(&mut self, key: K, value: V) {
        self.remove(&key);
        self.uses += 1;
        self.order.insert(self.uses, key.clone());
        self.values.insert(key, (self.uses, value));
        while self.values.len() > self.keys_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.values.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &K) {
        if let Some((used, _)) = self.values.remove(key) {
            self.order.remove(&used);
        }
    }
}

/// Pairs for a time since they were put, up to a number; when there are more, the one that ends first goes.
///
/// The time is checked at each **read**: a value is never given once its time has passed, used or not.
pub struct Ttl<K, V, C> {
    keys_max: usize,
    ttl: Duration,
    clock: C,
    puts: u64,
    pub(super) values: BTreeMap<K, ((Duration, u64), V)>,
    /// End and number of the put → key.
    pub(super) order: BTreeMap<(Duration, u64), K>,
}

impl<K, V, C: Clock> Ttl<K, V, C> {
    /// A cache of up to `keys_max` pairs, each for `ttl` by `clock`.
    pub fn new(keys_max: usize, ttl: Duration, clock: C) -> Self {
        Self {
            keys_max,
            ttl,
            clock,
            puts: 0,
            values: BTreeMap::new(),
            order: BTreeMap::new(),
        }
    }
}

impl<K: Key, V: Clone + Send, C: Clock> Ttl<K, V, C> {
    /// Keeps a value for a time of its own.
    pub fn put_for(&mut self, key: K, value: V, ttl: Duration) {
        self.remove(&key);
        let now = self.clock.now();
        self.puts += 1;
        let end = (now.saturating_add(ttl), self.puts);
        self.order.insert(end, key.clone());
        self.values.insert(key, (end, value));
        while let Some(first) = self.order.first_entry() {
            if first.key().0 > now && self.values.len() <= self.keys_max {
                break;
            }
            self.values.remove(&first.remove());
        }
    }
}

impl<K: Key, V: Clone + Send, C: Clock> Cache<K, V> for Ttl<K, V, C> {
    fn get(&mut self, key: &K) -> Option<V> {
        let ((ends, _), value) = self.values.get(key)?;
        if self.clock.now() < *ends {
            return Some(value.clone());
        }
        self.remove(key);
        None
    }

    fn put(&mut self, key: K, value: V) {
        self.put_for(key, value, self.ttl);
    }

    fn remove(&mut self, key: &K) {
        if let Some((end, _)) = self.values.remove(key) {
            self.order.remove(&end);
        }
    }
}

/// A cache of the keys alone that are read often: more than one read in `counters_max + 1`.
///
/// Reads are counted by Misra and Gries, "Finding repeated elements" (1982): `counters_max` counters, of which a
/// count is too low by at most reads ÷ (counters_max + 1). All counts are halved every 16 × `counters_max` reads,
/// so that it forgets. Until `counters_max` reads nothing is taken.
pub struct HeavyHitters<K, C> {
    pub(super) cache: C,
    counters_max: usize,
    pub(super) counts: BTreeMap<K, u64>,
    reads: u64,
}

impl<K, C> HeavyHitters<K, C> {
    /// `cache` for the keys that are read often.
    pub fn new(cache: C, counters_max: usize) -> Self {
        Self {
            cache,
            counters_max: counters_max.max(1),
            counts: BTreeMap::new(),
            reads: 0,
        }
    }
}

impl<K: Key, C> HeavyHitters<K, C> {
    fn count(&mut self, key: &K) {
        self.reads += 1;
        if let Some(count) = self.counts.get_mut(key) {
            *count += 1;
        } else if self.counts.len() < self.counters_max {
            self.counts.insert(key.clone(), 1);
        } else {
            self.counts.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
        if self.reads >= 16 * self.counters_max as u64 {
            self.reads /= 2;
            self.counts.retain(|_, count| {
                *count /= 2;
                *count > 0
            });
        }
    }

    fn is_heavy(&self, key: &K) -> bool {
        let counters = self.counters_max as u64;
        let count = self.counts.get(key).copied().unwrap_or(0);
        self.reads >= counters && count * (counters + 1) > self.reads
    }
}

impl<K: Key, V, C: Cache<K, V>> Cache<K, V> for HeavyHitters<K, C> {
    fn get(&mut self, key: &K) -> Option<V> {
        self.count(key);
        self.cache.get(key)
    }

    fn put(&mut self, key: K, value: V) {
        if self.is_heavy(&key) {
            self.cache.put(key, value);
        } else {
            self.cache.remove(&key);
        }
    }

    fn remove(&mut self, key: &K) {
        self.cache.remove(key);
    }
}
