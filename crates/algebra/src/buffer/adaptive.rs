//! Sums of the keys used last, of as many keys as pay.

use std::hash::{BuildHasher, Hash};
use std::ops::RangeInclusive;

use foldhash::fast::FixedState;

use super::recent::Recent;
use super::{Bound, Buffer, Unweighed, Weigh};
use crate::Semigroup;

/// A [`SummingCache`](super::SummingCache) whose capacity follows what it sees: [`next_capacity`] decides, each time it
/// has been offered four values for each key it may hold.
///
/// It remembers hashes of about as many of the keys that went out last as the bound allows to hold (4 bytes each; the
/// ghost list of ARC: Megiddo and Modha 2003), and so counts what a cache of the largest capacity would have summed.
#[derive(Clone, Debug)]
pub struct AdaptiveCache<K, V, W = Unweighed> {
    held: Recent<K, V, W>,
    capacities: RangeInclusive<usize>,
    observed: Observed,
    ghosts: Ghosts,
}

/// What has been seen since the last decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// How many values were added.
    pub adds: usize,
    /// How many of them were summed into one that was held.
    pub hits: usize,
    /// How many came soon after their key had gone out: the largest capacity would have held it.
    pub ghost_hits: usize,
}

/// How many keys to hold from now on: twice as many when with the most of them at least a twentieth more of the values
/// would have been summed; half as many when less than a fiftieth is summed, now or then; else as many. Never outside
/// `capacities`.
pub fn next_capacity(capacity: usize, observed: Observed, capacities: &RangeInclusive<usize>) -> usize {
    let Observed {
        adds,
        hits,
        ghost_hits,
    } = observed;
    let next = if ghost_hits.saturating_mul(20) >= adds.max(1) {
        capacity.saturating_mul(2)
    } else if hits.saturating_add(ghost_hits).saturating_mul(50) < adds {
        capacity / 2
    } else {
        capacity
    };
    next.max(*capacities.start()).min(*capacities.end())
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> AdaptiveCache<K, V, W> {
    /// An empty cache that may hold from `keys_min` keys on, where it starts, to the bound's.
    pub fn new(keys_min: usize, bound: Bound<W>) -> Self {
        let keys_max = bound.keys_max;
        let keys_min = keys_min.max(1).min(keys_max);
        Self {
            held: Recent::new(Bound {
                keys_max: keys_min,
                ..bound
            }),
            capacities: keys_min..=keys_max,
            observed: Observed::default(),
            ghosts: Ghosts::new(keys_max),
        }
    }

    /// How many keys it may hold now.
    pub fn capacity(&self) -> usize {
        self.held.bound.keys_max
    }

    fn adapt(&mut self) {
        if self.observed.adds < self.capacity().saturating_mul(4).max(64) {
            return;
        }
        let next = next_capacity(self.capacity(), self.observed, &self.capacities);
        self.observed = Observed::default();
        self.held.bound.keys_max = next;
    }
}

impl<K: Hash + Eq, V: Semigroup, W: Weigh<K, V>> Buffer<K, V> for AdaptiveCache<K, V, W> {
    fn add(&mut self, key: K, value: V, out: &mut dyn FnMut(K, V)) {
        self.observed.adds += 1;
        match self.held.sum(&key, value) {
            Ok(()) => self.observed.hits += 1,
            Err(value) => {
                self.observed.ghost_hits += usize::from(self.ghosts.take(&key));
                self.held.put(key, value);
            }
        }
        self.adapt();
        let ghosts = &mut self.ghosts;
        self.held.trim(&mut |key, value| {
            ghosts.put(&key);
            out(key, value);
        });
    }

    fn flush(&mut self, out: &mut dyn FnMut(K, V)) {
        self.held.flush(out);
    }

    fn len(&self) -> usize {
        self.held.len()
    }
}

/// Hashes of keys, each at the place that it says itself; a later one takes the place of an earlier one.
#[derive(Clone, Debug)]
struct Ghosts {
    /// 0 is none.
    hashes: Vec<u32>,
    /// Fixed: what passes must not depend on the process.
    hasher: FixedState,
}

impl Ghosts {
    /// The most places, however many keys are held: 16 MiB.
    const PLACES_MAX: usize = 1 << 22;

    fn new(keys_max: usize) -> Self {
        Self {
            hashes: vec![0; keys_max.clamp(1, Self::PLACES_MAX).next_power_of_two()],
            hasher: FixedState::with_seed(0),
        }
    }

    fn put(&mut self, key: &impl Hash) {
        let (at, hash) = self.place(key);
        self.hashes[at] = hash;
    }

    /// Whether it was there; then it no longer is.
    fn take(&mut self, key: &impl Hash) -> bool {
        let (at, hash) = self.place(key);
        let found = self.hashes[at] == hash;
        if found {
            self.hashes[at] = 0;
        }
        found
    }

    fn place(&self, key: &impl Hash) -> (usize, u32) {
        let hash = self.hasher.hash_one(key);
        (hash as usize & (self.hashes.len() - 1), (hash >> 32) as u32 | 1)
    }
}
