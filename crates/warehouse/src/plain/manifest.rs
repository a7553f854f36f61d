//! What is committed, as small files that are numbered: the newest counts, and each number is taken once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use store::Progress;
use uuid::Uuid;

use super::batches;
use crate::limits::PLAIN_MANIFESTS_MAX;
use crate::{Error, ErrorKind, Result};

/// What one manifest says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Committed {
    progress: Option<BTreeMap<String, u64>>,
    /// The latest receipt of a row, µs since 1970.
    pub(super) received_us: i64,
    /// Hours since 1970 that have files and no marker yet, or one of before their last file.
    pub(super) open_hours: BTreeSet<i64>,
}

impl Committed {
    pub(super) fn progress(&self) -> Option<Progress> {
        self.progress.clone().map(Progress)
    }

    pub(super) fn set_progress(&mut self, progress: &Progress) {
        self.progress = Some(progress.0.clone());
    }

    pub(super) fn batches(&self) -> u64 {
        self.progress().as_ref().map_or(0, batches)
    }

    fn to_json(&self, writer: Uuid) -> String {
        serde_json::json!({
            "writer": writer, "progress": self.progress, "receivedUs": self.received_us, "openHours": self.open_hours,
        })
        .to_string()
    }

    fn from_json(text: &[u8]) -> Option<(Self, Uuid)> {
        let json: serde_json::Value = serde_json::from_slice(text).ok()?;
        let field = |name| json.get(name).cloned();
        let committed = Self {
            progress: serde_json::from_value(field("progress")?).ok()?,
            received_us: field("receivedUs")?.as_i64()?,
            open_hours: serde_json::from_value(field("openHours")?).ok()?,
        };
        Some((committed, serde_json::from_value(field("writer")?).ok()?))
    }
}

/// The manifests of one dataset, of which this process writes the next.
#[derive(Debug)]
pub(super) struct Manifest {
    name: String,
    store: Arc<dyn ObjectStore>,
    /// The newest that this process knows; 0 is none.
    number: u64,
    pub(super) committed: Committed,
    /// Whose this is; fresh with each opening.
    writer: Uuid,
}

impl Manifest {
    pub(super) async fn open(store: Arc<dyn ObjectStore>, name: &str) -> Result<Self> {
        let mut manifest = Self {
            name: name.to_owned(),
            store,
            number: 0,
            committed: Committed::default(),
            writer: Uuid::now_v7(),
        };
        manifest.committed.received_us = i64::MIN;
        if let Some(newest) = manifest.numbers().await?.last() {
            manifest.number = *newest;
            manifest.committed = manifest.read(*newest).await?.0;
        }
        Ok(manifest)
    }

    /// Errors: `Conflict` if another process has committed.
    pub(super) async fn check(&self) -> Result<()> {
        let newest = self.numbers().await?.last().copied().unwrap_or(0);
        if newest <= self.number {
            return Ok(());
        }
        // Our own, if the answer to its put was lost.
        match newest == self.number + 1 && self.read(newest).await?.1 == self.writer {
            true => Ok(()),
            false => Err(self.conflict()),
        }
    }

    /// Puts the next one. A commit whose answer was lost is found out when it is tried again.
    pub(super) async fn commit(&mut self, committed: Committed) -> Result<()> {
        let next = self.number + 1;
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        let body = committed.to_json(self.writer);
        match self.store.put_opts(&self.path(next), body.into(), options).await {
            Ok(_) => {}
            Err(object_store::Error::AlreadyExists { .. }) if self.read(next).await?.1 == self.writer => {}
            Err(object_store::Error::AlreadyExists { .. }) => return Err(self.conflict()),
            Err(error) => return Err(Error::storage("cannot commit", &self.name, error)),
        }
        (self.number, self.committed) = (next, committed);
        if let Some(old) = next.checked_sub(PLAIN_MANIFESTS_MAX).filter(|old| *old > 0)
            && let Err(error) = self.store.delete(&self.path(old)).await
        {
            tracing::debug!(dataset = self.name, %error, "an old progress stays");
        }
        Ok(())
    }

    async fn numbers(&self) -> Result<BTreeSet<u64>> {
        let folder = Path::from_iter([self.name.as_str(), "_progress"]);
        let listed: Vec<_> = self
            .store
            .list(Some(&folder))
            .try_collect()
            .await
            .map_err(|error| Error::storage("cannot list the progress", &self.name, error))?;
        let number = |path: &Path| path.filename()?.strip_suffix(".json")?.parse().ok();
        Ok(listed.iter().filter_map(|file| number(&file.location)).collect())
    }

    async fn read(&self, number: u64) -> Result<(Committed, Uuid)> {
        let path = self.path(number);
        let body = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        let body = body.map_err(|error| Error::storage("cannot read the progress", &self.name, error))?;
        Committed::from_json(&body).ok_or_else(|| {
            let message = format_args!(
                "a progress is not as it was written dataset={} path={path}",
                self.name
            );
            Error::new(ErrorKind::Corrupt, message)
        })
    }

    fn path(&self, number: u64) -> Path {
        let file = format!("{number:020}.json");
        Path::from_iter([self.name.as_str(), "_progress", &file])
    }

    fn conflict(&self) -> Error {
        let message = format_args!(
            "another writer has committed: stop one of them dataset={}",
            self.name
        );
        Error::new(ErrorKind::Conflict, message)
    }
}
