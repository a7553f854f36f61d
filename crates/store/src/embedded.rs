//! Stores on this machine's disk, in one fjall database.
//!
//! Each store is a fjall keyspace of the same name. Its keys are a tag byte and then, after [`OURS`], a name of
//! ours (`progress`, `shape`), after [`USER`], a key of the user: so they cannot collide, and the empty key, which
//! fjall refuses, can be kept. A commit is one fjall write batch: one checked record in the journal, which is
//! applied whole or, when it is torn, not at all.
//!
//! # Durability
//!
//! A commit is handed to the operating system before it returns, so it survives the end of the process, also by
//! kill -9. [`Embedded::persist`] makes it survive the loss of power. What has not been persisted then is a tail
//! of the journal; losing it is harmless to a job, because progress is in the same record as the values: both
//! fall back together, and the job reads its queue again from there. It does ask that the queue still has those
//! slices: persist before you let a queue forget what was consumed.
//!
//! Not here: mending. A torn end of the journal is dropped; a hole further in, which the loss of power may leave in
//! a large value that was not persisted, is `Corrupt` at [`Embedded::open`].

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable, Slice};

use crate::{Commit, Error, ErrorKind, Progress, Result, Store, codec, fence, limits};

/// The tag of keys that are not the user's.
const OURS: u8 = 0;
/// The tag of the user's keys.
const USER: u8 = 1;
const PROGRESS: &[u8] = b"\0progress";
const SHAPE: &[u8] = b"\0shape";
const _: () = assert!(PROGRESS[0] == OURS && SHAPE[0] == OURS && OURS < USER);
/// Reads of up to so many keys are done where they are asked for, well under a millisecond. Larger ones, and all
/// commits, which may wait for the disk, leave the runtime's threads free.
const READ_HERE_KEYS_MAX: usize = 64;

/// A folder of stores by name, open in one process at a time.
///
/// It is closed when this and every [`EmbeddedStore`] of it are dropped; that waits for the background threads,
/// a few milliseconds, and keeps what was committed.
pub struct Embedded {
    database: Database,
    path: PathBuf,
    open: Mutex<BTreeMap<String, Arc<EmbeddedStore>>>,
}

impl Embedded {
    /// Opens the database in the folder `path`, which is made if it is not there. Reads the journal: up to
    /// seconds after a crash.
    ///
    /// # Errors
    /// `Retry` when it is open elsewhere or the disk fails, `Corrupt` when its files are damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let database = Database::builder(&path)
            .open()
            .map_err(|cause| failed(cause, &path))?;
        Ok(Self {
            database,
            path,
            open: Mutex::default(),
        })
    }

    /// The store of a name (of a job), made if it is not there. All calls with one name give the same store.
    ///
    /// # Errors
    /// `Invalid` when the name is not 1 to 128 characters of `A-Z a-z 0-9 _ -`.
    pub fn store(&self, name: &str) -> Result<Arc<EmbeddedStore>> {
        limits::check_name(name)?;
        let mut open = self.open.lock().expect("nothing panics while it holds the lock");
        if let Some(store) = open.get(name) {
            return Ok(store.clone());
        }
        let keyspace = self.database.keyspace(name, KeyspaceCreateOptions::default);
        let store = Arc::new(EmbeddedStore(Arc::new(Inner {
            name: name.to_owned(),
            path: self.path.clone(),
            keyspace: keyspace.map_err(|cause| failed(cause, &self.path))?,
            database: self.database.clone(),
            writer: Mutex::new(()),
        })));
        open.insert(name.to_owned(), store.clone());
        Ok(store)
    }

    /// The names of the stores there are, in order.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .database
            .list_keyspace_names()
            .iter()
            .map(|name| name.to_string())
            .collect();
        names.sort_unstable();
        names
    }

    /// Keeps the shape of a store's keys and values, for readers that do not know the types. Makes the store if
    /// it is not there. What a shape looks like is up to the one who writes it.
    ///
    /// # Errors
    /// As [`store`](Self::store).
    pub fn set_shape(&self, name: &str, shape: serde_json::Value) -> Result<()> {
        let store = self.store(name)?;
        let bytes = codec::encode_value(name, SHAPE, &shape)?;
        store
            .0
            .keyspace
            .insert(SHAPE, &*bytes)
            .map_err(|cause| failed(cause, &self.path))
    }

    /// The shape kept for a store; `None` when there is none, or no such store.
    ///
    /// # Errors
    /// `Corrupt` when it is not JSON.
    pub fn shape(&self, name: &str) -> Result<Option<serde_json::Value>> {
        if !self.database.keyspace_exists(name) {
            return Ok(None);
        }
        let store = self.store(name)?;
        let bytes = store
            .0
            .keyspace
            .get(SHAPE)
            .map_err(|cause| failed(cause, &self.path))?;
        bytes
            .map(|bytes| codec::decode_value(name, SHAPE, &bytes))
            .transpose()
    }

    /// Makes every commit that has returned survive the loss of power: syncs the journal, one fsync for all
    /// stores. For the owner to call now and then, and before the end.
    ///
    /// # Errors
    /// `Retry` when the disk fails; then nothing more is accepted until the database is opened again.
    pub async fn persist(&self) -> Result<()> {
        let (database, path) = (self.database.clone(), self.path.clone());
        off_the_runtime(move || {
            database
                .persist(PersistMode::SyncAll)
                .map_err(|cause| failed(cause, &path))
        })
        .await
    }
}

/// One store of an [`Embedded`]: bytes to bytes, in the order of the keys' bytes.
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    name: String,
    path: PathBuf,
    keyspace: Keyspace,
    database: Database,
    /// Held from the check of a commit's expected progress until it is applied.
    writer: Mutex<()>,
}

impl EmbeddedStore {
    /// [`Store::progress`], which needs no waiting here.
    ///
    /// # Errors
    /// As there.
    pub fn progress_now(&self) -> Result<Option<Progress>> {
        self.0.progress()
    }
}

#[async_trait]
impl Store<Bytes, Bytes> for EmbeddedStore {
    async fn multi_get(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        if keys.len() <= READ_HERE_KEYS_MAX {
            return self.0.get(keys);
        }
        let (inner, keys) = (self.0.clone(), keys.to_vec());
        off_the_runtime(move || inner.get(&keys)).await
    }

    async fn commit(&self, commit: Commit<Bytes, Bytes>) -> Result<()> {
        limits::check_commit(&self.0.name, &commit)?;
        let inner = self.0.clone();
        off_the_runtime(move || inner.apply(commit)).await
    }

    async fn progress(&self) -> Result<Option<Progress>> {
        self.0.progress()
    }

    async fn scan(&self, after: Option<&Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        if limit <= READ_HERE_KEYS_MAX {
            return self.0.scan(after, limit);
        }
        let (inner, after) = (self.0.clone(), after.cloned());
        off_the_runtime(move || inner.scan(after.as_ref(), limit)).await
    }
}

impl Inner {
    fn get(&self, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>> {
        // Only a snapshot is whole: reading past it may see half a batch that is being applied.
        let snapshot = self.database.snapshot();
        let mut tagged = Vec::new();
        let mut get = |key: &Bytes| {
            tag(&mut tagged, key);
            let value = snapshot
                .get(&self.keyspace, &tagged)
                .map_err(|cause| failed(cause, &self.path))?;
            Ok(value.map(owned))
        };
        keys.iter().map(&mut get).collect()
    }

    fn apply(&self, commit: Commit<Bytes, Bytes>) -> Result<()> {
        let _writer = self
            .writer
            .lock()
            .expect("what panics inside, panics before the batch is applied");
        let held = self.progress()?;
        if fence::is_retry(
            &self.name,
            held.as_ref(),
            commit.expected.as_ref(),
            &commit.progress,
        )? {
            return Ok(());
        }
        let progress = codec::encode_value(&self.name, PROGRESS, &commit.progress)?;
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), commit.writes.len() + 1)
            .durability(Some(PersistMode::Buffer));
        batch.insert(&self.keyspace, PROGRESS, &*progress);
        // The items of a fjall batch have no order among them, so that a key may be in it once only.
        let mut written = HashSet::with_capacity(commit.writes.len());
        let mut tagged = Vec::new();
        for (key, value) in commit.writes.iter().rev() {
            if !written.insert(key) {
                continue;
            }
            tag(&mut tagged, key);
            match value {
                Some(value) => batch.insert(&self.keyspace, &*tagged, &**value),
                None => batch.remove(&self.keyspace, &*tagged),
            }
        }
        batch.commit().map_err(|cause| failed(cause, &self.path))
    }

    /// As values are read: the progress of a batch that is being applied would stand before values that lack it, and a
    /// second run would go on from these.
    fn progress(&self) -> Result<Option<Progress>> {
        let snapshot = self.database.snapshot();
        let bytes = snapshot
            .get(&self.keyspace, PROGRESS)
            .map_err(|cause| failed(cause, &self.path))?;
        bytes
            .map(|bytes| codec::decode_value(&self.name, PROGRESS, &bytes))
            .transpose()
    }

    fn scan(&self, after: Option<&Bytes>, limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let mut tagged = vec![USER];
        let from = match after {
            None => Bound::Included(&*tagged),
            Some(key) => {
                tag(&mut tagged, key);
                Bound::Excluded(&*tagged)
            }
        };
        let from_on: (Bound<&[u8]>, Bound<&[u8]>) = (from, Bound::Unbounded);
        let pairs = self
            .database
            .snapshot()
            .range::<&[u8], _>(&self.keyspace, from_on);
        let pair = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner().map_err(|cause| failed(cause, &self.path))?;
            Ok((Bytes::copy_from_slice(&key[1..]), owned(value)))
        };
        pairs.take(limit).map(pair).collect()
    }
}

/// Writes the tagged form of a user's key over `tagged`.
fn tag(tagged: &mut Vec<u8>, key: &[u8]) {
    tagged.clear();
    tagged.push(USER);
    tagged.extend_from_slice(key);
}

fn owned(value: Slice) -> Bytes {
    Bytes::copy_from_slice(&value)
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|cause| {
        Err(Error::new(
            ErrorKind::Retry,
            format!("the runtime is shutting down cause={cause}"),
        )
        .with_source(cause))
    })
}

/// A failure of fjall as ours.
fn failed(cause: fjall::Error, path: &Path) -> Error {
    let (kind, text) = match &cause {
        fjall::Error::Locked => (
            ErrorKind::Retry,
            "the stores are open elsewhere: stop the other process, or give this one a folder of its own",
        ),
        fjall::Error::Poisoned => (
            ErrorKind::Retry,
            "an earlier write to disk failed, so no more are accepted: mend the disk and start again",
        ),
        fjall::Error::Io(_) | fjall::Error::Storage(fjall::LsmError::Io(_)) => (
            ErrorKind::Retry,
            "the disk failed: check its space, its permissions and its health",
        ),
        fjall::Error::InvalidVersion(_) | fjall::Error::Storage(fjall::LsmError::InvalidVersion(_)) => (
            ErrorKind::Invalid,
            "the stores are of another version of the format: use the program that wrote them",
        ),
        fjall::Error::KeyspaceDeleted => (ErrorKind::NotFound, "the store has been deleted"),
        _ => (
            ErrorKind::Corrupt,
            "the stores' files are damaged: bring back a copy of the folder, or move it away and let the jobs \
             fill new ones from their sources",
        ),
    };
    Error::new(kind, format!("{text} path={} cause={cause}", path.display())).with_source(cause)
}

#[cfg(test)]
mod tests;
