//! What opening a log finds: the last segment of each partition is read, the rest is only listed.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::DatasetName;

use super::LogOptions;
use super::dataset::{self, CONSUMERS_DAMAGED, DatasetFolder, META, Settings};
use super::disk::{Disk, Mode};
use super::partition::Opened;
use super::scan::{Damaged, Scan};
use super::segment::{Index, Segment};
use super::writer::{Active, SegmentWriter};
use crate::dedup::Dedup;
use crate::limits::{DAMAGES_MAX, EMITTERS_MAX};
use crate::retention::Consumers;
use crate::{Error, ErrorKind, Offset, Partition, Result};

/// What [`crate::LogQueue::open`] found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Datasets that were there.
    pub datasets: usize,
    /// Batches that are kept, over all partitions.
    pub batches: u64,
    /// Ends of segments that a crash cut short: no append of theirs had been acked, so they were cut off.
    pub truncated: Vec<TornTail>,
    /// Records in the segments read here that can no longer be read, up to 1,000 places; reads of them answer
    /// `Corrupt`.
    pub damaged: Vec<Damage>,
    /// Small files that were damaged: settings of a dataset, which were made again from its folders, and its
    /// consumers, which were put aside under another name; until that is removed nothing is deleted.
    pub repaired: Vec<PathBuf>,
}

/// Bytes behind the last whole record of a partition, as a crash during a write leaves them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The dataset.
    pub dataset: DatasetName,
    /// The partition.
    pub partition: Partition,
    /// The segment file.
    pub segment: PathBuf,
    /// Where the last whole record ends, in bytes from the start of the file.
    pub at: u64,
    /// How many bytes were cut off, apart from zeros that had been allocated ahead.
    pub bytes: u64,
}

/// Stored bytes that are not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The dataset.
    pub dataset: DatasetName,
    /// The partition.
    pub partition: Partition,
    /// The segment file.
    pub segment: PathBuf,
    /// Where the damaged bytes begin, in bytes from the start of the file.
    pub at: u64,
    /// The batches that cannot be read; none when it was only the head of the segment.
    pub offsets: Range<Offset>,
}

/// Opens every dataset under `root`.
pub(crate) fn datasets(
    root: &Path,
    disk: &Arc<dyn Disk>,
    recovery: &mut Recovery,
) -> Result<Vec<DatasetFolder>> {
    let failed = |error: io::Error| io_error(root, &error);
    let mut found = Vec::new();
    for entry in disk.list(root).map_err(failed)? {
        let Some(name) = entry.name.parse::<DatasetName>().ok().filter(|_| entry.is_folder) else {
            continue;
        };
        let path = root.join(&entry.name);
        let settings = dataset::settings(&**disk, &path)?;
        let partitions = match settings {
            Settings::Partitions(partitions) => partitions,
            Settings::Rebuilt(partitions) => {
                let path = path.join(META);
                tracing::error!(path = %path.display(), partitions, "settings are damaged, made them again");
                recovery.repaired.push(path);
                partitions
            }
            Settings::Unfinished => continue,
        };
        let folder = DatasetFolder::new(root, name, partitions, disk.clone());
        let made = match settings {
            Settings::Rebuilt(_) => folder.make(),
            _ => folder.complete(),
        };
        made.map_err(|error| io_error(&folder.path, &error))?;
        found.push(folder);
    }
    disk.sync_folder(root).map_err(failed)?;
    Ok(found)
}

/// The consumers of a dataset.
pub(crate) fn consumers(folder: &DatasetFolder, recovery: &mut Recovery) -> Result<Consumers> {
    let failed = |error: io::Error| io_error(&folder.path, &error);
    if let Some(consumers) = folder.consumers().map_err(failed)? {
        return Ok(consumers);
    }
    folder.put_consumers_aside().map_err(failed)?;
    let path = folder.path.join(CONSUMERS_DAMAGED);
    tracing::error!(path = %path.display(), "consumers are damaged, put them aside: nothing is deleted");
    recovery.repaired.push(path);
    Ok(Consumers::default())
}

/// Opens one partition and says what was found.
pub(crate) fn partition(
    folder: &DatasetFolder,
    partition: Partition,
    options: &LogOptions,
    recovery: &mut Recovery,
) -> Result<Opened> {
    let path = folder.partition(partition);
    let finder = Finder {
        folder,
        partition,
        recovery,
    };
    let opened = finder
        .open(&path, options)
        .map_err(|error| io_error(&path, &error))?;
    let start = opened.segments.keys().next().copied().unwrap_or(opened.end);
    recovery.batches = recovery.batches.saturating_add(opened.end - start);
    Ok(opened)
}

/// A partition in which nothing has been kept.
pub(crate) fn empty(path: PathBuf, disk: &Arc<dyn Disk>, options: &LogOptions) -> Opened {
    let writer = SegmentWriter {
        folder: path,
        segment_bytes: options.segment_bytes,
        disk: disk.clone(),
        active: None,
        before: None,
    };
    Opened {
        segments: BTreeMap::new(),
        writer,
        dedup: Dedup::new(EMITTERS_MAX),
        end: 0,
    }
}

fn io_error(path: &Path, error: &io::Error) -> Error {
    Error::new(
        ErrorKind::Retry,
        format_args!("log cannot be opened: {error} path={}", path.display()),
    )
}

struct Finder<'a> {
    folder: &'a DatasetFolder,
    partition: Partition,
    recovery: &'a mut Recovery,
}

impl Finder<'_> {
    fn open(mut self, path: &Path, options: &LogOptions) -> io::Result<Opened> {
        let disk = self.folder.disk.clone();
        let mut bases = bases(&*disk, path)?;
        let floor = self.drop_unfinished(path, &mut bases)?;
        let mut opened = empty(path.to_owned(), &disk, options);
        opened.end = floor.unwrap_or(0);
        // The snapshot at the head of a segment stands for all before it. Where it is damaged, an earlier one
        // and the records since say the same.
        let mut first = bases.len();
        while first > 0 {
            first -= 1;
            if let Some(dedup) = snapshot(&Segment::new(&disk, path, bases[first], None))? {
                opened.dedup = dedup;
                break;
            }
        }
        for (i, base) in bases.iter().enumerate() {
            if i < first {
                let segment = Segment::new(&disk, path, *base, None);
                opened.segments.insert(*base, Arc::new(segment));
                continue;
            }
            let next = bases.get(i + 1).copied().or(floor);
            let (segment, scan) = self.read(path, *base, next, &mut opened.dedup)?;
            let segment = Arc::new(segment);
            opened.segments.insert(*base, segment.clone());
            if next.is_none() {
                opened.end = scan.end;
                opened.writer.active = Some(reopen(segment, &scan)?);
            }
        }
        disk.sync_folder(path)?;
        Ok(opened)
    }

    /// Removes segments at the end whose making was cut short; returns the first offset of the earliest, which
    /// is where the partition ends: it was made because all before it was durable.
    fn drop_unfinished(&mut self, path: &Path, bases: &mut Vec<u64>) -> io::Result<Option<u64>> {
        let disk = self.folder.disk.clone();
        let mut floor = None;
        while let Some(base) = bases.last().copied() {
            let segment = Segment::new(&disk, path, base, None);
            if snapshot(&segment)?.is_some() {
                break;
            }
            let found = segment.scan(None, |_| {})?;
            if found.position > 0 || !found.damage.is_empty() {
                break;
            }
            self.torn(&segment, 0, found.torn);
            disk.remove(&segment.path)?;
            floor = Some(base);
            bases.pop();
        }
        Ok(floor)
    }

    /// Reads a segment into the table of emitters.
    fn read(
        &mut self,
        path: &Path,
        base: u64,
        next: Option<u64>,
        dedup: &mut Dedup,
    ) -> io::Result<(Segment, Scan)> {
        let segment = Segment::new(&self.folder.disk, path, base, Some(Index::default()));
        let mut found = segment.scan(next, |stored| {
            if let Some(header) = stored.header() {
                dedup.keep(&header.key);
            }
        })?;
        for damaged in &found.damage {
            self.damaged(&segment, damaged);
        }
        if next.is_none() {
            self.torn(&segment, found.position, found.torn);
        }
        segment.with_index(|index| *index = std::mem::take(&mut found.index));
        Ok((segment, found))
    }

    fn torn(&mut self, segment: &Segment, at: u64, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let (dataset, partition) = (self.folder.name.clone(), self.partition);
        let segment = segment.path.clone();
        tracing::warn!(segment = %segment.display(), at, bytes, "cut off what a crash left unfinished");
        self.recovery.truncated.push(TornTail {
            dataset,
            partition,
            segment,
            at,
            bytes,
        });
    }

    fn damaged(&mut self, segment: &Segment, damaged: &Damaged) {
        let (dataset, partition) = (self.folder.name.clone(), self.partition);
        let segment = segment.path.clone();
        let at = damaged.position;
        let Range { start, end } = damaged.offsets;
        tracing::error!(segment = %segment.display(), at, start, end, "batches cannot be read");
        if self.recovery.damaged.len() >= DAMAGES_MAX {
            return;
        }
        let offsets = Offset(start)..Offset(end);
        self.recovery.damaged.push(Damage {
            dataset,
            partition,
            segment,
            at,
            offsets,
        });
    }
}

pub(crate) fn bases(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u64>> {
    let entries = disk.list(path)?;
    let mut bases: Vec<_> = entries
        .iter()
        .filter_map(|entry| Segment::base_of(&entry.name))
        .collect();
    bases.sort_unstable();
    Ok(bases)
}

/// The table of emitters at the head of a segment; `None` when it cannot be read.
fn snapshot(segment: &Segment) -> io::Result<Option<Dedup>> {
    let head = segment.head()?;
    Ok(head.and_then(|(_, snapshot)| Dedup::restore(&snapshot, EMITTERS_MAX)))
}

/// Bytes that are written again at a time.
const COPY_BYTES: usize = 1 << 20;

/// Opens a segment to go on writing. What is in it becomes durable first: after a crash of the process alone it
/// may be in the page cache only, and readers will see it. The last group is written once more, because its sync
/// may have failed, and then a second sync has nothing to write, succeeds, and means nothing.
fn reopen(segment: Arc<Segment>, scan: &Scan) -> io::Result<Active> {
    let file = segment.open(Mode::Write)?;
    let position = scan.position;
    file.set_length(position)?;
    let mut at = scan.group;
    let mut bytes = vec![0; COPY_BYTES.min((position - at) as usize)];
    while at < position {
        let piece = (position - at).min(bytes.len() as u64) as usize;
        file.read_at(&mut bytes[..piece], at)?;
        file.write_at(&bytes[..piece], at)?;
        at += piece as u64;
    }
    file.sync_all()?;
    Ok(Active {
        file,
        segment,
        position,
        allocated: position,
        cached: 0,
    })
}
