//! The writing end of one partition: the active segment, its rolling, and what to do when the disk fails.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use event::{Batch, BatchHeader};

use super::disk::{Disk, DiskFile, Mode};
use super::record::{self, Kind, RECORD_BYTES_MIN, SEGMENT_HEADER};
use super::segment::{Index, Segment};
use crate::limits::{CACHED_BYTES_MAX, PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN, UNCACHE_BYTES};

/// Writes the records of one partition.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) folder: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) disk: Arc<dyn Disk>,
    /// `None` before the first batch and after a failure: the next write begins a segment.
    pub(crate) active: Option<Active>,
    /// The segment before, and what of it the page cache keeps. It is not held open: it may be deleted meanwhile.
    pub(crate) before: Option<(Arc<Segment>, Range<u64>)>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) segment: Arc<Segment>,
    /// Where its durable data ends.
    pub(crate) position: u64,
    /// Where the room made for it ends.
    pub(crate) allocated: u64,
    /// Where what the page cache keeps of it begins.
    pub(crate) cached: u64,
}

/// What a segment begins with, about all before it.
#[derive(Debug)]
pub(crate) struct Head {
    /// When the newest batch of the segment before was received, or `UNKNOWN`.
    pub(crate) latest: i64,
    /// The table of emitters.
    pub(crate) snapshot: Vec<u8>,
}

/// Payloads from here on are written from where they are; copying smaller ones costs less than a part each.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// Bytes of a batch as a record.
pub(crate) fn record_bytes(batch: &Batch) -> u64 {
    (RECORD_BYTES_MIN + BatchHeader::ENCODED_BYTES + batch.payload.len()) as u64
}

impl SegmentWriter {
    /// Makes sure that a segment has room for `bytes` more; if that is a new one, returns it, as
    /// [`SegmentWriter::begin`] does.
    pub(crate) fn prepare(
        &mut self,
        end: u64,
        bytes: u64,
        head: impl FnOnce() -> Head,
    ) -> io::Result<Option<Arc<Segment>>> {
        match &self.active {
            Some(active) if active.position + bytes <= self.segment_bytes || active.segment.base == end => {
                Ok(None)
            }
            _ => self.begin(end, &head()).map(Some),
        }
    }

    /// Begins a segment whose first batch is `end`; it is durable when this returns it.
    pub(crate) fn begin(&mut self, end: u64, head: &Head) -> io::Result<Arc<Segment>> {
        // Given up even if this fails: the name of the new segment may outlive a crash, and then nothing from `end`
        // on is looked for in the old one.
        self.close();
        let segment = Arc::new(Segment::new(
            &self.disk,
            &self.folder,
            end,
            Some(Index::default()),
        ));
        match self.create(&segment, head) {
            Ok(active) => {
                self.active = Some(active);
                Ok(segment)
            }
            Err(error) => {
                // What is left of it is no segment; recovery would remove it as well.
                let _ = self.disk.remove(&segment.path);
                Err(error)
            }
        }
    }

    fn create(&self, segment: &Arc<Segment>, head: &Head) -> io::Result<Active> {
        let file = segment.open(Mode::Create)?;
        let mut bytes = SEGMENT_HEADER.to_vec();
        let body: [&[u8]; 2] = [&head.latest.to_le_bytes(), &head.snapshot];
        record::encode(&mut bytes, Kind::Head, segment.base, segment.base, &body);
        file.write_at(&bytes, 0)?;
        file.sync()?;
        self.disk.sync_folder(&self.folder)?;
        let position = bytes.len() as u64;
        Ok(Active {
            file,
            segment: segment.clone(),
            position,
            allocated: position,
            cached: 0,
        })
    }

    /// Writes batches with the offsets from `end` on and syncs them. [`SegmentWriter::prepare`] comes before.
    ///
    /// After an error nothing of the group is kept and the segment is given up: what the page cache says about
    /// it cannot be trusted, so the next write begins a new one at the same offset.
    pub(crate) fn write<'a>(
        &mut self,
        end: u64,
        batches: impl Iterator<Item = &'a Batch>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        let Some(active) = &mut self.active else {
            return Err(io::Error::other("no segment to write to"));
        };
        buffer.clear();
        let mut places = Vec::new();
        let mut latest = None;
        // Large payloads are written from where they are: each comes behind so many bytes of the buffer.
        let mut apart: Vec<(usize, &[u8])> = Vec::new();
        let mut position = active.position;
        for (offset, batch) in (end..).zip(batches) {
            places.push((offset, position));
            position += record_bytes(batch);
            latest = latest.max(Some(batch.header.received_at));
            let header = batch.header.encode();
            let fixed = (Kind::Batch, offset, end);
            if batch.payload.len() < COPIED_BYTES_MAX {
                record::encode_start(buffer, fixed, &[&header, &batch.payload], &[]);
            } else {
                record::encode_start(buffer, fixed, &[&header], &batch.payload);
                apart.push((buffer.len(), &batch.payload));
            }
        }
        let mut parts = Vec::with_capacity(2 * apart.len() + 1);
        let mut from = 0;
        for (to, payload) in apart {
            parts.extend([IoSlice::new(&buffer[from..to]), IoSlice::new(payload)]);
            from = to;
        }
        parts.push(IoSlice::new(&buffer[from..]));
        if let Err(error) = active.append(&mut parts, position, self.segment_bytes) {
            active.trim();
            self.active = None;
            return Err(error);
        }
        latest
            .into_iter()
            .for_each(|latest| active.segment.note_latest(latest));
        active
            .segment
            .with_index(|index| places.iter().for_each(|place| index.note(place.0, place.1)));
        if let Some(cold) = active.position.checked_sub(CACHED_BYTES_MAX) {
            active.uncache(cold);
            self.uncache_before();
        }
        Ok(())
    }

    /// Gives back the room that was made ahead of the data.
    pub(crate) fn close(&mut self) {
        if let Some(mut active) = self.active.take() {
            active.trim();
            self.uncache_before();
            self.before = Some((active.segment, active.cached..active.position));
        }
    }

    fn uncache_before(&mut self) {
        if let Some((segment, cached)) = self.before.take()
            && let Ok(file) = segment.open(Mode::Read)
        {
            file.uncache(cached.start, cached.end);
        }
    }
}

impl Active {
    /// Writes what ends at `end` and syncs it.
    fn append(&mut self, parts: &mut [IoSlice<'_>], end: u64, segment_bytes: u64) -> io::Result<()> {
        if end > self.allocated {
            let ahead = self.position.clamp(PREALLOCATE_BYTES_MIN, PREALLOCATE_BYTES_MAX);
            let to = (end + ahead).min(segment_bytes).max(end);
            // Without room ahead each sync costs more, no worse; without room at all the write will say so.
            if self.file.allocate(self.allocated, to).is_ok() {
                self.allocated = to;
            }
        }
        self.file.write_parts_at(parts, self.position)?;
        self.file.sync()?;
        self.position = end;
        Ok(())
    }

    /// Lets the page cache go of what is before a position. A log is read at its end or from far back, so its middle
    /// would only push out what is read again; and the pages given back are the next ones written to, which costs
    /// less than pages that the system has to find (or a virtual machine's host to fill with zeros) first.
    fn uncache(&mut self, to: u64) {
        // In whole steps: of a large page in the middle of which it ends, nothing is given back.
        let to = to - to % UNCACHE_BYTES;
        if to > self.cached {
            self.file.uncache(self.cached, to);
            self.cached = to;
        }
    }

    /// Cuts off all behind the durable data. A failure does no harm: readers stop at the durable end, and what
    /// is behind the first offset of the next segment is never looked at.
    fn trim(&mut self) {
        match self.file.set_length(self.position) {
            Ok(()) => self.allocated = self.position,
            Err(error) => {
                tracing::warn!(segment = %self.segment.path.display(), %error, "segment keeps its spare room");
            }
        }
    }
}
