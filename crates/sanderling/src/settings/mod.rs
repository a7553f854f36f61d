//! The settings of a server: one TOML file, with the file's line and the nearest known key when a key is wrong.

mod dataset;
mod sections;
mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use aggregator::ReceivedAt;
use aggregator::access::Binding;
use event::DatasetName;
use queue::{Retention, Untaken};
use serde::Deserialize;
use warehouse::PlainOptions;

pub use dataset::{DatasetSettings, Insert, Plain, PlainSettings, StepSettings, TimeRange};
pub use sections::{
    LimitSettings, QuerySettings, QueueSettings, RelaySettings, TlsSettings, WarehouseSettings,
};
pub use units::Keep;

/// Settings of a server. What is left out has the default named here.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The folder that holds queue, warehouse and stores. Default `sanderling-data`.
    pub data_dir: PathBuf,
    /// Address of the HTTP door; port 0 picks a free one. Default `127.0.0.1:8080`.
    pub http: SocketAddr,
    /// Address of the Arrow Flight door. Default `127.0.0.1:8081`.
    pub flight: SocketAddr,
    /// Address of the Postgres door. Default `127.0.0.1:5433`.
    pub postgres: SocketAddr,
    /// Listen on addresses that other machines reach, although nobody is asked who they are. Default false.
    pub insecure: bool,
    /// Whose time of receipt a batch keeps that an edge received first: `here` or `first`. `first` is for a server
    /// that edges alone reach. Default `here`.
    pub received_at: ReceivedAt,
    /// A file with the tokens that let somebody in: see [`aggregator::access`]. Default: nobody is asked.
    pub tokens_file: Option<PathBuf>,
    /// A file with the flags of clients: see [`event::flags`]. It is read whenever clients ask. Default: none.
    pub flags_file: Option<PathBuf>,
    /// TLS at all doors. Default: none.
    pub tls: Option<TlsSettings>,
    /// What the doors hold, and for how long they wait.
    pub limits: LimitSettings,
    /// Of an edge alone: where batches go.
    pub relay: RelaySettings,
    /// The queue.
    pub queue: QueueSettings,
    /// The warehouse.
    pub warehouse: WarehouseSettings,
    /// What queries may use.
    pub query: QuerySettings,
    /// Datasets by name; one that is not named has the default of each setting.
    pub datasets: BTreeMap<DatasetName, DatasetSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            data_dir: "sanderling-data".into(),
            http: loopback(8080),
            flight: loopback(8081),
            postgres: loopback(5433),
            insecure: false,
            received_at: ReceivedAt::default(),
            tokens_file: None,
            flags_file: None,
            tls: None,
            limits: LimitSettings::default(),
            relay: RelaySettings::default(),
            queue: QueueSettings::default(),
            warehouse: WarehouseSettings::default(),
            query: QuerySettings::default(),
            datasets: BTreeMap::new(),
        }
    }
}

/// The settings cannot be used; the text says where and how to mend them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(pub(crate) String);

impl Settings {
    /// Settings from a file, or the defaults when `path` is `None` and there is no `./sanderling.toml`.
    ///
    /// # Errors
    /// Names the file, the line, and for an unknown key the nearest known one.
    pub fn load(path: Option<&Path>) -> Result<Self, SettingsError> {
        let default = Path::new("sanderling.toml");
        let path = match path {
            Some(path) => path,
            None if default.exists() => default,
            None => return Ok(Self::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            SettingsError(format!(
                "cannot read the settings: {error} file={}",
                path.display()
            ))
        })?;
        Self::parse(&text).map_err(|error| SettingsError(format!("{error} file={}", path.display())))
    }

    /// Settings from TOML text.
    ///
    /// # Errors
    /// As [`Settings::load`], without the file.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = from_toml(text)?;
        for (name, dataset) in &settings.datasets {
            let checked = dataset.check();
            checked.map_err(|error| SettingsError(format!("{error} dataset={name}")))?;
        }
        if settings.queue.retention_every.is_zero() {
            return Err(SettingsError("retention_every must be at least 1ms".to_owned()));
        }
        settings.limits.check().map_err(SettingsError)?;
        settings.query.check().map_err(SettingsError)?;
        Ok(settings)
    }

    /// Refuses to listen where other machines reach somebody who asks nobody, unless told to. The text that comes back
    /// is a warning.
    ///
    /// # Errors
    /// Names the address and the setting.
    pub fn check_addresses(&self) -> Result<Option<String>, SettingsError> {
        let doors = [
            ("http", self.http),
            ("flight", self.flight),
            ("postgres", self.postgres),
        ];
        let asks_certificates = self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let binding = Binding {
            doors: &doors,
            has_access: self.tokens_file.is_some() || asks_certificates,
            has_tls: self.tls.is_some(),
            insecure: self.insecure,
        };
        binding.check().map_err(|error| SettingsError(error.to_string()))
    }

    /// Whether these settings can take the place of others while the server runs: all but those of datasets and of
    /// retention are read once.
    pub(crate) fn needs_no_restart(&self, before: &Self) -> Result<(), SettingsError> {
        let fixed = |settings: &Self| {
            let mut fixed = settings.clone();
            fixed.datasets.clear();
            fixed.queue.retention = Keep::All;
            fixed.queue.retention_bytes = Keep::All;
            fixed
        };
        let (new, old) = (fixed(self), fixed(before));
        if new == old {
            return Ok(());
        }
        let changed = [
            ("data_dir", new.data_dir != old.data_dir),
            (
                "http, flight or postgres",
                (new.http, new.flight, new.postgres) != (old.http, old.flight, old.postgres),
            ),
            ("[queue]", new.queue != old.queue),
            ("[warehouse]", new.warehouse != old.warehouse),
            ("[limits]", new.limits != old.limits),
            ("[tls]", new.tls != old.tls),
        ];
        let changed: Vec<&str> = changed
            .iter()
            .filter(|(_, is)| *is)
            .map(|(name, _)| *name)
            .collect();
        let what = if changed.is_empty() {
            "others than [datasets]"
        } else {
            &changed.join(", ")
        };
        Err(SettingsError(format!(
            "only [datasets] and the retention of [queue] change while the server runs: start it again for the others, or take their change back changed={what:?}"
        )))
    }

    /// What the dataset's job and doors need to know of it.
    pub fn dataset(&self, name: &DatasetName) -> event::DatasetSettings {
        self.datasets
            .get(name)
            .map_or_else(event::DatasetSettings::default, DatasetSettings::of_events)
    }

    /// How the plain files of a dataset are written; `None` where it has none.
    pub fn plain(&self, name: &DatasetName) -> Option<PlainOptions> {
        let plain = self.datasets.get(name)?.plain.as_ref()?;
        Some(plain.of_files())
    }

    /// What is kept of a dataset in the queue: its own settings, else those of `[queue]`.
    pub fn retention(&self, name: &DatasetName) -> Retention {
        let own = self.datasets.get(name);
        let age = own.and_then(|own| own.retention).unwrap_or(self.queue.retention);
        let bytes = own.and_then(|own| own.retention_bytes);
        Retention {
            age_max: age.limit(),
            bytes_max: bytes.unwrap_or(self.queue.retention_bytes).limit(),
            untaken: Untaken::Keep,
        }
    }
}

/// A value of TOML text; an error names the line, and for an unknown key the nearest known one.
pub(crate) fn from_toml<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error| {
        let before = error
            .span()
            .and_then(|span| text.get(..span.start))
            .unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        SettingsError(format!(
            "{}{} line={line}",
            error.message(),
            suggestion(error.message())
        ))
    })
}

/// ", did you mean …" for the parser's "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let Some(unknown) = quoted.next().filter(|_| message.starts_with("unknown field")) else {
        return String::new();
    };
    match quoted.min_by_key(|known| distance(unknown, known)) {
        Some(known) if distance(unknown, known) <= unknown.len().max(3) / 2 => {
            format!("; did you mean `{known}`?")
        }
        _ => String::new(),
    }
}

/// Edit distance (Levenshtein), by the usual table of one row.
fn distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.chars().count()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, r) in right.chars().enumerate() {
            let change = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(Settings::parse(text).unwrap_err().to_string(), expected);
    }

    #[test]
    fn defaults_and_units() {
        assert_eq!(Settings::parse("").unwrap(), Settings::default());
        let settings = Settings::parse(
            "http = \"127.0.0.1:0\"\n[warehouse]\nflush_bytes = \"1 MiB\"\nflush_age = \"1500ms\"\n[datasets.wiki]\nevent_time = \"time\"\n",
        )
        .unwrap();
        assert_eq!(settings.warehouse.flush_bytes, 1 << 20);
        assert_eq!(settings.warehouse.flush_age, Duration::from_millis(1500));
        assert_eq!(
            settings.dataset(&"wiki".parse().unwrap()).event_time.as_deref(),
            Some("time")
        );
        assert_eq!(
            settings.dataset(&"other".parse().unwrap()),
            event::DatasetSettings::default()
        );
    }

    #[test]
    fn a_dataset_keeps_what_it_says_itself_and_else_what_the_queue_says() {
        let text = "[queue]\nretention = \"7d\"\nretention_bytes = \"1GiB\"\n\
                    [datasets.short]\nretention = \"1h\"\n[datasets.all]\nretention = \"all\"\nretention_bytes = \"all\"\n";
        let settings = Settings::parse(text).unwrap();
        let of = |name: &str| {
            let retention = settings.retention(&name.parse().unwrap());
            (retention.age_max.map(|age| age.as_secs()), retention.bytes_max)
        };
        assert_eq!(of("other"), (Some(7 * 86_400), Some(1 << 30)));
        assert_eq!(of("short"), (Some(3_600), Some(1 << 30)));
        assert_eq!(of("all"), (None, None));
        let default = Settings::default().retention(&"any".parse().unwrap());
        assert_eq!(default, Retention::default());
    }

    #[test]
    fn a_wrong_key_names_its_line_and_the_nearest_known_one() {
        check(
            "insecure = false\n[warehouse]\nflush_byte = \"1MiB\"\n",
            "unknown field `flush_byte`, expected one of `location`, `plain_location`, `options`, `flush_bytes`, `flush_age`, `hot_bytes_max`, `hot_bytes_total_max`, `retention`, `maintain_every`, `compact_files`, `compact_bytes`, `vacuum_after`; did you mean `flush_bytes`? line=3",
        );
        check(
            "[warehouse]\nflush_age = \"fast\"\n",
            "not a duration: write a whole number and one of ms s m h d value=\"fast\" line=2",
        );
        check(
            "[datasets.a]\nretention = \"7 weeks\"\n",
            "not a duration or \"all\": write a whole number and one of ms s m h d value=\"7 weeks\" line=2",
        );
        check(
            "[queue]\nretention_every = \"0s\"\n",
            "retention_every must be at least 1ms",
        );
        check(
            "[datasets.a]\nretention_byte = \"1GB\"\n",
            "unknown field `retention_byte`, expected one of `event_time`, `time_range`, `partitions`, `tier`, `retention`, `retention_bytes`, `durability`, `events_per_second`, `bytes_per_second`, `schema`, `protobuf`, `insert`, `plain`, `table_retention`, `steps`, `tests`; did you mean `retention_bytes`? line=2",
        );
        check(
            "[datasets.a]\npartitions = 0\n",
            "partitions must be 1 to 64 partitions=0 dataset=a",
        );
    }

    #[test]
    fn the_sample_in_the_guide_holds_the_defaults() {
        let guide = include_str!("../../../../docs/guide/running.md");
        let samples = guide.split("```toml\n").skip(1);
        let samples: Vec<&str> = samples.filter_map(|rest| rest.split("```").next()).collect();
        let mut settings = Settings::parse(samples[0]).unwrap();
        assert_eq!(settings.datasets.len(), 1);
        settings.datasets.clear();
        assert_eq!(settings, Settings::default());
        let of_server =
            |sample: &&&str| !sample.starts_with("# tokens.toml") && !sample.starts_with("# flags.toml");
        for sample in samples.iter().filter(of_server) {
            let settings = Settings::parse(sample).unwrap();
            assert_eq!(settings.limits, LimitSettings::default());
        }
    }

    #[test]
    fn addresses_that_others_reach_need_a_word() {
        let settings = Settings {
            http: "0.0.0.0:8080".parse().unwrap(),
            ..Settings::default()
        };
        assert!(
            settings
                .check_addresses()
                .unwrap_err()
                .to_string()
                .contains("door=http")
        );
        assert!(
            Settings {
                insecure: true,
                ..settings
            }
            .check_addresses()
            .is_ok()
        );
        let asks = "http = \"0.0.0.0:8080\"\ntokens_file = \"tokens.toml\"\n";
        let warning = Settings::parse(asks).unwrap().check_addresses().unwrap().unwrap();
        assert!(warning.contains("clear text"), "{warning}");
    }

    #[test]
    fn limits_that_let_nobody_in_are_refused() {
        check(
            "[limits]\nheader_timeout = \"0s\"\n",
            "header_timeout must be at least 1ms",
        );
        check(
            "[limits]\nmemory_bytes_max = \"1MiB\"\n",
            "memory_bytes_max must be at least 128MiB",
        );
        check(
            "[limits]\nconnections_max = 0\n",
            "connections_max and connections_per_peer_max must be at least 1",
        );
    }
}
