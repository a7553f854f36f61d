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
    looked: Instant,
    /// What was wrong when the files were last read.
    error: Option<Error>,
}

/// Differs when a file was written, or another has taken its place.
type Stamp = (i64, i64, u64, u64);

impl<T> Reloaded<T> {
    pub(crate) fn new(
        what: &'static str,
        files: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Before the files are read: what is written meanwhile is seen later.
        let stamps = stamps(&files);
        let state = State {
            value: Arc::new(load()?),
            stamps,
            looked: Instant::now(),
            error: None,
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

    /// Looks at the files now.
    pub(crate) fn reload(&self) -> Result<()> {
        let mut state = self.state();
        self.look(&mut state);
        state.error.clone().map_or(Ok(()), Err)
    }

    fn look(&self, state: &mut State<T>) {
        state.looked = Instant::now();
        let stamps = stamps(&self.files);
        if stamps == state.stamps {
            return;
        }
        state.stamps = stamps;
        state.error = match (self.load)() {
            Ok(value) => {
                state.value = Arc::new(value);
                tracing::info!("{} was read again", self.what);
                None
            }
            Err(error) => {
                tracing::error!(
                    "{} has changed and cannot be used, the one before stays: {error}",
                    self.what
                );
                Some(error)
            }
        };
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
