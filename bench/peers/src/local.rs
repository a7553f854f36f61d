//! The same as a job of `Local`, with its default options but for the number of threads.

use std::fs::File;
use std::io;
use std::iter;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use flow::{Error, ErrorKind, JobOptions, Local, Producer, Slice, Source, Tail, Timestamp};
use store::{Embedded, MemoryStore, Progress, Store, Typed};

use crate::Parts;
use crate::generate::key_of;
use crate::input::{BLOCK_BYTES, lines_at};
use crate::workload::Workload;

/// The one part of each source.
const PART: &str = "0";
/// How many pairs of a store on disk are read at once, for the digest.
const PAGE: usize = 10_000;

/// What is an element of a file.
#[derive(Clone, Copy)]
pub(crate) enum Elements {
    /// A line.
    Lines,
    /// A block of whole lines.
    Blocks,
}

/// Sums a file, in memory.
pub(crate) fn run<W: Workload>(path: &Path, threads: usize, elements: Elements) -> io::Result<Parts<W::Key>> {
    let kept = MemoryStore::<W::Key, u64>::new();
    run_on::<W>(path, threads, elements, Arc::new(kept.clone()))?;
    Ok(vec![entries(kept)])
}

/// Sums a file, on disk, beside the file.
pub(crate) fn run_embedded<W: Workload>(path: &Path, threads: usize) -> io::Result<Parts<W::Key>> {
    let folder = tempfile::tempdir_in(path.parent().unwrap_or(Path::new(".")))?;
    let embedded = Embedded::open(folder.path()).map_err(io::Error::other)?;
    let kept = Typed::<W::Key, u64>::new("sums", embedded.store("sums").map_err(io::Error::other)?);
    run_on::<W>(path, threads, Elements::Lines, Arc::new(kept.clone()))?;
    let runtime = runtime(1)?;
    let mut last = None;
    let pages = iter::from_fn(move || {
        let _open = (&folder, &embedded);
        let page = runtime
            .block_on(kept.scan(last.as_ref(), PAGE))
            .expect("the store can be read");
        last = page.last().map(|(key, _)| key.clone());
        last.is_some().then_some(page)
    });
    Ok(vec![Box::new(pages.flatten())])
}

/// Counts numbers that the source makes.
pub(crate) fn linear(elements: u64, threads: usize) -> io::Result<Parts<u64>> {
    let kept = MemoryStore::<u64, u64>::new();
    let source: Arc<dyn Source<u64>> = Arc::new(Numbers(elements));
    let pairs = Producer::<Local, u64>::source(source).map(|number| (key_of(number), 1));
    join(
        &pairs.sum_by_key(Arc::new(kept.clone()) as Arc<dyn Store<u64, u64>>),
        threads,
    )?;
    Ok(vec![entries(kept)])
}

fn run_on<W: Workload>(
    path: &Path,
    threads: usize,
    elements: Elements,
    kept: Arc<dyn Store<W::Key, u64>>,
) -> io::Result<()> {
    let file = Text::open(path, elements)?;
    let source: Arc<dyn Source<String>> = Arc::new(file);
    let pairs = Producer::<Local, String>::source(source).flat_map_with(|text: String, emit| {
        W::pairs(&text, |seen, number| emit((W::own(seen), number)));
    });
    join(&pairs.sum_by_key(kept), threads)
}

fn join(tail: &impl Tail<Local>, threads: usize) -> io::Result<()> {
    let options = JobOptions {
        parallelism: threads,
        ..JobOptions::default()
    };
    runtime(threads)?
        .block_on(async { Local::run("peers", tail, options)?.join().await })
        .map_err(io::Error::other)
}

fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_time()
        .build()
}

/// The pairs of a store, copied when they are asked for.
fn entries<K: Ord + Clone + 'static>(kept: MemoryStore<K, u64>) -> Box<dyn Iterator<Item = (K, u64)>> {
    Box::new(iter::once_with(move || kept.entries()).flatten())
}

/// A text file as one part; offsets count bytes.
struct Text {
    file: File,
    bytes: u64,
    elements: Elements,
}

impl Text {
    fn open(path: &Path, elements: Elements) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            file,
            bytes,
            elements,
        })
    }

    /// The elements from `at` on, of about `bytes_max` bytes in all, and the offset after them.
    fn elements(&self, at: u64, end: u64, bytes_max: u64) -> io::Result<(Vec<(Timestamp, String)>, u64)> {
        let (mut items, mut next) = (Vec::new(), at);
        let mut buffer = vec![0; BLOCK_BYTES];
        while next - at < bytes_max.max(1) {
            let Some(text) = lines_at(&self.file, next, end, &mut buffer)? else {
                break;
            };
            match self.elements {
                Elements::Lines => items.extend(
                    text.split_inclusive('\n')
                        .map(|line| (Timestamp(0), line.to_owned())),
                ),
                Elements::Blocks => items.push((Timestamp(0), text.to_owned())),
            }
            next += text.len() as u64;
        }
        Ok((items, next))
    }
}

#[async_trait]
impl Source<String> for Text {
    async fn start(&self) -> flow::Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> flow::Result<Option<Vec<Slice<String>>>> {
        let at = from.of(PART);
        let end = until.map_or(self.bytes, |until| self.bytes.min(until.of(PART)));
        if at >= end {
            return Ok(None);
        }
        let (items, next) = self
            .elements(at, end, bytes_max as u64)
            .map_err(|cause| Error::new(ErrorKind::Invalid, &cause).with_source(cause))?;
        Ok(Some(vec![Slice {
            part: PART.to_owned(),
            next,
            items,
            bytes: (next - at) as usize,
        }]))
    }
}

/// The numbers below one, each an element and an offset.
struct Numbers(u64);

#[async_trait]
impl Source<u64> for Numbers {
    async fn start(&self) -> flow::Result<Progress> {
        Ok(Progress::default())
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> flow::Result<Option<Vec<Slice<u64>>>> {
        let at = from.of(PART);
        let end = until.map_or(self.0, |until| self.0.min(until.of(PART)));
        if at >= end {
            return Ok(None);
        }
        let item_bytes = size_of::<(Timestamp, u64)>();
        let next = end.min(at + (bytes_max / item_bytes).max(1) as u64);
        Ok(Some(vec![Slice {
            part: PART.to_owned(),
            next,
            items: (at..next).map(|number| (Timestamp(0), number)).collect(),
            bytes: (next - at) as usize * item_bytes,
        }]))
    }
}
