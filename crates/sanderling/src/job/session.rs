//! What a run has at hand: its plan, connections, the folder of stores, and what has been read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use flow::{Error, ErrorKind, Result};
use store::Embedded;
use tokio::runtime::Handle;

use super::place::StorePlace;
use super::plan::Plan;
use super::watched::Watch;
use crate::remote::Remote;

/// Ports are opened from outside of the runtime, so a session blocks on what it has to wait for.
pub(super) struct Session {
    pub(super) plan: Plan,
    pub(super) runtime: Handle,
    pub(super) watch: Arc<Watch>,
    embedded: Option<Arc<Embedded>>,
    /// By address.
    remotes: Mutex<BTreeMap<String, Remote>>,
}

impl Session {
    /// # Errors
    /// When the folder of stores cannot be opened.
    pub(super) fn new(plan: Plan, runtime: Handle) -> Result<Self> {
        let embedded = match &plan.store {
            StorePlace::File(folder) => Some(Arc::new(Embedded::open(folder)?)),
            StorePlace::Memory | StorePlace::Server { .. } => None,
        };
        Ok(Self {
            plan,
            runtime,
            watch: Arc::default(),
            embedded,
            remotes: Mutex::default(),
        })
    }

    pub(super) fn embedded(&self) -> Option<&Arc<Embedded>> {
        self.embedded.as_ref()
    }

    /// The server of an address.
    pub(super) fn remote(&self, server: &str) -> Result<Remote> {
        let mut remotes = self.remotes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(remote) = remotes.get(server) {
            return Ok(remote.clone());
        }
        let remote = Remote::connect(server)?;
        remotes.insert(server.to_owned(), remote.clone());
        Ok(remote)
    }

    /// The place of a source.
    pub(super) fn place<'a, P>(&self, places: &'a BTreeMap<&'static str, P>, name: &str) -> Result<&'a P> {
        places.get(name).ok_or_else(|| {
            let text = "the job asks for another source than the first time it was built: let it ask for the same";
            Error::new(ErrorKind::Invalid, format_args!("{text} source={name}"))
        })
    }

    /// Makes what was committed survive the loss of power.
    pub(super) async fn persist(&self) -> Result<()> {
        match &self.embedded {
            Some(embedded) => Ok(embedded.persist().await?),
            None => Ok(()),
        }
    }
}
