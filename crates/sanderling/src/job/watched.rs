//! Sources that tell how much has been read of them, and without what cannot be read.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ::files::Malformed;
use async_trait::async_trait;
use flow::{Element, Result, Slice, Source};
use store::Progress;

/// How many malformed records are named.
const MALFORMED_NAMED_MAX: usize = 10;

/// What has been read so far, of all sources of a program.
#[derive(Debug, Default)]
pub(super) struct Watch {
    elements: AtomicU64,
    malformed: Mutex<Skipped>,
}

#[derive(Debug, Default)]
struct Skipped {
    count: u64,
    first: Vec<String>,
    /// The last one of each file: what comes again at another reading is not after it.
    last: HashMap<String, u64>,
}

impl Watch {
    /// Elements read; those of an epoch that is tried again, and those of each reading of a history, count each time.
    pub(super) fn elements(&self) -> u64 {
        self.elements.load(Ordering::Relaxed)
    }

    /// How many records were left out, each once, and what the first of them were.
    pub(super) fn malformed(&self) -> (u64, Vec<String>) {
        let skipped = self.malformed.lock().unwrap_or_else(PoisonError::into_inner);
        (skipped.count, skipped.first.clone())
    }

    fn skip(&self, malformed: &Malformed) {
        let mut skipped = self.malformed.lock().unwrap_or_else(PoisonError::into_inner);
        let last = skipped.last.entry(malformed.part.clone()).or_default();
        if malformed.line <= *last {
            return;
        }
        *last = malformed.line;
        skipped.count += 1;
        if skipped.first.len() < MALFORMED_NAMED_MAX {
            skipped.first.push(malformed.to_string());
        }
    }
}

/// A source whose elements are counted.
pub(super) struct Watched<T> {
    pub(super) source: Arc<dyn Source<T>>,
    pub(super) watch: Arc<Watch>,
}

#[async_trait]
impl<T: Element> Source<T> for Watched<T> {
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
        let elements: usize = slices.iter().flatten().map(|slice| slice.items.len()).sum();
        self.watch.elements.fetch_add(elements as u64, Ordering::Relaxed);
        Ok(slices)
    }
}

/// A source of what `convert` makes of another one's elements.
struct Converted<T, S, F> {
    source: S,
    convert: F,
    elements: PhantomData<fn(T)>,
}

#[async_trait]
impl<T, U, S, F> Source<U> for Converted<T, S, F>
where
    T: Element,
    U: Element,
    S: Source<T>,
    F: Fn(T) -> Result<Option<U>> + Send + Sync,
{
    async fn start(&self) -> Result<Progress> {
        self.source.start().await
    }

    async fn read(
        &self,
        from: &Progress,
        until: Option<&Progress>,
        bytes_max: usize,
    ) -> Result<Option<Vec<Slice<U>>>> {
        let Some(slices) = self.source.read(from, until, bytes_max).await? else {
            return Ok(None);
        };
        let converted = slices.into_iter().map(|slice| {
            let items = slice.items.into_iter().filter_map(|(time, item)| {
                let converted = (self.convert)(item).transpose()?;
                Some(converted.map(|item| (time, item)))
            });
            Ok(Slice {
                part: slice.part,
                next: slice.next,
                items: items.collect::<Result<_>>()?,
                bytes: slice.bytes,
            })
        });
        Ok(Some(converted.collect::<Result<_>>()?))
    }
}

/// The good ones of a source's records; the others are counted and, the first ones, named.
pub(super) fn without_malformed<T: Element>(
    source: impl Source<std::result::Result<T, Malformed>> + 'static,
    watch: Arc<Watch>,
) -> impl Source<T> {
    convert(
        source,
        move |record: std::result::Result<T, Malformed>| match record {
            Ok(item) => Ok(Some(item)),
            Err(malformed) => {
                watch.skip(&malformed);
                Ok(None)
            }
        },
    )
}

/// A source of what `f` makes of the elements of `source`.
pub(super) fn convert<T: Element, U: Element>(
    source: impl Source<T> + 'static,
    f: impl Fn(T) -> Result<Option<U>> + Send + Sync + 'static,
) -> impl Source<U> {
    Converted {
        source,
        convert: f,
        elements: PhantomData,
    }
}
