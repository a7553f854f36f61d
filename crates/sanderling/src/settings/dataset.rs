//! Settings of one dataset.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use event::{Durability, ProtobufSettings, SchemaSettings, Tier};
use processor::ChainTest;
use serde::Deserialize;
use warehouse::{PlainFormat, PlainOptions};

use super::units::{Keep, duration, parse_duration, some_duration, some_size};

/// Settings of one dataset. What is left out has the default named here.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetSettings {
    /// The field that holds the event's own time: see [`event::DatasetSettings::event_time`]. Default: none.
    pub event_time: Option<String>,
    /// How far an event's time may be from its receipt.
    pub time_range: TimeRange,
    /// Partitions of the queue, 1 to 64, when the dataset is made. Default 1.
    pub partitions: u32,
    /// Which datasets come first when there are fewer workers than are wanted: `gold`, `standard` or `bulk`. Default `standard`.
    pub tier: Tier,
    /// As in `[queue]`, for this dataset. Default: what is said there.
    pub retention: Option<Keep<Duration>>,
    /// As in `[queue]`, for this dataset. Default: what is said there.
    pub retention_bytes: Option<Keep<u64>>,
    /// What the acks promise of batches that ask for nothing. Default `durable`.
    pub durability: Durability,
    /// The most events it may send in a second, in the mean. Default: without limit.
    pub events_per_second: Option<u64>,
    /// The most bytes of payload it may send in a second, in the mean. Default: without limit.
    #[serde(deserialize_with = "some_size")]
    pub bytes_per_second: Option<u64>,
    /// What its events must look like. Default: whatever comes, with the types that are inferred.
    pub schema: Option<SchemaSettings>,
    /// The type of its Protobuf messages. Default: none.
    pub protobuf: Option<ProtobufSettings>,
    /// How its rows get into its table: `streaming`, `micro_batch(5m)` or `auto`. Default `streaming`.
    pub insert: Insert,
    /// Files by hour that any program can read, beside its table. Default: none.
    pub plain: Option<PlainSettings>,
    /// How long its rows are kept in its table, by their hour. Default: what `[warehouse]` says.
    pub table_retention: Option<Keep<Duration>>,
    /// What is done with its events before they are inserted, in this order. Default: nothing.
    pub steps: Vec<StepSettings>,
    /// What must come out of the steps, by what it shows: see `sanderling test`.
    pub tests: BTreeMap<String, ChainTest>,
}

/// How far an event's time may be before and after its receipt; what is further is rejected.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeRange {
    /// Default `all`.
    pub past: Keep<Duration>,
    /// Default `1d`.
    pub future: Keep<Duration>,
}

/// How rows get into a table: see [`warehouse::InsertMode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Insert {
    /// At once, into the hot tail.
    #[default]
    Streaming,
    /// In windows of this length, with one commit each.
    MicroBatch(Duration),
    /// One of the two, by load and lag.
    Auto,
}

impl<'de> Deserialize<'de> for Insert {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let window = text
            .strip_prefix("micro_batch(")
            .and_then(|rest| rest.strip_suffix(')'));
        match (text.as_str(), window) {
            ("streaming", _) => Ok(Self::Streaming),
            ("auto", _) => Ok(Self::Auto),
            (_, Some(window)) => match parse_duration(window)? {
                Duration::ZERO => Err(serde::de::Error::custom("a window must be at least 1ms")),
                window => Ok(Self::MicroBatch(window)),
            },
            _ => Err(serde::de::Error::custom(format_args!(
                "no such way to insert, take \"streaming\", \"micro_batch(5m)\" or \"auto\" value={text:?}"
            ))),
        }
    }
}

/// Plain files by hour: see [`warehouse::PlainFiles`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlainSettings {
    /// `parquet`, `ndjson.gz` or `ndjson.zst`. Default `parquet`.
    pub format: Plain,
    /// From the first row of a window to its files. Default `5m`.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// How much later than an hour's end its rows are waited for before it is marked as complete. Default `15m`.
    #[serde(deserialize_with = "duration")]
    pub lateness: Duration,
}

/// The format of plain files: see [`warehouse::PlainFormat`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Plain {
    /// Parquet.
    #[default]
    #[serde(rename = "parquet")]
    Parquet,
    /// JSON by line, in gzip.
    #[serde(rename = "ndjson.gz")]
    NdjsonGzip,
    /// JSON by line, in zstd.
    #[serde(rename = "ndjson.zst")]
    NdjsonZstd,
}

impl Default for PlainSettings {
    fn default() -> Self {
        let PlainOptions { window, lateness, .. } = PlainOptions::default();
        Self {
            format: Plain::default(),
            window,
            lateness,
        }
    }
}

impl PlainSettings {
    pub(crate) fn of_files(&self) -> PlainOptions {
        PlainOptions {
            format: match self.format {
                Plain::Parquet => PlainFormat::Parquet,
                Plain::NdjsonGzip => PlainFormat::NdjsonGzip,
                Plain::NdjsonZstd => PlainFormat::NdjsonZstd,
            },
            window: self.window,
            lateness: self.lateness,
            ..PlainOptions::default()
        }
    }
}

/// A step of a dataset's chain: one of `sql`, `wasm` and `native`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StepSettings {
    /// What it is called, in `<dataset>$failed` too. Default: the name of the native function.
    pub name: Option<String>,
    /// `SELECT … FROM events WHERE …`: see [`sql::SqlUdf`].
    pub sql: Option<String>,
    /// The file of a WebAssembly component: see [`udf_wasm`].
    pub wasm: Option<PathBuf>,
    /// The name of a function that the program has brought along: see [`crate::Server::start_with`].
    pub native: Option<String>,
    /// Of a component: the text that it is given at its start. Default: empty.
    pub settings: Option<String>,
    /// Of a component: the most memory that it may use. Default 256 MiB.
    #[serde(deserialize_with = "some_size")]
    pub memory_max: Option<u64>,
    /// Of a component: the processor time of one call. Default 10 s.
    #[serde(deserialize_with = "some_duration")]
    pub time_max: Option<Duration>,
}

impl Default for DatasetSettings {
    fn default() -> Self {
        Self {
            event_time: None,
            time_range: TimeRange::default(),
            partitions: event::DatasetSettings::default().partitions,
            tier: Tier::default(),
            retention: None,
            retention_bytes: None,
            durability: Durability::default(),
            events_per_second: None,
            bytes_per_second: None,
            schema: None,
            protobuf: None,
            insert: Insert::default(),
            plain: None,
            table_retention: None,
            steps: Vec::new(),
            tests: BTreeMap::new(),
        }
    }
}

impl Default for TimeRange {
    fn default() -> Self {
        let keep = |limit: Option<Duration>| limit.map_or(Keep::All, Keep::UpTo);
        let event::TimeRange { past, future } = event::TimeRange::default();
        Self {
            past: keep(past),
            future: keep(future),
        }
    }
}

impl DatasetSettings {
    /// The error is what is wrong.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !(1..=64).contains(&self.partitions) {
            return Err(format!(
                "partitions must be 1 to 64 partitions={}",
                self.partitions
            ));
        }
        if self.events_per_second == Some(0) || self.bytes_per_second == Some(0) {
            let text =
                "events_per_second and bytes_per_second must be at least 1, leave them out for no limit";
            return Err(text.to_owned());
        }
        if self.plain.as_ref().is_some_and(|plain| plain.window.is_zero()) {
            return Err("the window of plain files must be at least 1ms".to_owned());
        }
        if let Some(schema) = &self.schema {
            schema.check().map_err(|error| error.to_string())?;
        }
        self.steps.iter().try_for_each(StepSettings::check)?;
        match self.tests.iter().find(|(_, test)| test.events.is_empty()) {
            Some((name, _)) => Err(format!("a test has no events test={name:?}")),
            None => Ok(()),
        }
    }

    /// Whether events that were good stay so, and rows readable.
    pub(crate) fn may_become(&self, next: &Self) -> Result<(), String> {
        match (&self.schema, &next.schema) {
            (Some(old), Some(new)) => match event::evolve(old, new) {
                Ok(_) => Ok(()),
                Err(incompatible) => Err(format!("schema cannot change so: {incompatible}")),
            },
            _ => Ok(()),
        }
    }

    /// What the dataset's job needs to know of it.
    pub(crate) fn of_events(&self) -> event::DatasetSettings {
        event::DatasetSettings {
            event_time: self.event_time.clone(),
            time_range: event::TimeRange {
                past: self.time_range.past.limit(),
                future: self.time_range.future.limit(),
            },
            partitions: self.partitions,
            tier: self.tier,
            schema: self.schema.clone(),
            protobuf: self.protobuf.clone(),
        }
    }
}

impl StepSettings {
    fn check(&self) -> Result<(), String> {
        let kinds = [self.sql.is_some(), self.wasm.is_some(), self.native.is_some()];
        let name = self.name();
        if kinds.iter().filter(|kind| **kind).count() != 1 {
            return Err(format!("a step is one of sql, wasm and native step={name:?}"));
        }
        if name.is_empty() {
            return Err("a step has no name, give it one".to_owned());
        }
        if self.native.as_deref().is_some_and(|native| native != name) {
            return Err(format!(
                "a native step is called as its function is, leave out name step={name:?}"
            ));
        }
        let of_component = self.settings.is_some() || self.memory_max.is_some() || self.time_max.is_some();
        if self.wasm.is_none() && of_component {
            return Err(format!(
                "settings, memory_max and time_max are for steps with wasm step={name:?}"
            ));
        }
        Ok(())
    }

    pub(crate) fn name(&self) -> &str {
        let name = self.name.as_deref().or(self.native.as_deref());
        name.unwrap_or_default()
    }
}
