//! A snapshot that is being built, as the stores that a job sums into.

use std::collections::BTreeMap;
use std::ops::Range;

use async_trait::async_trait;
use store::{Commit, Error, ErrorKind, Progress, Result, Store};

use super::meta::{Due, Meta, Stage};
use super::{Snapshots, Versions, closed};
use crate::{BatchId, Key, Value};

/// The next snapshot while a job adds to it: the store of its sums by key and batch, `(K, BatchId) → V`.
///
/// A batch starts with no value, whatever the snapshots hold, and the snapshot adds up the batches in their order. So
/// the order of sums that do not commute is: by batch, and as it came within a batch, however late it came. For jobs
/// that sum by key alone there are [`totals`](Self::totals).
///
/// It keeps the job's progress until the next build begins, so a job with several stores of which some are published
/// when it dies resumes too.
pub struct Build<K, V> {
    snapshots: Snapshots<K, V>,
    batches: Range<BatchId>,
}

impl<K, V> Clone for Build<K, V> {
    fn clone(&self) -> Self {
        Self {
            snapshots: self.snapshots.clone(),
            batches: self.batches.clone(),
        }
    }
}

impl<K: Key, V: Value> Build<K, V> {
    /// Of these batches, whether it is under way or not.
    pub(crate) fn new(snapshots: Snapshots<K, V>, batches: Range<BatchId>) -> Self {
        Self { snapshots, batches }
    }

    /// Whether it can begin, is under way or is there.
    pub(crate) async fn check_due(&self) -> crate::Result<()> {
        Ok(self.snapshots.meta().await?.due(&self.batches).map(drop)?)
    }

    /// Where the store's newest snapshot ends.
    pub(crate) async fn bound(&self) -> crate::Result<Option<BatchId>> {
        Ok(self.snapshots.bounds().await?.last().copied())
    }

    /// As [`Snapshots::build`], of these batches.
    pub(crate) async fn begin(&self) -> crate::Result<()> {
        self.snapshots.build(self.batches.clone()).await.map(drop)
    }

    /// The batches that it adds.
    pub fn batches(&self) -> &Range<BatchId> {
        &self.batches
    }

    /// The same as a store by key alone, which shows the last snapshot with what the job has added since. For sums
    /// that commute, or one batch at a time: batches are not told apart.
    pub fn totals(&self) -> Totals<K, V> {
        Totals(self.clone())
    }

    /// Whether no more is to be added: it is published, or about to be.
    ///
    /// # Errors
    /// As [`Snapshots::build`].
    pub async fn is_closed(&self) -> crate::Result<bool> {
        Ok(self.snapshots.meta().await?.due(&self.batches)? != Due::Resume(Stage::Summing))
    }

    /// Closes the build, removes old keys and publishes the snapshot. To be called when the job has ended; again
    /// after a crash.
    ///
    /// # Errors
    /// `Conflict` when another run does the same, and what the store reports.
    pub async fn publish(&self) -> crate::Result<()> {
        let mut meta = self.snapshots.meta().await?;
        match meta.due(&self.batches)? {
            Due::Done => return Ok(()),
            Due::Resume(Stage::Summing) => {
                let held = Some(meta.progress());
                meta.build = Some((self.batches.end, Stage::Pruning));
                meta.step += 1;
                self.snapshots.commit(held, &meta, Vec::new()).await?;
            }
            Due::Resume(_) => {}
            Due::Begin => return Err(closed("the build was taken back: build again", &self.batches).into()),
        }
        self.snapshots.prune(&meta, self.batches.end).await?;
        Ok(self.snapshots.publish(&meta).await?)
    }

    /// What is known of the store, if this build is under way or the last.
    async fn known(&self) -> Result<Meta> {
        let meta = self.snapshots.meta().await?;
        match meta.due(&self.batches)? {
            Due::Begin => Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "the build was taken back by another run: build again batches={}..{}",
                    self.batches.start.0, self.batches.end.0
                ),
            )),
            Due::Done | Due::Resume(_) => Ok(meta),
        }
    }

    /// Commits what `change` makes of the versions of each written key.
    async fn change<W>(
        &self,
        commit: Commit<W, V>,
        key_of: impl Fn(&W) -> &K,
        change: impl Fn(&mut Versions<V>, &W, Option<V>),
    ) -> Result<()> {
        let meta = self.known().await?;
        if meta.job.as_ref() == Some(&commit.progress) && meta.job != commit.expected {
            return Ok(());
        }
        if !matches!(meta.build, Some((_, Stage::Summing))) {
            if commit.writes.is_empty() {
                return Ok(());
            }
            let text = "the snapshot is published, and the source has given more for it: build with a source that \
                        has ended";
            return Err(closed(text, &self.batches));
        }
        let with = |job: &Option<Progress>| Meta {
            job: job.clone(),
            ..meta.clone()
        };
        let (expected, next) = (with(&commit.expected), with(&Some(commit.progress)));
        let mut by_key: BTreeMap<K, Vec<(W, Option<V>)>> = BTreeMap::new();
        for (written, value) in commit.writes {
            by_key
                .entry(key_of(&written).clone())
                .or_default()
                .push((written, value));
        }
        let keys: Vec<K> = by_key.keys().cloned().collect();
        let held = self.snapshots.inner.multi_get(&keys).await?;
        let mut writes = Vec::with_capacity(keys.len());
        for ((key, written), versions) in by_key.into_iter().zip(held) {
            let mut versions = versions.unwrap_or_default();
            for (written, value) in written {
                change(&mut versions, &written, value);
            }
            versions.compact(&meta.kept);
            writes.push((key, versions.kept()));
        }
        self.snapshots
            .commit(Some(expected.progress()), &next, writes)
            .await
    }

    fn check_batch(&self, batch: BatchId) -> Result<()> {
        if self.batches.contains(&batch) {
            return Ok(());
        }
        let text = format!(
            "the job sums into a batch that is not built: give the job and the build one batcher, and the source's \
             interval batch={} batches={}..{}",
            batch.0, self.batches.start.0, self.batches.end.0
        );
        Err(Error::new(ErrorKind::Invalid, text))
    }
}

#[async_trait]
impl<K: Key, V: Value> Store<(K, BatchId), V> for Build<K, V> {
    async fn multi_get(&self, keys: &[(K, BatchId)]) -> Result<Vec<Option<V>>> {
        let mut distinct: Vec<K> = keys.iter().map(|(key, _)| key.clone()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let versions = self.snapshots.inner.multi_get(&distinct).await?;
        let value = |(key, batch): &(K, BatchId)| {
            self.check_batch(*batch)?;
            let place = distinct.binary_search(key).ok();
            Ok(place.and_then(|place| versions[place].as_ref()?.part(*batch)))
        };
        keys.iter().map(value).collect()
    }

    async fn commit(&self, commit: Commit<(K, BatchId), V>) -> Result<()> {
        commit
            .writes
            .iter()
            .try_for_each(|((_, batch), _)| self.check_batch(*batch))?;
        let set = |versions: &mut Versions<V>, (_, batch): &(K, BatchId), value| {
            versions.set_part(*batch, value);
        };
        self.change(commit, |(key, _)| key, set).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.known().await?.job)
    }

    /// The parts of the build, in the order of the store's keys and then of the batches; reads the whole key before
    /// the first, so a page may be short of `limit` by none but the end.
    async fn scan(&self, after: Option<&(K, BatchId)>, limit: usize) -> Result<Vec<((K, BatchId), V)>> {
        let mut found = Vec::new();
        let parts = |key: &K, versions: &Versions<V>, past: BatchId| {
            let parts = versions.parts_of(&self.batches).into_iter();
            let parts = parts.filter(move |(batch, _)| *batch > past);
            parts
                .map(|(batch, value)| ((key.clone(), batch), value))
                .collect::<Vec<_>>()
        };
        let mut last = after.map(|(key, _)| key.clone());
        if let Some((key, batch)) = after {
            let held = self.snapshots.inner.multi_get(std::slice::from_ref(key)).await?;
            held.iter()
                .flatten()
                .for_each(|versions| found.extend(parts(key, versions, *batch)));
        }
        while found.len() < limit {
            let page = self.snapshots.inner.scan(last.as_ref(), limit).await?;
            let Some((end, _)) = page.last() else { break };
            last = Some(end.clone());
            for (key, versions) in &page {
                found.extend(parts(key, versions, BatchId(i64::MIN)));
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

/// A [`Build`] as a store by key alone; see [`Build::totals`].
#[derive(Clone)]
pub struct Totals<K, V>(Build<K, V>);

#[async_trait]
impl<K: Key, V: Value> Store<K, V> for Totals<K, V> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let versions = self.0.snapshots.inner.multi_get(keys).await?;
        let value = |versions: Option<Versions<V>>| versions.and_then(|it| it.before(self.0.batches.end));
        Ok(versions.into_iter().map(value).collect())
    }

    async fn commit(&self, commit: Commit<K, V>) -> Result<()> {
        let last = self.0.batches.end.previous();
        let set = |versions: &mut Versions<V>, _: &K, value| versions.set_value(last, value);
        self.0.change(commit, |key| key, set).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.0.known().await?.job)
    }

    async fn scan(&self, after: Option<&K>, limit: usize) -> Result<Vec<(K, V)>> {
        let (mut found, mut last) = (Vec::new(), after.cloned());
        while found.len() < limit {
            let page = self.0.snapshots.inner.scan(last.as_ref(), limit).await?;
            let Some((end, _)) = page.last() else { break };
            last = Some(end.clone());
            let value = |(key, versions): (K, Versions<V>)| Some((key, versions.before(self.0.batches.end)?));
            found.extend(page.into_iter().filter_map(value));
        }
        found.truncate(limit);
        Ok(found)
    }
}
