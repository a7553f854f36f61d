//! Pairs of keys, kept as a map for each outer key; and the other way round.

use std::collections::BTreeMap;

use algebra::Semigroup;
use async_trait::async_trait;
use tokio::sync::RwLock;

use crate::grouped::{Deltas, Writes};
use crate::ports::{all_failed, complete};
use crate::{Answers, Error, ErrorKind, Iterable, Key, Mergeable, Readable, Result, Value, Writable, limits};

/// A store of `outer → map of inner → value` as one of `(outer, inner) → value`.
///
/// Merges are as atomic as the store's, with any number of objects. A **put** reads a map, changes it and writes it
/// back, under a lock that this object holds, and is answered when that is written: so there must be one object
/// through which the store is put to. A map without entries is removed.
pub struct Unpivoted<S> {
    inner: S,
    /// Held alone while a put is under way, shared by merges.
    puts: RwLock<()>,
}

impl<S> Unpivoted<S> {
    /// The entries of the maps of `inner`.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            puts: RwLock::new(()),
        }
    }
}

/// Items by outer key, each with its place.
fn by_outer<O: Ord, T>(items: impl IntoIterator<Item = (O, T)>) -> BTreeMap<O, Vec<(usize, T)>> {
    let mut outer = BTreeMap::<O, Vec<(usize, T)>>::new();
    for (place, (key, item)) in items.into_iter().enumerate() {
        outer.entry(key).or_default().push((place, item));
    }
    outer
}

/// Answers given place by place.
fn in_place<T>(asked: usize, answers: impl IntoIterator<Item = (usize, Result<T>)>) -> Answers<T> {
    let mut placed: Vec<Option<Result<T>>> = (0..asked).map(|_| None).collect();
    for (place, answer) in answers {
        placed[place] = Some(answer);
    }
    complete(asked, placed.into_iter().flatten().collect())
}

#[async_trait]
impl<O, I, V, S> Readable<(O, I), V> for Unpivoted<S>
where
    O: Key,
    I: Key,
    V: Value,
    S: Readable<O, BTreeMap<I, V>>,
{
    async fn get_each(&self, keys: &[(O, I)]) -> Answers<Option<V>> {
        let outer = by_outer(keys.iter().map(|(outer, inner)| (outer.clone(), inner)));
        let outer_keys: Vec<O> = outer.keys().cloned().collect();
        let maps = complete(outer_keys.len(), self.inner.get_each(&outer_keys).await);
        let entries = outer.into_values().zip(maps).flat_map(|(inner, map)| {
            inner.into_iter().map(move |(place, inner)| {
                let value = map
                    .as_ref()
                    .map(|map| map.as_ref().and_then(|map| map.get(inner)));
                (place, value.map(|value| value.cloned()).map_err(Error::clone))
            })
        });
        in_place(keys.len(), entries)
    }
}

#[async_trait]
impl<O, I, V, S> Mergeable<(O, I), V> for Unpivoted<S>
where
    O: Key,
    I: Key,
    V: Semigroup + Value,
    S: Mergeable<O, BTreeMap<I, V>>,
{
    async fn merge_each(&self, deltas: Vec<((O, I), V)>) -> Answers<Option<V>> {
        let (sums, deltas) = Deltas::sum(deltas);
        let asked = sums.len();
        let outer = by_outer(
            sums.into_iter()
                .map(|((outer, inner), sum)| (outer, (inner, sum))),
        );
        let mut maps = Vec::with_capacity(outer.len());
        let mut inner_keys = Vec::with_capacity(outer.len());
        for (key, entries) in outer {
            inner_keys.push(
                entries
                    .iter()
                    .map(|(place, (inner, _))| (*place, inner.clone()))
                    .collect::<Vec<_>>(),
            );
            maps.push((key, entries.into_iter().map(|(_, entry)| entry).collect()));
        }
        let _merging = self.puts.read().await;
        let befores = complete(inner_keys.len(), self.inner.merge_each(maps).await);
        let entries = inner_keys.into_iter().zip(befores).flat_map(|(inner, before)| {
            inner.into_iter().map(move |(place, inner)| {
                let value = before
                    .as_ref()
                    .map(|map| map.as_ref().and_then(|map| map.get(&inner)));
                (place, value.map(|value| value.cloned()).map_err(Error::clone))
            })
        });
        deltas.befores(in_place(asked, entries))
    }
}

#[async_trait]
impl<O, I, V, S> Writable<(O, I), V> for Unpivoted<S>
where
    O: Key,
    I: Key,
    V: Value,
    S: Readable<O, BTreeMap<I, V>> + Writable<O, BTreeMap<I, V>>,
{
    async fn put_each(&self, writes: Vec<((O, I), Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let asked = lasts.len();
        let outer = by_outer(
            lasts
                .into_iter()
                .map(|((outer, inner), value)| (outer, (inner, value))),
        );
        let outer_keys: Vec<O> = outer.keys().cloned().collect();
        let _putting = self.puts.write().await;
        let maps = complete(outer_keys.len(), self.inner.get_each(&outer_keys).await);
        let mut answers = Vec::with_capacity(asked);
        let (mut changed, mut places_of) = (Vec::new(), Vec::new());
        for ((key, entries), map) in outer.into_iter().zip(maps) {
            let places: Vec<usize> = entries.iter().map(|(place, _)| *place).collect();
            match map {
                Err(error) => answers.extend(places.into_iter().zip(all_failed(entries.len(), &error))),
                Ok(map) => {
                    let mut map = map.unwrap_or_default();
                    for (_, (inner, value)) in entries {
                        match value {
                            Some(value) => map.insert(inner, value),
                            None => map.remove(&inner),
                        };
                    }
                    changed.push((key, Some(map).filter(|map| !map.is_empty())));
                    places_of.push(places);
                }
            }
        }
        let written = complete(changed.len(), self.inner.put_each(changed).await);
        for (places, answer) in places_of.into_iter().zip(written) {
            answers.extend(places.into_iter().map(|place| (place, answer.clone())));
        }
        writes.answers(in_place(asked, answers))
    }
}

/// A store of `(outer, inner) → value`, in the order of the pairs, read as one of `outer → map of inner → value`;
/// an outer key without pairs is absent.
///
/// Each outer key costs one page or more. Pairs that are written while their map is read may be in it or not.
pub struct Pivoted<S, I> {
    inner: S,
    least: I,
    entries_max: usize,
}

impl<S, I> Pivoted<S, I> {
    /// The maps of `inner`. `least`: the least inner key there can be. A map of more than `entries_max` entries
    /// fails its key, as `Invalid`.
    pub fn new(inner: S, least: I, entries_max: usize) -> Self {
        Self {
            inner,
            least,
            entries_max,
        }
    }

    async fn map<O: Key, V: Value>(&self, outer: &O) -> Result<Option<BTreeMap<I, V>>>
    where
        I: Key,
        S: Readable<(O, I), V> + Iterable<(O, I), V>,
    {
        let mut after = (outer.clone(), self.least.clone());
        let first = complete(1, self.inner.get_each(std::slice::from_ref(&after)).await).pop();
        let mut map = BTreeMap::new();
        if let Some(value) = first.transpose()?.flatten() {
            map.insert(self.least.clone(), value);
        }
        loop {
            let wanted = limits::PAGE_KEYS.min(self.entries_max.saturating_add(1));
            let page = self.inner.page(Some(&after), wanted).await?;
            let mut ended = page.len() < wanted;
            for ((key, inner), value) in page {
                if key != *outer {
                    ended = true;
                    break;
                }
                after = (key, inner.clone());
                map.insert(inner, value);
            }
            if map.len() > self.entries_max {
                let text = "a map has too many entries: read its pairs page by page, or raise the limit";
                let text = format!("{text} entries_max={}", self.entries_max);
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            if ended {
                return Ok(Some(map).filter(|map| !map.is_empty()));
            }
        }
    }
}

#[async_trait]
impl<O, I, V, S> Readable<O, BTreeMap<I, V>> for Pivoted<S, I>
where
    O: Key,
    I: Key,
    V: Value,
    S: Readable<(O, I), V> + Iterable<(O, I), V>,
{
    async fn get_each(&self, keys: &[O]) -> Answers<Option<BTreeMap<I, V>>> {
        let mut answers = Vec::with_capacity(keys.len());
        for key in keys {
            answers.push(self.map(key).await);
        }
        answers
    }
}

#[cfg(test)]
mod tests;
