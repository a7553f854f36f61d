//! The ends of the fused functions: sources before them, lookups, sums and writes after them.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use foldhash::fast::RandomState;
use indexmap::IndexSet;
use store::{Addition, Commit, Deltas, Progress};

use super::plan::Outlet;
use super::slots::{Held, Latest, Sums};
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
        let places: Vec<usize> = items
            .iter()
            .map(|(_, item)| keys.insert_full((self.key)(item)).0)
            .collect();
        let keys: Vec<K> = keys.into_iter().collect();
        let values = self.service.multi_get(&keys).await?;
        check_len(values.len(), keys.len())?;
        let found = places.into_iter().map(|place| values[place].clone());
        let items: Vec<_> = items
            .into_iter()
            .zip(found)
            .map(|((time, item), v)| (time, (item, v)))
            .collect();
        Ok(Stepped {
            output: None,
            work: Some(Box::new(Run::new(items, &self.outlet))),
        })
    }
}

pub(super) struct SumStage<K, V> {
    pub(super) store: Arc<dyn store::Store<K, V>>,
    pub(super) outlet: Arc<Outlet<Summed<K, V>>>,
}

/// What a sum commits.
pub(super) enum Change<K, V> {
    /// Values that nobody has read: the store adds.
    Add(Deltas<K, V>),
    /// Values that were read, with what was added.
    Set(Vec<(K, Option<V>)>),
}

#[async_trait]
impl<K: Key, V: Value> Barrier for SumStage<K, V> {
    async fn step(&self, input: Held) -> Result<Stepped> {
        if self.outlet.push().is_none() {
            let change: Change<K, V> = Change::Add(typed(input));
            return Ok(Stepped {
                output: Some(Box::new(change)),
                work: None,
            });
        }
        let sums: Sums<K, V> = typed(input);
        if sums.is_empty() {
            return Ok(Stepped {
                output: Some(self.nothing()),
                work: None,
            });
        }
        let (keys, deltas): (Vec<K>, Vec<_>) = sums.into_pairs().into_iter().unzip();
        let befores = self.store.multi_get(&keys).await?;
        check_len(befores.len(), keys.len())?;
        let item = |((key, before), Latest { delta, time }): ((&K, &Option<V>), &Latest<V>)| {
            (*time, (key.clone(), (before.clone(), delta.clone())))
        };
        let mut items: Vec<Timed<Summed<K, V>>> = keys.iter().zip(&befores).zip(&deltas).map(item).collect();
        // In time, and the same in every run: a sum below may depend on the order.
        items.sort_unstable_by(|(time, (key, _)), (other, (other_key, _))| {
            (time, key).cmp(&(other, other_key))
        });
        let afters = befores
            .into_iter()
            .zip(deltas)
            .map(|(before, sum)| Some(plus(before, sum.delta)));
        let change = Change::Set(keys.into_iter().zip(afters).collect());
        Ok(Stepped {
            output: Some(Box::new(change)),
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
        let progress = progress.clone();
        let done = match typed(output) {
            Change::Set(writes) => {
                let commit = Commit {
                    writes,
                    expected,
                    progress,
                };
                self.store.commit(commit).await
            }
            Change::<K, V>::Add(deltas) => {
                let addition = Addition {
                    deltas,
                    expected,
                    progress,
                };
                self.store.add(addition).await
            }
        };
        Ok(done?)
    }

    fn nothing(&self) -> Held {
        Box::new(Change::<K, V>::Set(Vec::new()))
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
}
