//! All tables under one location.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use event::{DatasetName, DatasetSchema, FAILED_SUFFIX, failed_schema};
use object_store::ObjectStore;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinHandle;

use crate::hot::HotBytes;
use crate::log::{Kind, Log};
use crate::table::{Shared, TableLimits};
use crate::{
    Error, ErrorKind, InsertMode, Location, MaintenanceOptions, Result, Table, TableSchema, flusher,
};

/// Where the tables are and when their hot tails become files.
#[derive(Clone, Debug, PartialEq)]
pub struct WarehouseOptions {
    /// The folder or the bucket's prefix; folders in it, one a table, are made when missing.
    pub location: Location,
    /// A hot tail of so many bytes of Arrow memory is flushed. Default 128 MiB.
    pub flush_bytes: usize,
    /// A hot tail whose oldest row is so old is flushed. Default 30 s.
    pub flush_age: Duration,
    /// Appends to a table wait while its hot tail has more bytes than this. Default 512 MiB.
    pub hot_bytes_max: usize,
    /// Compaction, vacuum and retention.
    pub maintenance: MaintenanceOptions,
    /// Hot tails of all tables together have about so many bytes at most. Above half of it the largest tails are flushed
    /// before their time; appends wait to a table that has more than what is left of it. Default 1 GiB.
    pub hot_bytes_total_max: usize,
    /// How rows get into tables, until [`Table::set_insert_mode`] says otherwise. Default `Streaming`.
    pub insert_mode: InsertMode,
}

impl WarehouseOptions {
    /// The defaults, in a folder or at a [`Location`].
    pub fn new(location: impl Into<Location>) -> Self {
        Self {
            location: location.into(),
            flush_bytes: 128 << 20,
            flush_age: Duration::from_secs(30),
            hot_bytes_max: 512 << 20,
            maintenance: MaintenanceOptions::default(),
            hot_bytes_total_max: 1 << 30,
            insert_mode: InsertMode::Streaming,
        }
    }
}

/// All tables under one location, and the loop that flushes them. One process at a time may write to a location: a
/// second one's commits fail with `Conflict`.
#[derive(Debug)]
pub struct Warehouse {
    tables: Arc<Tables>,
    store: Arc<dyn ObjectStore>,
    shared: Shared,
    creating: Mutex<()>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

/// What the loop that flushes sees.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    by_name: RwLock<BTreeMap<String, Arc<Table>>>,
    closed: AtomicBool,
}

impl Tables {
    pub(crate) fn all(&self) -> Vec<Arc<Table>> {
        self.by_name
            .read()
            .expect("no writer panics while it holds the lock")
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn add(&self, table: &Arc<Table>) {
        let mut tables = self
            .by_name
            .write()
            .expect("no writer panics while it holds the lock");
        tables.insert(table.name().to_owned(), table.clone());
    }
}

impl Warehouse {
    /// Opens the location and every table in it, and starts the loop that flushes them (on the current tokio
    /// runtime; it ends with [`Warehouse::close`] or when the warehouse is dropped).
    ///
    /// Errors: `Invalid` if the location's options do not fit; `Retry` if it does not answer, does not let us in, or
    /// there is no such bucket.
    pub async fn open(options: WarehouseOptions) -> Result<Self> {
        let store = options.location.open()?;
        Self::open_in(store, &options).await
    }

    /// The same over any store; the location in `options` is only told in errors. Its puts must be durable when they
    /// return, a put with `PutMode::Create` must fail where the name is taken, and listings must be sorted.
    pub async fn open_in(store: Arc<dyn ObjectStore>, options: &WarehouseOptions) -> Result<Self> {
        let limits = TableLimits {
            // A tail that is full must be due.
            flush_bytes: options.flush_bytes.min(options.hot_bytes_max),
            flush_age: options.flush_age,
            hot_bytes_max: options.hot_bytes_max,
            maintenance: options.maintenance.checked()?,
        };
        let shared = Shared {
            limits,
            wake: Arc::new(Notify::new()),
            hot: Arc::new(HotBytes::new(options.hot_bytes_total_max)),
            insert: options.insert_mode.clone(),
        };
        let tables = Arc::new(Tables::default());
        let listed = store.list_with_delimiter(None).await;
        for folder in listed
            .map_err(|error| Error::opening(&options.location, error))?
            .common_prefixes
        {
            let name = folder.as_ref();
            if check_name(name).is_err() {
                continue;
            }
            let mut log = Log::new(store.clone(), name)?;
            if !log.exists().await? {
                continue;
            }
            let snapshot = log.load().await?;
            let columns = match snapshot.kind {
                Kind::Growing => Arc::new(DatasetSchema::from_table(snapshot.schema.clone())).into(),
                Kind::Fixed => fixed_columns(name, &snapshot.schema).into(),
            };
            tables.add(&Arc::new(Table::new(
                name,
                columns,
                (store.clone(), log),
                snapshot,
                shared.clone(),
            )));
        }
        let flusher = tokio::spawn(flusher::run(Arc::downgrade(&tables), shared.clone()));
        Ok(Self {
            tables,
            store,
            shared,
            creating: Mutex::new(()),
            flusher: Mutex::new(Some(flusher)),
        })
    }

    /// The table of this name, made with `schema` if it does not exist. `name` is a dataset's name or
    /// `<dataset>$failed`.
    ///
    /// A table that exists keeps its own columns and its own [`Table::dataset_schema`]: use that, not the one given.
    /// Errors: `Invalid` if the name or a column's type is not fit, or the warehouse is closed; `Retry` if storage
    /// does not answer.
    pub async fn create(&self, name: &str, schema: impl Into<TableSchema>) -> Result<Arc<Table>> {
        check_name(name)?;
        let _one_at_a_time = self.creating.lock().await;
        if let Some(table) = self.table(name) {
            return Ok(table);
        }
        if self.tables.is_closed() {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the warehouse is closed: open it again",
            ));
        }
        let columns = schema.into();
        let mut log = Log::new(self.store.clone(), name)?;
        // An earlier attempt may have made it and not have been told.
        let snapshot = if log.exists().await? {
            log.load().await?
        } else {
            log.create(&columns.now(), columns.kind()).await?
        };
        let table = Arc::new(Table::new(
            name,
            columns,
            (self.store.clone(), log),
            snapshot,
            self.shared.clone(),
        ));
        self.tables.add(&table);
        Ok(table)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<Arc<Table>> {
        self.tables
            .by_name
            .read()
            .expect("no writer panics while it holds the lock")
            .get(name)
            .cloned()
    }

    /// All tables, by name.
    pub fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.all()
    }

    /// Where all tables' files are: [`crate::DataFile::path`] is a path in it.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// Refuses appends from now on, stops the loop and flushes every table. The first error is returned, after all
    /// tables have been tried.
    pub async fn close(&self) -> Result<()> {
        let _nothing_new = self.creating.lock().await;
        self.tables.closed.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        for table in self.tables() {
            table.close();
        }
        if let Some(flusher) = self.flusher.lock().await.take()
            && let Err(error) = flusher.await
        {
            tracing::error!(%error, "the loop that flushes broke off");
        }
        let mut result = Ok(());
        for table in self.tables() {
            result = result.and(table.flush().await);
        }
        result
    }
}

impl Drop for Warehouse {
    fn drop(&mut self) {
        // The loop finds the tables gone and ends.
        self.shared.wake.notify_one();
    }
}

/// The columns of a table that does not grow. A table of rejects of an older program gets those that have come since,
/// null in its older rows.
fn fixed_columns(name: &str, stored: &SchemaRef) -> SchemaRef {
    let now = failed_schema();
    let older = name.ends_with(FAILED_SUFFIX)
        && now.fields().len() > stored.fields().len()
        && now.fields()[..stored.fields().len()] == stored.fields()[..];
    if older { now } else { stored.clone() }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let dataset = name.strip_suffix(FAILED_SUFFIX).unwrap_or(name);
    match dataset.parse::<DatasetName>() {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::new(ErrorKind::Invalid, &error).with_source(error)),
    }
}
