//! Where elements come from and go, on the platforms that run for real; with their in-memory forms.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use store::Progress;

use crate::{Element, Result, Timestamp};

/// A run of elements from one part of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice<T> {
    /// The part, for instance a partition of a queue. Any name but `$end`, which is the job's own.
    pub part: String,
    /// The offset to go on from after this slice. Offsets count what the source cannot divide (a batch, a row
    /// group, an element), so a slice holds whole ones.
    pub next: u64,
    /// The elements with their times, in order.
    pub items: Vec<(Timestamp, T)>,
    /// About how many bytes they take; decides how work is divided among cores.
    pub bytes: usize,
}

/// Where elements come from; addressed by progress, so that a restart reads the same elements again.
///
/// Laws: the elements of a part between two offsets are the same at each reading; a `read` that is dropped loses
/// nothing; slices of one part come in order and without holes, the first going on from `from`.
#[async_trait]
pub trait Source<T: Element>: Send + Sync {
    /// The progress to begin with when there is none. Parts may also appear later.
    async fn start(&self) -> Result<Progress>;

    /// Elements from `from` on: waits until some part has some, then returns one or more slices, at most one a
    /// part, of about `bytes_max` bytes in all; `None` when the source has ended for good.
    ///
    /// With `until`, a part that `until` names gives no element from `until`'s offset on, parts that it does not
    /// name give none, and `None` means that all of it has been read.
    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<T>>>>;
}

/// Where elements go.
#[async_trait]
pub trait Sink<T: Element>: Send + Sync {
    /// The progress of what the sink has taken; `None` before the first. A sink may keep things later than it
    /// takes them: then this may be an earlier progress after a crash (only then).
    async fn progress(&self) -> Result<Option<Progress>>;

    /// Takes elements, in order, and the progress they stand for, both or neither. A sink that keeps both in one
    /// atomic step, at once or later, makes the job exactly-once; one that keeps them later must not stand below
    /// a sum. A progress that the sink has already changes nothing. `items` may be empty: progress alone moves.
    async fn write(&self, items: Vec<(Timestamp, T)>, progress: &Progress) -> Result<()>;
}

/// What is looked up.
#[async_trait]
pub trait Service<K, V>: Send + Sync {
    /// The value of each key, in the order of the keys; `None` where there is none.
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>>;
}

/// A bounded source: the elements of a vector, in one part named `0`, with an offset each.
pub struct VecSource<T>(Arc<[(Timestamp, T)]>);

impl<T: Element> VecSource<T> {
    /// A source of elements with their times.
    pub fn new(items: impl IntoIterator<Item = (Timestamp, T)>) -> Self {
        Self(items.into_iter().collect())
    }
}

#[async_trait]
impl<T: Element> Source<T> for VecSource<T> {
    async fn start(&self) -> Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<T>>>> {
        let end = until.map_or(self.0.len(), |until| self.0.len().min(until.of("0") as usize));
        let start = from.of("0") as usize;
        if start >= end {
            return Ok(None);
        }
        let item_bytes = size_of::<(Timestamp, T)>().max(1);
        let next = end.min(start + (bytes_max / item_bytes).max(1));
        Ok(Some(vec![Slice {
            part: "0".to_owned(),
            next: next as u64,
            items: self.0[start..next].to_vec(),
            bytes: (next - start) * item_bytes,
        }]))
    }
}

/// A sink that keeps everything in a vector, with its progress.
#[derive(Clone)]
pub struct VecSink<T>(Arc<Mutex<Written<T>>>);

type Written<T> = (Vec<(Timestamp, T)>, Option<Progress>);

impl<T> Default for VecSink<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new((Vec::new(), None))))
    }
}

impl<T: Element> VecSink<T> {
    /// What has been written.
    pub fn items(&self) -> Vec<(Timestamp, T)> {
        self.0
            .lock()
            .expect("no writer panics while it holds the lock")
            .0
            .clone()
    }
}

#[async_trait]
impl<T: Element> Sink<T> for VecSink<T> {
    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self
            .0
            .lock()
            .expect("no writer panics while it holds the lock")
            .1
            .clone())
    }

    async fn write(&self, items: Vec<(Timestamp, T)>, progress: &Progress) -> Result<()> {
        let mut kept = self.0.lock().expect("no writer panics while it holds the lock");
        kept.0.extend(items);
        kept.1 = Some(progress.clone());
        Ok(())
    }
}

/// A service over a map that does not change.
#[async_trait]
impl<K: Ord + Send + Sync, V: Clone + Send + Sync> Service<K, V> for BTreeMap<K, V> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        Ok(keys.iter().map(|key| self.get(key).cloned()).collect())
    }
}

/// A store, or what combinators make of stores, as what is looked up: fails as a whole when one key fails.
///
/// ```
/// use flow::{FromStore, Service};
/// use store::{MemoryStore, Readable, StoreExt};
///
/// let cities = MemoryStore::<String, u64>::new();
/// let service: std::sync::Arc<dyn Service<String, u64>> = std::sync::Arc::new(FromStore(cities));
/// ```
#[derive(Clone, Debug)]
pub struct FromStore<R>(pub R);

#[async_trait]
impl<K: Send + Sync, V: Send, R: store::Readable<K, V>> Service<K, V> for FromStore<R> {
    async fn multi_get(&self, keys: &[K]) -> Result<Vec<Option<V>>> {
        let answers: store::Result<Vec<_>> = self.0.get_each(keys).await.into_iter().collect();
        Ok(answers?)
    }
}
