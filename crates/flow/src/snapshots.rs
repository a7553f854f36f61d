//! A batch store: the sums of all batches before a bound, in one snapshot per bound, over any `store::Store`.
//!
//! A snapshot has an exclusive bound, a [`BatchId`]: it holds what all batches before the bound come to. The next one
//! is built from the batches between its predecessor's bound and its own: without a hole, without an overlap.
//!
//! # How it is kept
//!
//! Under each key stands a list of changes by batch, [`Versions`]; which snapshots there are stands in the store's
//! progress. The value before a bound is what the changes in batches before the bound come to.
//!
//! * *Atomic*: a build adds changes in batches from the newest bound on, which no snapshot shows. Publishing is one
//!   commit without values, that of the new bound.
//! * *Readers* read the bounds, then the keys in one `multi_get`, then the bounds again. Changes before a bound are
//!   only joined once its snapshot, or an older one, has been given up, and a bound given up does not come back: if
//!   the bound still stands, the values are those before it, else the reader tries again.
//! * *Resumable*: the job's progress is in the same commit as what it has added.
//! * *Fenced*: each change of what is known of the store counts a step in its progress, so the commit of another or
//!   an earlier run is a `Conflict`.
//!
//! * *Never filled anew in place*: a snapshot that is published stays as it is. With another function or batcher, or for
//!   what came late, another generation of the store is filled: see [`crate::Generations`].
//!
//! # Costs
//!
//! A read: one `multi_get` and two reads of progress. A build writes the keys that it changes and no other; a key's
//! list has at most one change for each snapshot kept (they are joined when the key is next written) and one for each
//! batch of the build under way, so builds are of [`BUILD_BATCHES_MAX`](crate::BUILD_BATCHES_MAX) batches at most, and
//! each write of a key writes its list. Publishing: O(1), and with [`SnapshotOptions::prune`] a scan of all keys.

mod build;
mod meta;
mod versions;

use std::ops::Range;
use std::sync::Arc;

use store::{Commit, Error, ErrorKind, Progress, Store};

pub use self::build::{Build, Totals};
use self::meta::{Due, Meta, Stage};
pub use self::versions::Versions;
use crate::framed::{dropped, one_batcher};
use crate::limits::{BUILD_BATCHES_MAX, READ_ATTEMPTS_MAX, SNAPSHOTS_MAX, SWEEP_KEYS};
use crate::{BatchId, Batcher, Key, Result, Value};

/// Whether a key is to be removed from the snapshot that ends at the given bound.
pub type PruneFn<K, V> = Arc<dyn Fn(&K, &V, BatchId) -> bool + Send + Sync>;

/// How snapshots are kept.
pub struct SnapshotOptions<K, V> {
    /// How many are kept, at least one. Default 2, so that readers of the older one can finish.
    pub keep: usize,
    /// Asked for each key before a snapshot is published. Default: no key is removed.
    pub prune: Option<PruneFn<K, V>>,
}

impl<K, V> Default for SnapshotOptions<K, V> {
    fn default() -> Self {
        Self { keep: 2, prune: None }
    }
}

/// What a snapshot says about some keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Read<V> {
    /// The values hold all batches before this one, and nothing of others.
    pub bound: BatchId,
    /// One for each key, in their order; `None` where there is none.
    pub values: Vec<Option<V>>,
}

/// A batch store: one snapshot per bound. Clones are handles of the same store.
pub struct Snapshots<K, V> {
    inner: Arc<dyn Store<K, Versions<V>>>,
    options: Arc<SnapshotOptions<K, V>>,
    batcher: Option<Arc<str>>,
}

impl<K, V> Clone for Snapshots<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            options: self.options.clone(),
            batcher: self.batcher.clone(),
        }
    }
}

impl<K: Key, V: Value> Snapshots<K, V> {
    /// Snapshots in `inner`, which nothing else may write to.
    ///
    /// # Errors
    /// `Invalid` when none or more than [`SNAPSHOTS_MAX`](crate::SNAPSHOTS_MAX) are to be kept.
    pub fn new(inner: Arc<dyn Store<K, Versions<V>>>, options: SnapshotOptions<K, V>) -> Result<Self> {
        if options.keep == 0 || options.keep > SNAPSHOTS_MAX {
            let text = format!(
                "keep at least one snapshot and at most {SNAPSHOTS_MAX} keep={}",
                options.keep
            );
            return Err(crate::Error::new(crate::ErrorKind::Invalid, text));
        }
        Ok(Self {
            inner,
            options: Arc::new(options),
            batcher: None,
        })
    }

    /// The same store, used with batches of `batcher`. The store remembers it from its next build on; used with another
    /// one, all of it is `Invalid`. A [`HybridJob`](crate::HybridJob) and a [`History`](crate::History) do this with theirs.
    pub fn with_batcher(mut self, batcher: &Batcher) -> Self {
        self.batcher = Some(batcher.to_string().into());
        self
    }

    /// The first snapshot: an empty one that ends at `bound`, the batch with which history begins. Changes nothing when
    /// there is one already.
    ///
    /// # Errors
    /// `Conflict` when another run begins at the same moment, and what the store reports.
    pub async fn begin_empty(&self, bound: BatchId) -> Result<()> {
        self.begin_with(bound, Vec::new()).await
    }

    /// The first snapshot: these pairs, as what all batches before `bound` come to. Changes nothing when there is one
    /// already. After a crash in the middle, call it again with the same pairs.
    ///
    /// # Errors
    /// As [`begin_empty`](Self::begin_empty); `Invalid` when it was broken off with another bound.
    pub async fn begin_with(&self, bound: BatchId, pairs: impl IntoIterator<Item = (K, V)>) -> Result<()> {
        let (held, mut meta) = self.held().await?;
        if meta.bound().is_some() {
            return Ok(());
        }
        let loading = Some((bound, Stage::Loading));
        if meta.build.is_some() && meta.build != loading {
            let text = format!(
                "a first snapshot was broken off: give the same one again bound={}",
                bound.0
            );
            return Err(crate::Error::new(crate::ErrorKind::Invalid, text));
        }
        if meta.build.is_none() {
            (meta.build, meta.from) = (loading, bound);
            meta.batcher = self.batcher.as_deref().map(str::to_owned);
            meta.step += 1;
            self.commit(held, &meta, Vec::new()).await?;
        }
        let batch = BatchId(bound.0.saturating_sub(1));
        let mut writes = Vec::new();
        for (key, value) in pairs {
            let mut versions = Versions::default();
            versions.set_value(batch, Some(value));
            writes.push((key, Some(versions)));
            if writes.len() == SWEEP_KEYS {
                let writes = std::mem::take(&mut writes);
                self.commit(Some(meta.progress()), &meta, writes).await?;
            }
        }
        if !writes.is_empty() {
            self.commit(Some(meta.progress()), &meta, writes).await?;
        }
        Ok(self.publish(&meta).await?)
    }

    /// The bounds of the snapshots there are, rising; none before the first.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn bounds(&self) -> Result<Vec<BatchId>> {
        Ok(self.meta().await?.kept)
    }

    /// What the newest snapshot says. Consistent in one bound, also while another one is published.
    ///
    /// # Errors
    /// `NotFound` when there is no snapshot, and what the store reports.
    pub async fn multi_get(&self, keys: &[K]) -> Result<Read<V>> {
        self.multi_get_until(keys, BatchId(i64::MAX)).await
    }

    /// What the newest snapshot says that ends at `end` or before.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Retry` when snapshots come faster than one can be read, and what the store
    /// reports.
    pub async fn multi_get_until(&self, keys: &[K], end: BatchId) -> Result<Read<V>> {
        for _ in 0..READ_ATTEMPTS_MAX {
            let kept = self.bounds().await?;
            let Some(bound) = kept.iter().rev().find(|bound| **bound <= end).copied() else {
                return Err(none_until(end, &kept));
            };
            let versions = self.inner.multi_get(keys).await?;
            if self.bounds().await?.contains(&bound) {
                let value = |versions: Option<Versions<V>>| versions.and_then(|it| it.before(bound));
                let values = versions.into_iter().map(value).collect();
                return Ok(Read { bound, values });
            }
        }
        let text = format!(
            "snapshots were given up faster than they could be read: keep more of them keep={}",
            self.options.keep
        );
        Err(crate::Error::new(crate::ErrorKind::Retry, text))
    }

    /// The build of the next snapshot, from `batches`; or the one of these batches that is under way or was the last.
    ///
    /// # Errors
    /// `Invalid` when they do not start where the newest snapshot ends, are too many, or another build is under way;
    /// `NotFound` when there is no first snapshot; and what the store reports.
    pub async fn build(&self, batches: Range<BatchId>) -> Result<Build<K, V>> {
        let (held, mut meta) = self.held().await?;
        if meta.due(&batches)? == Due::Begin {
            let length = i128::from(batches.end.0) - i128::from(batches.start.0);
            if length > BUILD_BATCHES_MAX as i128 {
                let text = format!(
                    "too many batches for one build: build them in several runs, or in longer batches \
                     batches={length} batches_max={BUILD_BATCHES_MAX}"
                );
                return Err(crate::Error::new(crate::ErrorKind::Invalid, text));
            }
            meta.build = Some((batches.end, Stage::Summing));
            (meta.from, meta.job) = (batches.start, None);
            meta.batcher = one_batcher(meta.batcher, self.batcher.as_deref())?;
            meta.step += 1;
            self.commit(held, &meta, Vec::new()).await?;
        }
        Ok(Build::new(self.clone(), batches))
    }

    /// Takes back the build under way, if there is one. Costs a scan of all keys; call it again after a crash.
    ///
    /// # Errors
    /// `Conflict` when a job still adds to it: stop it first; and what the store reports.
    pub async fn abandon(&self) -> Result<()> {
        let mut meta = self.meta().await?;
        let (Some((end, stage)), Some(bound)) = (meta.build, meta.bound()) else {
            return Ok(());
        };
        if stage != Stage::Abandoning {
            let held = Some(meta.progress());
            meta.build = Some((end, Stage::Abandoning));
            meta.step += 1;
            self.commit(held, &meta, Vec::new()).await?;
        }
        let cut = |_: &K, versions: &mut Versions<V>| {
            let before = versions.len();
            versions.cut(bound);
            versions.len() != before
        };
        self.sweep(&meta, cut).await?;
        let held = Some(meta.progress());
        (meta.build, meta.from, meta.job) = (None, bound, None);
        meta.step += 1;
        Ok(self.commit(held, &meta, Vec::new()).await?)
    }

    /// Tells stores apart while they live.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner).cast::<()>().addr()
    }

    async fn meta(&self) -> store::Result<Meta> {
        Ok(self.held().await?.1)
    }

    /// What the store holds as progress, and what that says.
    async fn held(&self) -> store::Result<(Option<Progress>, Meta)> {
        let held = self.inner.progress().await?;
        let meta = Meta::of(held.as_ref())?;
        if matches!(meta.build, Some((_, Stage::Dropping))) {
            return Err(dropped());
        }
        one_batcher(meta.batcher.clone(), self.batcher.as_deref())?;
        Ok((held, meta))
    }

    /// Drops all there is, for good: whoever uses the store afterwards gets `NotFound`. After a crash, call it again.
    pub(crate) async fn drop_all(&self) -> store::Result<()> {
        let held = self.inner.progress().await?;
        let mut meta = Meta::of(held.as_ref())?;
        if !matches!(meta.build, Some((_, Stage::Dropping))) {
            meta.build = Some((meta.from, Stage::Dropping));
            (meta.kept, meta.job) = (Vec::new(), None);
            meta.step += 1;
            self.commit(held, &meta, Vec::new()).await?;
        }
        let mut after = None;
        loop {
            let page = self.inner.scan(after.as_ref(), SWEEP_KEYS).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let gone = page.into_iter().map(|(key, _)| (key, None)).collect();
            self.commit(Some(meta.progress()), &meta, gone).await?;
        }
    }

    async fn commit(
        &self,
        expected: Option<Progress>,
        meta: &Meta,
        writes: Vec<(K, Option<Versions<V>>)>,
    ) -> store::Result<()> {
        let progress = meta.progress();
        self.inner
            .commit(Commit {
                writes,
                expected,
                progress,
            })
            .await
    }

    /// Publishes the build under way, and gives up what is more than `keep`.
    async fn publish(&self, building: &Meta) -> store::Result<()> {
        let mut meta = building.clone();
        let Some((end, _)) = meta.build.take() else {
            return Ok(());
        };
        meta.kept.push(end);
        let more = meta.kept.len().saturating_sub(self.options.keep);
        meta.kept.drain(..more);
        meta.step += 1;
        self.commit(Some(building.progress()), &meta, Vec::new()).await
    }

    /// Removes the keys that the newest snapshot to be is to be without.
    async fn prune(&self, meta: &Meta, end: BatchId) -> store::Result<()> {
        let Some(prune) = &self.options.prune else {
            return Ok(());
        };
        self.sweep(meta, |key, versions| {
            let pruned = versions.before(end).is_some_and(|value| prune(key, &value, end));
            if pruned {
                versions.set_value(end.previous(), None);
            }
            pruned
        })
        .await
    }

    /// Changes what stands under each key, some keys at a time; harmless to do twice. `change` says
    /// whether it did.
    async fn sweep(&self, meta: &Meta, change: impl Fn(&K, &mut Versions<V>) -> bool) -> store::Result<()> {
        let mut after = None;
        loop {
            let page = self.inner.scan(after.as_ref(), SWEEP_KEYS).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let mut writes = Vec::new();
            for (key, mut versions) in page {
                let changed = change(&key, &mut versions);
                let before = versions.len();
                versions.compact(&meta.kept);
                if changed || versions.len() != before {
                    writes.push((key, versions.kept()));
                }
            }
            if !writes.is_empty() {
                self.commit(Some(meta.progress()), meta, writes).await?;
            }
        }
    }
}

fn none_until(end: BatchId, kept: &[BatchId]) -> crate::Error {
    let text = match kept.first() {
        None => "there is no snapshot yet: begin with an empty or a given one".to_owned(),
        Some(first) => format!(
            "every snapshot kept ends later: ask for a later batch, or keep more of them oldest={}",
            first.0
        ),
    };
    crate::Error::new(crate::ErrorKind::NotFound, format!("{text} end={}", end.0))
}

/// The error of a commit to a build that is no longer open.
fn closed(text: &str, batches: &Range<BatchId>) -> Error {
    let text = format!("{text} batches={}..{}", batches.start.0, batches.end.0);
    Error::new(ErrorKind::Invalid, text)
}
