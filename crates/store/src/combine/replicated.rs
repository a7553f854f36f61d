//! Values kept in several stores, so that some may fail.

use std::sync::atomic::{AtomicU64, Ordering};

use algebra::{Commutative, Idempotent, Semigroup};
use async_trait::async_trait;
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};

use crate::grouped::Writes;
use crate::ports::complete;
use crate::{Answers, Clock, Error, ErrorKind, Key, Mergeable, Readable, Result, Value, Writable};

/// When a value was written, by whom: `(microseconds, writer)`. The larger one is the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// Microseconds of the writer's clock, moved on so that no two of its stamps are equal.
    pub time: u64,
    /// The writer's number.
    pub writer: u64,
}

/// A value as a replica keeps it: a register of which the last write wins. `a ⊕ b` = the one with the larger stamp.
///
/// A removal is kept too, without a value, since else a replica that missed it would bring the value back.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stamped<V> {
    /// When it was written.
    pub stamp: Stamp,
    /// What was written.
    pub value: Option<V>,
}

impl<V> Semigroup for Stamped<V> {
    fn plus(&mut self, right: Self) {
        if right.stamp > self.stamp {
            *self = right;
        }
    }
}

// Stamps differ between writes, so equal stamps are the same write.
impl<V> Commutative for Stamped<V> {}
impl<V> Idempotent for Stamped<V> {}

/// How many replicas must do a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consistency {
    /// One.
    One,
    /// More than half.
    Quorum,
    /// All.
    All,
}

impl Consistency {
    fn of(self, replicas: usize) -> usize {
        match self {
            Self::One => 1,
            Self::Quorum => replicas / 2 + 1,
            Self::All => replicas,
        }
    }
}

/// How a [`Replicated`] reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaOptions {
    /// Replicas that must answer a read.
    pub read: Consistency,
    /// Replicas that must take a write.
    pub write: Consistency,
    /// A number that no other writer of these replicas has.
    pub writer: u64,
}

/// Replicas of `K →` [`Stamped`]`<V>` as one store of `K → V`.
///
/// Every call goes to all replicas at once. A read answers as soon as enough have, with the newest value among
/// them, once it has given it to those that answered with an older one (read repair; Attiya, Bar-Noy, Dolev, 1995);
/// a write waits for all and is done when enough have taken it. So where reads and writes together ask more than
/// all (quorum and quorum, one and all), a read sees every write before it. A write that failed may be seen
/// later; and one that failed or is under way may be seen and then not, where its repair fails too. Repairs and late writes are merges, so that an older value never replaces a newer one.
///
/// `clock` must be one that the writers share (since 1970, say); where it is behind, times that were read move it on.
pub struct Replicated<S, C> {
    replicas: Vec<S>,
    options: ReplicaOptions,
    clock: C,
    last: AtomicU64,
}

impl<S, C: Clock> Replicated<S, C> {
    /// One store of replicas.
    pub fn new(replicas: impl IntoIterator<Item = S>, options: ReplicaOptions, clock: C) -> Self {
        Self {
            replicas: replicas.into_iter().collect(),
            options,
            clock,
            last: AtomicU64::new(0),
        }
    }

    fn stamp(&self) -> Stamp {
        let now = u64::try_from(self.clock.now().as_micros()).unwrap_or(u64::MAX);
        let next = |last: u64| last.saturating_add(1).max(now);
        let last = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        Stamp {
            time: next(last.unwrap_or_else(|last| last)),
            writer: self.options.writer,
        }
    }

    fn too_few(&self, needed: usize, done: usize, cause: Option<Error>) -> Error {
        let text = "too few replicas are there: try again, or mend those that fail";
        let replicas = self.replicas.len();
        let shown = cause.as_ref().map_or("none".to_owned(), ToString::to_string);
        let text = format!("{text} needed={needed} done={done} replicas={replicas} cause={shown}");
        let error = Error::new(ErrorKind::Retry, text);
        match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

/// What the replicas said of a key.
struct Heard<V> {
    /// Replica → its value.
    values: Vec<(usize, Option<Stamped<V>>)>,
    failed: Option<Error>,
}

impl<V> Heard<V> {
    fn newest(&self) -> Option<&Stamped<V>> {
        let held = self.values.iter().filter_map(|(_, value)| value.as_ref());
        held.max_by_key(|held| held.stamp)
    }
}

#[async_trait]
impl<K, V, S, C> Readable<K, V> for Replicated<S, C>
where
    K: Key,
    V: Value,
    S: Readable<K, Stamped<V>> + Mergeable<K, Stamped<V>>,
    C: Clock,
{
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        let needed = self.options.read.of(self.replicas.len());
        let mut heard: Vec<Heard<V>> = keys
            .iter()
            .map(|_| Heard {
                values: Vec::new(),
                failed: None,
            })
            .collect();
        let mut calls: FuturesUnordered<_> = self
            .replicas
            .iter()
            .enumerate()
            .map(|(replica, store)| async move { (replica, store.get_each(keys).await) })
            .collect();
        while heard.iter().any(|heard| heard.values.len() < needed) {
            let Some((replica, answers)) = calls.next().await else {
                break;
            };
            for (heard, answer) in heard.iter_mut().zip(complete(keys.len(), answers)) {
                match answer {
                    Ok(value) => heard.values.push((replica, value)),
                    Err(error) => heard.failed = Some(error),
                }
            }
        }
        drop(calls);
        self.repair(keys, &heard).await;
        let answer = |heard: Heard<V>| {
            if heard.values.len() < needed {
                return Err(self.too_few(needed, heard.values.len(), heard.failed));
            }
            Ok(heard.newest().and_then(|newest| newest.value.clone()))
        };
        heard.into_iter().map(answer).collect()
    }
}

impl<S, C: Clock> Replicated<S, C> {
    /// Gives the newest values to the replicas that answered with older ones. As well as it can: what fails here is
    /// mended by a later read.
    async fn repair<K: Key, V: Value>(&self, keys: &[K], heard: &[Heard<V>])
    where
        S: Mergeable<K, Stamped<V>>,
    {
        let mut behind: Vec<Vec<(K, Stamped<V>)>> = vec![Vec::new(); self.replicas.len()];
        for (key, heard) in keys.iter().zip(heard) {
            let Some(newest) = heard.newest() else { continue };
            self.last.fetch_max(newest.stamp.time, Ordering::AcqRel);
            for (replica, value) in &heard.values {
                if value.as_ref().is_none_or(|value| value.stamp < newest.stamp) {
                    behind[*replica].push((key.clone(), newest.clone()));
                }
            }
        }
        let repairs = self
            .replicas
            .iter()
            .zip(behind)
            .filter(|(_, behind)| !behind.is_empty());
        join_all(repairs.map(|(store, behind)| store.merge_each(behind))).await;
    }
}

#[async_trait]
impl<K, V, S, C> Writable<K, V> for Replicated<S, C>
where
    K: Key,
    V: Value,
    S: Mergeable<K, Stamped<V>>,
    C: Clock,
{
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let stamp = |(key, value)| {
            let stamp = self.stamp();
            (key, Stamped { stamp, value })
        };
        let stamped: Vec<_> = lasts.into_iter().map(stamp).collect();
        let calls = self
            .replicas
            .iter()
            .map(|store| store.merge_each(stamped.clone()));
        let mut taken: Vec<(usize, Option<Error>)> = vec![(0, None); stamped.len()];
        for answers in join_all(calls).await {
            for (taken, answer) in taken.iter_mut().zip(complete(stamped.len(), answers)) {
                match answer {
                    Ok(_) => taken.0 += 1,
                    Err(error) => taken.1 = Some(error),
                }
            }
        }
        let needed = self.options.write.of(self.replicas.len());
        let answer = |(done, failed): (usize, Option<Error>)| -> Result<()> {
            if done < needed {
                return Err(self.too_few(needed, done, failed));
            }
            Ok(())
        };
        writes.answers(taken.into_iter().map(answer).collect())
    }
}

#[cfg(test)]
mod tests;
