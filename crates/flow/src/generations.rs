//! Generations of a job's stores: one that readers get, and one that is filled anew beside it, swapped in one commit.
//!
//! A generation is a set of stores of its own, made by its number. Which one is current stands in a pointer, a value in
//! any `store::Store`. [`HybridJob::backfill`](crate::HybridJob::backfill) fills the next one and swaps.
//!
//! # What a reader sees
//!
//! A [`GenerationStore`] reads the pointer, the current generation's stores, and the pointer again: if it still says
//! the same, the answer is that generation's, else it reads anew. The pointer only moves on, and a generation is dropped
//! after it has moved. So an answer is whole of one generation, and no answer that is asked for after the swap is an
//! older generation's.
//!
//! # When it is swapped
//!
//! [`swap`](Generations::swap) refuses until *all stores* of the next generation have (1) a snapshot up to the cut, (2) a
//! live side that holds each batch from there on, so no batch is missing, and (3) live progress that covers what the
//! current generation had when `swap` was called. So nothing that was visible then is missing afterwards. A current live
//! side that runs on may have added to itself meanwhile what the next one adds a moment later: stop it first if not even
//! that may be.
//!
//! # Crashes
//!
//! Each step is one commit of the pointer, or can be done again: a backfill goes on where it was, at the cut with which it
//! began; dropping goes on. A dropped store says so to whoever still uses it.

mod read;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use store::{Commit, Store};

pub use self::read::GenerationStore;
use self::read::{AnyStore, Opened};
use crate::limits::{FRAMED_ATTEMPTS_MAX, GENERATIONS_DROPPED_MAX};
use crate::{BatchId, ClientStore, Error, ErrorKind, Key, Result, Value};

/// The number of a generation; a later one has a larger one, and none comes twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A generation that is being filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filling {
    /// Its number.
    pub generation: Generation,
    /// What it is filled by, in the user's words.
    pub definition: String,
    /// What is built of history; live from its end on.
    pub batches: Range<BatchId>,
}

/// What is known of a job's generations: the value of its pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationState {
    /// What readers get; 0 at first.
    pub current: Generation,
    /// What it was filled by; empty for generation 0.
    pub definition: String,
    /// The next one, while it is filled.
    pub filling: Option<Filling>,
    /// What is to be dropped yet.
    pub dropped: Vec<Generation>,
    /// The last number given.
    pub newest: Generation,
}

/// What is asked of the live side of a generation before it is swapped in.
#[derive(Clone, Copy, PartialEq)]
enum Live {
    CaughtUp,
    Any,
}

/// The generations of one job. Clones are handles of the same.
#[derive(Clone)]
pub struct Generations {
    pointer: Arc<dyn Store<String, GenerationState>>,
    job: String,
    stores: Arc<Mutex<Vec<Arc<dyn AnyStore>>>>,
}

impl Generations {
    /// Those of the job of this name. The pointers of several jobs may be in one store, which nothing else writes to.
    pub fn new(pointer: Arc<dyn Store<String, GenerationState>>, job: impl Into<String>) -> Self {
        Self {
            pointer,
            job: job.into(),
            stores: Arc::default(),
        }
    }

    /// A store of the job: `open` gives it for any generation, with its batcher, and each generation another. To be
    /// called for all of the job's stores before anything is swapped or dropped.
    pub fn store<K: Key, V: Value>(
        &self,
        open: impl Fn(Generation) -> Result<ClientStore<K, V>> + Send + Sync + 'static,
    ) -> GenerationStore<K, V> {
        let opened = Arc::new(Opened::new(open));
        self.stores
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(opened.clone());
        GenerationStore::new(self.clone(), opened)
    }

    /// What is known of them now.
    ///
    /// # Errors
    /// What the pointer's store reports.
    pub async fn state(&self) -> Result<GenerationState> {
        let held = self.pointer.multi_get(std::slice::from_ref(&self.job)).await?;
        Ok(held.into_iter().next().flatten().unwrap_or_default())
    }

    /// The next generation for this definition: a new one, to be built from `batches`, or the one of that name that is
    /// being filled, with the batches that it began with. `None` when the current one is of that name.
    ///
    /// The name stands for one filling: to fill anew with the same functions, give another name.
    ///
    /// # Errors
    /// `Invalid` when another definition is being filled or the name is empty; and what the stores report.
    pub async fn begin(&self, definition: &str, batches: Range<BatchId>) -> Result<Option<Filling>> {
        let begin = |state: &mut GenerationState| {
            match &state.filling {
            Some(filling) if filling.definition == definition => Ok(Some(filling.clone())),
            Some(filling) => Err(self.invalid(&format!(
                "another generation is being filled: finish it, or take it back with `abandon` definition={definition:?} \
                 filling={:?}",
                filling.definition
            ))),
            None if state.definition == definition => Ok(None),
            None if state.dropped.len() >= GENERATIONS_DROPPED_MAX => {
                Err(self.invalid("too many old generations are still there: call `drop_old`"))
            }
            None => {
                state.newest = Generation(state.newest.0 + 1);
                state.filling = Some(Filling {
                    generation: state.newest,
                    definition: definition.to_owned(),
                    batches: batches.clone(),
                });
                Ok(state.filling.clone())
            }
        }
        };
        if definition.is_empty() || batches.is_empty() {
            return Err(self.invalid("a generation needs the name of a definition and one batch at least"));
        }
        let Some(filling) = self.change(begin).await? else {
            return Ok(None);
        };
        for store in self.stores()? {
            store.begin(&filling).await?;
        }
        Ok(Some(filling))
    }

    /// Makes a generation the current one, in one commit, if all of it is there: see the module. Does nothing when it is
    /// already.
    ///
    /// # Errors
    /// `Retry` when it has not caught up yet, `Invalid` when it is not being filled or cannot catch up, and what the
    /// stores report.
    pub async fn swap(&self, generation: Generation) -> Result<()> {
        self.swap_if(generation, Live::CaughtUp).await
    }

    /// As [`swap`](Self::swap), whatever the live progress is: for a definition that reads other sources than the current
    /// one, whose progress cannot be compared. Readers may miss for a while what the new live side has not read yet.
    ///
    /// # Errors
    /// As [`swap`](Self::swap).
    pub async fn swap_built(&self, generation: Generation) -> Result<()> {
        self.swap_if(generation, Live::Any).await
    }

    async fn swap_if(&self, generation: Generation, live: Live) -> Result<()> {
        let state = self.state().await?;
        let filled = |state: &GenerationState| {
            let filling = state
                .filling
                .clone()
                .filter(|filling| filling.generation == generation);
            filling.ok_or_else(|| {
                self.invalid(&format!(
                    "the generation is not being filled: begin anew generation={generation}"
                ))
            })
        };
        if state.current == generation {
            return Ok(());
        }
        let filling = filled(&state)?;
        let stores = self.stores()?;
        for store in &stores {
            store.check_complete(&filling).await?;
        }
        for store in stores.iter().filter(|_| live == Live::CaughtUp) {
            store.check_caught_up(&filling, state.current).await?;
        }
        for store in &stores {
            store.cover(generation).await?;
        }
        self.change(|state| {
            if state.current != generation {
                let filling = filled(state)?;
                state.filling = None;
                state.dropped.push(state.current);
                (state.current, state.definition) = (generation, filling.definition);
            }
            Ok(())
        })
        .await
    }

    /// Takes back the generation that is being filled, if there is one, and drops it. A job that fills it ends with
    /// `NotFound`. After a crash, call it again.
    ///
    /// # Errors
    /// `Conflict` when a job's last commit to it was still under way: call it again; and what the stores report.
    pub async fn abandon(&self) -> Result<()> {
        self.change(|state| {
            let taken = state.filling.take();
            state.dropped.extend(taken.map(|filling| filling.generation));
            Ok(())
        })
        .await?;
        self.drop_old().await
    }

    /// Drops what the generations before the current one hold, and those that were abandoned. A live side that still runs
    /// on one ends with `NotFound`. After a crash, call it again. Costs a removal of all their keys.
    ///
    /// # Errors
    /// What the stores report.
    pub async fn drop_old(&self) -> Result<()> {
        for generation in self.state().await?.dropped {
            for store in self.stores()? {
                store.drop_all(generation).await?;
            }
            self.change(|state| {
                state.dropped.retain(|old| *old != generation);
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    fn stores(&self) -> Result<Vec<Arc<dyn AnyStore>>> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if stores.is_empty() {
            return Err(self.invalid("the job has no stores yet: make them by `Generations::store`"));
        }
        Ok(stores)
    }

    /// Changes the pointer in one commit, whatever other jobs and processes change meanwhile.
    async fn change<T>(&self, change: impl Fn(&mut GenerationState) -> Result<T>) -> Result<T> {
        for _ in 0..FRAMED_ATTEMPTS_MAX {
            let expected = self.pointer.progress().await?;
            let before = self.state().await?;
            let mut state = before.clone();
            let answer = change(&mut state)?;
            if state == before {
                return Ok(answer);
            }
            let mut progress = expected.clone().unwrap_or_default();
            progress.advance("step", progress.of("step") + 1);
            let writes = vec![(self.job.clone(), Some(state.clone()))];
            let commit = Commit {
                writes,
                expected,
                progress,
            };
            match self.pointer.commit(commit).await {
                Err(error) if error.kind() != store::ErrorKind::Conflict => return Err(error.into()),
                // Two writers at one step cannot be told apart by progress, so it is read whose change it was.
                Ok(()) if self.state().await? == state => return Ok(answer),
                _ => tokio::task::yield_now().await,
            }
        }
        let text = format!(
            "the pointer to the generations is changed by others all the time: try again job={}",
            self.job
        );
        Err(Error::new(ErrorKind::Retry, text))
    }

    fn invalid(&self, text: &str) -> Error {
        Error::new(ErrorKind::Invalid, format!("{text} job={}", self.job))
    }
}
