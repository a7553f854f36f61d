//! A dataset's folder, and its file `dataset.meta`: version and number of partitions, as text.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use event::DatasetName;

use super::disk::sync_folder;
use crate::limits::PARTITIONS_MAX;
use crate::{Error, ErrorKind, Partition, Result};

const META: &str = "dataset.meta";

/// Where a dataset's partitions live.
#[derive(Debug)]
pub(crate) struct DatasetFolder {
    pub(crate) name: DatasetName,
    pub(crate) path: PathBuf,
    pub(crate) partitions: u32,
    /// Whether folder and meta file are durable.
    made: Mutex<bool>,
}

impl DatasetFolder {
    /// A dataset that is not on disk yet: [`DatasetFolder::make`] puts it there.
    pub(crate) fn new(root: &Path, name: DatasetName, partitions: u32) -> Self {
        let path = root.join(name.as_str());
        Self {
            name,
            path,
            partitions,
            made: Mutex::new(false),
        }
    }

    /// The dataset in a folder; `None` when its making was cut short, before anything could be kept in it.
    pub(crate) fn open(root: &Path, name: DatasetName) -> Result<Option<Self>> {
        let path = root.join(name.as_str());
        let damaged = |what: &dyn std::fmt::Display| {
            Error::new(
                ErrorKind::Corrupt,
                format_args!(
                    "dataset cannot be opened: {what} path={}",
                    path.join(META).display()
                ),
            )
        };
        let partitions = match fs::read_to_string(path.join(META)) {
            Ok(text) => text
                .strip_prefix("version=1\npartitions=")
                .and_then(|rest| rest.trim_end().parse().ok())
                .filter(|partitions| (1..=PARTITIONS_MAX).contains(partitions))
                .ok_or_else(|| damaged(&"its settings are not those of this version"))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return match path.join("0").exists() {
                    true => Err(damaged(&"its settings are missing, restore them")),
                    false => Ok(None),
                };
            }
            Err(error) => return Err(damaged(&error)),
        };
        Ok(Some(Self {
            name,
            path,
            partitions,
            made: Mutex::new(true),
        }))
    }

    /// Puts folder and meta file on disk, durably, if they are not there.
    pub(crate) fn make(&self) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if *made {
            return Ok(());
        }
        fs::create_dir_all(&self.path)?;
        let temporary = self.path.join(format!("{META}.tmp"));
        let mut file = File::create(&temporary)?;
        write!(file, "version=1\npartitions={}\n", self.partitions)?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(META))?;
        // A partition's folder without the meta file would be damage, so the order counts.
        sync_folder(&self.path)?;
        for partition in 0..self.partitions {
            fs::create_dir_all(self.partition(Partition(partition)))?;
        }
        sync_folder(&self.path)?;
        if let Some(root) = self.path.parent() {
            sync_folder(root)?;
        }
        *made = true;
        Ok(())
    }

    /// The folder of a partition.
    pub(crate) fn partition(&self, partition: Partition) -> PathBuf {
        self.path.join(partition.0.to_string())
    }
}
