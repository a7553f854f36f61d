//! Where a dataset's events go now: its flags, as they hold for this client.

use std::path::PathBuf;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use event::EmitterId;
use event::flags::{DatasetFlags, Mode, SampleOf, Share};

use crate::DatasetStats;
use crate::limits::BATCH_FILE_BYTES_MAX;

/// The files of the modes `batch`, `both` and `shadow`: `<folder>/<dataset>/YYYY/MM/DD/HH/<emitter>-<n>.ndjson`, by
/// the hour (UTC) in which the oldest event of a client's batch was emitted. A file is called `.tmp` until the hour
/// is over, the file is large or the client is closed; then it is synced and gets its name.
#[derive(Clone, Debug)]
pub struct BatchFiles {
    /// The folder; datasets make theirs in it.
    pub folder: PathBuf,
    /// A file is followed by the next when it holds so many bytes. Default: 128 MiB.
    pub bytes_max: u64,
}

impl BatchFiles {
    /// The defaults, for a folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            bytes_max: BATCH_FILE_BYTES_MAX,
        }
    }
}

/// Where an event goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Route {
    pub(crate) mode: Mode,
    /// Whether it goes into files.
    pub(crate) files: bool,
    pub(crate) server: ToServer,
    /// Whether it is checked.
    pub(crate) validate: bool,
}

/// Which events go to the server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ToServer {
    All,
    Some(Share),
    None,
}

impl ToServer {
    pub(crate) fn takes(self, bytes: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Some(share) => share.takes(bytes),
            Self::None => false,
        }
    }
}

/// Whether a dataset can write files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HasFiles {
    Yes,
    No,
}

impl Route {
    /// What flags mean for this emitter. Without a folder for files all goes to the server, whatever the sample.
    pub(crate) fn new(flags: DatasetFlags, emitter: EmitterId, has_files: HasFiles) -> Self {
        let sample = flags.sample;
        let sampled = match sample.of {
            _ if sample.share == Share::default() => ToServer::All,
            SampleOf::Events => ToServer::Some(sample.share),
            SampleOf::Emitters if sample.share.takes(emitter.0.as_bytes()) => ToServer::All,
            SampleOf::Emitters => ToServer::None,
        };
        let (mode, files, server) = match flags.mode {
            Mode::Off => (Mode::Off, false, ToServer::None),
            Mode::Stream => (Mode::Stream, false, sampled),
            _ if has_files == HasFiles::No => (Mode::Stream, false, ToServer::All),
            Mode::Batch => (Mode::Batch, true, ToServer::None),
            Mode::Both => (Mode::Both, true, sampled),
            Mode::Shadow => (Mode::Shadow, true, sampled),
        };
        Self {
            mode,
            files,
            server,
            validate: flags.validate,
        }
    }

    /// All to the server, checked: what holds without flags.
    fn is_plain(&self) -> bool {
        self.mode == Mode::Stream && self.server == ToServer::All && self.validate
    }
}

/// The route of one dataset, changed by who polls the flags and read with each event.
#[derive(Debug)]
pub(crate) struct Switch {
    is_plain: AtomicBool,
    now: RwLock<Now>,
}

/// What is known of a dataset's flags.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    pub(crate) route: Route,
    pub(crate) share: Share,
    pub(crate) etag: Option<String>,
    pub(crate) error: Option<String>,
}

impl Default for Switch {
    fn default() -> Self {
        let route = Route {
            mode: Mode::Stream,
            files: false,
            server: ToServer::All,
            validate: true,
        };
        let now = Now {
            route,
            share: Share::default(),
            etag: None,
            error: None,
        };
        Self {
            is_plain: AtomicBool::new(true),
            now: RwLock::new(now),
        }
    }
}

impl Switch {
    /// The route, unless it is that without flags.
    pub(crate) fn route(&self) -> Option<Route> {
        if self.is_plain.load(Ordering::Relaxed) {
            return None;
        }
        Some(self.now.read().expect("no writer panics").route)
    }

    pub(crate) fn set(&self, now: Now) {
        let is_plain = now.route.is_plain();
        *self.now.write().expect("no writer panics") = now;
        self.is_plain.store(is_plain, Ordering::Relaxed);
    }

    pub(crate) fn tell(&self, stats: &mut DatasetStats) {
        let now = self.now.read().expect("no writer panics").clone();
        stats.mode = now.route.mode;
        stats.share = now.share.get();
        stats.flags_etag = now.etag;
        stats.flags_error = now.error;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use event::flags::Sample;
    use uuid::Uuid;

    #[test]
    fn a_sample_leaves_to_the_files_what_it_does_not_send() {
        let emitters: Vec<_> = (0..400).map(|n| EmitterId(Uuid::from_u128(n))).collect();
        let share = Share::new(0.25).unwrap();
        let flags = |mode, of| DatasetFlags {
            mode,
            sample: Sample { of, share },
            validate: true,
        };
        for mode in [Mode::Stream, Mode::Both, Mode::Shadow] {
            let routes = emitters
                .iter()
                .map(|emitter| Route::new(flags(mode, SampleOf::Emitters), *emitter, HasFiles::Yes));
            let sent = routes
                .clone()
                .filter(|route| route.server == ToServer::All)
                .count();
            assert!((60..140).contains(&sent), "{sent}");
            assert!(
                routes
                    .into_iter()
                    .all(|route| route.files == (mode != Mode::Stream))
            );
            let of_events = Route::new(flags(mode, SampleOf::Events), emitters[0], HasFiles::Yes);
            assert_eq!(of_events.server, ToServer::Some(share));
        }
        let no_files = Route::new(flags(Mode::Both, SampleOf::Events), emitters[0], HasFiles::No);
        assert!(no_files.is_plain(), "{no_files:?}");
    }
}
