//! What runs nothing: the sum of a key as it is in the store, and a look at sources and stores before a run.

use std::fmt::Write as _;
use std::sync::Arc;

use ::files::EventTime;
use flow::{BatchId, Element, Error, ErrorKind, Key, Memory, Platform, Producer, Result, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::Store;

use super::answers::{Answers, Kept, OfStore};
use super::arguments::PlatformFlag;
use super::error::Failure;
use super::place::shown;
use super::plan::Reading;
use super::session::Session;
use super::{Ports, Program, shown_as_json};

/// How much of a source is looked at.
const LOOK_BYTES: usize = 64 << 10;

/// What is in the stores.
///
/// # Errors
/// `NotFound` when a store is not there.
pub(super) fn answers<J: Program>(
    session: &Session,
    flags: &J::Flags,
) -> Result<Vec<Box<dyn Answers>>, Failure> {
    let mut ports = Stores {
        session,
        answers: Vec::new(),
    };
    drop(J::tail::<Memory, _>(flags, &mut ports)?);
    Ok(ports.answers)
}

struct Stores<'a> {
    session: &'a Session,
    answers: Vec<Box<dyn Answers>>,
}

impl Ports<Memory> for Stores<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        _: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Memory, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        Ok(Producer::source(Vec::new()).name(name))
    }

    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        show: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<<Memory as Platform>::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let (session, plan) = (self.session, &self.session.plan);
        let main = plan.main_name(name);
        if !session.has_store(&main)? {
            let text = "no such store, run the job first, on this platform";
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("{text} store={main} place={}", plan.store),
            ));
        }
        let kept: Kept<K, V> = match plan.platform.cuts() {
            true => Kept::Batches(session.batches(name, BatchId(i64::MIN))?),
            false => Kept::Store(session.store(&main)?),
        };
        self.answers.push(Box::new(OfStore {
            name,
            show: shown_as_json(show),
            kept,
        }));
        Ok(<Memory as Platform>::Store::default())
    }
}

/// Says what would run.
///
/// # Errors
/// What would keep it from running: a source that is not there or does not fit, a store that cannot be read.
pub(super) fn dry_run<J: Program>(session: &Session, flags: &J::Flags) -> Result<String, Failure> {
    let plan = &session.plan;
    let mut ports = Look {
        session,
        said: String::new(),
    };
    drop(J::tail::<Memory, _>(flags, &mut ports)?);
    let mut said = format!("{} on {}", plan.job, word(plan.platform));
    if plan.platform.cuts() {
        let time = |time: Option<flow::Timestamp>| time.map_or("found by reading it".to_owned(), shown);
        let _ = write!(
            said,
            ", history from {} until {}",
            time(plan.from),
            time(plan.until)
        );
    }
    Ok(format!(
        "{said}\n{}nothing was run, nothing was changed\n",
        ports.said
    ))
}

fn word(platform: PlatformFlag) -> &'static str {
    match platform {
        PlatformFlag::Memory => "memory",
        PlatformFlag::Local => "local",
        PlatformFlag::Batch => "batch",
        PlatformFlag::Hybrid => "hybrid",
    }
}

struct Look<'a> {
    session: &'a Session,
    said: String,
}

impl Ports<Memory> for Look<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Memory, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let (session, time) = (self.session, Arc::new(time));
        let plan = &session.plan;
        let mut places = vec![("source", session.place(&plan.sources, name)?)];
        if plan.platform.cuts() && plan.histories != plan.sources {
            places.push(("history", session.place(&plan.histories, name)?));
        }
        for (what, place) in places {
            let source = session.source(place, time.clone(), Reading::Once)?;
            let first = session.runtime.block_on(async {
                let start = source.start().await?;
                source.read(&start, None, LOOK_BYTES).await
            })?;
            let first = first
                .iter()
                .flatten()
                .flat_map(|slice| &slice.items)
                .map(|(time, _)| *time)
                .min();
            let found = match first {
                Some(time) => format!("its first elements fit, the earliest at {}", shown(time)),
                None => "it has no element yet".to_owned(),
            };
            let _ = writeln!(self.said, "{what} {name}: {place}: {found}");
        }
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
        let (session, plan) = (self.session, &self.session.plan);
        let main = plan.main_name(name);
        let found = match session.has_store(&main)? {
            false => "it would be made".to_owned(),
            true if plan.platform.cuts() => {
                let batches = session.batches::<K, V>(name, BatchId(i64::MIN))?;
                let bounds = session.runtime.block_on(batches.client.snapshots().bounds())?;
                match bounds.last() {
                    Some(bound) => format!("it has history until {}", shown(plan.batcher.start_of(*bound))),
                    None => "it has no history".to_owned(),
                }
            }
            true => {
                let store: Arc<dyn Store<K, V>> = session.store(&main)?;
                let progress = session.runtime.block_on(store.progress())?;
                session.runtime.block_on(store.scan(None, 1))?;
                progress.map_or("it is empty".to_owned(), |progress| {
                    format!("it would go on from {progress}")
                })
            }
        };
        let _ = writeln!(self.said, "store {name}: {}: {found}", plan.store);
        Ok(<Memory as Platform>::Store::default())
    }
}
