//! Deltas on their way to a store: gathered without a look at it, and apart by the hash of their keys.

use std::hash::{BuildHasher, Hash};
use std::sync::LazyLock;

use algebra::Semigroup;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::limits::{DELTAS_TOGETHER_MAX, DELTAS_UNMERGED_MAX, RECENT_KEYS_MAX};

/// The parts that keys fall into by their hash; stores in memory have the same ones.
pub(crate) const SHARDS: usize = 64;

/// One for the process, so that a hash is computed once on the way from a function to a table.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::default);

pub(crate) fn hash_of(key: &impl Hash) -> u64 {
    HASHES.hash_one(key)
}

/// The shard of a hash. Tables go by the lowest and the seven highest bits, so it is made of others.
pub(crate) fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}

/// Pairs of key and delta, in the order in which they were added; what store them is [`Store::add`](crate::Store::add).
///
/// Guarantees: the deltas of a key, joined in order, are all that was added for it, in the order in which it was added.
/// A key may have several: an add joins its delta to the key's last one if that is among some 32 thousand recent
/// ones, else stands apart. So an add costs one hash and one probe of a table that fits a core's cache, however many
/// keys there are. Past half a million, deltas of one key are joined each time that their number has doubled, so there
/// are at most twice as many as keys, or half a million.
///
/// ```
/// let mut deltas = store::Deltas::default();
/// ["to", "be", "or", "not", "to", "be"].iter().for_each(|word| deltas.add(*word, 1u64));
/// let mut pairs = deltas.into_pairs();
/// pairs.sort();
/// assert_eq!(pairs, [("be", 2), ("not", 1), ("or", 1), ("to", 2)]);
/// ```
#[derive(Clone, Debug)]
pub struct Deltas<K, V> {
    /// One while there are few deltas, later [`SHARDS`].
    shards: Vec<Shard<K, V>>,
    /// Where recent keys are in the last runs: a power of two of places, by the lowest bits of the hash; its upper half
    /// and the place in the last run of its shard.
    recent: Vec<u64>,
    /// How many deltas may be pushed before there is something to do about it.
    room: usize,
    /// How many there may be before those of one key are joined.
    unmerged_max: usize,
    /// How many threads gathered.
    gatherers: usize,
    hashes: RandomState,
}

#[derive(Clone, Debug)]
struct Shard<K, V> {
    /// Runs that are over.
    runs: Vec<Vec<Delta<K, V>>>,
    /// The run that is added to.
    last: Vec<Delta<K, V>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Delta<K, V> {
    pub(crate) hash: u64,
    pub(crate) key: K,
    pub(crate) delta: V,
}

const NOWHERE: u64 = u32::MAX as u64;

fn place_of(hash: u64, place: usize) -> u64 {
    // Further ones are not found again: their keys get another delta.
    (hash & !NOWHERE) | (place as u64).min(NOWHERE)
}

impl<K, V> Default for Shard<K, V> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            last: Vec::new(),
        }
    }
}

impl<K, V> Shard<K, V> {
    fn len(&self) -> usize {
        self.runs.iter().map(Vec::len).sum::<usize>() + self.last.len()
    }

    fn into_runs(self) -> impl Iterator<Item = Vec<Delta<K, V>>> {
        self.runs.into_iter().chain([self.last])
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.last);
        if !run.is_empty() {
            self.runs.push(run);
        }
    }
}

impl<K, V> Default for Deltas<K, V> {
    fn default() -> Self {
        Self {
            shards: vec![Shard::default()],
            recent: Vec::new(),
            room: 0,
            unmerged_max: DELTAS_UNMERGED_MAX,
            gatherers: 1,
            hashes: HASHES.clone(),
        }
    }
}

impl<K, V> Deltas<K, V> {
    /// How many deltas stand apart: at least as many as keys.
    pub fn len(&self) -> usize {
        self.shards.iter().map(Shard::len).sum()
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.shards.iter().all(|shard| shard.len() == 0)
    }

    /// How many [appended](Self::append) parts it is made of.
    pub(crate) fn gatherers(&self) -> usize {
        self.gatherers
    }

    /// The runs of each shard, in order; or all runs at once when there are few deltas.
    pub(crate) fn into_shards(self) -> impl ExactSizeIterator<Item = Vec<Vec<Delta<K, V>>>> {
        self.shards.into_iter().map(|shard| shard.into_runs().collect())
    }

    /// Adds what was added to `later`, as if after all that was added here: the work of several threads becomes one.
    /// Costs a step for each shard, not for each delta.
    pub fn append(&mut self, mut later: Self) {
        if later.is_empty() {
            return;
        }
        if self.is_empty() {
            *self = later;
            return;
        }
        if self.shards.len() != later.shards.len() {
            self.split();
            later.split();
        }
        for (shard, later) in self.shards.iter_mut().zip(later.shards) {
            shard.end_run();
            shard.runs.extend(later.runs);
            shard.last = later.last;
        }
        (self.recent, self.room) = (later.recent, later.room);
        self.unmerged_max = self.unmerged_max.max(later.unmerged_max);
        self.gatherers += later.gatherers;
    }

    /// One shard becomes [`SHARDS`].
    fn split(&mut self) {
        let [one] = &mut self.shards[..] else { return };
        let one = std::mem::take(one);
        self.shards.resize_with(SHARDS, Shard::default);
        for delta in one.into_runs().flatten() {
            self.shards[shard_of(delta.hash)].last.push(delta);
        }
        self.remember(self.recent.len());
    }

    /// Makes the table of recent keys anew, with so many places.
    fn remember(&mut self, places: usize) {
        self.recent.clear();
        self.recent.resize(places, NOWHERE);
        if places == 0 {
            return;
        }
        for shard in &self.shards {
            for (place, delta) in shard.last.iter().enumerate() {
                self.recent[delta.hash as usize & (places - 1)] = place_of(delta.hash, place);
            }
        }
    }
}

impl<K: Hash + Eq, V: Semigroup> Deltas<K, V> {
    /// Adds one.
    pub fn add(&mut self, key: K, delta: V) {
        let hash = self.hashes.hash_one(&key);
        if self.room == 0 {
            self.make_room();
        }
        let slot = hash as usize & (self.recent.len() - 1);
        let shard = if self.shards.len() == 1 { 0 } else { shard_of(hash) };
        let (seen, last) = (self.recent[slot], &mut self.shards[shard].last);
        if (seen ^ hash) >> 32 == 0
            && let Some(held) = last.get_mut((seen & NOWHERE) as usize)
            && held.key == key
        {
            held.delta.plus(delta);
            return;
        }
        self.recent[slot] = place_of(hash, last.len());
        last.push(Delta { hash, key, delta });
        self.room -= 1;
    }

    #[cold]
    fn make_room(&mut self) {
        let mut len = self.len();
        if len > DELTAS_TOGETHER_MAX && self.shards.len() == 1 {
            self.split();
        }
        if len >= self.unmerged_max {
            for shard in &mut self.shards {
                shard.last = merged(std::mem::take(shard).into_runs());
            }
            len = self.len();
            self.unmerged_max = self.unmerged_max.max(2 * len);
            self.recent.clear();
        }
        let places = (8 * len).next_power_of_two().clamp(64, RECENT_KEYS_MAX);
        if places > self.recent.len() {
            self.remember(places);
        }
        self.room = match places {
            RECENT_KEYS_MAX if self.shards.len() > 1 => (self.unmerged_max - len).max(1),
            _ => places,
        };
    }

    /// One delta for each key; in no order.
    pub fn into_pairs(self) -> Vec<(K, V)> {
        let mut pairs = Vec::new();
        for shard in self.shards {
            let deltas = merged(shard.into_runs());
            pairs.extend(deltas.into_iter().map(|delta| (delta.key, delta.delta)));
        }
        pairs
    }
}

/// Joins the deltas of each key.
fn merged<K: Eq, V: Semigroup>(runs: impl Iterator<Item = Vec<Delta<K, V>>>) -> Vec<Delta<K, V>> {
    let (mut merged, mut places) = (Vec::<Delta<K, V>>::new(), HashTable::<usize>::new());
    for next in runs.flatten() {
        let is_key = |place: &usize| merged[*place].hash == next.hash && merged[*place].key == next.key;
        match places.entry(next.hash, is_key, |place| merged[*place].hash) {
            Entry::Occupied(place) => merged[*place.get()].delta.plus(next.delta),
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(next);
            }
        }
    }
    merged
}

#[cfg(test)]
mod tests;
