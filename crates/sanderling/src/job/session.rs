//! What a run has at hand: its plan, connections, the folder of stores, and what has been read.

use std::collections::BTreeMap;
use std::path::Path;
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

/// Whether a session makes what is not there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Opening {
    Making,
    OnlyWhatIsThere,
}

impl Session {
    /// # Errors
    /// When the folder of stores cannot be opened.
    pub(super) fn new(plan: Plan, runtime: Handle, opening: Opening) -> Result<Self> {
        let embedded = match &plan.store {
            StorePlace::File(folder) if opening == Opening::Making || holds_stores(Path::new(folder)) => {
                Some(Arc::new(Embedded::open(folder)?))
            }
            _ => None,
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
            let text =
                "the job asks for another source than the first time it was built: let it ask for the same";
            Error::new(ErrorKind::Invalid, format_args!("{text} source={name}"))
        })
    }

    /// Whether a store is there.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(super) fn has_store(&self, name: &str) -> Result<bool> {
        match (&self.plan.store, &self.embedded) {
            (StorePlace::Server { server, .. }, _) => {
                let remote = self.remote(server)?;
                self.runtime.block_on(remote.has_store(name))
            }
            (_, Some(embedded)) => Ok(embedded.names().iter().any(|known| known == name)),
            (_, None) => Ok(false),
        }
    }

    /// Makes what was committed survive the loss of power.
    pub(super) async fn persist(&self) -> Result<()> {
        match &self.embedded {
            Some(embedded) => Ok(embedded.persist().await?),
            None => Ok(()),
        }
    }
}

/// Whether a folder looks like one of stores.
fn holds_stores(folder: &Path) -> bool {
    folder.join("keyspaces").is_dir()
}
