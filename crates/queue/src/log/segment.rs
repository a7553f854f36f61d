//! One segment file as readers see it: path, first offset, a sparse index offset → position, its newest time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use event::{BatchHeader, DatasetName};
use jiff::Timestamp;

use super::disk::{Disk, DiskFile, Mode};
use super::record::{self, Kind, PREFIX_BYTES, SEGMENT_HEADER, Stored, UNKNOWN};
use super::scan::{Scan, scan};
use crate::limits::OFFSET_MAX;
use crate::{Error, ErrorKind, Offset, Partition, Record, Result};

/// Bytes of a segment between entries of its index.
const INDEX_BYTES: u64 = 64 << 10;
/// Bytes read from disk at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A segment of a partition; batches `base..` up to the next segment's base.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
    disk: Arc<dyn Disk>,
    /// When its newest batch was received, in microseconds since 1970, as far as that is known.
    latest: AtomicI64,
    /// Built by the writer as it writes, by recovery, or by the first read.
    index: Mutex<Option<Index>>,
}

/// Where records are, every 64 KiB or so: `(offset, position)`, both rising.
#[derive(Debug, Default)]
pub(crate) struct Index {
    entries: Vec<(u64, u64)>,
    /// Where the last read ended, so that the next one need not search.
    hint: Option<(u64, u64)>,
}

impl Index {
    /// A record begins here.
    pub(crate) fn note(&mut self, offset: u64, position: u64) {
        if self
            .entries
            .last()
            .is_none_or(|(_, last)| position >= last + INDEX_BYTES)
        {
            self.entries.push((offset, position));
        }
    }

    /// A record begins here, after damage that cannot be read across.
    pub(crate) fn resume(&mut self, offset: u64, position: u64) {
        self.entries.push((offset, position));
    }

    /// The nearest known record at or before an offset.
    fn seek(&self, from: u64) -> (u64, u64) {
        let after = self.entries.partition_point(|(offset, _)| *offset <= from);
        let entry = after.checked_sub(1).map(|i| self.entries[i]);
        let hint = self.hint.filter(|(offset, _)| *offset <= from);
        entry.max(hint).unwrap_or((from, SEGMENT_HEADER.len() as u64))
    }
}

/// What a read of a partition wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) partition: Partition,
    pub(crate) from: u64,
    /// Offsets up to here are durable and in this segment.
    pub(crate) until: u64,
    pub(crate) bytes_max: usize,
}

impl Segment {
    pub(crate) fn new(disk: &Arc<dyn Disk>, folder: &Path, base: u64, index: Option<Index>) -> Self {
        Self {
            base,
            path: folder.join(format!("{base:020}.log")),
            disk: disk.clone(),
            latest: AtomicI64::new(UNKNOWN),
            index: Mutex::new(index),
        }
    }

    /// The first offset of the segment with this file name, if it is one.
    pub(crate) fn base_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
        digits.parse().ok().filter(|base| *base <= OFFSET_MAX)
    }

    /// Calls with the index, if it has been built.
    pub(crate) fn with_index(&self, f: impl FnOnce(&mut Index)) {
        if let Some(index) = self.index.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            f(index);
        }
    }

    pub(crate) fn open(&self, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(&self.path, mode)
    }

    pub(crate) fn remove(&self) -> io::Result<()> {
        self.disk.remove(&self.path)
    }

    /// Bytes of the file, room made ahead included.
    pub(crate) fn bytes(&self) -> io::Result<u64> {
        self.open(Mode::Read)?.length()
    }

    /// Reads the whole segment, as [`scan`] does, and remembers its newest time.
    pub(crate) fn scan(&self, durable: Option<u64>, mut visit: impl FnMut(&Stored<'_>)) -> io::Result<Scan> {
        scan(&*self.open(Mode::Read)?, self.base, durable, |stored| {
            if let Some(header) = stored.header() {
                self.note_latest(header.received_at);
            }
            visit(&stored);
        })
    }

    /// A batch of the segment was received then.
    pub(crate) fn note_latest(&self, received_at: Timestamp) {
        self.latest
            .fetch_max(received_at.as_microsecond(), Ordering::Relaxed);
    }

    /// When the newest batch was received, if it is known without reading.
    pub(crate) fn known_latest(&self) -> i64 {
        self.latest.load(Ordering::Relaxed)
    }

    /// When the newest batch was received: from the head of the next segment, else by a scan.
    pub(crate) fn latest(&self, next: Option<&Self>, until: u64) -> io::Result<i64> {
        if self.known_latest() == UNKNOWN {
            let told = match next {
                Some(next) => next.head()?.map_or(UNKNOWN, |head| head.0),
                None => UNKNOWN,
            };
            if told == UNKNOWN {
                self.scan(Some(until), |_| {})?;
            } else {
                self.latest.fetch_max(told, Ordering::Relaxed);
            }
        }
        Ok(self.known_latest())
    }

    /// The first batch before `until` that was received at or after a time.
    pub(crate) fn find(&self, until: u64, received_at: Timestamp) -> io::Result<Option<u64>> {
        let mut found = None;
        self.scan(Some(until), |stored| {
            if found.is_none()
                && stored
                    .header()
                    .is_some_and(|header| header.received_at >= received_at)
            {
                found = Some(stored.offset);
            }
        })?;
        Ok(found)
    }

    /// The newest time of the segment before and the snapshot of the emitters; `None` when they are damaged.
    pub(crate) fn head(&self) -> io::Result<Option<(i64, Vec<u8>)>> {
        let file = self.open(Mode::Read)?;
        let mut cursor = Cursor::new(&*file, 0)?;
        if !record::is_header(cursor.peek(SEGMENT_HEADER.len())?) {
            return Ok(None);
        }
        cursor.position = SEGMENT_HEADER.len() as u64;
        Ok(match cursor.next()? {
            Parsed::Record(stored) if stored.offset == self.base => stored
                .head()
                .map(|(latest, snapshot)| (latest, snapshot.to_vec())),
            _ => None,
        })
    }

    /// Batches from `wanted.from` on: at least one, up to `bytes_max` of payload. Costs what it reads, the first
    /// time also a scan of the segment.
    pub(crate) fn read(&self, dataset: &DatasetName, wanted: Wanted) -> Result<Vec<Record>> {
        let io_error = |e| self.io_error(e);
        let file = self.open(Mode::Read).map_err(io_error)?;
        let place = self.seek(wanted).map_err(io_error)?;
        let bad = match self.read_from(&*file, dataset, wanted, place)? {
            Ok(records) => return Ok(records),
            Err(bad) => bad,
        };
        // It may be one before the one that is wanted: a scan finds out what can be read.
        let found = self.scan(Some(wanted.until), |_| {}).map_err(io_error)?;
        let place = found.index.seek(wanted.from);
        self.with_index(|index| *index = found.index);
        let within = |damaged: &&super::scan::Damaged| damaged.offsets.contains(&wanted.from);
        if let Some(damaged) = found.damage.iter().find(within) {
            let next = Offset(damaged.offsets.end);
            return Err(self.corrupt(damaged.position, bad.what, next));
        }
        self.read_from(&*file, dataset, wanted, place)?
            .map_err(|bad| self.corrupt(bad.position, bad.what, Offset(wanted.from + 1)))
    }

    /// Reads from a known place on; the inner error is the record that stops it before any that is wanted.
    fn read_from(
        &self,
        file: &dyn DiskFile,
        dataset: &DatasetName,
        wanted: Wanted,
        (offset, position): (u64, u64),
    ) -> Result<Result<Vec<Record>, Bad>> {
        let io_error = |e| self.io_error(e);
        let mut cursor = Cursor::new(file, position).map_err(io_error)?;
        let mut next = (position != SEGMENT_HEADER.len() as u64).then_some(offset);
        let mut records = Vec::new();
        let mut bytes = 0;
        while next.unwrap_or(self.base) < wanted.until {
            let at = cursor.position;
            let wrong = match cursor.next().map_err(io_error)? {
                Parsed::Record(stored) if stored.kind.is_head() && next.is_none() => {
                    next = Some(self.base);
                    continue;
                }
                Parsed::Record(stored) if stored.kind == Kind::Batch && Some(stored.offset) == next => {
                    if stored.offset < wanted.from {
                        next = Some(stored.offset + 1);
                        continue;
                    }
                    let size = stored.body.len().saturating_sub(BatchHeader::ENCODED_BYTES);
                    if !records.is_empty() && bytes + size > wanted.bytes_max {
                        cursor.position = at;
                        break;
                    }
                    match stored.record(dataset, wanted.partition) {
                        Ok(record) => records.push(record),
                        Err(_) => break,
                    }
                    bytes += size;
                    next = Some(stored.offset + 1);
                    continue;
                }
                Parsed::Record(_) => "is not the next record",
                Parsed::End => "has not been written",
                Parsed::Bad(what) => what,
            };
            if records.is_empty() {
                let (position, what) = (at, wrong);
                return Ok(Err(Bad { position, what }));
            }
            cursor.position = at;
            break;
        }
        if records.is_empty() {
            let (position, what) = (cursor.position, "has an unknown header");
            return Ok(Err(Bad { position, what }));
        }
        if let Some(next) = next {
            self.with_index(|index| index.hint = Some((next, cursor.position)));
        }
        Ok(Ok(records))
    }

    fn seek(&self, wanted: Wanted) -> io::Result<(u64, u64)> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = index.as_ref() {
            return Ok(index.seek(wanted.from));
        }
        let built = self.scan(Some(wanted.until), |_| {})?.index;
        Ok(index.insert(built).seek(wanted.from))
    }

    /// Stored bytes are not what was written.
    fn corrupt(&self, at: u64, what: &str, next: Offset) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format_args!(
                "record is damaged, restore the segment from a copy or go on behind it: {what} segment={} \
                 position={at} next={}",
                self.path.display(),
                next.0
            ),
        )
        .with_next(next)
    }

    fn io_error(&self, error: io::Error) -> Error {
        Error::new(
            ErrorKind::Retry,
            format_args!("segment cannot be read: {error} segment={}", self.path.display()),
        )
    }
}

/// A record that cannot be read.
struct Bad {
    position: u64,
    what: &'static str,
}

/// What stands at a position.
pub(crate) enum Parsed<'a> {
    Record(Stored<'a>),
    /// The end of the file, or where nothing has been written.
    End,
    Bad(&'static str),
}

/// Reads a file forwards in chunks.
pub(crate) struct Cursor<'a> {
    file: &'a dyn DiskFile,
    pub(crate) position: u64,
    /// Length of the file when the cursor was made.
    pub(crate) length: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile, position: u64) -> io::Result<Self> {
        let length = file.length()?;
        Ok(Self {
            file,
            position,
            length,
            chunk: Vec::new(),
            chunk_start: position,
        })
    }

    /// The next `bytes` bytes, or as many as there are.
    pub(crate) fn peek(&mut self, bytes: usize) -> io::Result<&[u8]> {
        let end = (self.position + bytes as u64).min(self.length).max(self.position);
        if self.position < self.chunk_start || end > self.chunk_start + self.chunk.len() as u64 {
            let fill = (self.length.saturating_sub(self.position)).min(bytes.max(CHUNK_BYTES) as u64);
            self.chunk.resize(fill as usize, 0);
            self.chunk_start = self.position;
            self.file.read_at(&mut self.chunk, self.position)?;
        }
        let start = (self.position - self.chunk_start) as usize;
        Ok(&self.chunk[start..start + (end - self.position) as usize])
    }

    /// What stands here; moves past it if it is a record.
    pub(crate) fn next(&mut self) -> io::Result<Parsed<'_>> {
        let head = self.peek(PREFIX_BYTES)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(Parsed::End);
        }
        let Some(prefix) = head.first_chunk() else {
            return Ok(Parsed::Bad("cut short"));
        };
        let Some(length) = record::length(*prefix) else {
            return Ok(Parsed::Bad("impossible length"));
        };
        if self.length - self.position < length as u64 {
            return Ok(Parsed::Bad("cut short"));
        }
        let start = self.position;
        self.peek(length)?;
        let within = (start - self.chunk_start) as usize;
        match record::parse(&self.chunk[within..within + length]) {
            Ok(stored) => {
                self.position = start + stored.bytes();
                Ok(Parsed::Record(stored))
            }
            Err(what) => Ok(Parsed::Bad(what)),
        }
    }
}
