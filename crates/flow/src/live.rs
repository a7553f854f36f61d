//! The live sums by key and batch, from a floor on: what came since the last snapshot.

use std::sync::Arc;

use async_trait::async_trait;
use store::{Commit, Error, ErrorKind, Progress, Result, Store};

use crate::framed::{batch_at, batcher_in, dropped, job_in, offset_of, one_batcher, put_batcher, put_job};
use crate::limits::{FRAMED_ATTEMPTS_MAX, SWEEP_KEYS};
use crate::{BatchId, Batcher, Key, Value};

/// A store of sums by key and batch, `(K, BatchId) → V`, that holds every batch from its floor on and none before it.
/// Clones are handles of the same store.
///
/// The floor stands beside the job's progress and rises by [`drop_before`](Self::drop_before), also while the job
/// runs: first the floor is committed, then what is below it is removed, so who reads the floor after the values knows
/// which of them are whole. What a job adds below the floor is not kept, so the store stays bounded. It is counted, as is
/// what comes for batches that a snapshot covers: [`late`](Self::late).
///
/// Costs: a commit or a read reads the progress once more; dropping scans the store.
pub struct Live<K, V> {
    inner: Arc<dyn Store<(K, BatchId), V>>,
    since: BatchId,
    batcher: Option<Arc<str>>,
}

impl<K, V> Clone for Live<K, V> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            since: self.since,
            batcher: self.batcher.clone(),
        }
    }
}

/// What stands beside the values.
struct Facts {
    floor: BatchId,
    covered: BatchId,
    late: u64,
    job: Option<Progress>,
    batcher: Option<String>,
    dropped: bool,
}

impl Facts {
    fn progress(&self) -> Progress {
        let mut held = Progress::from_iter([
            ("floor", offset_of(self.floor)),
            ("covered", offset_of(self.covered)),
            ("late", self.late),
        ]);
        put_job(&mut held, self.job.as_ref());
        put_batcher(&mut held, self.batcher.as_deref());
        if self.dropped {
            held.advance("dropped", 1);
        }
        held
    }
}

impl<K: Key, V: Value> Live<K, V> {
    /// Live sums in `inner`, which nothing else may write to. An empty store begins with the floor `since`: the
    /// first batch that the live source has whole (`BatchId(i64::MIN)` when it goes back to the beginning).
    pub fn new(inner: Arc<dyn Store<(K, BatchId), V>>, since: BatchId) -> Self {
        Self {
            inner,
            since,
            batcher: None,
        }
    }

    /// The same store, used with batches of `batcher`. The store remembers it from its next commit on; used with another
    /// one, all of it is `Invalid`. A [`HybridJob`](crate::HybridJob) does this with its own.
    pub fn with_batcher(mut self, batcher: &Batcher) -> Self {
        self.batcher = Some(batcher.to_string().into());
        self
    }

    /// Begins an empty store with the floor `floor`, or that of `new` if it is later.
    pub(crate) async fn begin(&self, floor: BatchId) -> Result<()> {
        let (held, mut facts) = self.facts().await?;
        if held.is_some() {
            return Ok(());
        }
        facts.floor = facts.floor.max(floor);
        let commit = Commit {
            writes: Vec::new(),
            expected: None,
            progress: facts.progress(),
        };
        self.inner.commit(commit).await
    }

    /// The first batch that it holds.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn floor(&self) -> crate::Result<BatchId> {
        Ok(self.facts().await?.1.floor)
    }

    /// How many sums of a key and batch, in all commits, came after their batch had been [covered](Self::cover) by a
    /// snapshot, which hides them: build history anew if they are to count, by
    /// [`HybridJob::backfill`](crate::HybridJob::backfill) with the same definition.
    ///
    /// # Errors
    /// What the store reports.
    pub async fn late(&self) -> crate::Result<u64> {
        Ok(self.facts().await?.1.late)
    }

    /// Notes that a snapshot covers all batches before `bound`: what the job adds to them from now on is late.
    ///
    /// # Errors
    /// As [`drop_before`](Self::drop_before).
    pub async fn cover(&self, bound: BatchId) -> crate::Result<()> {
        self.facts().await?;
        Ok(self
            .change(|facts| facts.covered = facts.covered.max(bound), Vec::new())
            .await?)
    }

    /// Drops all batches before `bound`, for good. After a crash, call it again. A job may go on meanwhile.
    ///
    /// # Errors
    /// `Retry` when a job commits faster than the floor can, and what the store reports.
    pub async fn drop_before(&self, bound: BatchId) -> crate::Result<()> {
        self.facts().await?;
        let raise = |facts: &mut Facts| {
            facts.floor = facts.floor.max(bound);
            facts.covered = facts.covered.max(bound);
        };
        self.change(raise, Vec::new()).await?;
        let mut after = None;
        loop {
            let page = self.inner.scan(after.as_ref(), SWEEP_KEYS).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let keys = page.into_iter().map(|(key, _)| key);
            let gone: Vec<_> = keys.filter(|(_, batch)| *batch < bound).collect();
            if !gone.is_empty() {
                self.change(|_| (), gone).await?;
            }
        }
    }

    /// Drops all there is, for good: whoever uses the store afterwards, a running job as well, gets `NotFound`. After a
    /// crash, call it again.
    pub(crate) async fn drop_all(&self) -> Result<()> {
        self.change(|facts| facts.dropped = true, Vec::new()).await?;
        let mut after = None;
        loop {
            // After what was removed: a store may keep traces of it that a scan from the start would go through.
            let page = self.inner.scan(after.as_ref(), SWEEP_KEYS).await?;
            let Some((last, _)) = page.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            let gone = page.into_iter().map(|(key, _)| key).collect();
            self.change(|_| (), gone).await?;
        }
    }

    /// The floor, and what is held from it on.
    pub(crate) async fn read(&self, keys: &[(K, BatchId)]) -> Result<(BatchId, Vec<Option<V>>)> {
        let values = self.inner.multi_get(keys).await?;
        // After the values: the floor rises before anything is removed.
        let floor = self.facts().await?.1.floor;
        let kept = |((_, batch), value): (&(K, BatchId), Option<V>)| value.filter(|_| *batch >= floor);
        Ok((floor, keys.iter().zip(values).map(kept).collect()))
    }

    /// What the store holds as progress, and what it says.
    async fn facts(&self) -> Result<(Option<Progress>, Facts)> {
        let (held, mut facts) = self.held().await?;
        if facts.dropped {
            return Err(dropped());
        }
        facts.batcher = one_batcher(facts.batcher, self.batcher.as_deref())?;
        Ok((held, facts))
    }

    /// The same of a store that may have been dropped.
    async fn held(&self) -> Result<(Option<Progress>, Facts)> {
        let held = self.inner.progress().await?;
        let floor = match &held {
            None => self.since,
            Some(progress) => batch_at(*progress.0.get("floor").ok_or_else(|| foreign(progress))?),
        };
        let covered = held.as_ref().and_then(|held| held.0.get("covered"));
        let facts = Facts {
            floor,
            covered: covered.map_or(BatchId(i64::MIN), |offset| batch_at(*offset)),
            late: held.as_ref().map_or(0, |held| held.of("late")),
            job: held.as_ref().and_then(job_in),
            batcher: held.as_ref().and_then(batcher_in),
            dropped: held.as_ref().is_some_and(|held| held.of("dropped") > 0),
        };
        Ok((held, facts))
    }

    /// Removes keys and changes the facts, whatever the job does meanwhile.
    async fn change(&self, change: impl Fn(&mut Facts), gone: Vec<(K, BatchId)>) -> Result<()> {
        for _ in 0..FRAMED_ATTEMPTS_MAX {
            let (expected, mut facts) = self.held().await?;
            change(&mut facts);
            let commit = Commit {
                writes: gone.iter().map(|key| (key.clone(), None)).collect(),
                expected,
                progress: facts.progress(),
            };
            match self.inner.commit(commit).await {
                Err(error) if error.kind() == ErrorKind::Conflict => tokio::task::yield_now().await,
                done => return done,
            }
        }
        Err(busy())
    }
}

#[async_trait]
impl<K: Key, V: Value> Store<(K, BatchId), V> for Live<K, V> {
    async fn multi_get(&self, keys: &[(K, BatchId)]) -> Result<Vec<Option<V>>> {
        Ok(self.read(keys).await?.1)
    }

    async fn commit(&self, commit: Commit<(K, BatchId), V>) -> Result<()> {
        for _ in 0..FRAMED_ATTEMPTS_MAX {
            let (held, mut facts) = self.facts().await?;
            if facts.job.as_ref() == Some(&commit.progress) && facts.job != commit.expected {
                return Ok(());
            }
            let late = commit
                .writes
                .iter()
                .filter(|((_, batch), _)| *batch < facts.covered)
                .count();
            let kept = commit
                .writes
                .iter()
                .filter(|((_, batch), _)| *batch >= facts.floor);
            let writes = kept.cloned().collect();
            let ours = facts.job == commit.expected;
            facts.job = commit.expected.clone();
            let expected = if ours { held } else { Some(facts.progress()) };
            facts.job = Some(commit.progress.clone());
            facts.late += late as u64;
            let framed = Commit {
                writes,
                expected,
                progress: facts.progress(),
            };
            match self.inner.commit(framed).await {
                // The floor has risen since it was read: with the job's own progress as expected, go on.
                Err(error) if ours && error.kind() == ErrorKind::Conflict => tokio::task::yield_now().await,
                done => return done,
            }
        }
        Err(busy())
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self.facts().await?.1.job)
    }

    /// What is held from the floor on.
    async fn scan(&self, after: Option<&(K, BatchId)>, limit: usize) -> Result<Vec<((K, BatchId), V)>> {
        let (mut found, mut last) = (Vec::new(), after.cloned());
        while found.len() < limit {
            let page = self.inner.scan(last.as_ref(), limit).await?;
            let Some((end, _)) = page.last() else { break };
            last = Some(end.clone());
            let floor = self.facts().await?.1.floor;
            found.extend(page.into_iter().filter(|((_, batch), _)| *batch >= floor));
        }
        found.truncate(limit);
        Ok(found)
    }
}

fn foreign(progress: &Progress) -> Error {
    let text = "a live store is of its own, and a job has written to this one directly: give an empty store";
    Error::new(ErrorKind::Invalid, format!("{text} progress={progress}"))
}

fn busy() -> Error {
    let text =
        "the job and the dropping of old batches get in each other's way: try again, or drop more rarely";
    Error::new(ErrorKind::Retry, text)
}
