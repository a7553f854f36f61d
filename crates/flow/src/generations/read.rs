//! One store of a job in all generations: what readers read, and what filling, swapping and dropping ask of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use store::Store;

use super::{Filling, Generation, Generations};
use crate::limits::READ_ATTEMPTS_MAX;
use crate::{Answer, ClientStore, Error, ErrorKind, Key, Result, Timestamp, Value};

/// A store as its generations, opened as they are asked for.
pub(super) struct Opened<K, V> {
    open: Box<OpenFn<K, V>>,
    clients: Mutex<BTreeMap<Generation, ClientStore<K, V>>>,
}

type OpenFn<K, V> = dyn Fn(Generation) -> Result<ClientStore<K, V>> + Send + Sync;

impl<K: Key, V: Value> Opened<K, V> {
    pub(super) fn new(
        open: impl Fn(Generation) -> Result<ClientStore<K, V>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            clients: Mutex::default(),
        }
    }

    fn at(&self, generation: Generation) -> Result<ClientStore<K, V>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&generation) {
            return Ok(client.clone());
        }
        let client = (self.open)(generation)?;
        clients.insert(generation, client.clone());
        Ok(client)
    }
}

/// An [`Opened`] whose types only its sum knows.
#[async_trait]
pub(super) trait AnyStore: Send + Sync {
    /// Makes the first snapshot and the floor of an empty generation.
    async fn begin(&self, filling: &Filling) -> Result<()>;
    /// `Retry` while history is not built up to the cut.
    async fn check_complete(&self, filling: &Filling) -> Result<()>;
    /// `Retry` while its live side has not what the current one has.
    async fn check_caught_up(&self, filling: &Filling, current: Generation) -> Result<()>;
    /// What comes for batches of a snapshot from now on is late.
    async fn cover(&self, generation: Generation) -> Result<()>;
    async fn drop_all(&self, generation: Generation) -> Result<()>;
}

#[async_trait]
impl<K: Key, V: Value> AnyStore for Opened<K, V> {
    async fn begin(&self, filling: &Filling) -> Result<()> {
        let client = self.at(filling.generation)?;
        client.snapshots().begin_empty(filling.batches.start).await?;
        Ok(client.live().begin(filling.batches.end).await?)
    }

    async fn check_complete(&self, filling: &Filling) -> Result<()> {
        let client = self.at(filling.generation)?;
        let (cut, floor) = (filling.batches.end, client.live().floor().await?);
        let bound = client.snapshots().bounds().await?.last().copied();
        let told = format!("generation={} cut={}", filling.generation, cut.0);
        if floor > cut {
            let text = "the live source does not go back to the cut, so batches would be missing: abandon it, and begin \
                        with a later cut";
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{text} {told} floor={}", floor.0),
            ));
        }
        if bound < Some(cut) {
            let bound = bound.map_or("none".to_owned(), |bound| bound.0.to_string());
            let text = "history is not built up to the cut yet";
            return Err(Error::new(
                ErrorKind::Retry,
                format!("{text} {told} bound={bound}"),
            ));
        }
        Ok(())
    }

    async fn check_caught_up(&self, filling: &Filling, current: Generation) -> Result<()> {
        // The current one first: what it has by now, the next one has to have.
        let had = self.at(current)?.live().progress().await?.unwrap_or_default();
        let client = self.at(filling.generation)?;
        let has = client.live().progress().await?.unwrap_or_default();
        if has.covers(&had) {
            return Ok(());
        }
        let text = "the live side has not caught up yet, or reads other sources: wait, or see `swap_built`";
        let text = format!(
            "{text} generation={} progress={{{has}}} current={{{had}}}",
            filling.generation
        );
        Err(Error::new(ErrorKind::Retry, text))
    }

    async fn cover(&self, generation: Generation) -> Result<()> {
        self.at(generation)?.drop_covered().await
    }

    async fn drop_all(&self, generation: Generation) -> Result<()> {
        self.at(generation)?.drop_all().await?;
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.remove(&generation);
        Ok(())
    }
}

/// One store of a job, as its readers get it: always of the current generation. Clones read the same.
pub struct GenerationStore<K, V> {
    generations: Generations,
    opened: Arc<Opened<K, V>>,
}

impl<K, V> Clone for GenerationStore<K, V> {
    fn clone(&self) -> Self {
        Self {
            generations: self.generations.clone(),
            opened: self.opened.clone(),
        }
    }
}

impl<K: Key, V: Value> GenerationStore<K, V> {
    pub(super) fn new(generations: Generations, opened: Arc<Opened<K, V>>) -> Self {
        Self { generations, opened }
    }

    /// The store of one generation, for the job that fills it.
    ///
    /// # Errors
    /// What opening it reports.
    pub fn at(&self, generation: Generation) -> Result<ClientStore<K, V>> {
        self.opened.at(generation)
    }

    /// The sums of keys up to the batch of a time, that one included; all of one generation, which is the one that was
    /// current when this was asked or a later one. Costs two reads of the pointer more than [`ClientStore::multi_get`].
    ///
    /// # Errors
    /// As [`ClientStore::multi_get`] and [`ClientStore::batch_of`]; `Retry` when generations are swapped faster than one
    /// can be read.
    pub async fn multi_get(&self, keys: &[K], time: Timestamp) -> Result<(Generation, Answer<V>)> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let generation = self.generations.state().await?.current;
            let client = self.at(generation)?;
            let answer = client.multi_get(keys, client.batch_of(time)?).await;
            // Also an error counts only if it is the current generation's: one that is being dropped may answer anything.
            if self.generations.state().await?.current == generation {
                return Ok((generation, answer?));
            }
        }
        let text = "generations were swapped faster than one could be read: try again";
        Err(Error::new(ErrorKind::Retry, text))
    }
}
