//! Places as stores.

use std::sync::Arc;

use flow::{Key, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{MemoryStore, Store, Typed};

use super::place::StorePlace;
use super::session::Session;

impl Session {
    /// The store of this name, made if it is not there.
    ///
    /// # Errors
    /// What its place reports.
    pub(super) fn store<K, V>(&self, name: &str) -> Result<Arc<dyn Store<K, V>>>
    where
        K: Key + Serialize + DeserializeOwned,
        V: Clone + Send + Sync + Serialize + DeserializeOwned + 'static,
    {
        match (&self.plan.store, self.embedded()) {
            (StorePlace::Server { server, .. }, _) => {
                let remote = self.remote(server)?;
                self.runtime.block_on(remote.store(name))
            }
            (_, Some(embedded)) => Ok(Arc::new(Typed::new(name, embedded.store(name)?))),
            (_, None) => Ok(Arc::new(MemoryStore::new())),
        }
    }
}
