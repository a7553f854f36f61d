//! What jobs with closings read and write: sources of several parts, sinks that know their epochs, and the naive twin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use flow::{Element, Result, Sink, Slice, Source, Timestamp};
use store::Progress;

use crate::kit::{Add, Pair, Timed};

/// A bounded source of several parts; which of them a read gives, and how much, is another matter each time.
#[derive(Clone)]
pub(crate) struct PartSource {
    pub(crate) parts: Arc<Mutex<Vec<Vec<Timed<Pair>>>>>,
    /// For each read in turn how many elements a part gives at most; the n-th part is shifted by n.
    pub(crate) pace: Vec<usize>,
    pub(crate) reads: Arc<AtomicUsize>,
    /// Whether its start names its parts, also those that give nothing.
    pub(crate) names_parts: bool,
}

impl PartSource {
    pub(crate) fn new(parts: Vec<Vec<Timed<Pair>>>, pace: Vec<usize>) -> Self {
        Self {
            parts: Arc::new(Mutex::new(parts)),
            pace,
            reads: Arc::default(),
            names_parts: false,
        }
    }
}

pub(crate) fn part_name(part: usize) -> String {
    format!("p{part}")
}

#[async_trait]
impl Source<Pair> for PartSource {
    async fn start(&self) -> Result<Progress> {
        let parts = self.parts.lock().unwrap().len();
        let named = (0..parts).filter(|_| self.names_parts);
        Ok(named.map(|part| (part_name(part), 0)).collect())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        _: usize,
    ) -> Result<Option<Vec<Slice<Pair>>>> {
        assert!(!from.0.contains_key("$end") && until.is_none_or(|until| !until.0.contains_key("$end")));
        let parts = self.parts.lock().unwrap();
        let mut slices = Vec::new();
        loop {
            let read = self.reads.fetch_add(1, Ordering::Relaxed);
            let mut left = false;
            for (n, items) in parts.iter().enumerate() {
                let part = part_name(n);
                let start = from.of(&part) as usize;
                let end = until.map_or(items.len(), |until| items.len().min(until.of(&part) as usize));
                left |= start < end;
                let next = end.min(start + self.pace[(read + n) % self.pace.len()]);
                if start < next {
                    slices.push(Slice {
                        part,
                        next: next as u64,
                        items: items[start..next].to_vec(),
                        bytes: (next - start) * 24,
                    });
                }
            }
            if !left {
                return Ok(None);
            }
            if !slices.is_empty() {
                return Ok(Some(slices));
            }
        }
    }
}

/// A sink that keeps the epochs apart: the progress after each, and what it was given.
#[derive(Clone)]
pub(crate) struct EpochSink<T>(Arc<Mutex<Vec<Epoch<T>>>>);

type Epoch<T> = (Progress, Vec<Timed<T>>);

impl<T> Default for EpochSink<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone> EpochSink<T> {
    pub(crate) fn epochs(&self) -> Vec<Epoch<T>> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn items(&self) -> Vec<Timed<T>> {
        self.epochs().into_iter().flat_map(|(_, items)| items).collect()
    }
}

#[async_trait]
impl<T: Element> Sink<T> for EpochSink<T> {
    async fn progress(&self) -> Result<Option<Progress>> {
        Ok(self
            .0
            .lock()
            .unwrap()
            .last()
            .map(|(progress, _)| progress.clone()))
    }

    async fn write(&self, items: Vec<Timed<T>>, progress: &Progress) -> Result<()> {
        let mut epochs = self.0.lock().unwrap();
        let once = epochs.iter().all(|(known, _)| known != progress);
        assert!(once, "an epoch must be written once progress={progress}");
        epochs.push((progress.clone(), items));
        Ok(())
    }
}

/// How a twin closes batches, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) out_of_orderness: i64,
    pub(crate) lateness: i64,
    pub(crate) idleness: i64,
}

/// A key with its window, named by the window's number and end.
pub(crate) type Named = (u8, i64);

/// What is told: the sum that was told before, if one was, and the sum now.
pub(crate) type Told<K> = (K, (Option<Add>, Add));

/// What plain loops make of epochs.
pub(crate) struct Twin<'a> {
    pub(crate) times: Times,
    /// The windows of a time: number and end.
    pub(crate) windows: &'a dyn Fn(Timestamp) -> Vec<(i64, Timestamp)>,
    newest: BTreeMap<String, i64>,
    closed: i64,
    open: BTreeSet<(i64, Named)>,
    pub(crate) sums: BTreeMap<Named, Add>,
    pub(crate) late: Vec<Vec<Timed<(Named, Add)>>>,
    pub(crate) finals: Vec<Vec<Timed<Told<Named>>>>,
    pub(crate) corrections: Vec<Vec<Timed<Told<Named>>>>,
}

impl<'a> Twin<'a> {
    pub(crate) fn new(times: Times, windows: &'a dyn Fn(Timestamp) -> Vec<(i64, Timestamp)>) -> Self {
        Self {
            times,
            windows,
            newest: BTreeMap::new(),
            closed: i64::MIN,
            open: BTreeSet::new(),
            sums: BTreeMap::new(),
            late: Vec::new(),
            finals: Vec::new(),
            corrections: Vec::new(),
        }
    }

    /// An epoch of elements, each with its part; `named` are all parts that have been named by now, `sources` how many
    /// sources there are, and `ended` says whether it is the end of the input.
    pub(crate) fn epoch(
        &mut self,
        elements: &[(String, Timed<Pair>)],
        named: &BTreeSet<String>,
        sources: &[&str],
        ended: bool,
    ) {
        let (mut late, mut changed) = (Vec::new(), BTreeMap::<Named, (i64, Option<Add>)>::new());
        let closed = self.closed;
        for (part, (time, (key, value))) in elements {
            let newest = self.newest.entry(part.clone()).or_insert(time.0);
            *newest = time.0.max(*newest);
            for (number, end) in (self.windows)(*time) {
                let key = (*key, number);
                let before = self.sums.get(&key).copied();
                self.sums.entry(key).or_default().0 += value.0;
                if end.0 <= closed {
                    late.push((*time, (key, *value)));
                    let (latest, _) = changed.entry(key).or_insert((time.0, before));
                    *latest = time.0.max(*latest);
                } else {
                    self.open.insert((end.0, key));
                }
            }
        }
        let mut corrections: Vec<_> = changed
            .iter()
            .map(|(key, (time, before))| (Timestamp(*time), (*key, (*before, self.sums[key]))))
            .collect();
        corrections.sort();
        self.late.push(late);
        self.corrections.push(corrections);
        if !named.is_empty() {
            let missing = sources
                .iter()
                .any(|source| !named.iter().any(|part| part.starts_with(source)));
            let stands = |part: &String| self.newest.get(part).copied().unwrap_or(i64::MIN);
            let least = named
                .iter()
                .map(stands)
                .min()
                .filter(|_| !missing)
                .unwrap_or(i64::MIN);
            let most = named.iter().map(stands).max().unwrap();
            let held = least.max(most.saturating_sub(self.times.idleness));
            let watermark = held.saturating_sub(self.times.out_of_orderness);
            self.closed = closed.max(watermark.saturating_sub(self.times.lateness));
        }
        if ended && let Some((end, _)) = self.open.last() {
            self.closed = self.closed.max(*end);
        }
        let mut finals = Vec::new();
        while let Some((end, key)) = self.open.first().copied().filter(|(end, _)| *end <= self.closed) {
            self.open.pop_first();
            finals.push((Timestamp(end - 1), (key, (None, self.sums[&key]))));
        }
        self.finals.push(finals);
    }

    pub(crate) fn late_elements(&self) -> usize {
        self.late.iter().map(Vec::len).sum()
    }
}
