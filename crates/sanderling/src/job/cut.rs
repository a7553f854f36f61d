//! Where history is cut: from its first batch, or the end of what has been built, to the flag's, or that of its last
//! event.

use std::sync::Arc;

use ::files::EventTime;
use async_trait::async_trait;
use flow::{
    BUILD_BATCHES_MAX, BatchId, Element, Error, ErrorKind, Key, Memory, Platform, Producer, Result, Snapshots,
};
use flow::{Source, Timestamp, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::PlatformFlag;
use super::plan::Reading;
use super::session::Session;
use super::{Ports, Program};

/// What a source gives at a time while only its times are looked at.
const READ_BYTES: usize = 8 << 20;

/// The batches of history.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    /// The first one that an empty store begins with.
    pub(super) first: BatchId,
    /// The first one that is live.
    pub(super) end: BatchId,
    /// What stores have already, by store.
    pub(super) bounds: Vec<Option<BatchId>>,
}

impl Cut {
    /// Looks at stores, and at histories when it must.
    ///
    /// # Errors
    /// `Invalid` when history has no event and the flags do not say where it is.
    pub(super) fn find<J: Program>(session: &Session, flags: &J::Flags) -> Result<Self> {
        let mut ports = Ends {
            session,
            histories: Vec::new(),
            bounds: Vec::new(),
        };
        drop(J::tail::<Memory, _>(flags, &mut ports)?);
        let Ends {
            histories, bounds, ..
        } = ports;
        let bounds: Vec<_> = bounds.into_iter().collect::<Result<_>>()?;
        let (plan, known) = (&session.plan, bounds.iter().flatten().min().copied());
        let begins = plan.from.is_some() || bounds.iter().all(Option::is_some);
        let times = match begins && plan.until.is_some() {
            true => None,
            false => session.runtime.block_on(extent(histories))?,
        };
        let of = |time: Option<Timestamp>| time.map(|time| plan.batcher.batch_of(time));
        let nothing = || {
            let text =
                "history has no event, so it is not known where it begins and ends: give --from and --until";
            Error::new(ErrorKind::Invalid, text)
        };
        let first = of(plan.from)
            .or(of(times.map(|(earliest, _)| earliest)))
            .or(known)
            .ok_or_else(nothing)?;
        let latest = of(times.map(|(_, latest)| latest)).map(|last| match plan.platform {
            PlatformFlag::Hybrid => last,
            _ => last.next(),
        });
        let end = of(plan.until).or(latest).or(known).ok_or_else(nothing)?;
        Ok(Self { first, end, bounds })
    }

    /// The first batch that the live side is to have.
    pub(super) fn live_from(&self) -> BatchId {
        let built = self.bounds.iter().flatten().max().copied();
        built
            .map_or(self.end, |built| built.max(self.end))
            .max(self.first)
    }

    /// The builds that lead there, one after the other.
    pub(super) fn builds(&self) -> Vec<std::ops::Range<BatchId>> {
        let begun = self.bounds.iter().map(|bound| bound.unwrap_or(self.first));
        let (mut at, ahead) = (
            begun.clone().min().unwrap_or(self.first),
            begun.max().unwrap_or(self.first),
        );
        let mut builds = Vec::new();
        // Stores that a crash has left behind the others first.
        for end in [ahead, self.end] {
            while at < end {
                let next = BatchId(at.0.saturating_add(BUILD_BATCHES_MAX as i64)).min(end);
                builds.push(at..next);
                at = next;
            }
        }
        builds
    }
}

/// A history whose times can be looked at.
#[async_trait]
trait Extent: Send + Sync {
    /// Its earliest and its latest time; `None` when it has no element.
    async fn extent(&self) -> Result<Option<(Timestamp, Timestamp)>>;
}

struct Times<T>(Arc<dyn Source<T>>);

#[async_trait]
impl<T: Element> Extent for Times<T> {
    async fn extent(&self) -> Result<Option<(Timestamp, Timestamp)>> {
        let mut progress = self.0.start().await?;
        let mut found = None;
        while let Some(slices) = self.0.read(&progress, None, READ_BYTES).await? {
            for slice in slices {
                progress.advance(&slice.part, slice.next);
                found = slice
                    .items
                    .iter()
                    .fold(found, |found, (time, _)| joined(found, (*time, *time)));
            }
        }
        Ok(found)
    }
}

fn joined(
    found: Option<(Timestamp, Timestamp)>,
    (earliest, latest): (Timestamp, Timestamp),
) -> Option<(Timestamp, Timestamp)> {
    Some(match found {
        None => (earliest, latest),
        Some((a, b)) => (a.min(earliest), b.max(latest)),
    })
}

async fn extent(histories: Vec<Box<dyn Extent>>) -> Result<Option<(Timestamp, Timestamp)>> {
    let mut found = None;
    for history in histories {
        if let Some(times) = history.extent().await? {
            found = joined(found, times);
        }
    }
    Ok(found)
}

/// Ports that give nothing and note what is behind them.
struct Ends<'a> {
    session: &'a Session,
    histories: Vec<Box<dyn Extent>>,
    bounds: Vec<Result<Option<BatchId>>>,
}

impl Ports<Memory> for Ends<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Memory, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let place = self.session.place(&self.session.plan.histories, name)?;
        let source = self.session.source(place, Arc::new(time), Reading::Once)?;
        self.histories.push(Box::new(Times(source)));
        Ok(Producer::source(Vec::new()).name(name))
    }

    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        _: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<<Memory as Platform>::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let snapshots = Snapshots::<K, V>::new(self.session.versions(name)?, Default::default())?;
        let bounds = self.session.runtime.block_on(snapshots.bounds());
        self.bounds.push(bounds.map(|bounds| bounds.last().copied()));
        Ok(<Memory as Platform>::Store::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(first: i64, end: i64, bounds: &[Option<i64>]) -> Cut {
        Cut {
            first: BatchId(first),
            end: BatchId(end),
            bounds: bounds.iter().map(|bound| bound.map(BatchId)).collect(),
        }
    }

    fn builds(cut: &Cut) -> Vec<(i64, i64)> {
        cut.builds()
            .iter()
            .map(|build| (build.start.0, build.end.0))
            .collect()
    }

    #[test]
    fn builds_follow_each_other_to_the_cut() {
        let max = BUILD_BATCHES_MAX as i64;
        assert_eq!(builds(&cut(3, 10, &[None, None])), [(3, 10)]);
        assert_eq!(
            builds(&cut(0, 2 * max + 1, &[None])),
            [(0, max), (max, 2 * max), (2 * max, 2 * max + 1)]
        );
        assert_eq!(builds(&cut(3, 10, &[Some(7), Some(7)])), [(7, 10)]);
        assert_eq!(builds(&cut(3, 10, &[Some(5), Some(7)])), [(5, 7), (7, 10)]);
        assert_eq!(builds(&cut(3, 10, &[Some(10)])), []);
        assert_eq!(builds(&cut(3, 10, &[Some(12)])), []);
        assert_eq!(builds(&cut(3, 3, &[None])), []);
    }

    #[test]
    fn live_begins_where_history_ends() {
        assert_eq!(cut(3, 10, &[None]).live_from(), BatchId(10));
        assert_eq!(cut(3, 10, &[Some(12)]).live_from(), BatchId(12));
    }
}
