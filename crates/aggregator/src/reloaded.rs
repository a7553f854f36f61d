//! What is made of files, and made anew when they change.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use crate::limits::LOOK_EVERY;
use crate::{Error, Result};

/// A value made of files. While they cannot be used, the last value that could is kept.
pub(crate) struct Reloaded<T> {
    /// For the log.
    what: &'static str,
    files: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T> + Send + Sync>,
    state: Mutex<State<T>>,
}

struct State<T> {
    value: Arc<T>,
    stamps: Vec<Option<Stamp>>,
    /// Of files that the log has been told cannot be used.
    told: Vec<Option<Stamp>>,
    looked: Instant,
}

/// Differs when a file was written, or another has taken its place.
type Stamp = (i64, i64, u64, u64);

impl<T> Reloaded<T> {
    pub(crate) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        let stamps = stamps(&files);
        let state = State {
            value: Arc::new(load()?),
            stamps,
            told: Vec::new(),
            looked: Instant::now(),
        };
        Ok(Self {
            what,
            files,
            load: Box::new(load),
            state: Mutex::new(state),
        })
    }

    /// The value now; looks at the files if that is a second ago.
    pub(crate) fn get(&self) -> Arc<T> {
        let mut state = self.state();
        if state.looked.elapsed() >= LOOK_EVERY {
            self.look(&mut state);
        }
        Arc::clone(&state.value)
    }

    /// Reads the files now, changed or not.
    pub(crate) fn reload(&self) -> Result<()> {
        let mut state = self.state();
        let stamps = stamps(&self.files);
        self.read(&mut state, stamps)
    }

    fn look(&self, state: &mut State<T>) {
        state.looked = Instant::now();
        let stamps = stamps(&self.files);
        // Tried again until it can be read: what failed may have been the system, not the file.
        if stamps != state.stamps
            && let Err(error) = self.read(state, stamps.clone())
            && state.told != stamps
        {
            state.told = stamps;
            tracing::error!(
                "{} has changed and cannot be used, the one before stays: {error}",
                self.what
            );
        }
    }

    /// The stamps are from before: what is written meanwhile is seen later.
    fn read(&self, state: &mut State<T>, stamps: Vec<Option<Stamp>>) -> Result<()> {
        state.value = Arc::new((self.load)()?);
        state.stamps = stamps;
        tracing::info!("{} was read again", self.what);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("no holder of the lock panics")
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |of: Metadata| (of.mtime(), of.mtime_nsec(), of.len(), of.ino());
    let stamps = files.iter().map(|path| std::fs::metadata(path).ok().map(stamp));
    stamps.collect()
}

/// A file's bytes, if there are no more than so many.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let bad = |what: &dyn std::fmt::Display| {
        Error::invalid(format_args!(
            "file cannot be read: {what} file={}",
            path.display()
        ))
    };
    let file = std::fs::File::open(path).map_err(|error| bad(&error))?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| bad(&error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(bad(&format_args!("too large bytes_max={bytes_max}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_when_it_has_changed_and_until_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        std::fs::write(&file, "7").unwrap();
        let (path, reads) = (file.clone(), Arc::new(Mutex::new(0)));
        let counted = Arc::clone(&reads);
        let number = Reloaded::new("number", vec![file.clone()], move || {
            *counted.lock().unwrap() += 1;
            let text = String::from_utf8(read(&path, 4)?).unwrap();
            text.parse::<u32>().map_err(Error::invalid)
        })
        .unwrap();
        let look = || {
            let mut state = number.state();
            number.look(&mut state);
            (*state.value, *reads.lock().unwrap())
        };
        assert_eq!((look(), look()), ((7, 1), (7, 1)));
        std::fs::write(&file, "12").unwrap();
        assert_eq!((look(), look()), ((12, 2), (12, 2)));
        std::fs::write(&file, "abc").unwrap();
        // It may have been the system that failed, so it is tried again, once a second at most.
        assert_eq!((look(), look()), ((12, 3), (12, 4)));
        std::fs::write(&file, "12345").unwrap();
        assert!(number.reload().unwrap_err().to_string().contains("bytes_max=4"));
        std::fs::remove_file(&file).unwrap();
        assert_eq!((look(), look()), ((12, 6), (12, 7)));
    }

    #[test]
    fn what_could_not_be_read_is_read_as_soon_as_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("number");
        std::fs::write(&file, "7").unwrap();
        let (path, fails) = (file.clone(), Arc::new(std::sync::atomic::AtomicBool::new(false)));
        let now = Arc::clone(&fails);
        let number = Reloaded::new("number", vec![file.clone()], move || {
            if now.swap(false, std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::invalid("too many open files"));
            }
            let text = String::from_utf8(read(&path, 4)?).unwrap();
            text.parse::<u32>().map_err(Error::invalid)
        })
        .unwrap();
        std::fs::write(&file, "12").unwrap();
        fails.store(true, std::sync::atomic::Ordering::Relaxed);
        for expected in [7, 12] {
            number.look(&mut number.state());
            assert_eq!(*number.state().value, expected);
        }
    }
}
