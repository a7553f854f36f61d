//! What a store in memory keeps: tables by the hash of the key, and the order of the keys once it was asked for.

use std::collections::BTreeSet;
use std::hash::Hash;
use std::ops::Bound;

use algebra::Semigroup;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::deltas::{Delta, SHARDS, hash_of, shard_of};
use crate::limits::{ADDED_HERE_MAX, DELTAS_WAITING_MAX, ORDER_SPARE_KEYS};
use crate::{Deltas, Progress};

type Table<K, V> = HashTable<(K, V)>;

pub(super) struct Kept<K, V> {
    /// One for each shard.
    tables: Vec<Table<K, V>>,
    /// Made by the first page.
    order: Option<Order<K>>,
    pub(super) progress: Option<Progress>,
}

/// Keys in their order.
struct Order<K> {
    keys: BTreeSet<K>,
    /// Keys that have come since the last page; some may have gone again.
    new: Vec<K>,
}

impl<K, V> Kept<K, V> {
    pub(super) fn new() -> Self {
        Self {
            tables: (0..SHARDS).map(|_| HashTable::new()).collect(),
            order: None,
            progress: None,
        }
    }

    /// Keys noted since the last page.
    #[cfg(test)]
    pub(super) fn new_keys(&self) -> usize {
        self.order.as_ref().map_or(0, |order| order.new.len())
    }

    /// In no order.
    pub(super) fn pairs(&self) -> impl Iterator<Item = &(K, V)> {
        self.tables.iter().flatten()
    }
}

impl<K: Ord + Hash, V> Kept<K, V> {
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        let hash = hash_of(key);
        let pair = self.tables[shard_of(hash)].find(hash, |(held, _)| held == key);
        pair.map(|(_, value)| value)
    }
}

fn entry<'a, K: Eq + Hash, V>(table: &'a mut Table<K, V>, hash: u64, key: &K) -> Entry<'a, (K, V)> {
    table.entry(hash, |(held, _)| held == key, |(held, _)| hash_of(held))
}

impl<K: Ord + Hash + Clone, V> Kept<K, V> {
    pub(super) fn set(&mut self, key: K, value: Option<V>) {
        let hash = hash_of(&key);
        match (entry(&mut self.tables[shard_of(hash)], hash, &key), value) {
            (Entry::Occupied(mut pair), Some(value)) => pair.get_mut().1 = value,
            (Entry::Occupied(pair), None) => {
                pair.remove();
                if let Some(order) = &mut self.order {
                    order.keys.remove(&key);
                }
            }
            (Entry::Vacant(place), Some(value)) => {
                if let Some(order) = &mut self.order {
                    order.new.push(key.clone());
                }
                place.insert((key, value));
                self.limit_order();
            }
            (Entry::Vacant(_), None) => {}
        }
    }

    /// Adds to a key's value; gives the value before.
    pub(super) fn merge(&mut self, key: K, delta: V) -> Option<V>
    where
        V: Semigroup + Clone,
    {
        let hash = hash_of(&key);
        match entry(&mut self.tables[shard_of(hash)], hash, &key) {
            Entry::Occupied(mut pair) => {
                let before = pair.get().1.clone();
                pair.get_mut().1.plus(delta);
                Some(before)
            }
            Entry::Vacant(_) => {
                self.set(key, Some(delta));
                None
            }
        }
    }

    /// Adds to the values of all keys; many on as many threads as gathered them.
    pub(super) fn add(&mut self, deltas: Deltas<K, V>)
    where
        K: Send,
        V: Semigroup + Send,
    {
        let threads = match deltas.len() {
            0..=ADDED_HERE_MAX => 1,
            _ => std::thread::available_parallelism().map_or(1, |cores| deltas.gatherers().min(cores.get())),
        };
        let ordered = self.order.is_some();
        let shards: Vec<_> = deltas.into_shards().collect();
        let mut new = Vec::new();
        if shards.len() < SHARDS {
            for delta in shards.into_iter().flatten().flatten() {
                let table = &mut self.tables[shard_of(delta.hash)];
                new.extend(add_to(table, delta, ordered));
            }
        } else {
            let mut pairs: Vec<_> = self.tables.iter_mut().zip(shards).collect();
            let share = SHARDS.div_ceil(threads);
            let add = |pairs: Vec<_>| -> Vec<K> {
                let mut new = Vec::new();
                for (table, runs) in pairs {
                    add_all(table, runs, ordered, &mut new);
                }
                new
            };
            std::thread::scope(|scope| {
                let mut running = Vec::new();
                while pairs.len() > share {
                    let others = pairs.split_off(pairs.len() - share);
                    running.push(scope.spawn(|| add(others)));
                }
                new = add(pairs);
                for thread in running {
                    match thread.join() {
                        Ok(more) => new.extend(more),
                        Err(panic) => std::panic::resume_unwind(panic),
                    }
                }
            });
        }
        if let Some(order) = &mut self.order {
            order.new.extend(new);
        }
        self.limit_order();
    }

    /// A walk that was given up is not kept up for ever: an order with more new keys than keys is made anew.
    fn limit_order(&mut self) {
        let len = |tables: &Vec<Table<K, V>>| tables.iter().map(HashTable::len).sum::<usize>();
        let spare =
            |order: &mut Order<K>| order.new.len() > ORDER_SPARE_KEYS && order.new.len() > len(&self.tables);
        self.order.take_if(spare);
    }

    pub(super) fn page(&mut self, after: Option<&K>, limit: usize) -> Vec<(K, V)>
    where
        V: Clone,
    {
        let mut order = self.order.take().unwrap_or_else(|| Order {
            keys: self.pairs().map(|(key, _)| key.clone()).collect(),
            new: Vec::new(),
        });
        for key in order.new.drain(..) {
            if self.get(&key).is_some() {
                order.keys.insert(key);
            }
        }
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let keys = order.keys.range((from, Bound::Unbounded));
        let pair = |key: &K| Some((key.clone(), self.get(key)?.clone()));
        let page = keys.filter_map(pair).take(limit).collect();
        self.order = Some(order);
        page
    }
}

/// Adds runs of one shard to its table. Where the keys of several deltas are gets looked up before any is added, step by
/// step, so that the waits for memory overlap.
fn add_all<K: Ord + Hash + Clone, V: Semigroup>(
    table: &mut Table<K, V>,
    runs: Vec<Vec<Delta<K, V>>>,
    ordered: bool,
    new: &mut Vec<K>,
) {
    for mut run in runs.into_iter().map(Vec::into_iter) {
        while run.len() > 0 {
            // So that nothing moves until these are added.
            table.reserve(DELTAS_WAITING_MAX, |(held, _)| hash_of(held));
            let mut places = [None; DELTAS_WAITING_MAX];
            for (place, next) in places.iter_mut().zip(run.as_slice()) {
                *place = table.find_bucket_index(next.hash, |_| true);
            }
            for (place, next) in places.iter_mut().zip(run.as_slice()) {
                let held = place.and_then(|at| table.get_bucket(at));
                *place = place.filter(|_| held.is_some_and(|(held, _)| *held == next.key));
            }
            for (place, next) in places.into_iter().zip(run.by_ref()) {
                match place.and_then(|at| table.get_bucket_mut(at)) {
                    Some((_, value)) => value.plus(next.delta),
                    // A new key, or one whose hash looks like another's at a glance.
                    None => new.extend(add_to(table, next, ordered)),
                }
            }
        }
    }
}

/// The key, if it is new and the order of keys is kept.
fn add_to<K: Ord + Hash + Clone, V: Semigroup>(
    table: &mut Table<K, V>,
    delta: Delta<K, V>,
    ordered: bool,
) -> Option<K> {
    match entry(table, delta.hash, &delta.key) {
        Entry::Occupied(mut pair) => {
            pair.get_mut().1.plus(delta.delta);
            None
        }
        Entry::Vacant(place) => {
            let new = ordered.then(|| delta.key.clone());
            place.insert((delta.key, delta.delta));
            new
        }
    }
}
