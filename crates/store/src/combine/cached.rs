//! A store behind a cache in this process: read-through and write-through.

mod caches;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use algebra::Semigroup;
use async_trait::async_trait;

use crate::grouped::{Deltas, Writes, joined};
use crate::ports::complete;
use crate::{Answers, Key, Mergeable, Readable, Result, Value, Writable};

pub use caches::{HeavyHitters, Lru, Ttl};

/// Some of the pairs that were put; which, is up to the cache. It bounds itself.
pub trait Cache<K, V>: Send {
    /// The value of a key, if it is kept and still good.
    fn get(&mut self, key: &K) -> Option<V>;

    /// Keeps a value, or does not; an older one of the key is gone either way.
    fn put(&mut self, key: K, value: V);

    /// Forgets a key.
    fn remove(&mut self, key: &K);
}

/// A store whose answers are kept in a cache: that a key is absent too, failures never.
///
/// What is written or merged **through it** is read back at once; what others write is seen when the cache lets go
/// of the key ([`Ttl`] bounds how late). A key that is read while it is written is not cached from that read, so an
/// older value never stays behind a newer one. A failed or dropped write leaves the key uncached.
pub struct Cached<K, V, S, C> {
    inner: S,
    state: Mutex<State<K, C>>,
    value: std::marker::PhantomData<fn() -> V>,
}

struct State<K, C> {
    cache: C,
    /// The keys in calls to the store under way; as many as the callers have in theirs.
    busy: BTreeMap<K, Busy>,
}

#[derive(Default)]
struct Busy {
    calls: usize,
    writes: usize,
    /// A write overlapped another call, so that nobody knows here which came last.
    overlapped: bool,
}

impl<K: Key, V: Value, S, C: Cache<K, Option<V>>> Cached<K, V, S, C> {
    /// `inner` behind a cache.
    pub fn new(inner: S, cache: C) -> Self {
        Self {
            inner,
            state: Mutex::new(State {
                cache,
                busy: BTreeMap::new(),
            }),
            value: std::marker::PhantomData,
        }
    }

    fn state(&self) -> MutexGuard<'_, State<K, C>> {
        self.state
            .lock()
            .expect("nothing but a key's or value's own code can panic while it holds the lock")
    }

    /// Enters a call about these keys, each once.
    fn enter(&self, keys: Vec<K>, writes: usize) -> Call<'_, K, V, S, C> {
        let mut state = self.state();
        for key in &keys {
            if writes > 0 {
                state.cache.remove(key);
            }
            let busy = state.busy.entry(key.clone()).or_default();
            busy.overlapped |= if writes > 0 {
                busy.calls > 0
            } else {
                busy.writes > 0
            };
            busy.calls += 1;
            busy.writes += writes;
        }
        drop(state);
        Call {
            cached: self,
            keys,
            writes,
            known: BTreeMap::new(),
        }
    }
}

/// A call to the store under way. When it ends, also by being dropped, it caches what it knows.
struct Call<'a, K: Key, V: Value, S, C: Cache<K, Option<V>>> {
    cached: &'a Cached<K, V, S, C>,
    keys: Vec<K>,
    writes: usize,
    known: BTreeMap<K, Option<V>>,
}

impl<K: Key, V: Value, S, C: Cache<K, Option<V>>> Drop for Call<'_, K, V, S, C> {
    fn drop(&mut self) {
        let mut state = self.cached.state();
        let State { cache, busy } = &mut *state;
        for key in &self.keys {
            let Some(entry) = busy.get_mut(key) else { continue };
            entry.calls -= 1;
            entry.writes -= self.writes;
            let overlapped = entry.overlapped;
            if entry.calls == 0 {
                busy.remove(key);
            }
            match self.known.remove(key) {
                Some(value) if !overlapped => cache.put(key.clone(), value),
                _ if self.writes > 0 => cache.remove(key),
                _ => {}
            }
        }
    }
}

#[async_trait]
impl<K, V, S, C> Readable<K, V> for Cached<K, V, S, C>
where
    K: Key,
    V: Value,
    S: Readable<K, V>,
    C: Cache<K, Option<V>>,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let mut found: BTreeMap<K, Result<Option<V>>> = BTreeMap::new();
        let mut missed = Vec::new();
        {
            let mut state = self.state();
            for key in keys {
                if found.contains_key(key) {
                    continue;
                }
                let value = state.cache.get(key);
                if value.is_none() {
                    missed.push(key.clone());
                }
                found.insert(key.clone(), Ok(value.flatten()));
            }
        }
        if !missed.is_empty() {
            let mut call = self.enter(missed, 0);
            let answers = complete(call.keys.len(), self.inner.get_each(&call.keys).await);
            for (key, answer) in call.keys.iter().zip(answers) {
                if let Ok(value) = &answer {
                    call.known.insert(key.clone(), value.clone());
                }
                found.insert(key.clone(), answer);
            }
        }
        keys.iter()
            .map(|key| found.get(key).cloned().unwrap_or(Ok(None)))
            .collect()
    }
}

#[async_trait]
impl<K, V, S, C> Writable<K, V> for Cached<K, V, S, C>
where
    K: Key,
    V: Value,
    S: Writable<K, V>,
    C: Cache<K, Option<V>>,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let mut call = self.enter(lasts.iter().map(|(key, _)| key.clone()).collect(), 1);
        let answers = complete(lasts.len(), self.inner.put_each(lasts.clone()).await);
        for ((key, value), answer) in lasts.into_iter().zip(&answers) {
            if answer.is_ok() {
                call.known.insert(key, value);
            }
        }
        drop(call);
        writes.answers(answers)
    }
}

#[async_trait]
impl<K, V, S, C> Mergeable<K, V> for Cached<K, V, S, C>
where
    K: Key,
    V: Semigroup + Value,
    S: Mergeable<K, V>,
    C: Cache<K, Option<V>>,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        let mut call = self.enter(sums.iter().map(|(key, _)| key.clone()).collect(), 1);
        let answers = complete(sums.len(), self.inner.merge_each(sums.clone()).await);
        for ((key, sum), answer) in sums.into_iter().zip(&answers) {
            if let Ok(before) = answer {
                call.known.insert(key, joined(before.clone(), Some(sum)));
            }
        }
        drop(call);
        deltas.befores(answers)
    }
}

#[cfg(test)]
mod tests;
