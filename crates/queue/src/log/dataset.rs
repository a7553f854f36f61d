//! A dataset's folder and its small files: `dataset.meta` (version and number of partitions) and `consumers.meta`
//! (`retention.rs`), both text.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use event::DatasetName;

use super::disk::{Disk, read, replace};
use crate::limits::{CONSUMERS_FILE_BYTES_MAX, META_FILE_BYTES_MAX, PARTITIONS_MAX};
use crate::retention::Consumers;
use crate::{Error, ErrorKind, Partition, Result};

pub(crate) const META: &str = "dataset.meta";
pub(crate) const CONSUMERS: &str = "consumers.meta";
/// What a damaged file of consumers is renamed to. While it is there, nothing is deleted.
pub(crate) const CONSUMERS_DAMAGED: &str = "consumers.damaged";

/// Where a dataset's partitions live.
#[derive(Debug)]
pub(crate) struct DatasetFolder {
    pub(crate) name: DatasetName,
    pub(crate) path: PathBuf,
    pub(crate) partitions: u32,
    pub(crate) disk: Arc<dyn Disk>,
    /// Whether folder and meta file are durable.
    made: Mutex<bool>,
}

/// What the files of a dataset say about its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settings {
    Partitions(u32),
    /// The file is damaged or gone; so many folders of partitions are there.
    Rebuilt(u32),
    /// Its making was cut short, before anything could be kept in it.
    Unfinished,
}

/// Reads the settings of a dataset.
///
/// # Errors
/// `Corrupt` when they are those of a later version.
pub(crate) fn settings(disk: &dyn Disk, folder: &Path) -> Result<Settings> {
    let failed = |kind, what: &dyn std::fmt::Display| {
        let path = folder.join(META);
        Error::new(
            kind,
            format_args!("dataset cannot be opened: {what} path={}", path.display()),
        )
    };
    let text = match read(disk, &folder.join(META), META_FILE_BYTES_MAX) {
        Ok(bytes) => String::from_utf8(bytes).unwrap_or_default(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(ErrorKind::Retry, &error)),
    };
    let partitions = text
        .strip_prefix("version=1\npartitions=")
        .and_then(|rest| rest.strip_suffix('\n')?.parse().ok())
        .filter(|partitions| (1..=PARTITIONS_MAX).contains(partitions));
    if let Some(partitions) = partitions {
        return Ok(Settings::Partitions(partitions));
    }
    let version = text.strip_prefix("version=").and_then(|rest| rest.lines().next());
    if version.is_some_and(|version| version.parse().is_ok_and(|version: u32| version > 1)) {
        return Err(failed(
            ErrorKind::Corrupt,
            &"it was written by a later version, use that one",
        ));
    }
    // All folders of partitions are durable before anything is kept in one of them.
    let entries = disk
        .list(folder)
        .map_err(|error| failed(ErrorKind::Retry, &error))?;
    let numbers = entries.iter().filter(|entry| entry.is_folder);
    let last = numbers.filter_map(|entry| entry.name.parse::<u32>().ok()).max();
    Ok(match last {
        Some(last) if last < PARTITIONS_MAX => Settings::Rebuilt(last + 1),
        _ => Settings::Unfinished,
    })
}

impl DatasetFolder {
    /// A dataset that is not on disk yet: [`DatasetFolder::make`] puts it there.
    pub(crate) fn new(root: &Path, name: DatasetName, partitions: u32, disk: Arc<dyn Disk>) -> Self {
        let path = root.join(name.as_str());
        Self {
            name,
            path,
            partitions,
            disk,
            made: Mutex::new(false),
        }
    }

    /// Puts folder and meta file on disk, durably, if they are not there.
    pub(crate) fn make(&self) -> io::Result<()> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if *made {
            return Ok(());
        }
        self.disk.create_folder(&self.path)?;
        let text = format!("version=1\npartitions={}\n", self.partitions);
        // A partition's folder without the meta file would look like damage, so the order counts.
        replace(&*self.disk, &self.path.join(META), text.as_bytes())?;
        for partition in 0..self.partitions {
            self.disk.create_folder(&self.partition(Partition(partition)))?;
        }
        self.disk.sync_folder(&self.path)?;
        if let Some(root) = self.path.parent() {
            self.disk.sync_folder(root)?;
        }
        *made = true;
        Ok(())
    }

    /// Makes durable what is there, and makes what is missing: a crash may have cut [`DatasetFolder::make`] short
    /// anywhere. The folders of the partitions are made last, so where they all are, so is the rest.
    pub(crate) fn complete(&self) -> io::Result<()> {
        let entries = self.disk.list(&self.path)?;
        let is_there = |name: &str| entries.iter().any(|entry| entry.name == name);
        let partitions = (0..self.partitions).map(|partition| partition.to_string());
        if !partitions.into_iter().all(|name| is_there(&name)) {
            return self.make();
        }
        self.disk.sync_folder(&self.path)?;
        *self.made.lock().unwrap_or_else(PoisonError::into_inner) = true;
        Ok(())
    }

    /// The registered consumers; `None` when the file is damaged.
    pub(crate) fn consumers(&self) -> io::Result<Option<Consumers>> {
        match read(&*self.disk, &self.path.join(CONSUMERS), CONSUMERS_FILE_BYTES_MAX) {
            Ok(bytes) => {
                let text = String::from_utf8(bytes).unwrap_or_default();
                Ok(Consumers::decode(&text, self.partitions as usize))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(Consumers::default())),
            Err(error) => Err(error),
        }
    }

    /// Puts a damaged file of consumers aside, where it forbids to delete until somebody has looked.
    pub(crate) fn put_consumers_aside(&self) -> io::Result<()> {
        self.disk
            .rename(&self.path.join(CONSUMERS), &self.path.join(CONSUMERS_DAMAGED))?;
        self.disk.sync_folder(&self.path)
    }

    /// Whether a file of consumers was put aside.
    pub(crate) fn consumers_are_damaged(&self) -> io::Result<bool> {
        let entries = self.disk.list(&self.path)?;
        Ok(entries.iter().any(|entry| entry.name == CONSUMERS_DAMAGED))
    }

    pub(crate) fn write_consumers(&self, consumers: &Consumers) -> io::Result<()> {
        self.make()?;
        replace(
            &*self.disk,
            &self.path.join(CONSUMERS),
            consumers.encode().as_bytes(),
        )
    }

    /// The folder of a partition.
    pub(crate) fn partition(&self, partition: Partition) -> PathBuf {
        self.path.join(partition.0.to_string())
    }
}
