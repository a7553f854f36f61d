//! One segment file as readers see it: path, first offset, and a sparse index offset → position.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use event::{BatchHeader, DatasetName};

use super::record::{self, Kind, PREFIX_BYTES, SEGMENT_HEADER, Stored};
use super::scan::scan;
use crate::{Error, ErrorKind, Partition, Record, Result};

/// Bytes of a segment between entries of its index.
const INDEX_BYTES: u64 = 64 << 10;
/// Bytes read from disk at a time.
const CHUNK_BYTES: usize = 128 << 10;

/// A segment of a partition; batches `base..` up to the next segment's base.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) path: PathBuf,
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
    pub(crate) fn new(folder: &Path, base: u64, index: Option<Index>) -> Self {
        Self {
            base,
            path: folder.join(format!("{base:020}.log")),
            index: Mutex::new(index),
        }
    }

    /// The first offset of the segment with this file name, if it is one.
    pub(crate) fn base_of(name: &str) -> Option<u64> {
        let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
        digits.parse().ok()
    }

    /// Calls with the index, if it has been built.
    pub(crate) fn with_index(&self, f: impl FnOnce(&mut Index)) {
        if let Some(index) = self.index.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            f(index);
        }
    }

    /// Batches from `wanted.from` on: at least one, up to `bytes_max` of payload. Costs what it reads, the first
    /// time also a scan of the segment.
    pub(crate) fn read(&self, dataset: &DatasetName, wanted: Wanted) -> Result<Vec<Record>> {
        let io_error = |e| self.io_error(e);
        let file = File::open(&self.path).map_err(io_error)?;
        let (offset, position) = self.seek(&file, wanted).map_err(io_error)?;
        let mut cursor = Cursor::new(&file, position).map_err(io_error)?;
        let mut next = if position == SEGMENT_HEADER.len() as u64 {
            None
        } else {
            Some(offset)
        };
        let mut records = Vec::new();
        let mut bytes = 0;
        while next.unwrap_or(self.base) < wanted.until {
            let at = cursor.position;
            let wrong = match cursor.next().map_err(io_error)? {
                Parsed::Record(stored) if stored.kind == Kind::Snapshot && next.is_none() => {
                    next = Some(self.base);
                    continue;
                }
                Parsed::Record(stored) if stored.kind == Kind::Batch && Some(stored.offset) == next => {
                    next = Some(stored.offset + 1);
                    if stored.offset < wanted.from {
                        continue;
                    }
                    let size = stored.body.len().saturating_sub(BatchHeader::ENCODED_BYTES);
                    if !records.is_empty() && bytes + size > wanted.bytes_max {
                        next = Some(stored.offset);
                        cursor.position = at;
                        break;
                    }
                    bytes += size;
                    let record = stored.record(dataset, wanted.partition);
                    records.push(record.map_err(|error| self.corrupt(at, error))?);
                    continue;
                }
                Parsed::Record(_) => "is not the next record",
                Parsed::End => "has not been written",
                Parsed::Bad(what) => what,
            };
            if records.is_empty() {
                return Err(self.corrupt(at, wrong));
            }
            break;
        }
        if let Some(next) = next {
            self.with_index(|index| index.hint = Some((next, cursor.position)));
        }
        Ok(records)
    }

    fn seek(&self, file: &File, wanted: Wanted) -> io::Result<(u64, u64)> {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = index.as_ref() {
            return Ok(index.seek(wanted.from));
        }
        let built = scan(file, self.base, Some(wanted.until), |_| {})?.index;
        Ok(index.insert(built).seek(wanted.from))
    }

    /// Stored bytes are not what was written.
    pub(crate) fn corrupt(&self, at: u64, what: impl std::fmt::Display) -> Error {
        Error::new(
            ErrorKind::Corrupt,
            format_args!(
                "record is damaged, restore the segment from a copy: {what} segment={} position={at}",
                self.path.display()
            ),
        )
    }

    fn io_error(&self, error: io::Error) -> Error {
        Error::new(
            ErrorKind::Retry,
            format_args!("segment cannot be read: {error} segment={}", self.path.display()),
        )
    }
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
    file: &'a File,
    pub(crate) position: u64,
    /// Length of the file when the cursor was made.
    pub(crate) length: u64,
    chunk: Vec<u8>,
    chunk_start: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(file: &'a File, position: u64) -> io::Result<Self> {
        let length = file.metadata()?.len();
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
            self.file.read_exact_at(&mut self.chunk, self.position)?;
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
