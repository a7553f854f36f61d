//! The sections of the settings file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aggregator::{RelayOptions, ServeOptions, limits};
use serde::Deserialize;
use warehouse::{InsertMode, Location, MaintenanceOptions, WarehouseOptions};

use super::units::{Keep, duration, size};

/// Settings of the queue.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QueueSettings {
    /// Size of a segment file. Default `64MiB`.
    #[serde(deserialize_with = "size")]
    pub segment_bytes: u64,
    /// How long a batch is kept after it was received. What is not in the tables' files yet is kept in any case.
    /// Default `all`.
    pub retention: Keep<Duration>,
    /// Bytes of segments that are kept of a dataset; beyond, the oldest go. Default `all`.
    pub retention_bytes: Keep<u64>,
    /// How often it is looked for what to delete. Default `1m`.
    #[serde(deserialize_with = "duration")]
    pub retention_every: Duration,
}

/// Settings of the warehouse.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WarehouseSettings {
    /// Where its tables are: a folder, or `s3://bucket/prefix`, `gs://…`, `az://…`. Default: the folder `warehouse` in the
    /// data folder.
    pub location: Option<String>,
    /// Where the plain files of datasets are, if they are set to have some: likewise. Default: the folder `plain` in the data
    /// folder.
    pub plain_location: Option<String>,
    /// Options of a location that is no folder: see [`warehouse::Location`]. Credentials come from the environment, or
    /// from files (`secret_access_key_file`). Default: none.
    pub options: BTreeMap<String, String>,
    /// A table's hot tail becomes files when it holds so much. Default `128MiB`.
    #[serde(deserialize_with = "size")]
    pub flush_bytes: u64,
    /// … or when its oldest row is so old. Default `30s`.
    #[serde(deserialize_with = "duration")]
    pub flush_age: Duration,
    /// A table's job waits while its hot tail holds so much. Default `512MiB`.
    #[serde(deserialize_with = "size")]
    pub hot_bytes_max: u64,
    /// All hot tails together; above half of it the largest become files first. Default `1GiB`.
    #[serde(deserialize_with = "size")]
    pub hot_bytes_total_max: u64,
    /// How long rows are kept in tables, by their hour. Default `all`.
    pub retention: Keep<Duration>,
    /// How often rows are dropped for their age and old files deleted. Default `10m`.
    #[serde(deserialize_with = "duration")]
    pub maintain_every: Duration,
    /// So many small neighbours of an hour are merged into one file; 0: files are left as they are. Default 8.
    pub compact_files: usize,
    /// A merged file has at most so much. Default `128MiB`.
    #[serde(deserialize_with = "size")]
    pub compact_bytes: u64,
    /// Files that were replaced are deleted after this time, for those who still read them. At most `7d`. Default `1h`.
    #[serde(deserialize_with = "duration")]
    pub vacuum_after: Duration,
}

/// The environment, as far as it is text.
fn variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

impl WarehouseSettings {
    /// What the warehouse of a server is opened with. The environment says the rest of a location.
    pub(crate) fn of_tables(&self, data_dir: &Path) -> Result<WarehouseOptions, String> {
        let location = self.place(self.location.as_deref(), &data_dir.join("warehouse"))?;
        Ok(WarehouseOptions {
            location,
            flush_bytes: self.flush_bytes as usize,
            flush_age: self.flush_age,
            hot_bytes_max: self.hot_bytes_max as usize,
            hot_bytes_total_max: self.hot_bytes_total_max as usize,
            maintenance: MaintenanceOptions {
                every: Some(self.maintain_every),
                compact_files: self.compact_files,
                compact_bytes: self.compact_bytes,
                vacuum_after: self.vacuum_after,
                retention: self.retention.limit(),
                ..MaintenanceOptions::default()
            },
            insert_mode: InsertMode::Streaming,
        })
    }

    /// Where plain files are.
    pub(crate) fn of_plain(&self, data_dir: &Path) -> Result<Location, String> {
        match self.plain_location.as_deref() {
            // The options may be for tables in a bucket.
            Some(folder) if !folder.contains("://") => Ok(folder.into()),
            text => self.place(text, &data_dir.join("plain")),
        }
    }

    fn place(&self, text: Option<&str>, folder: &Path) -> Result<Location, String> {
        let Some(text) = text else {
            return Ok(folder.into());
        };
        let mut location = Location::parse(text).map_err(|error| error.to_string())?;
        for (key, value) in &self.options {
            location = location.with(key, value).map_err(|error| error.to_string())?;
        }
        Ok(location.with_variables(variables()))
    }
}

/// What queries may use.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuerySettings {
    /// How long a query runs, from its start to its last row. Default `5m`.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Rows that a query answers. Default: without limit.
    pub rows_max: Option<u64>,
    /// Queries that run at once; one more is told to try again. Default 64.
    pub queries_max: usize,
    /// What all running queries hold in memory. Default `1GiB`.
    #[serde(deserialize_with = "size")]
    pub memory_bytes_max: u64,
    /// What one query holds in memory; beyond it sorts, groups and joins go on on disk. Default `512MiB`.
    #[serde(deserialize_with = "size")]
    pub query_memory_bytes_max: u64,
    /// What all running queries have on disk, in the folder `spill` of the data folder. Default `10GiB`.
    #[serde(deserialize_with = "size")]
    pub spill_bytes_max: u64,
}

impl QuerySettings {
    /// The error is what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.timeout.is_zero() || self.queries_max == 0 || self.rows_max == Some(0) {
            return Err("timeout, queries_max and rows_max of [query] must be at least 1".to_owned());
        }
        if self.query_memory_bytes_max > self.memory_bytes_max {
            return Err(
                "query_memory_bytes_max of [query] must not be more than memory_bytes_max, which is for all queries"
                    .to_owned(),
            );
        }
        Ok(())
    }
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            timeout: sql::limits::QUERY_TIMEOUT,
            rows_max: None,
            queries_max: sql::limits::QUERIES_RUNNING,
            memory_bytes_max: sql::limits::QUERIES_MEMORY_BYTES as u64,
            query_memory_bytes_max: sql::limits::QUERY_MEMORY_BYTES as u64,
            spill_bytes_max: sql::limits::SPILL_BYTES,
        }
    }
}

/// How much the doors hold, and for how long they wait for whom.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Bodies and batches without an ack, over all doors. Default `512MiB`.
    #[serde(deserialize_with = "size")]
    pub memory_bytes_max: u64,
    /// Connections of the HTTP door, and of the Flight door. Default 4096.
    pub connections_max: usize,
    /// Of these, from one address (IPv6: from one /64). Default 1024.
    pub connections_per_peer_max: usize,
    /// For a request's header, from its first byte. Default `10s`.
    #[serde(deserialize_with = "duration")]
    pub header_timeout: Duration,
    /// From an answer to the next request. Default `75s`.
    #[serde(deserialize_with = "duration")]
    pub idle_timeout: Duration,
    /// The longest pause in a body. Default `15s`.
    #[serde(deserialize_with = "duration")]
    pub body_timeout: Duration,
    /// What a body must bring in a second, after its first `body_timeout`. Default `1KiB`.
    #[serde(deserialize_with = "size")]
    pub body_rate_min: u64,
    /// The longest pause in which a client takes nothing of its answer. Default `30s`.
    #[serde(deserialize_with = "duration")]
    pub write_timeout: Duration,
}

impl LimitSettings {
    /// The error is what is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        let times = [
            ("header_timeout", self.header_timeout),
            ("idle_timeout", self.idle_timeout),
            ("body_timeout", self.body_timeout),
            ("write_timeout", self.write_timeout),
        ];
        if let Some((name, _)) = times.iter().find(|(_, time)| time.is_zero()) {
            return Err(format!("{name} must be at least 1ms"));
        }
        if self.connections_max == 0 || self.connections_per_peer_max == 0 {
            return Err("connections_max and connections_per_peer_max must be at least 1".to_owned());
        }
        if self.memory_bytes_max < limits::MEMORY_BYTES_MIN as u64 {
            let least = limits::MEMORY_BYTES_MIN >> 20;
            return Err(format!("memory_bytes_max must be at least {least}MiB"));
        }
        match u32::try_from(self.body_rate_min) {
            Ok(_) => Ok(()),
            Err(_) => Err("body_rate_min must be under 4GiB".to_owned()),
        }
    }
}

/// TLS: PEM files.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The server's certificate, and after it those between it and the authority's.
    pub cert: PathBuf,
    /// Its private key, without a password.
    pub key: PathBuf,
    /// Whoever connects must show a certificate of one of these authorities. Default: none is asked for.
    pub client_ca: Option<PathBuf>,
}

/// An edge: an aggregator that passes batches on to another one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelaySettings {
    /// The Flight doors of the aggregators before the queue, the preferred one first. Default: none.
    pub upstreams: Vec<String>,
    /// A file with the token that this edge shows them. Default: none is shown.
    pub token_file: Option<PathBuf>,
    /// A file with certificates of the authorities to believe, for `https://` addresses. Default: those of the system.
    pub ca: Option<PathBuf>,
    /// How long a batch waits for an upstream that answers nothing before it goes to the disk. Default `1s`.
    #[serde(deserialize_with = "duration")]
    pub spool_after: Duration,
    /// What all spools take of the disk. Default `10GiB`.
    #[serde(deserialize_with = "size")]
    pub spool_bytes_max: u64,
    /// How long an upstream may owe an ack before the next one has its turn. Default `10s`.
    #[serde(deserialize_with = "duration")]
    pub ack_timeout: Duration,
    /// How often the preferred upstream is asked whether it is there again. Default `1m`.
    #[serde(deserialize_with = "duration")]
    pub return_after: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let serve = ServeOptions::default();
        Self {
            memory_bytes_max: limits::MEMORY_BYTES_MAX as u64,
            connections_max: serve.connections_max,
            connections_per_peer_max: serve.connections_per_peer_max,
            header_timeout: serve.header_timeout,
            idle_timeout: serve.idle_timeout,
            body_timeout: serve.body_timeout,
            body_rate_min: u64::from(serve.body_rate_min),
            write_timeout: serve.write_timeout,
        }
    }
}

impl Default for RelaySettings {
    fn default() -> Self {
        let relay = RelayOptions::new("", "");
        Self {
            upstreams: Vec::new(),
            token_file: None,
            ca: None,
            spool_after: relay.spool_after,
            spool_bytes_max: relay.spool_bytes_max,
            ack_timeout: relay.ack_timeout,
            return_after: relay.return_after,
        }
    }
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            retention: Keep::All,
            retention_bytes: Keep::All,
            retention_every: Duration::from_secs(60),
        }
    }
}

impl Default for WarehouseSettings {
    fn default() -> Self {
        let options = WarehouseOptions::new("");
        let maintenance = options.maintenance;
        Self {
            location: None,
            plain_location: None,
            options: BTreeMap::new(),
            flush_bytes: options.flush_bytes as u64,
            flush_age: options.flush_age,
            hot_bytes_max: options.hot_bytes_max as u64,
            hot_bytes_total_max: options.hot_bytes_total_max as u64,
            retention: Keep::All,
            maintain_every: maintenance.every.unwrap_or(Duration::from_secs(600)),
            compact_files: maintenance.compact_files,
            compact_bytes: maintenance.compact_bytes,
            vacuum_after: maintenance.vacuum_after,
        }
    }
}
