//! The loop that writes one dataset's batches into hourly files.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use event::EmitterId;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::client::Clock;
use crate::outbox::{Outbox, Payload, Sealed};
use crate::stats::{Counts, add};
use crate::switch::BatchFiles;

/// What a writer of files needs to know.
pub(crate) struct FilesOptions {
    pub(crate) files: BatchFiles,
    pub(crate) emitter: EmitterId,
    pub(crate) clock: Clock,
    pub(crate) retry_after: Duration,
    /// Those of the dataset, where events in files are counted.
    pub(crate) counts: Arc<Counts>,
}

/// Writes until the outbox is over and its last file has its name. A disk that fails is tried again.
pub(crate) async fn run(outbox: Arc<Outbox>, options: FilesOptions) {
    let mut files = Files {
        folder: options.files.folder.join(outbox.name.as_str()),
        bytes_max: options.files.bytes_max.max(1),
        emitter: options.emitter,
        next: 0,
        open: None,
    };
    let mut unwritten = VecDeque::new();
    let mut retry_at: Option<Instant> = None;
    loop {
        unwritten.extend(outbox.take(Instant::now()));
        if retry_at.is_none_or(|at| at <= Instant::now()) {
            retry_at = None;
            let now = (options.clock)();
            let is_over = outbox.is_over();
            let work = tokio::task::spawn_blocking(move || {
                let (written, outcome) = files.take(&unwritten, now, is_over);
                (files, unwritten, written, outcome)
            });
            let Ok((back, left, written, outcome)) = work.await else {
                return;
            };
            (files, unwritten) = (back, left);
            for batch in unwritten.drain(..written) {
                add(&options.counts.filed, u64::from(batch.events));
                outbox.release(batch.bytes);
                outbox.finish(batch.events, None);
            }
            if let Err(error) = outcome {
                add(&options.counts.file_errors, 1);
                options
                    .counts
                    .went_wrong(format!("{}: file cannot be written: {error}", outbox.name));
                retry_at = Some(Instant::now() + options.retry_after);
            } else if outbox.is_over() && files.open.is_none() && unwritten.is_empty() {
                return outbox.end();
            }
        }
        let hour_end = files.open.as_ref().map(|open| {
            let left = (open.hour + 1) * 3600 - (options.clock)().as_second();
            Instant::now() + Duration::from_secs(u64::try_from(left).unwrap_or(0).clamp(1, 3600))
        });
        let due = outbox.due();
        tokio::select! {
            () = outbox.woken() => {}
            () = until(due) => {}
            () = until(retry_at.or(hour_end)) => {}
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The files of one dataset and emitter.
struct Files {
    folder: PathBuf,
    bytes_max: u64,
    emitter: EmitterId,
    /// The number of the next file.
    next: u64,
    open: Option<Open>,
}

struct Open {
    /// Hours since the Unix epoch.
    hour: i64,
    /// Its name when it is complete.
    path: PathBuf,
    file: File,
    /// Whole batches, in bytes.
    bytes: u64,
    /// A write has failed: what follows the whole batches is to be cut.
    torn: bool,
}

fn hour_of(time: Timestamp) -> i64 {
    time.as_second().div_euclid(3600)
}

impl Files {
    /// Writes batches; says how many it took, and what ended it before the last one.
    fn take(&mut self, batches: &VecDeque<Sealed>, now: Timestamp, is_over: bool) -> (usize, io::Result<()>) {
        for (at, batch) in batches.iter().enumerate() {
            if let Err(error) = self.write(batch) {
                return (at, Err(error));
            }
        }
        let is_due = self
            .open
            .as_ref()
            .is_some_and(|open| is_over || open.hour < hour_of(now));
        (batches.len(), if is_due { self.complete() } else { Ok(()) })
    }

    fn write(&mut self, batch: &Sealed) -> io::Result<()> {
        let Payload::Lines(lines) = &batch.payload else {
            return Err(io::Error::other("rows are lines here"));
        };
        let hour = hour_of(batch.generated_at);
        if self
            .open
            .as_ref()
            .is_some_and(|open| open.hour != hour || open.bytes >= self.bytes_max)
        {
            self.complete()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => {
                let open = Open::new(&self.folder, batch.generated_at, (self.emitter, self.next))?;
                self.next += 1;
                none.insert(open)
            }
        };
        open.mend()?;
        open.torn = true;
        open.file.write_all(lines)?;
        open.torn = false;
        open.bytes += lines.len() as u64;
        Ok(())
    }

    /// The file gets its name, when all of it is on disk.
    fn complete(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.mend()?;
            open.file.sync_all()?;
            match fs::rename(temporary(&open.path), &open.path) {
                // It has its name since an earlier try, which failed after that.
                Err(error) if error.kind() == io::ErrorKind::NotFound && open.path.exists() => {}
                renamed => renamed?,
            }
            if let Some(folder) = open.path.parent() {
                File::open(folder)?.sync_all()?;
            }
        }
        self.open = None;
        Ok(())
    }
}

impl Open {
    fn new(folder: &Path, time: Timestamp, (emitter, number): (EmitterId, u64)) -> io::Result<Self> {
        let folder = folder.join(time.strftime("%Y/%m/%d/%H").to_string());
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}-{number}.ndjson", emitter.0));
        Ok(Self {
            hour: hour_of(time),
            file: File::create(temporary(&path))?,
            path,
            bytes: 0,
            torn: false,
        })
    }

    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            self.file.set_len(self.bytes)?;
            self.file.seek(SeekFrom::Start(self.bytes))?;
            self.torn = false;
        }
        Ok(())
    }
}

fn temporary(path: &Path) -> PathBuf {
    path.with_extension("ndjson.tmp")
}
