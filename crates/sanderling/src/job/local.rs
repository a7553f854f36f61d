//! A job on `Local`.

use std::sync::Arc;

use ::files::EventTime;
use flow::{Element, Job, Key, Local, Platform, Producer, Result, Value};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers::{Answers, Kept, OfStore};
use super::error::Failure;
use super::progress::{self, Shown};
use super::session::Session;
use super::{Ports, Program, shown_as_json};
use crate::told_to_end;

struct OnLocal<'a> {
    session: &'a Session,
    answers: Vec<Box<dyn Answers>>,
}

/// Runs it until its sources end or it is told to.
pub(super) fn run<J: Program>(session: &Session, flags: &J::Flags) -> Result<Vec<Box<dyn Answers>>, Failure> {
    let mut ports = OnLocal {
        session,
        answers: Vec::new(),
    };
    let tail = J::tail::<Local, _>(flags, &mut ports)?;
    session.runtime.block_on(async {
        let mut shown = Shown::new(session.plan.job, session.watch.clone());
        let mut job = Local::run(session.plan.job, &tail, session.plan.options.clone())?;
        let ending = joined(&mut job, &mut shown).await;
        let persisted = session.persist().await;
        shown.end(ending?);
        progress::status(&job.status());
        Ok::<_, Failure>(persisted?)
    })?;
    Ok(ports.answers)
}

/// Waits for the end of a job, and brings it about when the process is told to end; how it ended.
async fn joined(job: &mut Job, shown: &mut Shown) -> Result<&'static str, Failure> {
    let mut told = std::pin::pin!(told_to_end());
    loop {
        tokio::select! {
            ended = job.join() => {
                ended?;
                return Ok("done");
            }
            ended = &mut told => {
                ended?;
                job.stop();
                job.join().await?;
                return Ok("stopped");
            }
            () = shown.due() => shown.draw(Some(&job.status())),
        }
    }
}

impl Ports<Local> for OnLocal<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Local, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let plan = &self.session.plan;
        let place = self.session.place(&plan.sources, name)?;
        let source = self.session.source(place, Arc::new(time), plan.reading)?;
        Ok(Producer::source(self.session.watched(source)).name(name))
    }

    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        show: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<<Local as Platform>::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let store = self.session.store(&self.session.plan.store_name(name))?;
        self.answers.push(Box::new(OfStore {
            name,
            show: shown_as_json(show),
            kept: Kept::Store(store.clone()),
        }));
        Ok(store)
    }
}
