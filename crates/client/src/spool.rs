//! A dataset's spool: its sealed batches on disk, in order, until they are finished.
//!
//! A folder with `lock`, `marks` (the emitter, and which epoch counts from which record) and segments, named by
//! the number of their first record. Records are numbered over the life of the folder, and the number with the
//! marks makes the batch key, so a batch that was sent before a crash is sent again as itself. Each opening
//! begins a new epoch for what comes: records that a power failure took from the end can lend their keys to
//! nobody. A segment is synced before the next one begins, so only the last can be torn; its tail is cut.

mod marks;
mod record;

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use event::{EmitterId, Epoch, Sequence};
use uuid::Uuid;

use crate::limits::{SPOOL_RECORDS_MAX, SPOOL_SEGMENT_BYTES_MAX};
use crate::options::{SpoolOptions, SpoolSync};
use crate::outbox::Sealed;
use crate::{Error, ErrorKind, Result};

/// The open spool of one dataset. All its calls block on files.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    options: SpoolOptions,
    segment_bytes_max: u64,
    marks: marks::Marks,
    /// Oldest first; the last one is written to. Never empty.
    segments: VecDeque<Segment>,
    file: File,
    /// A write has failed: what follows the last record is to be cut before the next write.
    torn: bool,
    reader: Option<Reader>,
    /// The next record to hand out.
    next_read: u64,
    /// The first record that is not finished.
    first: u64,
    /// Bytes that were cut off the end at the opening.
    pub(crate) cut_bytes: u64,
    _lock: File,
}

#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u64,
    records: u64,
    bytes: u64,
}

#[derive(Debug)]
struct Reader {
    /// The first record of its segment.
    segment: u64,
    record: u64,
    file: BufReader<File>,
}

/// A record that was handed out, with its key.
#[derive(Debug)]
pub(crate) struct Spooled {
    pub(crate) record: u64,
    pub(crate) epoch: Epoch,
    pub(crate) sequence: Sequence,
    pub(crate) batch: Sealed,
}

/// Why a batch was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The spool holds as many bytes as it may.
    Full,
    /// The disk does not take it.
    Disk(io::Error),
}

impl Spool {
    /// Opens the spool of a dataset and makes it if it is not there. Reads all of it once.
    pub(crate) fn open(options: &SpoolOptions, dataset: &str) -> Result<Self> {
        let folder = options.folder.join(dataset);
        let told = |error: io::Error| error_of(&folder, &error);
        fs::create_dir_all(&folder).map_err(told)?;
        let lock = lock(&folder)?;
        let (mut marks, fresh) = match marks::Marks::read(&folder).map_err(told)? {
            Some(marks) => (marks, false),
            None => (marks::Marks::new(EmitterId(Uuid::now_v7())), true),
        };
        let (mut segments, cut_bytes) = scan(&folder)?;
        if fresh && !segments.is_empty() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format_args!(
                    "spool has segments but no marks, move it away folder={}",
                    folder.display()
                ),
            ));
        }
        let begun = marks.first();
        let first = segments.front().map_or(begun, |oldest| oldest.first.max(begun));
        if !fresh {
            marks.begin(segments.back().map_or(begun, |last| last.end().max(begun)));
        }
        marks.finished(first);
        marks.write(&folder).map_err(told)?;
        if segments.back().is_some_and(|last| last.end() < begun) {
            // A power failure took the end of what is finished.
            for segment in segments.drain(..) {
                fs::remove_file(path(&folder, segment.first)).map_err(told)?;
            }
        }
        if segments.is_empty() {
            create(&folder, first).map_err(told)?;
            segments.push_back(Segment {
                first,
                records: 0,
                bytes: 0,
            });
        }
        let last = segments[segments.len() - 1];
        let file = OpenOptions::new()
            .write(true)
            .open(path(&folder, last.first))
            .map_err(told)?;
        let mut spool = Self {
            segment_bytes_max: (options.bytes_max / 4).clamp(1, SPOOL_SEGMENT_BYTES_MAX),
            options: options.clone(),
            marks,
            segments,
            file,
            torn: true,
            reader: None,
            next_read: first,
            first,
            cut_bytes,
            _lock: lock,
            folder,
        };
        spool.mend().map_err(|error| error_of(&spool.folder, &error))?;
        Ok(spool)
    }

    /// The emitter of all that was ever in this folder.
    pub(crate) fn emitter(&self) -> EmitterId {
        self.marks.emitter
    }

    /// The number of the next record.
    pub(crate) fn end(&self) -> u64 {
        self.last().end()
    }

    /// Records that are not finished.
    pub(crate) fn len(&self) -> u64 {
        self.last().end() - self.first
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// Whether there are records that were not handed out.
    pub(crate) fn has_unread(&self) -> bool {
        self.next_read < self.last().end()
    }

    /// Takes batches off the front, as many as it can, and makes them last as the options say.
    pub(crate) fn append(&mut self, batches: &mut VecDeque<Sealed>) -> Result<(), Refusal> {
        let mut outcome = Ok(());
        let before = self.last().end();
        while let Some(batch) = batches.front() {
            outcome = self.append_one(batch);
            if outcome.is_err() {
                break;
            }
            batches.pop_front();
        }
        if self.last().end() > before && self.options.sync == SpoolSync::EveryBatch {
            // What was written may be handed out all the same: it is on its way to the server.
            outcome = outcome.and(self.file.sync_data().map_err(Refusal::Disk));
        }
        outcome
    }

    fn append_one(&mut self, batch: &Sealed) -> Result<(), Refusal> {
        if self.len() > 0 && self.bytes() + batch.bytes as u64 > self.options.bytes_max {
            return Err(Refusal::Full);
        }
        let frame = record::encode(batch);
        let is_over = self.len() == 0 && self.bytes() + frame.len() as u64 > self.options.bytes_max;
        if is_over || self.last().bytes >= self.segment_bytes_max {
            self.rotate().map_err(Refusal::Disk)?;
        }
        let bytes = self.bytes() + frame.len() as u64;
        if bytes > self.options.bytes_max && self.len() > 0 {
            return Err(Refusal::Full);
        }
        self.mend().map_err(Refusal::Disk)?;
        self.torn = true;
        self.file.write_all(&frame).map_err(Refusal::Disk)?;
        self.torn = false;
        let last = self.segments.len() - 1;
        self.segments[last].records += 1;
        self.segments[last].bytes += frame.len() as u64;
        Ok(())
    }

    /// Cuts what a failed write has left.
    fn mend(&mut self) -> io::Result<()> {
        if self.torn {
            let end = self.last().bytes;
            // It may have read ahead what is cut.
            self.reader = None;
            self.file.set_len(end)?;
            self.file.seek(SeekFrom::Start(end))?;
            self.torn = false;
        }
        Ok(())
    }

    /// Begins the next segment, unless the last one is empty, and drops those that are finished.
    fn rotate(&mut self) -> io::Result<()> {
        if self.last().records > 0 {
            self.mend()?;
            self.file.sync_data()?;
            let first = self.last().end();
            self.file = create(&self.folder, first)?;
            self.segments.push_back(Segment {
                first,
                records: 0,
                bytes: 0,
            });
        }
        self.settle()
    }

    /// The next record; `None` when all were handed out.
    ///
    /// # Errors
    /// `Corrupt`: it is not what was written. `Retry`: the file cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Spooled>> {
        if !self.has_unread() {
            return Ok(None);
        }
        let record = self.next_read;
        let batch = self.read(record)?;
        self.next_read += 1;
        let (epoch, sequence) = self.marks.key(record);
        Ok(Some(Spooled {
            record,
            epoch,
            sequence,
            batch,
        }))
    }

    /// The next records until they hold so many bytes, and what ended the reading before.
    pub(crate) fn read_up_to(&mut self, bytes_max: usize) -> (Vec<Spooled>, Option<Error>) {
        let (mut read, mut bytes) = (Vec::new(), 0);
        while bytes < bytes_max {
            match self.next() {
                Ok(Some(record)) => {
                    bytes += record.batch.bytes;
                    read.push(record);
                }
                Ok(None) => break,
                Err(error) => return (read, Some(error)),
            }
        }
        (read, None)
    }

    fn read(&mut self, record: u64) -> Result<Sealed> {
        let segment = self
            .segments
            .iter()
            .rfind(|segment| segment.first <= record)
            .map_or(0, |segment| segment.first);
        let damaged = || {
            let at = path(&self.folder, segment);
            Error::new(
                ErrorKind::Corrupt,
                format_args!(
                    "record of the spool is damaged record={record} file={}",
                    at.display()
                ),
            )
        };
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(),
            _ => error_of(&self.folder, &error),
        };
        let mut reader = match self.reader.take() {
            Some(reader) if reader.segment == segment && reader.record <= record => reader,
            _ => Reader {
                segment,
                record: segment,
                file: BufReader::new(File::open(path(&self.folder, segment)).map_err(told)?),
            },
        };
        loop {
            let body = read_frame(&mut reader.file).map_err(told)?.ok_or_else(damaged)?;
            reader.record += 1;
            if reader.record > record {
                self.reader = Some(reader);
                return record::decode(body).ok_or_else(damaged);
            }
        }
    }

    /// The server that must not be left, since it alone has what it acked last.
    pub(crate) fn bound_to(&self) -> Option<&str> {
        self.marks.bound_to.as_deref()
    }

    /// Remembers that server for the next process, or that there is none.
    pub(crate) fn bind(&mut self, endpoint: Option<String>) -> io::Result<()> {
        let mut marks = self.marks.clone();
        marks.bound_to = endpoint;
        marks.write(&self.folder)?;
        self.marks = marks;
        Ok(())
    }

    /// All records up to and with this one are finished.
    pub(crate) fn finish(&mut self, record: u64) {
        self.first = self.first.max(record + 1);
    }

    /// Whether an epoch is over that the folder does not know of. [`Spool::settle`] comes before anything is sent
    /// in the next one: the server would refuse what the next process sends again of this one.
    pub(crate) fn is_between_epochs(&self) -> bool {
        self.marks.is_over(self.first)
    }

    /// Whether there is something for [`Spool::settle`] to do.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.is_between_epochs() || (self.segments.len() > 1 && self.segments[0].end() <= self.first)
    }

    /// Deletes the segments whose records are all finished, which makes room, and writes down which epochs are over.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 && self.segments[0].end() <= self.first {
            match fs::remove_file(path(&self.folder, self.segments[0].first)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => self.segments.pop_front(),
            };
        }
        if self.is_between_epochs() {
            let mut marks = self.marks.clone();
            marks.finished(self.first);
            marks.write(&self.folder)?;
            self.marks = marks;
        }
        Ok(())
    }

    /// From the first unfinished record on, all are numbered anew in a new epoch. On disk when it returns.
    pub(crate) fn renumber(&mut self, record: u64) -> io::Result<Epoch> {
        let mut marks = self.marks.clone();
        let epoch = marks.begin(record);
        marks.finished(record);
        marks.write(&self.folder)?;
        self.marks = marks;
        Ok(epoch)
    }

    /// At the end: forgets what is finished, so that the next opening has nothing to send again.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        if self.len() == 0 {
            self.rotate()?;
        }
        self.file.sync_data()
    }

    fn last(&self) -> Segment {
        self.segments[self.segments.len() - 1]
    }
}

impl Segment {
    /// The number of the first record after it.
    fn end(&self) -> u64 {
        self.first + self.records
    }
}

fn error_of(folder: &Path, error: &io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData => ErrorKind::Corrupt,
        _ => ErrorKind::Retry,
    };
    Error::new(
        kind,
        format_args!("spool cannot be used: {error} folder={}", folder.display()),
    )
}

fn lock(folder: &Path) -> Result<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder.join("lock"))
        .map_err(|error| error_of(folder, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(Error::new(
            ErrorKind::Conflict,
            format_args!(
                "spool is in use, give each process a folder of its own folder={}",
                folder.display()
            ),
        )),
        Err(fs::TryLockError::Error(error)) => Err(error_of(folder, &error)),
    }
}

fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}.segment"))
}

/// A new, empty segment, in place of an empty one that a crash may have left.
fn create(folder: &Path, first: u64) -> io::Result<File> {
    let file = File::create(path(folder, first))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

/// The segments of a folder and how many bytes of the last one are torn.
fn scan(folder: &Path) -> Result<(VecDeque<Segment>, u64)> {
    let told = |error: io::Error| error_of(folder, &error);
    let mut firsts = Vec::new();
    for entry in fs::read_dir(folder).map_err(told)? {
        let name = entry.map_err(told)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
        firsts.extend(number.and_then(|number| number.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    let mut segments = VecDeque::<Segment>::new();
    let mut cut_bytes = 0;
    for (at, first) in firsts.iter().copied().enumerate() {
        let file = path(folder, first);
        let (segment, torn, is_damaged) = scan_one(&file, first).map_err(told)?;
        let follows =
            first <= SPOOL_RECORDS_MAX && segments.back().is_none_or(|before| before.end() == first);
        let is_last = at + 1 == firsts.len();
        if !follows || is_damaged || (torn > 0 && !is_last) {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format_args!(
                    "spool is damaged, move it away at_byte={} file={}",
                    segment.bytes,
                    file.display()
                ),
            ));
        }
        cut_bytes = torn;
        segments.push_back(segment);
    }
    Ok((segments, cut_bytes))
}

/// A segment up to its first frame that is not whole, how many bytes follow, and whether a whole frame is among them:
/// then it was damaged, and not torn.
fn scan_one(path: &Path, first: u64) -> io::Result<(Segment, u64, bool)> {
    let file = File::open(path)?;
    let all = file.metadata()?.len();
    let mut file = BufReader::new(file);
    let mut segment = Segment {
        first,
        records: 0,
        bytes: 0,
    };
    let (mut is_whole, mut is_damaged) = (true, false);
    loop {
        match read_frame(&mut file) {
            Ok(Some(body)) if is_whole => {
                segment.records += 1;
                segment.bytes += (record::FRAME_BYTES + body.len()) as u64;
            }
            Ok(Some(_)) => {
                is_damaged = true;
                break;
            }
            // What is behind it tells whether the end is torn here.
            Ok(None) => is_whole = false,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok((segment, all - segment.bytes, is_damaged))
}

/// The body of the next frame; `None` when it is not whole.
fn read_frame(file: &mut impl Read) -> io::Result<Option<BytesMut>> {
    let mut frame = [0; record::FRAME_BYTES];
    file.read_exact(&mut frame)?;
    let Some(bytes) = record::body_bytes(frame) else {
        return Ok(None);
    };
    let mut body = BytesMut::zeroed(bytes);
    file.read_exact(&mut body)?;
    Ok(record::is_whole(frame, &body).then_some(body))
}

#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod tests;
