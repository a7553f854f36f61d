//! A job on `Hybrid`: its batch side alone, or both.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::files::EventTime;
use async_trait::async_trait;
use flow::{
    BatchId, ClientStore, Element, Hybrid, HybridJob, HybridSource, Job, Key, LIVE_VALUES_MAX, Live,
    Platform, Producer, Result, Snapshots, Value, Versions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{MemoryStore, Store};

use super::answers::{Answers, Batches, Kept, OfStore};
use super::arguments::PlatformFlag;
use super::cut::Cut;
use super::error::Failure;
use super::place;
use super::plan::Reading;
use super::progress::{self, Shown};
use super::session::Session;
use super::{Ports, Program, shown_as_json};
use crate::told_to_end;

/// How often the live side drops what another run has built meanwhile.
const DROP_EVERY: Duration = Duration::from_secs(60);

struct OnHybrid<'a> {
    session: &'a Session,
    live_from: BatchId,
    sides: Vec<Box<dyn Sides>>,
    answers: Vec<Box<dyn Answers>>,
}

/// A store whose types only it knows.
#[async_trait]
trait Sides: Send + Sync {
    async fn begin(&self, first: BatchId) -> Result<()>;
    async fn drop_covered(&self) -> Result<()>;
}

#[async_trait]
impl<K: Key, V: Value> Sides for ClientStore<K, V> {
    async fn begin(&self, first: BatchId) -> Result<()> {
        self.snapshots().begin_empty(first).await
    }

    async fn drop_covered(&self) -> Result<()> {
        ClientStore::drop_covered(self).await
    }
}

/// Sums history up to the cut; on hybrid, what is live meanwhile and after it.
pub(super) fn run<J: Program>(session: &Session, flags: &J::Flags) -> Result<Vec<Box<dyn Answers>>, Failure> {
    let cut = Cut::find::<J>(session, flags)?;
    let mut ports = OnHybrid {
        session,
        live_from: cut.live_from(),
        sides: Vec::new(),
        answers: Vec::new(),
    };
    let tail = J::tail::<Hybrid, _>(flags, &mut ports)?;
    let job = HybridJob::new(session.plan.job, session.plan.batcher.clone())
        .with_options(session.plan.options.clone());
    session.runtime.block_on(async {
        for side in &ports.sides {
            side.begin(cut.first).await?;
        }
        let builds = async {
            for batches in cut.builds() {
                job.build(&tail, batches).await?;
                dropped(&ports.sides).await?;
            }
            Ok(())
        };
        let mut live = match session.plan.platform {
            PlatformFlag::Hybrid => Some(job.run(&tail)?),
            _ => None,
        };
        let mut shown = Shown::new(session.plan.job, session.watch.clone());
        let ending = ended(builds, &mut live, &ports.sides, &mut shown).await;
        let persisted = session.persist().await;
        shown.end(ending?);
        eprintln!(
            "history is cut at {}",
            place::shown(session.plan.batcher.start_of(cut.end))
        );
        if let Some(live) = &live {
            eprint!("live: ");
            progress::status(&live.status());
        }
        Ok::<_, Failure>(persisted?)
    })?;
    Ok(ports.answers)
}

async fn dropped(sides: &[Box<dyn Sides>]) -> Result<()> {
    for side in sides {
        side.drop_covered().await?;
    }
    Ok(())
}

/// Waits until history is built and the live side has ended, if there is one, or until the process is told to end; says
/// which.
async fn ended(
    builds: impl Future<Output = Result<()>>,
    live: &mut Option<Job>,
    sides: &[Box<dyn Sides>],
    shown: &mut Shown,
) -> Result<&'static str, Failure> {
    let (mut builds, mut told) = (std::pin::pin!(builds), std::pin::pin!(told_to_end()));
    let mut drops = tokio::time::interval_at(tokio::time::Instant::now() + DROP_EVERY, DROP_EVERY);
    let (mut is_built, mut is_over) = (false, live.is_none());
    while !(is_built && is_over) {
        tokio::select! {
            built = &mut builds, if !is_built => {
                built?;
                is_built = true;
            }
            over = join(live), if !is_over => {
                over?;
                is_over = true;
            }
            ended = &mut told => {
                ended?;
                if let Some(live) = live {
                    live.stop();
                    live.join().await?;
                }
                return Ok(if is_built { "stopped" } else { "stopped, history goes on when it is run again" });
            }
            _ = drops.tick(), if is_built => {
                // A running job may be faster; the next time will do.
                if let Err(error) = dropped(sides).await {
                    tracing::warn!("live batches that history has are still kept: {error}");
                }
            }
            () = shown.due() => shown.draw(live.as_ref().map(Job::status).as_ref()),
        }
    }
    Ok("done")
}

async fn join(live: &mut Option<Job>) -> Result<()> {
    match live {
        Some(live) => live.join().await,
        None => Ok(()),
    }
}

impl Session {
    /// Where the snapshots of a store are.
    pub(super) fn versions<K, V>(&self, port: &str) -> Result<Arc<dyn Store<K, Versions<V>>>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
    {
        self.store(&self.plan.batch_name(port))
    }

    /// A store of both sides. Live sums are kept on hybrid alone.
    pub(super) fn batches<K, V>(&self, port: &str, live_from: BatchId) -> Result<Batches<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
    {
        let versions = self.versions::<K, V>(port)?;
        let live: Arc<dyn Store<(K, BatchId), V>> = match self.plan.platform {
            PlatformFlag::Hybrid => self.store(&self.plan.live_name(port))?,
            _ => Arc::new(MemoryStore::new()),
        };
        let client = ClientStore::new(
            Snapshots::new(versions.clone(), Default::default())?,
            Live::new(live, live_from),
        );
        Ok(Batches {
            client: client.with_live_batches_max(LIVE_VALUES_MAX),
            versions,
            batcher: self.plan.batcher.clone(),
        })
    }
}

impl Ports<Hybrid> for OnHybrid<'_> {
    fn source<T, R>(
        &mut self,
        name: &'static str,
        time: impl Fn(&T) -> R + Send + Sync + 'static,
    ) -> Result<Producer<Hybrid, T>>
    where
        T: Element + DeserializeOwned,
        R: EventTime,
    {
        let (session, plan, time) = (self.session, &self.session.plan, Arc::new(time));
        let history = session.source(session.place(&plan.histories, name)?, time.clone(), Reading::Once)?;
        let live = match plan.platform {
            PlatformFlag::Hybrid => {
                session.source(session.place(&plan.sources, name)?, time, plan.reading)?
            }
            _ => history.clone(),
        };
        let (history, live) = (session.watched(history), session.watched(live));
        Ok(Producer::source(HybridSource { history, live }).name(name))
    }

    fn store_shown<K, V, S>(
        &mut self,
        name: &'static str,
        show: impl Fn(&V) -> S + Send + Sync + 'static,
    ) -> Result<<Hybrid as Platform>::Store<K, V>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Value + Serialize + DeserializeOwned,
        S: Serialize,
    {
        let batches = self.session.batches::<K, V>(name, self.live_from)?;
        let client = batches.client.clone();
        self.sides.push(Box::new(client.clone()));
        self.answers.push(Box::new(OfStore {
            name,
            show: shown_as_json(show),
            kept: Kept::Batches(batches),
        }));
        Ok(client)
    }
}
