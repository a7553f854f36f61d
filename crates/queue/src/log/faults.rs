//! The real file system for tests that make it fail.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile, Entry, Mode, RealDisk};
use super::model::ModelDisk;

/// What a test puts into the options of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestDisk {
    pub(crate) faults: Arc<Faults>,
    /// A modelled file system in place of the real one.
    pub(crate) model: Option<ModelDisk>,
}

impl TestDisk {
    pub(crate) fn disk(&self) -> Arc<dyn Disk> {
        match &self.model {
            Some(model) => Arc::new(model.clone()),
            None => Arc::new(FaultyDisk(self.faults.clone())),
        }
    }
}

/// What shall go wrong.
#[derive(Debug)]
pub(crate) struct Faults {
    /// Bytes that can still be written before the disk is full; negative: no limit.
    pub(crate) room: AtomicI64,
    /// Whether syncs fail.
    pub(crate) sync_fails: AtomicBool,
    /// Held by a test to keep writes and syncs waiting.
    pub(crate) gate: Mutex<()>,
    /// Bytes that the page cache was told to let go of.
    pub(crate) uncached: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            room: (-1).into(),
            sync_fails: false.into(),
            gate: Mutex::new(()),
            uncached: 0.into(),
        }
    }
}

#[derive(Debug)]
struct FaultyDisk(Arc<Faults>);

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Faults>,
}

impl Disk for FaultyDisk {
    fn lock(&self, root: &Path) -> io::Result<Option<File>> {
        RealDisk.lock(root)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(folder)
    }
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let (file, faults) = (RealDisk.open(path, mode)?, self.0.clone());
        Ok(Box::new(FaultyFile { file, faults }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_folder(path)
    }
}

impl DiskFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.file.read_at(bytes, at)
    }
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        drop(self.faults.gate.lock().unwrap());
        let room = self.faults.room.load(SeqCst);
        if room < 0 {
            return self.file.write_at(bytes, at);
        }
        let fits = (room as usize).min(bytes.len());
        self.faults.room.fetch_sub(fits as i64, SeqCst);
        self.file.write_at(&bytes[..fits], at)?;
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(rustix::io::Errno::NOSPC.into()),
        }
    }
    fn set_length(&self, length: u64) -> io::Result<()> {
        self.file.set_length(length)
    }
    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        self.file.allocate(from, to)
    }
    fn sync(&self) -> io::Result<()> {
        drop(self.faults.gate.lock().unwrap());
        match self.faults.sync_fails.load(SeqCst) {
            true => Err(rustix::io::Errno::IO.into()),
            false => self.file.sync(),
        }
    }
    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }
    fn uncache(&self, from: u64, to: u64) {
        self.faults.uncached.fetch_add(to - from, SeqCst);
        self.file.uncache(from, to);
    }
}
