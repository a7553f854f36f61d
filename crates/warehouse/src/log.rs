//! One table's Delta log: creating, reading and committing, with the job's progress in the same commit.
//!
//! Progress is one `txn` action per part, `sanderling/<part>` → offset. The log can be asked for a part but not for
//! all parts, so the table's configuration names them (`sanderling.parts`, JSON).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use deltalake_core::checkpoints::create_checkpoint;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake_core::kernel::{Action, Add, MetadataExt, Remove, Transaction};
use deltalake_core::logstore::{StorageConfig, logstore_with};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use store::Progress;

use crate::background::Urgency;
use crate::encode::{self, Encoded, HOUR_COLUMN};
use crate::limits::{CHECKPOINT_VERSIONS, UPLOADS_MAX};
use crate::schema::{from_delta, to_delta};
use crate::stats::{read_stats, write_stats};
use crate::{DataFile, Error, ErrorKind, Result};

const APP_PREFIX: &str = "sanderling/";
const PARTS_KEY: &str = "sanderling.parts";
const KIND_KEY: &str = "sanderling.columns";

/// Whether a table's columns grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Growing,
    Fixed,
}

/// What a commit of the log says.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) schema: SchemaRef,
    pub(crate) kind: Kind,
    pub(crate) version: u64,
    pub(crate) files: Vec<DataFile>,
    pub(crate) progress: Option<Progress>,
}

/// Rows, and what they stand for, on their way into the log.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) schema: SchemaRef,
    /// What the log must hold before.
    pub(crate) before: Option<Progress>,
    pub(crate) progress: Option<Progress>,
}

/// A commit whose files have been uploaded. It is kept until it is known whether it is in the log.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) what: What,
    pub(crate) files: Vec<DataFile>,
    /// Files of the table that `files` stand for from the commit on.
    pub(crate) removed: Vec<DataFile>,
    actions: Vec<Action>,
    before: Option<Progress>,
    attempted: bool,
}

/// What a commit is for.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// New rows and their progress, with the columns that the table then has.
    Append {
        schema: SchemaRef,
        progress: Option<Progress>,
    },
    /// The same rows in other files; it says nothing of progress.
    Compact,
    /// Fewer rows, for a reason that the log tells; it says nothing of progress.
    Delete { reason: String },
}

impl Prepared {
    /// A commit that puts files in the place of others. `before` is the progress that the table has.
    pub(crate) fn replace(
        what: What,
        before: Option<Progress>,
        removed: Vec<DataFile>,
        files: Vec<(DataFile, Action)>,
    ) -> Self {
        let (files, actions) = files.into_iter().unzip();
        Self {
            what,
            files,
            removed,
            actions,
            before,
            attempted: false,
        }
    }

    fn is_append(&self) -> bool {
        matches!(self.what, What::Append { .. })
    }
}

/// A commit that is in the log.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) version: u64,
    /// All files, where they are not just those that the caller knows and those of the commit.
    pub(crate) files: Option<Vec<DataFile>>,
}

/// The log of one table. It has one writer, this one; another one makes commits fail with `Conflict`.
#[derive(Debug)]
pub(crate) struct Log {
    name: String,
    store: Arc<dyn ObjectStore>,
    table: DeltaTable,
    pub(crate) pending: Option<Prepared>,
}

impl Log {
    /// The log of a table that may not exist yet.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, name: &str) -> Result<Self> {
        // A path within `store`, of which the scheme says that its listings are sorted; `file` would be looked for
        // on the disk, from its root.
        let location = format!("memory:///{name}/");
        let location = location.parse().expect("a table's name is fit for an URL");
        let log_store = logstore_with(store.clone(), &location, StorageConfig::default())
            .map_err(|error| Error::storage("cannot open the log", name, error))?;
        Ok(Self {
            name: name.to_owned(),
            store,
            table: DeltaTable::new(log_store),
            pending: None,
        })
    }

    /// Whether the table exists.
    pub(crate) async fn exists(&self) -> Result<bool> {
        self.table
            .verify_deltatable_existence()
            .await
            .map_err(|error| self.failed("cannot look for the log", error))
    }

    /// Makes the table.
    pub(crate) async fn create(&mut self, schema: &SchemaRef, kind: Kind) -> Result<Snapshot> {
        let columns: Vec<_> = to_delta(schema)?.fields().cloned().collect();
        let kind = match kind {
            Kind::Growing => "growing",
            Kind::Fixed => "fixed",
        };
        self.table = CreateBuilder::new()
            .with_log_store(self.table.log_store())
            .with_table_name(&self.name)
            .with_columns(columns)
            .with_partition_columns([HOUR_COLUMN])
            .with_configuration([(KIND_KEY, Some(kind)), (PARTS_KEY, Some("[]"))])
            .with_raise_if_key_not_exists(false)
            .await
            .map_err(|error| self.failed("cannot create the table", error))?;
        self.snapshot().await
    }

    /// Reads the newest version.
    pub(crate) async fn load(&mut self) -> Result<Snapshot> {
        self.table
            .update_state()
            .await
            .map_err(|error| self.failed("cannot read the log", error))?;
        self.snapshot().await
    }

    /// Reads an older version, beside this one.
    pub(crate) async fn load_version(
        store: Arc<dyn ObjectStore>,
        name: &str,
        version: u64,
    ) -> Result<Snapshot> {
        let mut log = Self::new(store, name)?;
        log.table.load_version(version).await.map_err(|error| {
            let message = format_args!("no such version: {error} table={name} delta_version={version}");
            Error::new(ErrorKind::NotFound, message).with_source(error)
        })?;
        let snapshot = log.snapshot().await?;
        if snapshot.version != version {
            let message = format_args!("no such version table={name} delta_version={version}");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        Ok(snapshot)
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let state = self
            .table
            .snapshot()
            .map_err(|error| self.failed("cannot read the log", error))?;
        let schema = from_delta(&state.schema())?;
        let mut files = Vec::new();
        for view in state.log_data().iter() {
            let hour = view
                .partition_values_map()
                .remove(HOUR_COLUMN)
                .flatten()
                .unwrap_or_default();
            files.push(DataFile {
                path: self.path_of(&view.path()),
                bytes: u64::try_from(view.size()).unwrap_or(0),
                rows: view.num_records().unwrap_or(0) as u64,
                hour,
                ..read_stats(view.stats().as_deref(), &schema)
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let configuration = state.metadata().configuration();
        let kind = match configuration.get(KIND_KEY).map(String::as_str) {
            Some("fixed") => Kind::Fixed,
            _ => Kind::Growing,
        };
        let mut progress = Progress::default();
        for part in self.parts(configuration)? {
            let log_store = self.table.log_store();
            let offset = state
                .transaction_version(log_store.as_ref(), format!("{APP_PREFIX}{part}"))
                .await;
            let offset = offset.map_err(|error| self.failed("cannot read the progress", error))?;
            progress.advance(
                &part,
                offset.and_then(|offset| u64::try_from(offset).ok()).unwrap_or(0),
            );
        }
        let progress = (!progress.0.is_empty()).then_some(progress);
        Ok(Snapshot {
            schema,
            kind,
            version: state.version(),
            files,
            progress,
        })
    }

    fn parts(&self, configuration: &HashMap<String, String>) -> Result<BTreeSet<String>> {
        let text = configuration.get(PARTS_KEY).map_or("[]", String::as_str);
        serde_json::from_str(text).map_err(|error| {
            let message = format_args!("the log's parts are not JSON: {error} table={}", self.name);
            Error::new(ErrorKind::Corrupt, message).with_source(error)
        })
    }

    /// Encodes rows and uploads their files. Nobody sees them before [`Log::settle`]; if that never comes, they are
    /// orphans.
    pub(crate) async fn prepare(&self, change: Change, urgency: impl Fn() -> Urgency) -> Result<Prepared> {
        let Change {
            batches,
            schema,
            before,
            progress,
        } = change;
        let encoded = encode::encode(batches, &schema, urgency).await?;
        let uploads = encoded.into_iter().map(|file| self.upload(file, &schema));
        let uploaded: Vec<(DataFile, Action)> = futures::stream::iter(uploads)
            .buffered(UPLOADS_MAX)
            .try_collect()
            .await?;
        let what = What::Append { schema, progress };
        Ok(Prepared::replace(what, before, Vec::new(), uploaded))
    }

    async fn upload(&self, encoded: Encoded, schema: &SchemaRef) -> Result<(DataFile, Action)> {
        let relative = format!(
            "{HOUR_COLUMN}={}/part-{}.parquet",
            encoded.hour,
            uuid::Uuid::now_v7()
        );
        let file = DataFile {
            path: self.path_of(&relative),
            bytes: encoded.body.len() as u64,
            rows: encoded.rows,
            hour: encoded.hour,
            event_time: encoded.event_time,
            received_time: encoded.received_time,
        };
        let put = self.store.put(&file.path, encoded.body.into()).await;
        put.map_err(|error| self.failed("cannot write a file", error))?;
        let add = add(&self.name, &file, schema, DataChange::Yes);
        Ok((file, add))
    }

    /// Brings `pending` into the log, once, however often it is called: after an error the log is read again, and a
    /// commit that is there after all counts as done. `seen` is the version that the caller knows the files of.
    ///
    /// New rows are tried until they are in. A commit that only replaces files is tried once: `None` says that it is
    /// not in the log and given up, and so does an error of the kind `Conflict`.
    pub(crate) async fn settle(&mut self, seen: u64) -> Result<Option<Settled>> {
        let settled = self.try_settle(seen).await;
        let given_up = match &settled {
            Ok(settled) => settled.is_none(),
            Err(error) => error.kind() == ErrorKind::Conflict,
        };
        if given_up && self.pending.as_ref().is_some_and(|pending| !pending.is_append()) {
            self.pending = None;
        }
        settled
    }

    async fn try_settle(&mut self, seen: u64) -> Result<Option<Settled>> {
        let mut pending = self.pending.take();
        let prepared = pending.as_mut().expect("settle is called with a pending commit");
        let first = !std::mem::replace(&mut prepared.attempted, true);
        // Put back before anything is awaited: a caller that goes away must not lose it.
        self.pending = pending;
        if !first {
            let settled = self.landed().await?;
            if settled.is_some() || !self.pending.as_ref().is_some_and(Prepared::is_append) {
                return Ok(settled);
            }
        }
        match self.commit().await {
            Ok(version) if version == seen + 1 => Ok(Some(Settled { version, files: None })),
            Ok(version) => Ok(Some(Settled {
                version,
                files: Some(self.snapshot().await?.files),
            })),
            Err(error) => match self.landed().await {
                Ok(Some(settled)) => Ok(Some(settled)),
                Ok(None) => Err(error),
                Err(read) if read.kind() == ErrorKind::Conflict => Err(read),
                Err(_) => Err(error),
            },
        }
    }

    async fn commit(&mut self) -> Result<u64> {
        let prepared = self.pending.as_ref().expect("settle keeps it");
        let failed = |error: DeltaTableError| self.failed("cannot commit", error);
        let state = self.table.snapshot().map_err(failed)?;
        let mut actions = match &prepared.what {
            What::Append { schema, progress } => self.told_with_rows(schema, progress.as_ref())?,
            What::Compact | What::Delete { .. } => Vec::new(),
        };
        actions.extend(
            prepared
                .removed
                .iter()
                .map(|file| remove(&self.name, file, &prepared.what)),
        );
        actions.extend(prepared.actions.iter().cloned());
        let operation = match &prepared.what {
            What::Append { .. } => DeltaOperation::Write {
                mode: SaveMode::Append,
                partition_by: Some(vec![HOUR_COLUMN.to_owned()]),
                predicate: None,
            },
            What::Compact => DeltaOperation::Optimize {
                predicate: None,
                target_size: prepared.files.iter().map(|file| file.bytes as i64).sum(),
            },
            What::Delete { reason } => DeltaOperation::Delete {
                predicate: Some(reason.clone()),
            },
        };
        let properties = CommitProperties::default()
            // Another writer's commit must be noticed, not stepped over.
            .with_max_retries(0)
            // Older versions are kept to be read; checkpoints come after the swap.
            .with_cleanup_expired_logs(Some(false))
            .with_create_checkpoint(false);
        let commit = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), self.table.log_store(), operation)
            .await
            .map_err(failed)?;
        let version = commit.version();
        self.table.state = Some(commit.snapshot());
        Ok(version)
    }

    /// The actions beside those of files: columns and parts that are new, and the progress.
    fn told_with_rows(&self, schema: &SchemaRef, progress: Option<&Progress>) -> Result<Vec<Action>> {
        let failed = |error: DeltaTableError| self.failed("cannot commit", error);
        let state = self.table.snapshot().map_err(failed)?;
        let mut actions = Vec::new();
        let known = self.parts(state.metadata().configuration())?;
        let parts = progress.iter().flat_map(|progress| progress.0.keys().cloned());
        let parts: BTreeSet<String> = known.iter().cloned().chain(parts).collect();
        if from_delta(&state.schema())?.fields() != schema.fields() || parts != known {
            let parts = serde_json::Value::from_iter(parts).to_string();
            let metadata = state.metadata().clone().with_schema(&to_delta(schema)?);
            let metadata = metadata.and_then(|metadata| metadata.add_config_key(PARTS_KEY.to_owned(), parts));
            actions.push(Action::Metadata(metadata.map_err(|error| failed(error.into()))?));
        }
        let now = jiff::Timestamp::now().as_millisecond();
        for (part, offset) in progress.iter().flat_map(|progress| &progress.0) {
            let offset = i64::try_from(*offset).expect("an offset is less than 2^63");
            let app = format!("{APP_PREFIX}{part}");
            actions.push(Action::Txn(Transaction::new_with_last_update(
                app,
                offset,
                Some(now),
            )));
        }
        Ok(actions)
    }

    /// The columns that the log has now.
    pub(crate) fn schema(&self) -> Result<SchemaRef> {
        let state = self
            .table
            .snapshot()
            .map_err(|error| self.failed("cannot read the log", error))?;
        from_delta(&state.schema())
    }

    /// Files that commits have removed, and when, ms since 1970; as far back as the log tells.
    pub(crate) async fn tombstones(&self) -> Result<HashMap<Path, i64>> {
        let failed = |error| self.failed("cannot read what the log has removed", error);
        let state = self.table.snapshot().map_err(failed)?;
        let log_store = self.table.log_store();
        let removed = state
            .all_tombstones(log_store.as_ref())
            .map_ok(|removed| {
                let at = removed.deletion_timestamp().unwrap_or(0);
                (self.path_of(&removed.path()), at)
            })
            .try_collect();
        removed.await.map_err(failed)
    }

    /// What the log says if `pending` is in it. Errors: `Conflict` if somebody else has moved the progress.
    async fn landed(&mut self) -> Result<Option<Settled>> {
        let snapshot = self.load().await?;
        let prepared = self.pending.as_ref().expect("settle keeps it");
        let paths: BTreeSet<&Path> = snapshot.files.iter().map(|file| &file.path).collect();
        let is_there = |file: &DataFile| paths.contains(&file.path);
        let landed = match (&prepared.what, prepared.files.first()) {
            (_, Some(file)) => is_there(file),
            (What::Append { progress, .. }, None) => snapshot.progress == *progress,
            (_, None) => !prepared.removed.iter().any(is_there),
        };
        let replaceable = landed || prepared.removed.iter().all(is_there);
        if !landed && (snapshot.progress != prepared.before || !replaceable) {
            let message = format_args!(
                "another writer has committed: stop one of them table={}",
                self.name
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        Ok(landed.then_some(Settled {
            version: snapshot.version,
            files: Some(snapshot.files),
        }))
    }

    /// Writes a checkpoint of the log when it is time; one that fails is only told of, the log does without.
    pub(crate) async fn checkpoint(&self, version: u64) {
        if version.is_multiple_of(CHECKPOINT_VERSIONS)
            && let Err(error) = create_checkpoint(&self.table, None).await
        {
            tracing::warn!(table = self.name, delta_version = version, %error, "cannot write a checkpoint of the log");
        }
    }

    fn path_of(&self, relative: &str) -> Path {
        Path::from_iter([self.name.as_str()].into_iter().chain(relative.split('/')))
    }

    fn failed(&self, what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::storage(what, &self.name, error)
    }
}

/// Whether a file's rows are new, or only its place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataChange {
    Yes,
    No,
}

/// The action that adds a file.
pub(crate) fn add(table: &str, file: &DataFile, schema: &SchemaRef, change: DataChange) -> Action {
    Action::Add(Add {
        path: relative(table, &file.path),
        partition_values: HashMap::from([(HOUR_COLUMN.to_owned(), Some(file.hour.clone()))]),
        size: i64::try_from(file.bytes).expect("a file has fewer than 2^63 bytes"),
        modification_time: jiff::Timestamp::now().as_millisecond(),
        data_change: change == DataChange::Yes,
        stats: Some(write_stats(file, schema)),
        ..Add::default()
    })
}

fn remove(table: &str, file: &DataFile, what: &What) -> Action {
    Action::Remove(Remove {
        path: relative(table, &file.path),
        data_change: !matches!(what, What::Compact),
        deletion_timestamp: Some(jiff::Timestamp::now().as_millisecond()),
        extended_file_metadata: Some(true),
        partition_values: Some(HashMap::from([(HOUR_COLUMN.to_owned(), Some(file.hour.clone()))])),
        size: i64::try_from(file.bytes).ok(),
        ..Remove::default()
    })
}

/// A file's path within its table.
fn relative(table: &str, path: &Path) -> String {
    let path = path.as_ref();
    let below = path.strip_prefix(table).and_then(|path| path.strip_prefix('/'));
    below.unwrap_or(path).to_owned()
}
