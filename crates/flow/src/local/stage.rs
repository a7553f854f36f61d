//! The ends of the fused functions: sources before them, lookups, sums and writes after them.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use foldhash::fast::RandomState;
use indexmap::IndexSet;
use store::{Commit, Progress};

use super::cache::Cache;
use super::calls::Calls;
use super::plan::Outlet;
use super::slots::{Held, Sums};
use super::work::{Run, Work};
use crate::memory::plus;
use crate::platform::{KeyFn, Summed, Timed};
use crate::{Element, Error, ErrorKind, Key, Result, Service, Sink, Source, Value};

/// A slice of some part of a source, ready to be put through.
pub(super) struct Piece {
    pub(super) part: String,
    pub(super) next: u64,
    pub(super) work: Box<dyn Work>,
}

/// A [`Source`] together with what its elements lead to.
#[async_trait]
pub(super) trait AnySource: Send + Sync {
    async fn start(&self) -> Result<Progress>;
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Piece>>>;
}

pub(super) struct SourceStage<T> {
    pub(super) source: Arc<dyn Source<T>>,
    pub(super) outlet: Arc<Outlet<T>>,
}

#[async_trait]
impl<T: Element> AnySource for SourceStage<T> {
    async fn start(&self) -> Result<Progress> {
        self.source.start().await
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Piece>>> {
        let Some(slices) = self.source.read(from, until, bytes_max).await? else {
            return Ok(None);
        };
        let pieces = slices.into_iter().map(|slice| Piece {
            part: slice.part,
            next: slice.next,
            work: Box::new(Run {
                items: slice.items,
                bytes: slice.bytes,
                push: self.outlet.push().cloned(),
            }),
        });
        Ok(Some(pieces.collect()))
    }
}

/// What a step of a barrier gives.
#[derive(Default)]
pub(super) struct Stepped {
    /// How many elements it took; of a sum deltas.
    pub(super) taken: usize,
    /// For its tail, to be committed.
    pub(super) output: Option<Held>,
    /// For its readers, to be put through.
    pub(super) work: Option<Box<dyn Work>>,
}

/// A node that takes all elements of an epoch at once.
#[async_trait]
pub(super) trait Barrier: Send + Sync {
    async fn step(&self, input: Held) -> Result<Stepped>;
}

/// A store or a sink, as a place where output and progress are kept.
#[async_trait]
pub(super) trait AnyTail: Send + Sync {
    async fn progress(&self) -> Result<Option<Progress>>;
    async fn commit(&self, output: Held, expected: Option<Progress>, progress: &Progress) -> Result<()>;
    /// The output of an epoch that has none.
    fn nothing(&self) -> Held;
    /// How many elements an output has, if they are written as they are.
    fn written(&self, _: &Held) -> Option<usize> {
        None
    }
}

pub(super) fn typed<T: Any>(held: Held) -> T {
    *held
        .downcast()
        .expect("a slot is used with the type it was planned with")
}

/// One value per key, or the port is broken.
pub(super) fn check_len(got: usize, keys: usize) -> Result<()> {
    if got == keys {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Corrupt,
        format!("multi_get must give a value for each key got={got} keys={keys}"),
    ))
}

pub(super) struct LookupStage<T, K, V> {
    pub(super) key: KeyFn<T, K>,
    pub(super) service: Arc<dyn Service<K, V>>,
    pub(super) calls: Calls,
    pub(super) cache: Option<Mutex<Cache<K, V>>>,
    pub(super) outlet: Arc<Outlet<(T, Option<V>)>>,
}

#[async_trait]
impl<T: Element, K: Key, V: Element> Barrier for LookupStage<T, K, V> {
    async fn step(&self, input: Held) -> Result<Stepped> {
        let items: Vec<Timed<T>> = typed(input);
        if items.is_empty() {
            return Ok(Stepped::default());
        }
        let mut keys = IndexSet::<K, RandomState>::default();
        let mut firsts = Vec::new();
        let places: Vec<usize> = items
            .iter()
            .enumerate()
            .map(|(n, (_, item))| {
                let (place, new) = keys.insert_full((self.key)(item));
                firsts.extend(new.then_some(n));
                place
            })
            .collect();
        let keys: Vec<K> = keys.into_iter().collect();
        let values = match &self.cache {
            None => self.calls.ask(&keys, |keys| self.service.multi_get(keys)).await?,
            Some(cache) => self.ask_new(cache, items.len(), keys, &firsts).await?,
        };
        let found = places.into_iter().map(|place| values[place].clone());
        let items: Vec<_> = items
            .into_iter()
            .zip(found)
            .map(|((time, item), v)| (time, (item, v)))
            .collect();
        Ok(Stepped {
            taken: items.len(),
            output: None,
            work: Some(Box::new(Run::new(items, &self.outlet))),
        })
    }
}

impl<T: Element, K: Key, V: Element> LookupStage<T, K, V> {
    /// The values of the keys, of which only those that the cache does not know are asked for. `firsts`: the place of the
    /// first of `elements` with each key.
    async fn ask_new(
        &self,
        cache: &Mutex<Cache<K, V>>,
        elements: usize,
        keys: Vec<K>,
        firsts: &[usize],
    ) -> Result<Vec<Option<V>>> {
        let cache = || cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut values: Vec<Option<Option<V>>> = {
            let cache = cache();
            keys.iter().map(|key| cache.get(key).cloned()).collect()
        };
        let new = |n: &usize| values[*n].is_none();
        let (places, new): (Vec<_>, Vec<_>) =
            (0..keys.len()).filter(new).map(|n| (n, keys[n].clone())).unzip();
        let mut answers = Vec::new();
        if !new.is_empty() {
            answers = self.calls.ask(&new, |keys| self.service.multi_get(keys)).await?;
        }
        for (place, answer) in places.iter().zip(&answers) {
            values[*place] = Some(answer.clone());
        }
        let asked = places
            .into_iter()
            .map(|place| firsts[place])
            .zip(new)
            .zip(answers);
        cache().keep(elements, asked.map(|((first, key), answer)| (first, key, answer)));
        Ok(values.into_iter().map(Option::flatten).collect())
    }
}

pub(super) struct SumStage<K, V> {
    pub(super) store: Arc<dyn store::Store<K, V>>,
    pub(super) calls: Calls,
    pub(super) outlet: Arc<Outlet<Summed<K, V>>>,
}

type Writes<K, V> = Vec<(K, Option<V>)>;

#[async_trait]
impl<K: Key, V: Value> Barrier for SumStage<K, V> {
    async fn step(&self, input: Held) -> Result<Stepped> {
        let sums: Sums<K, V> = typed(input);
        if sums.0.is_empty() {
            return Ok(Stepped {
                output: Some(self.nothing()),
                ..Stepped::default()
            });
        }
        let (keys, deltas): (Vec<K>, Vec<_>) = sums.0.into_iter().unzip();
        let befores = self.calls.ask(&keys, |keys| self.store.multi_get(keys)).await?;
        let mut items: Vec<Timed<Summed<K, V>>> = Vec::new();
        if self.outlet.push().is_some() {
            items = (keys.iter().zip(&befores).zip(&deltas))
                .map(|((key, before), (delta, time))| (*time, (key.clone(), (before.clone(), delta.clone()))))
                .collect();
            // In time, and the same in every run: a sum below may depend on the order.
            items.sort_unstable_by(|(time, (key, _)), (other, (other_key, _))| {
                (time, key).cmp(&(other, other_key))
            });
        }
        let afters = befores
            .into_iter()
            .zip(deltas)
            .map(|(before, (delta, _))| Some(plus(before, delta)));
        let writes: Writes<K, V> = keys.into_iter().zip(afters).collect();
        Ok(Stepped {
            taken: writes.len(),
            output: Some(Box::new(writes)),
            work: Some(Box::new(Run::new(items, &self.outlet))),
        })
    }
}

#[async_trait]
impl<K: Key, V: Value> AnyTail for SumStage<K, V> {
    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.store.progress().await?)
    }

    async fn commit(&self, output: Held, expected: Option<Progress>, progress: &Progress) -> Result<()> {
        let commit = Commit {
            writes: typed(output),
            expected,
            progress: progress.clone(),
        };
        Ok(self.store.commit(commit).await?)
    }

    fn nothing(&self) -> Held {
        Box::new(Writes::<K, V>::new())
    }
}

pub(super) struct WriteStage<T>(pub(super) Arc<dyn Sink<T>>);

#[async_trait]
impl<T: Element> AnyTail for WriteStage<T> {
    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress().await
    }

    async fn commit(&self, output: Held, _: Option<Progress>, progress: &Progress) -> Result<()> {
        self.0.write(typed(output), progress).await
    }

    fn nothing(&self) -> Held {
        Box::new(Vec::<Timed<T>>::new())
    }

    fn written(&self, output: &Held) -> Option<usize> {
        output.downcast_ref::<Vec<Timed<T>>>().map(Vec::len)
    }
}
