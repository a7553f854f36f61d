//! What the log asks of the file system, in one place, so that tests can make it fail.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;

/// The file system; in tests one that can be told to be full or to fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    pub(crate) faults: std::sync::Arc<Faults>,
}

impl Disk {
    /// Writes all bytes at a position.
    pub(crate) fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        #[cfg(test)]
        self.faults.write(file, bytes, at)?;
        file.write_all_at(bytes, at)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        #[cfg(test)]
        self.faults.sync()?;
        file.sync_data()
    }

    /// Makes room for bytes `from..to`, which read as zeros; without it each sync would also write the new size.
    pub(crate) fn allocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        Ok(rustix::fs::fallocate(
            file,
            FallocateFlags::empty(),
            from,
            to - from,
        )?)
    }
}

/// Makes new names in a folder durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// What shall go wrong.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct Faults {
    /// Bytes that can still be written before the disk is full; negative: no limit.
    pub(crate) room: std::sync::atomic::AtomicI64,
    /// Whether syncs fail.
    pub(crate) sync_fails: std::sync::atomic::AtomicBool,
    /// Held by a test to keep writes and syncs waiting.
    pub(crate) gate: std::sync::Mutex<()>,
}

#[cfg(test)]
impl Default for Faults {
    fn default() -> Self {
        Self {
            room: (-1).into(),
            sync_fails: false.into(),
            gate: std::sync::Mutex::new(()),
        }
    }
}

#[cfg(test)]
impl Faults {
    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        use std::sync::atomic::Ordering::SeqCst;
        drop(self.gate.lock().unwrap());
        let room = self.room.load(SeqCst);
        if room < 0 {
            return Ok(());
        }
        let fits = (room as usize).min(bytes.len());
        self.room.fetch_sub(fits as i64, SeqCst);
        if fits == bytes.len() {
            return Ok(());
        }
        file.write_all_at(&bytes[..fits], at)?;
        Err(rustix::io::Errno::NOSPC.into())
    }

    fn sync(&self) -> io::Result<()> {
        drop(self.gate.lock().unwrap());
        match self.sync_fails.load(std::sync::atomic::Ordering::SeqCst) {
            true => Err(rustix::io::Errno::IO.into()),
            false => Ok(()),
        }
    }
}
