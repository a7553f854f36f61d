//! A job on `Memory`.

use std::sync::Arc;

use ::files::EventTime;
use flow::{Element, Key, Memory, Platform, Producer, Result, Source, Timestamp, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers::{Answers, Kept, OfStore};
use super::error::Failure;
use super::plan::Reading;
use super::progress::{self, Shown};
use super::session::Session;
use super::{Ports, Program, shown_as_json};

/// What a source gives at a time.
const READ_BYTES: usize = 8 << 20;

struct OnMemory<'a> {
    session: &'a Session,
    answers: Vec<Box<dyn Answers>>,
}

/// Runs it over all of its sources.
pub(super) fn run<J: Program>(session: &Session, flags: &J::Flags) -> Result<Vec<Box<dyn Answers>>, Failure> {
    let _entered = session.runtime.enter();
    let shown = Shown::new(session.plan.job, session.watch.clone());
    let mut ports = OnMemory {
        session,
        answers: Vec::new(),
    };
    let tail = J::tail::<Memory, _>(flags, &mut ports)?;
    let counts = Memory::run_with(&tail, &session.plan.options.plan)?;
    shown.end("done");
    progress::counters(&counts);
    Ok(ports.answers)
}

/// All elements of a source that ends.
async fn all<T: Element>(source: Arc<dyn Source<T>>) -> Result<Vec<(Timestamp, T)>> {
    let mut progress = source.start().await?;
    let mut all = Vec::new();
    while let Some(slices) = source.read(&progress, None, READ_BYTES).await? {
        for slice in slices {
            progress.advance(&slice.part, slice.next);
            all.extend(slice.items);
        }
    }
    Ok(all)
}

impl Ports<Memory> for OnMemory<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Memory, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let place = self.session.place(&self.session.plan.sources, name)?;
        let source = self.session.source(place, Arc::new(time), Reading::Once)?;
        let elements = self.session.runtime.block_on(all(self.session.watched(source)))?;
        Ok(Producer::source(elements).name(name))
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
        let store = <Memory as Platform>::Store::default();
        self.answers.push(Box::new(OfStore {
            name,
            show: shown_as_json(show),
            kept: Kept::Map(store.clone()),
        }));
        Ok(store)
    }
}
