//! The writing end of one partition: the active segment, its rolling, and what to do when the disk fails.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use event::{Batch, BatchHeader};

use super::disk::{Disk, sync_folder};
use super::record::{self, Kind, RECORD_BYTES_MIN, SEGMENT_HEADER};
use super::segment::{Index, Segment};
use crate::limits::{PREALLOCATE_BYTES_MAX, PREALLOCATE_BYTES_MIN};

/// Writes the records of one partition.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    pub(crate) folder: PathBuf,
    pub(crate) segment_bytes: u64,
    pub(crate) disk: Disk,
    /// `None` before the first batch and after a failure: the next write begins a segment.
    pub(crate) active: Option<Active>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) file: File,
    pub(crate) segment: Arc<Segment>,
    /// Where its durable data ends.
    pub(crate) position: u64,
    /// Where the room made for it ends.
    pub(crate) allocated: u64,
}

/// Bytes of a batch as a record.
pub(crate) fn record_bytes(batch: &Batch) -> u64 {
    (RECORD_BYTES_MIN + BatchHeader::ENCODED_BYTES + batch.payload.len()) as u64
}

impl SegmentWriter {
    /// Makes sure that a segment has room for `bytes` more. If that is a new one, its first record is the
    /// snapshot, its first batch `end`, and it is durable when this returns it.
    pub(crate) fn prepare(
        &mut self,
        end: u64,
        bytes: u64,
        snapshot: impl FnOnce() -> Vec<u8>,
    ) -> io::Result<Option<Arc<Segment>>> {
        if let Some(active) = &mut self.active {
            if active.position + bytes <= self.segment_bytes || active.segment.base == end {
                return Ok(None);
            }
            active.trim();
        }
        let segment = Arc::new(Segment::new(&self.folder, end, Some(Index::default())));
        match self.create(&segment, &snapshot()) {
            Ok(active) => {
                self.active = Some(active);
                Ok(Some(segment))
            }
            Err(error) => {
                // What is left of it is no segment; recovery would remove it as well.
                let _ = fs::remove_file(&segment.path);
                Err(error)
            }
        }
    }

    fn create(&self, segment: &Arc<Segment>, snapshot: &[u8]) -> io::Result<Active> {
        if let Err(error) = fs::remove_file(&segment.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&segment.path)?;
        let mut bytes = SEGMENT_HEADER.to_vec();
        record::encode(
            &mut bytes,
            Kind::Snapshot,
            segment.base,
            segment.base,
            &[snapshot],
        );
        self.disk.write(&file, &bytes, 0)?;
        self.disk.sync(&file)?;
        sync_folder(&self.folder)?;
        let position = bytes.len() as u64;
        Ok(Active {
            file,
            segment: segment.clone(),
            position,
            allocated: position,
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
        for (offset, batch) in (end..).zip(batches) {
            places.push((offset, active.position + buffer.len() as u64));
            let header = batch.header.encode();
            record::encode(buffer, Kind::Batch, offset, end, &[&header, &batch.payload]);
        }
        if let Err(error) = active.append(&self.disk, buffer, self.segment_bytes) {
            active.trim();
            self.active = None;
            return Err(error);
        }
        active
            .segment
            .with_index(|index| places.iter().for_each(|place| index.note(place.0, place.1)));
        Ok(())
    }

    /// Gives back the room that was made ahead of the data.
    pub(crate) fn close(&mut self) {
        if let Some(mut active) = self.active.take() {
            active.trim();
        }
    }
}

impl Active {
    fn append(&mut self, disk: &Disk, bytes: &[u8], segment_bytes: u64) -> io::Result<()> {
        let end = self.position + bytes.len() as u64;
        if end > self.allocated {
            let ahead = self.position.clamp(PREALLOCATE_BYTES_MIN, PREALLOCATE_BYTES_MAX);
            let to = (end + ahead).min(segment_bytes).max(end);
            // Without room ahead each sync costs more, no worse; without room at all the write will say so.
            if disk.allocate(&self.file, self.allocated, to).is_ok() {
                self.allocated = to;
            }
        }
        disk.write(&self.file, bytes, self.position)?;
        disk.sync(&self.file)?;
        self.position = end;
        Ok(())
    }

    /// Cuts off all behind the durable data. A failure does no harm: readers stop at the durable end, and what
    /// is behind the first offset of the next segment is never looked at.
    fn trim(&mut self) {
        match self.file.set_len(self.position) {
            Ok(()) => self.allocated = self.position,
            Err(error) => {
                tracing::warn!(segment = %self.segment.path.display(), %error, "segment keeps its spare room");
            }
        }
    }
}
