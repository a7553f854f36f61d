//! A dataset's batches on the local disk while the upstream is away: one fresh queue log an outage.
//!
//! Fresh, since a log that saw an emitter's batches 0 to 3 in an earlier outage would refuse 200, what came between
//! being in the upstream alone.
//!
//! ```text
//! <spool>/<dataset>/<n>/…                                   logs, the lowest number replayed first
//! <spool>/<dataset>/refused/<emitter>-<epoch>-<sequence>.batch   50 bytes of `BatchHeader::encode`, the payload
//! ```

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::{Batch, DatasetName};
use futures::future::BoxFuture;
use jiff::Timestamp;
use queue::{
    Error, ErrorKind, LogOptions, LogQueue, Offset, Partition, Queue, Receipt, Result, Retain, Retention,
    Seek,
};

use super::replay::Place;
use crate::limits::{RELAY_BATCH_OVERHEAD_BYTES, RELAY_SEGMENT_BYTES};

/// What the folder of the refused is called.
const REFUSED: &str = "refused";
/// Follows the number of a spool that is being deleted.
const GONE: &str = "gone";
/// Follows the number of one that is replayed but for damaged batches.
const DAMAGED: &str = "damaged";
/// Who reads a spool, in the log's list of consumers.
const CONSUMER: &str = "relay";

/// The spools of one dataset, the oldest first. Only the last one takes batches, and none of an earlier process does.
pub(super) struct Spools {
    folder: PathBuf,
    dataset: DatasetName,
    open: VecDeque<Spool>,
    /// Numbers are not used twice: a place names one batch.
    next: u64,
}

struct Spool {
    number: u64,
    folder: PathBuf,
    log: Arc<LogQueue>,
    /// On disk, in bytes, by the batches in it; what is deleted is measured.
    bytes: u64,
    /// Of those, not read yet; what an earlier process left is not counted.
    unread_bytes: u64,
    is_ours: bool,
    /// Before it all was given back to the log.
    trimmed: u64,
    /// Some of it cannot be read: the folder is put aside and not deleted.
    is_damaged: bool,
}

/// What was read.
pub(super) struct Read {
    /// One after the other, the first at `next`.
    pub(super) batches: Vec<Batch>,
    /// Damaged records that were left out before.
    pub(super) damaged: u64,
    /// Where the first of them is, or where to go on if there is none.
    pub(super) next: Place,
}

pub(super) fn cost(batch: &Batch) -> u64 {
    (batch.payload.len() + RELAY_BATCH_OVERHEAD_BYTES) as u64
}

impl Spools {
    /// No spools in a folder of which nothing was recovered.
    pub(super) fn none(folder: PathBuf, dataset: DatasetName) -> Self {
        Self {
            folder,
            dataset,
            open: VecDeque::new(),
            next: 0,
        }
    }

    /// Opens what an earlier process left. Blocks.
    pub(super) fn recover(folder: PathBuf, dataset: DatasetName) -> Result<Self> {
        let mut numbers: Vec<u64> = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(&folder, &error)),
            Ok(entries) => entries
                .flatten()
                .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
                .collect(),
        };
        numbers.sort_unstable();
        let mut next = numbers.last().map_or(0, |last| last + 1);
        for gone in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if gone.path().extension().is_some_and(|extension| extension == GONE) {
                // It is tried again at the next start.
                let _ = fs::remove_dir_all(gone.path());
            }
            // A number is not used again while a folder has it, whatever became of that.
            let number = gone
                .path()
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            next = next.max(number.map_or(0, |number| number + 1));
        }
        let mut spools = Self {
            next,
            folder,
            dataset,
            open: VecDeque::new(),
        };
        for number in numbers {
            let mut spool = Spool::open(&spools.folder, number)?;
            spool.bytes = disk_bytes(&spool.folder);
            if spool.end(&spools.dataset) == spool.start(&spools.dataset) {
                spool.remove();
            } else {
                spool.trimmed = spool.start(&spools.dataset);
                spools.open.push_back(spool);
            }
        }
        Ok(spools)
    }

    /// Where the oldest batch is, if there is one.
    pub(super) fn first(&self) -> Option<Place> {
        let spool = self.open.front()?;
        Some(Place {
            spool: spool.number,
            offset: spool.start(&self.dataset),
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.open.iter().map(|spool| spool.bytes).sum()
    }

    pub(super) fn batches_from(&self, place: Place) -> u64 {
        let left = |spool: &Spool| {
            let from = if spool.number == place.spool {
                place.offset
            } else {
                0
            };
            spool.end(&self.dataset).saturating_sub(from)
        };
        self.open
            .iter()
            .filter(|spool| spool.number >= place.spool)
            .map(left)
            .sum()
    }

    /// Makes a spool if there is none that takes batches.
    pub(super) async fn ready(&mut self) -> Result<()> {
        if self.open.back().is_some_and(|spool| spool.is_ours) {
            return Ok(());
        }
        let (folder, next) = (self.folder.clone(), self.next);
        let mut spool = blocking(move || Spool::fresh(&folder, next)).await??;
        self.next = spool.number + 1;
        spool.log.create(&self.dataset, 1).await?;
        spool.is_ours = true;
        self.open.push_back(spool);
        Ok(())
    }

    /// Appends to the last spool, which [`Spools::ready`] made; the future answers when it is on disk.
    pub(super) fn append(&mut self, batch: Batch) -> BoxFuture<'static, Result<Receipt>> {
        let bytes = cost(&batch);
        match self.open.back_mut() {
            Some(spool) => {
                spool.bytes += bytes;
                spool.unread_bytes += bytes;
                spool.log.append(batch)
            }
            None => Box::pin(std::future::ready(Err(Error::new(
                ErrorKind::Retry,
                "no spool is open, send the batch again later",
            )))),
        }
    }

    /// An append that took room was not kept as a new batch.
    pub(super) fn not_appended(&mut self, bytes: u64) {
        if let Some(spool) = self.open.back_mut() {
            spool.bytes = spool.bytes.saturating_sub(bytes);
            spool.unread_bytes = spool.unread_bytes.saturating_sub(bytes);
        }
    }

    /// Where to go on from a place: the same, or the beginning of the next spool. `None` at the end of the last one.
    pub(super) fn at_or_after(&self, place: Place) -> Option<Place> {
        let mut later = self.open.iter().filter(|spool| spool.number >= place.spool);
        later.find_map(|spool| {
            let offset = match spool.number == place.spool {
                true => place.offset.max(spool.start(&self.dataset)),
                false => spool.start(&self.dataset),
            };
            let place = Place {
                spool: spool.number,
                offset,
            };
            (offset < spool.end(&self.dataset)).then_some(place)
        })
    }

    /// Whether more than so many bytes are unread from a place on.
    pub(super) fn has_more_than(&self, bytes: u64, place: Place) -> bool {
        match self.open.back() {
            Some(last) if last.is_ours && last.number == place.spool => last.unread_bytes > bytes,
            _ => self.at_or_after(place).is_some(),
        }
    }

    /// Batches from a place on, where there is one. Damaged ones are left out and told of. What lies before `frontier` was
    /// read before.
    ///
    /// # Errors
    /// `Retry` when the disk cannot be read.
    pub(super) async fn read(&mut self, place: Place, bytes_max: usize, frontier: Place) -> Result<Read> {
        let mut found = Read {
            batches: Vec::new(),
            damaged: 0,
            next: place,
        };
        let Some(spool) = self.open.iter_mut().find(|spool| spool.number == place.spool) else {
            return Ok(found);
        };
        let end = spool.end(&self.dataset);
        while found.batches.is_empty() && found.next.offset < end {
            let at = Offset(found.next.offset);
            match spool.log.read(&self.dataset, Partition(0), at, bytes_max).await {
                Ok(records) => {
                    found.batches = records.into_iter().map(|record| record.batch).collect();
                }
                Err(error) => {
                    let next = error.next().filter(|next| *next > at).ok_or(error)?;
                    found.damaged += next.0.min(end) - at.0;
                    found.next.offset = next.0.min(end);
                    spool.is_damaged = true;
                }
            }
        }
        let known = match frontier.spool == place.spool {
            true => frontier.offset.saturating_sub(found.next.offset),
            false if place < frontier => u64::MAX,
            false => 0,
        };
        let new = found
            .batches
            .iter()
            .skip(usize::try_from(known).unwrap_or(usize::MAX));
        spool.unread_bytes = spool.unread_bytes.saturating_sub(new.map(cost).sum());
        Ok(found)
    }

    /// Deletes what lies before a place, in pieces of a segment.
    pub(super) async fn trim(&mut self, needed: Place) -> Result<()> {
        while self.open.len() > 1 && self.open[0].number < needed.spool {
            if let Some(spool) = self.open.pop_front() {
                blocking(move || spool.remove()).await?;
            }
        }
        let dataset = self.dataset.clone();
        let Some(spool) = self.open.front_mut() else {
            return Ok(());
        };
        if spool.number != needed.spool || needed.offset <= spool.trimmed {
            return Ok(());
        }
        spool.trimmed = needed.offset;
        let consumer = CONSUMER.parse()?;
        spool
            .log
            .advance(&dataset, &consumer, &[Offset(needed.offset)])
            .await?;
        let all = Retention {
            bytes_max: Some(0),
            ..Retention::default()
        };
        let deleted = spool.log.retain(&dataset, &all, Timestamp::UNIX_EPOCH).await?;
        if deleted.batches > 0 {
            let folder = spool.folder.clone();
            spool.bytes = blocking(move || disk_bytes(&folder)).await?;
        }
        Ok(())
    }

    /// Deletes all spools.
    pub(super) async fn clear(&mut self) -> Result<()> {
        let spools = std::mem::take(&mut self.open);
        blocking(move || spools.into_iter().for_each(Spool::remove)).await
    }

    /// Lets go of the folders, with what is in them.
    pub(super) async fn close(self) {
        let spools = self.open;
        // The runtime ends: so does everything else.
        let _ = blocking(move || drop(spools)).await;
    }

    /// Keeps a batch that the upstream will not take.
    pub(super) async fn refuse(&self, batch: Batch) -> Result<()> {
        let folder = self.folder.join(REFUSED);
        blocking(move || write_refused(&folder, &batch).map_err(|error| failed(&folder, &error))).await?
    }
}

impl Spool {
    fn open(parent: &Path, number: u64) -> Result<Self> {
        let folder = parent.join(format!("{number:06}"));
        let options = LogOptions {
            partitions: 1,
            writers: 1,
            segment_bytes: RELAY_SEGMENT_BYTES,
            // What a relay holds is bounded before it comes here.
            in_flight_bytes_max: usize::MAX >> 1,
        };
        let (log, recovery) = LogQueue::open(&folder, options)?;
        for torn in &recovery.truncated {
            tracing::warn!(?torn, "spool had a torn end, cut");
        }
        Ok(Self {
            number,
            folder,
            log: Arc::new(log),
            bytes: 0,
            unread_bytes: 0,
            is_ours: false,
            trimmed: 0,
            is_damaged: !recovery.damaged.is_empty(),
        })
    }

    /// One in a folder that is not there yet.
    fn fresh(parent: &Path, mut number: u64) -> Result<Self> {
        while parent.join(format!("{number:06}")).exists() {
            number += 1;
        }
        Self::open(parent, number).inspect_err(|_| {
            // What was made of it is empty, if it is there at all.
            let _ = fs::remove_dir_all(parent.join(format!("{number:06}")));
        })
    }

    fn start(&self, dataset: &DatasetName) -> u64 {
        self.log.starts(dataset).first().map_or(0, |offset| offset.0)
    }

    fn end(&self, dataset: &DatasetName) -> u64 {
        self.log.ends(dataset).first().map_or(0, |offset| offset.0)
    }

    /// What is left of it after a crash is replayed again, and known by its keys.
    fn remove(self) {
        self.log.close();
        drop(self.log);
        let removed = if self.is_damaged {
            fs::rename(&self.folder, self.folder.with_extension(DAMAGED))
        } else {
            let gone = self.folder.with_extension(GONE);
            fs::rename(&self.folder, &gone).and_then(|()| fs::remove_dir_all(&gone))
        };
        if let Err(error) = removed {
            tracing::warn!(folder = %self.folder.display(), %error, "spool is replayed but cannot be deleted, remove it");
        }
    }
}

fn write_refused(folder: &Path, batch: &Batch) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let key = batch.header.key;
    let name = format!("{}-{}-{}.batch", key.emitter.0, key.epoch.0, key.sequence.0);
    let (path, written) = (folder.join(&name), folder.join(format!("{name}.tmp")));
    let mut file = fs::File::create(&written)?;
    file.write_all(&batch.header.encode())?;
    file.write_all(&batch.payload)?;
    file.sync_all()?;
    fs::rename(&written, &path)?;
    fs::File::open(folder)?.sync_all()?;
    match folder.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn disk_bytes(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => disk_bytes(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

pub(super) fn failed(path: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorKind::Retry,
        format_args!("spool cannot be used: {error} path={}", path.display()),
    )
}

pub(super) async fn blocking<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let act = tokio::task::spawn_blocking(act).await;
    act.map_err(|error| Error::new(ErrorKind::Closed, format_args!("spool was given up: {error}")))
}
