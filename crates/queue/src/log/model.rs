//! A file system in memory that forgets as real ones may: what was not synced survives a loss of power in part,
//! sector by sector and name by name, in any combination.
//!
//! It is harsher than any real one: the sync of a file does not make its name durable, names are not journaled in
//! order, and a sync that fails leaves bytes that can be read, count as clean, and are lost with the power.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, DiskFile, Entry, Mode};

const SECTOR_BYTES: u64 = 512;

/// Handle of a modelled file system.
#[derive(Clone, Debug)]
pub(crate) struct ModelDisk(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    files: Vec<Node>,
    folders: BTreeMap<PathBuf, Folder>,
    /// Operations that still succeed; then the machine is off.
    left: u64,
    /// How many of the next syncs fail.
    failing_syncs: u32,
    chance: u64,
}

#[derive(Clone, Debug, Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    live: BTreeMap<String, Name>,
    durable: BTreeMap<String, Name>,
    pending: Vec<Naming>,
}

#[derive(Clone, Copy, Debug)]
enum Name {
    File(usize),
    Folder,
}

#[derive(Clone, Debug)]
enum Naming {
    Link(String, Name),
    Unlink(String),
    Rename(String, String, Name),
}

/// How a machine stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The process is killed: everything written is still in memory.
    Kill,
    /// The power goes: of what was not synced, some is there.
    Power,
}

impl ModelDisk {
    pub(crate) fn new(chance: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            files: Vec::new(),
            folders: BTreeMap::from([(PathBuf::from("/"), Folder::default())]),
            left: u64::MAX,
            failing_syncs: 0,
            chance,
        })))
    }

    /// The machine stops after so many more operations.
    pub(crate) fn stop_after(&self, operations: u64) {
        self.state().left = operations;
    }

    pub(crate) fn is_off(&self) -> bool {
        self.state().left == 0
    }

    pub(crate) fn fail_syncs(&self, count: u32) {
        self.state().failing_syncs = count;
    }

    /// What the next process finds. This one is dead from here on.
    pub(crate) fn stopped(&self, stop: Stop) -> Self {
        let mut state = self.state();
        state.left = 0;
        let mut next = state.clone();
        drop(state);
        (next.left, next.failing_syncs) = (u64::MAX, 0);
        if stop == Stop::Power {
            next.lose_power();
        }
        Self(Arc::new(Mutex::new(next)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts an operation.
    fn operate(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        if state.left == 0 {
            return Err(io::Error::other("the machine is off"));
        }
        if state.left != u64::MAX {
            state.left -= 1;
        }
        Ok(state)
    }
}

impl State {
    /// SplitMix64.
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn coin(&mut self) -> bool {
        self.chance() & 1 == 0
    }

    fn lose_power(&mut self) {
        for file in 0..self.files.len() {
            self.write_back_some(file);
            let node = &mut self.files[file];
            node.live = node.durable.clone();
        }
        // A folder whose own name is lost takes all below with it: parents come before their children.
        let paths: Vec<_> = self.folders.keys().cloned().collect();
        for path in paths {
            let linked = path.parent().is_none_or(|parent| {
                let name = path.file_name().unwrap().to_str().unwrap();
                let parent = self.folders.get(parent);
                parent.is_some_and(|parent| matches!(parent.live.get(name), Some(Name::Folder)))
            });
            let Some(mut folder) = self.folders.remove(&path) else {
                continue;
            };
            if !linked {
                continue;
            }
            for naming in std::mem::take(&mut folder.pending) {
                if self.coin() {
                    naming.apply(&mut folder.durable);
                }
            }
            folder.live = folder.durable.clone();
            self.folders.insert(path, folder);
        }
    }

    /// Some of what is pending becomes durable, the rest never will.
    fn write_back_some(&mut self, file: usize) {
        let whole = self.coin();
        for change in std::mem::take(&mut self.files[file].pending) {
            match change {
                Change::Length(length) => {
                    if whole || self.coin() {
                        self.files[file].durable.resize(length as usize, 0);
                    }
                }
                Change::Write(at, bytes) => {
                    let mut done = 0;
                    while done < bytes.len() {
                        let here = at + done as u64;
                        let sector = (SECTOR_BYTES - here % SECTOR_BYTES) as usize;
                        let piece = &bytes[done..(done + sector).min(bytes.len())];
                        if whole || self.coin() {
                            put(&mut self.files[file].durable, here, piece);
                        }
                        done += piece.len();
                    }
                }
            }
        }
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        if self.failing_syncs > 0 {
            self.failing_syncs -= 1;
            self.write_back_some(file);
            return Err(rustix::io::Errno::IO.into());
        }
        let node = &mut self.files[file];
        for change in std::mem::take(&mut node.pending) {
            change.apply(&mut node.durable);
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path) -> io::Result<&mut Folder> {
        self.folders
            .get_mut(path)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn name(&mut self, path: &Path) -> io::Result<(&mut Folder, String)> {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        Ok((self.folder(path.parent().unwrap())?, name))
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, written) => put(bytes, *at, written),
            Self::Length(length) => bytes.resize(*length as usize, 0),
        }
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<String, Name>) {
        match self {
            Self::Link(name, is) => {
                names.insert(name, is);
            }
            Self::Unlink(name) => {
                names.remove(&name);
            }
            Self::Rename(from, to, is) => {
                names.remove(&from);
                names.insert(to, is);
            }
        }
    }
}

impl Folder {
    fn change(&mut self, naming: Naming) {
        naming.clone().apply(&mut self.live);
        self.pending.push(naming);
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, written: &[u8]) {
    let (start, end) = (at as usize, at as usize + written.len());
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[start..end].copy_from_slice(written);
}

impl Disk for ModelDisk {
    fn lock(&self, _: &Path) -> io::Result<Option<File>> {
        Ok(None)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let ancestors: Vec<_> = path.ancestors().collect();
        for path in ancestors.into_iter().rev() {
            if !state.folders.contains_key(path) {
                let (parent, name) = state.name(path)?;
                parent.change(Naming::Link(name, Name::Folder));
                state.folders.insert(path.to_owned(), Folder::default());
            }
        }
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut state = self.operate()?;
        let names = state.folder(folder)?.live.iter();
        let entry = |(name, is): (&String, &Name)| Entry {
            name: name.clone(),
            is_folder: matches!(is, Name::Folder),
        };
        Ok(names.map(entry).collect())
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.operate()?;
        let new = state.files.len();
        let (folder, name) = state.name(path)?;
        let file = match (mode, folder.live.get(&name)) {
            (Mode::Create, there) => {
                if there.is_some() {
                    folder.change(Naming::Unlink(name.clone()));
                }
                folder.change(Naming::Link(name, Name::File(new)));
                state.files.push(Node::default());
                new
            }
            (_, Some(Name::File(file))) => *file,
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        drop(state);
        Ok(Box::new(ModelFile {
            disk: self.clone(),
            file,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let to = to.file_name().unwrap().to_str().unwrap().to_owned();
        let (folder, from) = state.name(from)?;
        let is = *folder.live.get(&from).ok_or(io::ErrorKind::NotFound)?;
        folder.change(Naming::Rename(from, to, is));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let (folder, name) = state.name(path)?;
        if !folder.live.contains_key(&name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        folder.change(Naming::Unlink(name));
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.operate()?;
        let folder = state.folder(path)?;
        for naming in std::mem::take(&mut folder.pending) {
            naming.apply(&mut folder.durable);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct ModelFile {
    disk: ModelDisk,
    file: usize,
}

impl ModelFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut state = self.disk.operate()?;
        let node = &mut state.files[self.file];
        change.apply(&mut node.live);
        node.pending.push(change);
        Ok(())
    }
}

impl DiskFile for ModelFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.operate()?.files[self.file].live.len() as u64)
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let state = self.disk.operate()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let live = &state.files[self.file].live;
        assert!(bytes.len() <= live.len(), "room for no more than the file has");
        let from = live.get(at as usize..at as usize + bytes.len());
        bytes.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.change(Change::Write(at, bytes.to_vec()))
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.change(Change::Length(length))
    }

    fn allocate(&self, _: u64, to: u64) -> io::Result<()> {
        match self.length()? < to {
            true => self.change(Change::Length(to)),
            false => Ok(()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.operate()?.sync(self.file)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.disk.operate()?.sync(self.file)
    }
}
