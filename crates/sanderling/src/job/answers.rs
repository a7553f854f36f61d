//! What stores hold, for people: one key's sum, or the largest ones.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use flow::{
    BatchId, Batcher, ClientStore, Coverage, Error, ErrorKind, Key, LIVE_VALUES_MAX, Result, Timestamp,
};
use flow::{Value, Versions};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use store::Store;

use super::place::shown;

/// Pairs that are read at a time.
const PAGE_PAIRS: usize = 1_000;

/// A key and its sum, as they are printed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pair {
    pub(super) key: Json,
    pub(super) value: Json,
}

/// A store whose types only it knows.
#[async_trait]
pub(super) trait Answers: Send + Sync {
    /// The port's name.
    fn name(&self) -> &'static str;

    /// The pair of a key, which is given as text or as JSON; and of which batches its sum is, if it is made of batches.
    async fn get(&self, key: &str, at: Option<Timestamp>) -> Result<(Option<Pair>, Option<Covered>)>;

    /// Hands over all pairs.
    async fn each(
        &self,
        at: Option<Timestamp>,
        see: &mut (dyn FnMut(Pair) + Send),
    ) -> Result<Option<Covered>>;
}

/// Of which times an answer is made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Covered {
    /// Before this, history.
    pub(super) history_until: String,
    /// From there to here, live.
    pub(super) live_until: String,
    /// Up to now and yet not in it.
    pub(super) missing: Vec<[String; 2]>,
}

impl Covered {
    fn of(coverage: &Coverage, batcher: &Batcher) -> Self {
        let start = |batch: BatchId| shown(batcher.start_of(batch));
        let missing = |gap: &Range<BatchId>| [start(gap.start), start(gap.end)];
        Self {
            history_until: start(coverage.bound),
            live_until: start(coverage.live.end.max(coverage.bound)),
            missing: coverage.missing.iter().map(missing).collect(),
        }
    }
}

impl std::fmt::Display for Covered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "history until {}", self.history_until)?;
        if self.live_until != self.history_until {
            write!(f, ", live until {}", self.live_until)?;
        }
        for [from, until] in &self.missing {
            write!(f, ", missing {from} until {until}")?;
        }
        Ok(())
    }
}

/// The answers of a store of `K → V`.
pub(super) struct OfStore<K, V> {
    pub(super) name: &'static str,
    pub(super) show: Show<V>,
    pub(super) kept: Kept<K, V>,
}

/// How a value is printed.
pub(super) type Show<V> = Arc<dyn Fn(&V) -> Json + Send + Sync>;

/// Where sums are.
pub(super) enum Kept<K, V> {
    Map(Arc<Mutex<BTreeMap<K, V>>>),
    Store(Arc<dyn Store<K, V>>),
    Batches(Batches<K, V>),
}

/// Sums of history and live ones.
pub(super) struct Batches<K, V> {
    pub(super) client: ClientStore<K, V>,
    /// Where the snapshots are.
    pub(super) versions: Arc<dyn Store<K, Versions<V>>>,
    pub(super) batcher: Batcher,
}

#[async_trait]
impl<K, V> Answers for OfStore<K, V>
where
    K: Key + Serialize + DeserializeOwned,
    V: Value + Serialize + DeserializeOwned,
{
    fn name(&self) -> &'static str {
        self.name
    }

    async fn get(&self, key: &str, at: Option<Timestamp>) -> Result<(Option<Pair>, Option<Covered>)> {
        let key = self.key(key)?;
        let (value, covered) = match &self.kept {
            Kept::Map(map) => {
                let map = map.lock().unwrap_or_else(PoisonError::into_inner);
                (map.get(&key).cloned(), None)
            }
            Kept::Store(store) => (
                store.multi_get(std::slice::from_ref(&key)).await?.pop().flatten(),
                None,
            ),
            Kept::Batches(batches) => {
                let now = batches.now(at).await?;
                let (value, coverage) = batches.client.get(&key, now).await?;
                (value, Some(Covered::of(&coverage, &batches.batcher)))
            }
        };
        Ok((value.map(|value| self.pair(&key, &value)).transpose()?, covered))
    }

    async fn each(
        &self,
        at: Option<Timestamp>,
        see: &mut (dyn FnMut(Pair) + Send),
    ) -> Result<Option<Covered>> {
        match &self.kept {
            Kept::Map(map) => {
                let map = map.lock().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in map.iter() {
                    see(self.pair(key, value)?);
                }
                Ok(None)
            }
            Kept::Store(store) => {
                let mut after = None;
                loop {
                    let page = store.scan(after.as_ref(), PAGE_PAIRS).await?;
                    for (key, value) in &page {
                        see(self.pair(key, value)?);
                    }
                    match page.into_iter().last() {
                        Some((last, _)) => after = Some(last),
                        None => return Ok(None),
                    }
                }
            }
            Kept::Batches(batches) => {
                let now = batches.now(at).await?;
                let mut see = |key: &K, value: &V| {
                    see(self.pair(key, value)?);
                    Ok(())
                };
                let coverage = batches.each(now, &mut see).await?;
                Ok(Some(Covered::of(&coverage, &batches.batcher)))
            }
        }
    }
}

impl<K, V> OfStore<K, V>
where
    K: Serialize + DeserializeOwned,
{
    fn pair(&self, key: &K, value: &V) -> Result<Pair> {
        let invalid = |error| {
            Error::new(
                ErrorKind::Invalid,
                format!("a key cannot be printed as JSON: {error}"),
            )
        };
        Ok(Pair {
            key: serde_json::to_value(key).map_err(invalid)?,
            value: (self.show)(value),
        })
    }

    fn key(&self, text: &str) -> Result<K> {
        let as_text = || serde_json::from_value(Json::from(text));
        serde_json::from_str(text)
            .or_else(|error| as_text().map_err(|_| error))
            .map_err(|error| {
                let text = format!(
                    "not a key of the store, give text or JSON: {error} store={} key={text}",
                    self.name
                );
                Error::new(ErrorKind::Invalid, text)
            })
    }
}

impl<K: Key, V: Value> Batches<K, V> {
    /// The batch up to which answers go: that of `at`, or the newest there is.
    async fn now(&self, at: Option<Timestamp>) -> Result<BatchId> {
        if let Some(at) = at {
            return Ok(self.batcher.batch_of(at));
        }
        let bound = self.bound().await?;
        let mut now = bound.previous();
        let (live, mut after) = (self.client.live(), None);
        loop {
            let page = live.scan(after.as_ref(), PAGE_PAIRS).await?;
            let Some((last, _)) = page.last() else {
                return Ok(now);
            };
            after = Some(last.clone());
            now = page.iter().map(|((_, batch), _)| *batch).fold(now, BatchId::max);
        }
    }

    async fn bound(&self) -> Result<BatchId> {
        let bounds = self.client.snapshots().bounds().await?;
        bounds.last().copied().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                "there is no snapshot yet: run the job on batch or hybrid first",
            )
        })
    }

    /// All keys with what they come to: those of history, and then those that are only live.
    async fn each(
        &self,
        now: BatchId,
        see: &mut (dyn FnMut(&K, &V) -> Result<()> + Send),
    ) -> Result<Coverage> {
        let length = now.next().0.saturating_sub(self.bound().await?.0).max(1);
        let keys_max = (LIVE_VALUES_MAX as i64 / length).clamp(1, PAGE_PAIRS as i64) as usize;
        let mut coverage = self.see(&[], now, see).await?;
        let mut after = None;
        loop {
            let page = self.versions.scan(after.as_ref(), keys_max).await?;
            let keys: Vec<K> = page.into_iter().map(|(key, _)| key).collect();
            let Some(last) = keys.last() else { break };
            after = Some(last.clone());
            coverage = self.see(&keys, now, see).await?;
        }
        let (live, mut after) = (self.client.live(), None);
        let mut seen: Option<K> = None;
        loop {
            let page = live.scan(after.as_ref(), keys_max).await?;
            let Some((last, _)) = page.last() else {
                return Ok(coverage);
            };
            after = Some(last.clone());
            // The batches of a key follow each other.
            let mut keys: Vec<K> = page.into_iter().map(|((key, _), _)| key).collect();
            keys.dedup();
            keys.retain(|key| seen.as_ref() != Some(key));
            seen = keys.last().cloned().or(seen);
            let known = self.versions.multi_get(&keys).await?;
            let only_live = keys.into_iter().zip(known).filter(|(_, known)| known.is_none());
            let only_live: Vec<K> = only_live.map(|(key, _)| key).collect();
            coverage = self.see(&only_live, now, see).await?;
        }
    }

    async fn see(
        &self,
        keys: &[K],
        now: BatchId,
        see: &mut (dyn FnMut(&K, &V) -> Result<()> + Send),
    ) -> Result<Coverage> {
        let answer = self.client.multi_get(keys, now).await?;
        for (key, value) in keys.iter().zip(&answer.values) {
            if let Some(value) = value {
                see(key, value)?;
            }
        }
        Ok(answer.coverage)
    }
}
