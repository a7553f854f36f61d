//! What the log asks of the file system, in one place, so that tests can put a failing or a modelled one there.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// Parts that one call of the system takes.
const WRITE_PARTS_MAX: usize = 1_024;

/// A file system.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Keeps other processes out of a folder until the file is dropped; `WouldBlock` when one is in.
    fn lock(&self, root: &Path) -> io::Result<Option<File>>;
    /// Makes a folder and those above it, if they are not there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// What is in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>>;
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>>;
    /// Puts a file in the place of another one, at once.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes names made, changed and removed in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    fn length(&self) -> io::Result<u64>;
    /// Fills all of `bytes` from a position.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all bytes at a position.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Writes all parts, one after the other, at a position.
    fn write_parts_at(&self, parts: &mut [IoSlice<'_>], at: u64) -> io::Result<()> {
        let parts: Vec<&[u8]> = parts.iter().map(|part| &**part).collect();
        self.write_at(&parts.concat(), at)
    }
    /// Cuts the file there, or fills it up with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes room for bytes `from..to`, which read as zeros; without it each sync would also write the new size.
    fn allocate(&self, from: u64, to: u64) -> io::Result<()>;
    /// Makes durable what was written, and the length as far as reading it needs that.
    fn sync(&self) -> io::Result<()>;
    /// Makes what was written and the length durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Lets the page cache go of durable bytes `from..to`; reading them takes the disk. Only advice.
    fn uncache(&self, _from: u64, _to: u64) {}
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// To read one that is there.
    Read,
    /// To read and write one that is there.
    Write,
    /// To write a new, empty one, in place of any that is there.
    Create,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_folder: bool,
}

/// The file system of this machine.
#[derive(Debug)]
pub(crate) struct RealDisk;

impl Disk for RealDisk {
    fn lock(&self, root: &Path) -> io::Result<Option<File>> {
        let file = File::create(root.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            // No name of the log's own is anything but ASCII.
            if let Ok(name) = entry.file_name().into_string() {
                let is_folder = entry.path().is_dir();
                entries.push(Entry { name, is_folder });
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(mode != Mode::Read);
        if mode == Mode::Create {
            // A file that is there may be held open by a reader: it gets to the end of what it was.
            if let Err(error) = fs::remove_file(path)
                && error.kind() != io::ErrorKind::NotFound
            {
                return Err(error);
            }
            options.create_new(true);
        }
        Ok(Box::new(options.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl DiskFile for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(bytes, at)
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn write_parts_at(&self, mut parts: &mut [IoSlice<'_>], mut at: u64) -> io::Result<()> {
        while !parts.is_empty() {
            let count = parts.len().min(WRITE_PARTS_MAX);
            match rustix::io::pwritev(self, &parts[..count], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut parts, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn allocate(&self, from: u64, to: u64) -> io::Result<()> {
        let empty = FallocateFlags::empty();
        Ok(rustix::fs::fallocate(self, empty, from, to - from)?)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    #[cfg(not(target_vendor = "apple"))]
    fn uncache(&self, from: u64, to: u64) {
        let length = std::num::NonZeroU64::new(to.saturating_sub(from));
        // It is advice: a file system that does not take it keeps its pages.
        let _ = rustix::fs::fadvise(self, from, length, rustix::fs::Advice::DontNeed);
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}

/// Puts a small file in the place of the one that is there, durably: after a crash it is the old or the new one.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let file = disk.open(&temporary, Mode::Create)?;
    file.write_at(bytes, 0)?;
    file.sync_all()?;
    disk.rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => disk.sync_folder(folder),
        None => Ok(()),
    }
}

/// The bytes of a small file; longer ones are cut at `bytes_max`.
pub(crate) fn read(disk: &dyn Disk, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Mode::Read)?;
    let mut bytes = vec![0; file.length()?.min(bytes_max as u64) as usize];
    file.read_at(&mut bytes, 0)?;
    Ok(bytes)
}
