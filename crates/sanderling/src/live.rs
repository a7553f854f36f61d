//! The settings that hold now, and how they change while the server runs: all of a change, or nothing.
//!
//! Two places say what a dataset is: the settings file, and `datasets/<name>.toml` in the data folder, for those that are
//! set by requests. A dataset is set in one of the two, so neither hides what the other says.
//!
//! A change is first built as a whole (parsed, checked, its chains made, its schemas compared with those before), then
//! written where a request made it, and then put in the place of the old by steps that cannot fail. Batches that were taken
//! before go through the old chain, those after through the new one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use event::{DatasetName, TRACERS};
use processor::{Chain, Processor, REPLAYS};
use tokio::sync::{Mutex, OwnedMutexGuard};
use warehouse::Warehouse;

use crate::settings::{DatasetSettings, from_toml};
use crate::steps::Builder;
use crate::{Settings, SettingsError};

/// Who sets a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SetBy {
    /// The settings file.
    File,
    /// A request.
    Request,
}

/// The settings that hold now.
pub(crate) struct Live {
    now: RwLock<Arc<Now>>,
    /// One change at a time.
    changing: Arc<Mutex<()>>,
    folder: PathBuf,
    builder: Builder,
    warehouse: Arc<Warehouse>,
}

/// What requests say of datasets: the text, and what it means.
type Own = BTreeMap<DatasetName, (String, DatasetSettings)>;

/// What holds until the next change.
struct Now {
    /// As the file says.
    file: Settings,
    own: Own,
    /// Both together.
    all: Arc<Settings>,
    /// Of the datasets that are set.
    chains: BTreeMap<DatasetName, (Chain, Vec<Stamp>)>,
}

/// Differs when the file of a component or of descriptors was written.
type Stamp = Option<(SystemTime, u64)>;

/// A change that can be made.
struct Planned {
    next: Now,
    /// The datasets whose settings change.
    changed: Vec<DatasetName>,
    /// The datasets whose events are to be treated otherwise.
    renewed: Vec<DatasetName>,
}

impl Live {
    /// The settings of the file, and those of requests that are kept in the data folder.
    ///
    /// # Errors
    /// Names the file and what is wrong with it, or a chain that cannot be built.
    pub(crate) fn open(
        file: Settings,
        builder: Builder,
        warehouse: Arc<Warehouse>,
    ) -> Result<Self, SettingsError> {
        let folder = file.data_dir.join("datasets");
        let own = read_own(&folder)?;
        let all = together(&file, &own)?;
        let mut chains = BTreeMap::new();
        for (name, settings) in &all.datasets {
            fits_its_table(&warehouse, name, settings)
                .map_err(|error| SettingsError(format!("{error} dataset={name}")))?;
            chains.insert(name.clone(), (builder.chain(name, settings)?, stamps(settings)));
        }
        let now = Now {
            file,
            own,
            all: Arc::new(all),
            chains,
        };
        Ok(Self {
            now: RwLock::new(Arc::new(now)),
            changing: Arc::default(),
            folder,
            builder,
            warehouse,
        })
    }

    /// All settings as they are now.
    pub(crate) fn now(&self) -> Arc<Settings> {
        self.current().all.clone()
    }

    /// Who sets a dataset, and what it says if it was a request.
    pub(crate) fn set_by(&self, name: &DatasetName) -> Option<(SetBy, Option<String>)> {
        let now = self.current();
        if let Some((text, _)) = now.own.get(name) {
            return Some((SetBy::Request, Some(text.clone())));
        }
        now.file
            .datasets
            .contains_key(name)
            .then_some((SetBy::File, None))
    }

    /// The chain of a dataset as it is set now.
    pub(crate) fn chain(&self, name: &DatasetName) -> Chain {
        let now = self.current();
        now.chains
            .get(name)
            .map(|(chain, _)| chain.clone())
            .unwrap_or_default()
    }

    /// Takes over what the settings file says now. Returns the datasets that changed.
    ///
    /// # Errors
    /// Nothing has changed then: it names what cannot be used, or what needs a restart.
    pub(crate) async fn reload(
        self: &Arc<Self>,
        file: Settings,
        processor: &Processor,
    ) -> Result<Vec<DatasetName>, SettingsError> {
        let one_at_a_time = self.changing.clone().lock_owned().await;
        let before = self.current();
        file.needs_no_restart(&before.file)?;
        let planned = self.planned(file, before.own.clone()).await?;
        self.make(planned, None, processor, one_at_a_time).await
    }

    /// Sets a dataset that the file does not set: `text` is what would stand in its section of the file. With `dry_run`
    /// it is only looked whether it could be done. Returns the datasets that change.
    ///
    /// # Errors
    /// As [`Live::reload`].
    pub(crate) async fn put(
        self: &Arc<Self>,
        name: &DatasetName,
        text: &str,
        dry_run: bool,
        processor: &Processor,
    ) -> Result<Vec<DatasetName>, SettingsError> {
        let one_at_a_time = self.changing.clone().lock_owned().await;
        let before = self.current();
        if before.file.datasets.contains_key(name) {
            return Err(SettingsError(format!(
                "the settings file sets this dataset: change it there and send the server a SIGHUP dataset={name}"
            )));
        }
        let mut own = before.own.clone();
        own.insert(name.clone(), (text.to_owned(), parse(name, text)?));
        let planned = self.planned(before.file.clone(), own).await?;
        if dry_run {
            return Ok(planned.changed);
        }
        let path = self.folder.join(format!("{name}.toml"));
        let file = Some((path, text.to_owned()));
        self.make(planned, file, processor, one_at_a_time).await
    }

    /// On a thread that may block: a component is compiled for a second or so.
    async fn planned(self: &Arc<Self>, file: Settings, own: Own) -> Result<Planned, SettingsError> {
        let live = self.clone();
        let planned = tokio::task::spawn_blocking(move || live.plan(file, own)).await;
        planned
            .unwrap_or_else(|error| Err(SettingsError(format!("the settings could not be tried: {error}"))))
    }

    fn plan(&self, file: Settings, own: Own) -> Result<Planned, SettingsError> {
        let before = self.current();
        let all = together(&file, &own)?;
        let names = before.all.datasets.keys().chain(all.datasets.keys());
        let names: BTreeSet<&DatasetName> = names.collect();
        let default = DatasetSettings::default();
        let (mut changed, mut renewed, mut chains) = (Vec::new(), Vec::new(), BTreeMap::new());
        for name in names {
            let [old, new] = [&before.all, &all].map(|all| all.datasets.get(name).unwrap_or(&default));
            let bad = |error: String| SettingsError(format!("{error} dataset={name}"));
            if old != new {
                old.may_become(new).map_err(bad)?;
                fits_its_table(&self.warehouse, name, new).map_err(bad)?;
                changed.push(name.clone());
            }
            let stamps = stamps(new);
            match before.chains.get(name) {
                Some((chain, known)) if old.steps == new.steps && *known == stamps => {
                    if old.of_events() != new.of_events() || old.plain != new.plain {
                        renewed.push(name.clone());
                    }
                    chains.insert(name.clone(), (chain.clone(), stamps));
                }
                _ => {
                    renewed.push(name.clone());
                    chains.insert(name.clone(), (self.builder.chain(name, new)?, stamps));
                }
            }
        }
        let all = Arc::new(all);
        Ok(Planned {
            next: Now {
                file,
                own,
                all,
                chains,
            },
            changed,
            renewed,
        })
    }

    /// Writes what is to be kept, and puts the new in the place of the old. It goes on to its end when nobody waits for it
    /// any more. A dataset that has no events yet is treated as it is set when they come.
    async fn make(
        self: &Arc<Self>,
        planned: Planned,
        file: Option<(PathBuf, String)>,
        processor: &Processor,
        one_at_a_time: OwnedMutexGuard<()>,
    ) -> Result<Vec<DatasetName>, SettingsError> {
        let (live, processor) = (self.clone(), processor.clone());
        let made = tokio::spawn(async move {
            let _one_at_a_time = one_at_a_time;
            if let Some((path, text)) = file {
                let bad = |error: &dyn std::fmt::Display| {
                    SettingsError(format!(
                        "cannot keep the settings: {error} file={}",
                        path.display()
                    ))
                };
                let to = path.clone();
                let written = tokio::task::spawn_blocking(move || write_whole(&to, text.as_bytes())).await;
                written
                    .map_err(|error| bad(&error))?
                    .map_err(|error| bad(&error))?;
            }
            live.swap(planned, &processor).await
        });
        made.await
            .unwrap_or_else(|error| Err(SettingsError(format!("the change broke off: {error}"))))
    }

    async fn swap(&self, planned: Planned, processor: &Processor) -> Result<Vec<DatasetName>, SettingsError> {
        let Planned {
            next,
            changed,
            renewed,
        } = planned;
        let next = Arc::new(next);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = next.clone();
        let mut failed = Vec::new();
        for name in &renewed {
            let (chain, settings) = (self.chain(name), next.all.dataset(name));
            if let Err(error) = processor.set_chain(name, &settings, &chain).await
                && error.kind() != processor::ErrorKind::NotFound
            {
                failed.push(format!("{error} dataset={name}"));
            }
        }
        let names: Vec<&str> = renewed.iter().map(DatasetName::as_str).collect();
        tracing::info!(
            changed = changed.len(),
            renewed = names.join(","),
            "settings changed"
        );
        match failed.is_empty() {
            true => Ok(changed),
            false => Err(SettingsError(format!(
                "the settings are kept, but some hold from the next start of the server on: {}",
                failed.join("; ")
            ))),
        }
    }

    fn current(&self) -> Arc<Now> {
        self.now.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Whether the dataset's job can begin: the table that is there can have the columns that are declared (behind a chain it need
/// not), and the type of Protobuf messages is there.
fn fits_its_table(
    warehouse: &Warehouse,
    name: &DatasetName,
    settings: &DatasetSettings,
) -> Result<(), String> {
    if is_own(name) && (!settings.steps.is_empty() || settings.schema.is_some()) {
        return Err("a dataset of the system has neither steps nor a schema".to_owned());
    }
    let table = warehouse
        .table(name.as_str())
        .filter(|_| settings.steps.is_empty());
    let checked = processor::check_settings(&settings.of_events(), table.map(|table| table.schema()));
    checked.map_err(|error| error.to_string())
}

fn is_own(name: &DatasetName) -> bool {
    [TRACERS, REPLAYS].contains(&name.as_str())
}

/// The file's datasets and those of requests.
fn together(file: &Settings, own: &Own) -> Result<Settings, SettingsError> {
    let mut all = file.clone();
    for (name, (_, settings)) in own {
        if all.datasets.insert(name.clone(), settings.clone()).is_some() {
            return Err(SettingsError(format!(
                "a dataset is set in the settings file and by a request, remove one of them: the file's section, or \
                 datasets/{name}.toml in the data folder while the server is down dataset={name}"
            )));
        }
    }
    Ok(all)
}

fn stamps(settings: &DatasetSettings) -> Vec<Stamp> {
    let files = settings.steps.iter().filter_map(|step| step.wasm.as_ref());
    let files = files.chain(settings.protobuf.as_ref().map(|protobuf| &protobuf.descriptors));
    let stamp = |file: &PathBuf| {
        let meta = std::fs::metadata(file).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    files.map(stamp).collect()
}

fn parse(name: &DatasetName, text: &str) -> Result<DatasetSettings, SettingsError> {
    let settings: DatasetSettings = from_toml(text)?;
    let checked = settings.check();
    checked.map_err(|error| SettingsError(format!("{error} dataset={name}")))?;
    Ok(settings)
}

fn read_own(folder: &Path) -> Result<Own, SettingsError> {
    let bad = |path: &Path, error: &dyn std::fmt::Display| {
        SettingsError(format!(
            "cannot use a dataset's settings: {error} file={}",
            path.display()
        ))
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Own::new()),
        entries => entries.map_err(|error| bad(folder, &error))?,
    };
    let mut own = Own::new();
    for entry in entries {
        let path = entry.map_err(|error| bad(folder, &error))?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        // What a crash has left half written ends otherwise.
        let Some(name) = name.strip_suffix(".toml") else {
            continue;
        };
        let name: DatasetName = name.parse().map_err(|error| bad(&path, &error))?;
        let text = std::fs::read_to_string(&path).map_err(|error| bad(&path, &error))?;
        let settings = parse(&name, &text).map_err(|error| bad(&path, &error))?;
        own.insert(name, (text, settings));
    }
    Ok(own)
}

/// The file has all of the bytes or what it had before, whatever crashes.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let new = path.with_extension("toml.new");
    let mut file = std::fs::File::create(&new)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // From here on the file has all of it; a loss of power may take it back to what it was.
    if let Err(error) = std::fs::File::open(folder).and_then(|folder| folder.sync_all()) {
        tracing::warn!(%error, file = %path.display(), "a dataset's settings may not outlive a loss of power");
    }
    Ok(())
}
