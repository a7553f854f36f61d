//! What opening a log finds: the last segment of each partition is read, the rest is only listed.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use event::{BatchHeader, DatasetName};

use super::LogOptions;
use super::dataset::DatasetFolder;
use super::disk::{Disk, sync_folder};
use super::partition::Opened;
use super::record::Kind;
use super::scan::{Damaged, Scan, scan};
use super::segment::{Cursor, Parsed, Segment};
use super::writer::{Active, SegmentWriter};
use crate::dedup::Dedup;
use crate::limits::EMITTERS_MAX;
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
    /// Records in the segments read here that can no longer be read; reads of them answer `Corrupt`.
    pub damaged: Vec<Damage>,
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
    /// The batches that cannot be read; none when it was only the snapshot of the emitters.
    pub offsets: Range<Offset>,
}

/// Opens every dataset under `root`.
pub(crate) fn datasets(root: &Path) -> Result<Vec<DatasetFolder>> {
    let failed = |error: io::Error| io_error(root, &error);
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<DatasetName>().ok());
        if let Some(name) = name.filter(|_| entry.path().is_dir())
            && let Some(folder) = DatasetFolder::open(root, name)?
        {
            found.push(folder);
        }
    }
    Ok(found)
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
    recovery.batches += opened.end;
    Ok(opened)
}

/// A partition in which nothing has been kept.
pub(crate) fn empty(path: PathBuf, options: &LogOptions) -> Opened {
    let writer = SegmentWriter {
        folder: path,
        segment_bytes: options.segment_bytes,
        disk: disk(options),
        active: None,
    };
    Opened {
        segments: BTreeMap::new(),
        writer,
        dedup: Dedup::new(EMITTERS_MAX),
        end: 0,
    }
}

#[cfg(test)]
fn disk(options: &LogOptions) -> Disk {
    options.disk.clone()
}

#[cfg(not(test))]
fn disk(_: &LogOptions) -> Disk {
    Disk::default()
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
        fs::create_dir_all(path)?;
        sync_folder(&self.folder.path)?;
        let mut bases = bases(path)?;
        let floor = self.drop_unfinished(path, &mut bases)?;
        let mut opened = empty(path.to_owned(), options);
        opened.end = floor.unwrap_or(0);
        // The snapshot at the head of a segment stands for all before it. Where it is damaged, an earlier one
        // and the records since say the same.
        let mut first = bases.len();
        while first > 0 {
            first -= 1;
            if let Some(dedup) = snapshot(&Segment::new(path, bases[first], None))? {
                opened.dedup = dedup;
                break;
            }
        }
        for (i, base) in bases.iter().enumerate() {
            if i < first {
                opened
                    .segments
                    .insert(*base, Arc::new(Segment::new(path, *base, None)));
                continue;
            }
            let next = bases.get(i + 1).copied().or(floor);
            let scan = self.read(path, *base, next, &mut opened.dedup)?;
            let Scan {
                index, end, position, ..
            } = scan;
            let segment = Arc::new(Segment::new(path, *base, Some(index)));
            opened.segments.insert(*base, segment.clone());
            if next.is_none() {
                opened.end = end;
                opened.writer.active = Some(reopen(segment, position)?);
            }
        }
        sync_folder(path)?;
        Ok(opened)
    }

    /// Removes segments at the end whose making was cut short; returns the first offset of the earliest, which
    /// is where the partition ends: it was made because all before it was durable.
    fn drop_unfinished(&mut self, path: &Path, bases: &mut Vec<u64>) -> io::Result<Option<u64>> {
        let mut floor = None;
        while let Some(base) = bases.last().copied() {
            let segment = Segment::new(path, base, None);
            if snapshot(&segment)?.is_some() {
                break;
            }
            let found = scan(&File::open(&segment.path)?, base, None, |_| {})?;
            if found.position > 0 || !found.damage.is_empty() {
                break;
            }
            self.torn(&segment, 0, found.torn);
            fs::remove_file(&segment.path)?;
            floor = Some(base);
            bases.pop();
        }
        Ok(floor)
    }

    /// Reads a segment into the table of emitters.
    fn read(&mut self, path: &Path, base: u64, next: Option<u64>, dedup: &mut Dedup) -> io::Result<Scan> {
        let segment = Segment::new(path, base, None);
        let found = scan(&File::open(&segment.path)?, base, next, |stored| {
            if stored.kind == Kind::Batch
                && let Ok(header) = BatchHeader::decode(stored.body)
            {
                dedup.keep(&header.key);
            }
        })?;
        for damaged in &found.damage {
            self.damaged(&segment, damaged);
        }
        match next {
            Some(next) if found.end < next => {
                self.damaged(
                    &segment,
                    &Damaged {
                        position: found.position,
                        offsets: found.end..next,
                    },
                );
            }
            Some(_) => {}
            None => self.torn(&segment, found.position, found.torn),
        }
        Ok(found)
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

fn bases(path: &Path) -> io::Result<Vec<u64>> {
    let mut bases = Vec::new();
    for entry in fs::read_dir(path)? {
        bases.extend(entry?.file_name().to_str().and_then(Segment::base_of));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// The table of emitters at the head of a segment; `None` when it cannot be read.
fn snapshot(segment: &Segment) -> io::Result<Option<Dedup>> {
    let file = File::open(&segment.path)?;
    let mut cursor = Cursor::new(&file, 0)?;
    if cursor.peek(super::record::SEGMENT_HEADER.len())? != super::record::SEGMENT_HEADER {
        return Ok(None);
    }
    cursor.position = super::record::SEGMENT_HEADER.len() as u64;
    match cursor.next()? {
        Parsed::Record(stored) if stored.kind == Kind::Snapshot && stored.offset == segment.base => {
            Ok(Dedup::restore(stored.body, EMITTERS_MAX))
        }
        _ => Ok(None),
    }
}

/// Opens a segment to go on writing. What is in it becomes durable first: after a crash of the process alone it
/// may be in the page cache only, and readers will see it.
fn reopen(segment: Arc<Segment>, position: u64) -> io::Result<Active> {
    let file = OpenOptions::new().read(true).write(true).open(&segment.path)?;
    file.set_len(position)?;
    file.sync_all()?;
    Ok(Active {
        file,
        segment,
        position,
        allocated: position,
    })
}
