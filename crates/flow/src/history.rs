//! A job over history: the elements of some batches alone, and their sums as the next snapshot.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use store::{Progress, Store};

use crate::{
    BatchId, Batcher, Element, JobOptions, Key, Local, Producer, Result, Slice, Snapshots, Source, Tail,
    Timestamp, Value,
};

/// A source without the elements whose event time is outside an interval; offsets stay as they are.
///
/// It reads all of the inner source.
pub struct Within<T> {
    source: Arc<dyn Source<T>>,
    times: Range<Timestamp>,
}

impl<T: Element> Within<T> {
    /// The elements of `source` with a time in `times`.
    pub fn new(source: Arc<dyn Source<T>>, times: Range<Timestamp>) -> Self {
        Self { source, times }
    }

    fn cut(&self, mut slice: Slice<T>) -> Slice<T> {
        let all = slice.items.len().max(1) as u128;
        slice.items.retain(|(time, _)| self.times.contains(time));
        slice.bytes = (slice.bytes as u128 * slice.items.len() as u128 / all) as usize;
        slice
    }
}

#[async_trait]
impl<T: Element> Source<T> for Within<T> {
    async fn start(&self) -> Result<Progress> {
        self.source.start().await
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<T>>>> {
        let slices = self.source.read(from, until, bytes_max).await?;
        Ok(slices.map(|slices| slices.into_iter().map(|slice| self.cut(slice)).collect()))
    }
}

/// A bounded source as history, cut into batches.
///
/// ```
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// # use flow::*; use std::{sync::Arc, time::Duration};
/// let hours = Batcher::every(Duration::from_secs(3600))?;
/// let counts = Snapshots::<String, u64>::new(Arc::new(store::MemoryStore::new()), Default::default())?;
/// counts.begin_empty(BatchId(0)).await?;
/// let source = VecSource::new([(Timestamp(0), "to"), (Timestamp(1), "be"), (Timestamp(2), "be")]);
/// let words = History::new(Arc::new(source), hours.clone());
/// let job = |words: Producer<Local, &'static str>, counts: <Local as Platform>::Store<(String, BatchId), u64>| {
///     words.map(|word| (word.to_owned(), 1)).batched(hours.clone()).sum_by_key(counts)
/// };
/// words.build("words", &counts, BatchId(0)..BatchId(24), job).await?;
/// assert_eq!(counts.multi_get(&["be".to_owned()]).await?.values, [Some(2)]);
/// # Ok::<_, Error>(()) }).unwrap();
/// ```
pub struct History<T> {
    source: Arc<dyn Source<T>>,
    batcher: Batcher,
    options: JobOptions,
}

impl<T: Element> History<T> {
    /// `source`, which ends, in the batches of `batcher`.
    pub fn new(source: Arc<dyn Source<T>>, batcher: Batcher) -> Self {
        Self {
            source,
            batcher,
            options: JobOptions::default(),
        }
    }

    /// How its jobs run.
    pub fn with_options(mut self, options: JobOptions) -> Self {
        self.options = options;
        self
    }

    /// Runs a job over `batches` and publishes what it sums as the next snapshot. After a crash, call it again: it
    /// goes on from where it was; when the snapshot is there, nothing happens. Costs a reading of the whole source.
    ///
    /// The job sums by key and batch, with [`Producer::batched`] and the same batcher. Give it sinks of its own: a
    /// sink that has had one build's elements takes those of the next for old ones.
    ///
    /// # Errors
    /// As [`Snapshots::build`] and [`Job::join`](crate::Job::join).
    pub async fn build<K: Key, V: Value, J: Tail<Local>>(
        &self,
        name: &str,
        snapshots: &Snapshots<K, V>,
        batches: Range<BatchId>,
        job: impl FnOnce(Producer<Local, T>, Arc<dyn Store<(K, BatchId), V>>) -> J,
    ) -> Result<()> {
        let times = self.batcher.interval_of_all(&batches);
        let build = snapshots
            .clone()
            .with_batcher(&self.batcher)
            .build(batches)
            .await?;
        if !build.is_closed().await? {
            let source =
                Producer::source(Arc::new(Within::new(self.source.clone(), times)) as Arc<dyn Source<T>>);
            let tail = job(source, Arc::new(build.clone()));
            Local::run(name, &tail, self.options.clone())?.join().await?;
        }
        build.publish().await
    }
}
