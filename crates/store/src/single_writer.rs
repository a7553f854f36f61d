//! A store that is written and merged into by one object, through commits.

use std::sync::Arc;

use algebra::Semigroup;
use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::grouped::{Deltas, Writes, joined};
use crate::ports::all_failed;
use crate::{
    Answers, Commit, Error, ErrorKind, Iterable, Key, Mergeable, Progress, Readable, Result, Store, Value,
    Writable,
};

/// What our parts of a store's progress begin with.
const PART: &str = "writer-";
/// How often a call begins anew when it meets a late commit of an earlier, dropped call of this object.
const ATTEMPTS_MAX: usize = 4;

/// A [`Store`] as [`Writable`] and [`Mergeable`] by one object: each call is read, change, commit, under a lock that
/// the object holds; so callers are any number of tasks, but of one object.
///
/// A second one on the same store takes over: the first then changes nothing more and answers `Conflict`. The
/// progress of the store is `writer-<id> → number of commits`, so that it cannot be the store of a job too.
///
/// Whether a commit that failed has happened is settled by the progress: a merge is answered `Doubt` only where
/// the store cannot be reached to ask. Cost of a call: one `multi_get` (merges), one `commit`.
pub struct SingleWriter<K, V> {
    store: Arc<dyn Store<K, V>>,
    part: String,
    held: Mutex<Held>,
}

struct Held {
    /// The progress of the store, as far as we know.
    progress: Option<Progress>,
    /// The number of the last commit tried. Each try has a new one: so what is in the progress says which
    /// happened, and none is mistaken for the retry of another.
    last: u64,
    /// A commit's answer was not seen: `progress` may be old.
    in_doubt: bool,
}

impl<K: Key, V: Value> SingleWriter<K, V> {
    /// Takes over a store. `id`: a number that no other writer of this store has or had, for instance random.
    ///
    /// # Errors
    /// `Invalid` when a job writes this store; `Conflict` when another writer takes over at the same moment;
    /// what the store answers.
    pub async fn open(store: Arc<dyn Store<K, V>>, id: u64) -> Result<Self> {
        let part = format!("{PART}{id}");
        let progress = store.progress().await?;
        let foreign = progress
            .iter()
            .flat_map(|progress| progress.0.keys())
            .find(|name| !name.starts_with(PART));
        if let Some(name) = foreign {
            let text = "a job writes this store: merge into a store of its own";
            return Err(Error::new(ErrorKind::Invalid, format!("{text} part={name}")));
        }
        let held = Held {
            last: progress.as_ref().map_or(0, |progress| progress.of(&part)),
            progress,
            in_doubt: false,
        };
        let opened = Self {
            store,
            part,
            held: Mutex::new(held),
        };
        // Fences the writer before us at once, so that it cannot merge between two of ours.
        opened.change(&[], |_| Vec::new()).await?;
        Ok(opened)
    }

    /// Reads `keys`, commits what `change` makes of their values, and gives the values that were.
    async fn change(
        &self,
        keys: &[K],
        change: impl Fn(&[Option<V>]) -> Vec<(K, Option<V>)> + Send,
    ) -> Result<Vec<Option<V>>> {
        let mut held = self.held.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            if held.in_doubt {
                self.settle(&mut held).await?;
            }
            let befores = if keys.is_empty() {
                Vec::new()
            } else {
                self.store.multi_get(keys).await?
            };
            if befores.len() != keys.len() {
                let text = "a store gave another number of answers than it was asked for: mend its backend";
                return Err(Error::new(ErrorKind::Corrupt, text));
            }
            if self.commit(&mut held, change(&befores)).await? {
                return Ok(befores);
            }
        }
        let text = "commits of dropped calls came late again and again: try again, with longer time limits";
        Err(Error::new(ErrorKind::Retry, text))
    }

    /// Whether the writes are in; `false` when the progress had moved by a late commit of our own, so that they
    /// are to be made anew.
    async fn commit(&self, held: &mut Held, writes: Vec<(K, Option<V>)>) -> Result<bool> {
        held.in_doubt = true;
        let (tried, failed) = match self.try_commit(held, writes).await {
            (next, Ok(())) => {
                *held = Held {
                    progress: Some(next),
                    last: held.last,
                    in_doubt: false,
                };
                return Ok(true);
            }
            (next, Err(failed)) => (next, failed),
        };
        let before = held.progress.clone();
        let doubt = |cause: Error| {
            let text =
                "a commit failed and so did asking whether it happened: read the values before merging again";
            Error::new(ErrorKind::Doubt, format!("{text} cause={failed}")).with_source(cause)
        };
        if let Err(error) = self.settle(held).await {
            return Err(if error.kind() == ErrorKind::Conflict {
                error
            } else {
                doubt(error)
            });
        }
        if held.progress.as_ref() == Some(&tried) {
            return Ok(true);
        }
        if held.progress != before {
            return Ok(false);
        }
        if failed.kind() == ErrorKind::Invalid {
            return Err(failed);
        }
        // It has not happened; an empty commit over it makes sure that it will not happen later either.
        held.in_doubt = true;
        match self.try_commit(held, Vec::new()).await {
            (next, Ok(())) => {
                held.progress = Some(next);
                held.in_doubt = false;
                Err(failed)
            }
            (_, Err(cause)) => Err(doubt(cause)),
        }
    }

    async fn try_commit(&self, held: &mut Held, writes: Vec<(K, Option<V>)>) -> (Progress, Result<()>) {
        held.last += 1;
        let progress = Progress::from_iter([(self.part.as_str(), held.last)]);
        let commit = Commit {
            writes,
            expected: held.progress.clone(),
            progress: progress.clone(),
        };
        (progress, self.store.commit(commit).await)
    }

    /// Reads which of our commits was the last one to happen.
    async fn settle(&self, held: &mut Held) -> Result<()> {
        let found = self.store.progress().await?;
        let ours = found
            .as_ref()
            .is_some_and(|found| found.0.contains_key(&self.part));
        if !ours && found != held.progress {
            let text = "another writer has taken this store over: stop this one, or open it again";
            let found = found.map_or("none".to_owned(), |found| found.to_string());
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("{text} writer={} held={{{found}}}", self.part),
            ));
        }
        held.progress = found;
        held.in_doubt = false;
        Ok(())
    }
}

#[async_trait]
impl<K: Key, V: Value> Readable<K, V> for SingleWriter<K, V> {
    async fn get_each(&self, keys: &[K]) -> Answers<Option<V>> {
        self.store.get_each(keys).await
    }
}

#[async_trait]
impl<K: Key, V: Value> Iterable<K, V> for SingleWriter<K, V> {
    async fn page(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        self.store.scan(after, limit).await
    }
}

#[async_trait]
impl<K: Key, V: Value> Writable<K, V> for SingleWriter<K, V> {
    async fn put_each(&self, writes: Vec<(K, Option<V>)>) -> Answers<()> {
        let (lasts, writes) = Writes::last(writes);
        let asked = lasts.len();
        writes.answers(match self.change(&[], |_| lasts.clone()).await {
            Ok(_) => (0..asked).map(|_| Ok(())).collect(),
            // Putting again does no harm.
            Err(error) if error.kind() == ErrorKind::Doubt => {
                let text = "nobody knows whether a put has happened: put again";
                let error = Error::new(ErrorKind::Retry, format!("{text} cause={error}")).with_source(error);
                all_failed(asked, &error)
            }
            Err(error) => all_failed(asked, &error),
        })
    }
}

#[async_trait]
impl<K, V> Mergeable<K, V> for SingleWriter<K, V>
where
    K: Key,
    V: Semigroup + Value,
{
    async fn merge_each(&self, deltas: Vec<(K, V)>) -> Answers<Option<V>> {
        if deltas.is_empty() {
            return Vec::new();
        }
        let (sums, deltas) = Deltas::sum(deltas);
        let keys: Vec<K> = sums.iter().map(|(key, _)| key.clone()).collect();
        let merged = |befores: &[Option<V>]| {
            let merge = |((key, sum), before): (&(K, V), &Option<V>)| {
                (key.clone(), joined(before.clone(), Some(sum.clone())))
            };
            sums.iter().zip(befores).map(merge).collect()
        };
        deltas.befores(match self.change(&keys, merged).await {
            Ok(befores) => befores.into_iter().map(Ok).collect(),
            Err(error) => all_failed(keys.len(), &error),
        })
    }
}

#[cfg(test)]
mod tests;
