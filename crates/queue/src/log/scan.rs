//! Reading a whole segment: its index, where its data ends, and what is damaged.
//!
//! At a record that cannot be read, the scan looks for valid records behind it. If one of them was written when
//! the bad one's offset was already durable (or the whole segment is known to be durable), the bad one is
//! *damage*: it is skipped, and reads of it are `Corrupt`. Otherwise it is the *torn tail* of a write that a
//! crash cut short before its sync, possibly with later pieces of the same write behind it, none of them acked.
//! Damage to the last write of all looks the same as a torn tail and is treated as one.

use std::io;

use super::disk::DiskFile;
use super::record::{self, Kind, PREFIX_BYTES, RECORD_BYTES_MIN, SEGMENT_HEADER, Stored};
use super::segment::{Cursor, Index, Parsed};

/// Bytes that are checked in vain behind a bad record, for each byte that there is.
const VAIN_CHECKS_MAX: u64 = 16;

/// What a segment holds.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) index: Index,
    /// The offset after its last batch.
    pub(crate) end: u64,
    /// Where its data ends, in bytes; 0 when not even its head can be read.
    pub(crate) position: u64,
    /// Where the last group begins that was written at once: all before it had been synced.
    pub(crate) group: u64,
    /// Bytes behind `position` which are neither data nor zeros.
    pub(crate) torn: u64,
    /// What lies before the end and cannot be read.
    pub(crate) damage: Vec<Damaged>,
}

/// Batches `offsets` cannot be read; the bytes of the first of them begin at `position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) position: u64,
    pub(crate) offsets: std::ops::Range<u64>,
}

/// Reads a segment from its start. `durable` is the offset up to which its batches are known to be durable, if
/// that is known; the scan ends there. `visit` sees each valid record, the head too.
pub(crate) fn scan(
    file: &dyn DiskFile,
    base: u64,
    durable: Option<u64>,
    mut visit: impl FnMut(Stored<'_>),
) -> io::Result<Scan> {
    let mut cursor = Cursor::new(file, 0)?;
    let mut scan = Scan {
        end: base,
        ..Scan::default()
    };
    let mut trusted = record::is_header(cursor.peek(SEGMENT_HEADER.len())?);
    cursor.position = SEGMENT_HEADER.len() as u64;
    let mut head_seen = false;
    loop {
        if durable.is_some_and(|durable| scan.end >= durable) {
            return Ok(scan);
        }
        let at = cursor.position;
        let fits = match cursor.next()? {
            Parsed::Record(stored) if trusted => {
                let fits = stored.kind.is_head() != head_seen && stored.offset == scan.end;
                if fits {
                    if stored.kind == Kind::Batch {
                        scan.index.note(stored.offset, at);
                        if stored.durable == stored.offset {
                            scan.group = at;
                        }
                        scan.end = stored.offset + 1;
                    }
                    head_seen = true;
                    visit(stored);
                }
                fits
            }
            _ => false,
        };
        if fits {
            scan.position = cursor.position;
            continue;
        }
        // Batches are written when the head before them is durable.
        let was_durable = durable.is_some() || !head_seen;
        match resume(&mut cursor, at, scan.end, was_durable)? {
            Resume::At { offset, position } => {
                scan.damage.push(Damaged {
                    position: at,
                    offsets: scan.end..offset,
                });
                scan.index.resume(offset, position);
                scan.end = offset;
                (head_seen, trusted) = (true, true);
                cursor.position = position;
            }
            Resume::Nowhere { data_end } => {
                if let Some(durable) = durable {
                    scan.damage.push(Damaged {
                        position: at,
                        offsets: scan.end..durable,
                    });
                }
                scan.torn = data_end.saturating_sub(scan.position);
                return Ok(scan);
            }
        }
    }
}

enum Resume {
    /// The data goes on here.
    At { offset: u64, position: u64 },
    /// It does not; bytes that are not zero end here.
    Nowhere { data_end: u64 },
}

/// Looks behind a bad record for one that proves the bad one to have been durable: from where it says that it ends,
/// if the next one is there, else from its start.
///
/// A payload may be made of what looks like records, each as long as all that follows it. So what is checked in
/// vain is bounded; then the search goes on where the bad record says that it ends.
fn resume(cursor: &mut Cursor<'_>, bad_at: u64, bad: u64, was_durable: bool) -> io::Result<Resume> {
    let mut data_end = bad_at.min(cursor.length);
    let mut first = None;
    let (mut vain, vain_max) = (0, VAIN_CHECKS_MAX * (cursor.length - data_end));
    cursor.position = bad_at;
    let prefix = cursor.peek(PREFIX_BYTES)?.first_chunk().copied();
    let bad_end = prefix
        .and_then(record::length)
        .map(|length| bad_at + length as u64);
    let mut bad_end = bad_end.filter(|end| *end <= cursor.length);
    if let Some(end) = bad_end {
        cursor.position = end;
        let is_next = matches!(cursor.next()?, Parsed::Record(stored) if stored.offset == bad + 1);
        cursor.position = if is_next { end } else { bad_at };
    }
    while cursor.position < cursor.length {
        let at = cursor.position;
        if vain > vain_max
            && let Some(end) = bad_end.take().filter(|end| *end > at)
        {
            (vain, data_end, cursor.position) = (0, end, end);
            continue;
        }
        let within = (cursor.length - bad_at) / RECORD_BYTES_MIN as u64 + 2;
        let head = cursor.peek(RECORD_BYTES_MIN)?;
        if head.iter().all(|byte| *byte == 0) {
            skip_zeros(cursor)?;
            continue;
        }
        if head[0] != 0 {
            data_end = at + 1;
        }
        // Offset `bad` itself stands behind a damaged head.
        let possible = at > bad_at
            && vain <= vain_max
            && head
                .first_chunk()
                .is_some_and(|head| record::plausible(head, bad, within));
        let length = head.first_chunk().copied().and_then(record::length);
        cursor.position = at;
        if possible && let Parsed::Record(stored) = cursor.next()? {
            let (offset, proof) = (stored.offset, stored.durable);
            data_end = at + stored.bytes();
            let first = *first.get_or_insert((offset, at));
            if was_durable || proof > bad {
                return Ok(Resume::At {
                    offset: first.0,
                    position: first.1,
                });
            }
        } else {
            vain += length.filter(|_| possible).unwrap_or(0) as u64;
            cursor.position = at + 1;
        }
    }
    Ok(Resume::Nowhere { data_end })
}

/// Moves on to shortly before the next byte that is not zero: a record may begin with up to three zeros.
fn skip_zeros(cursor: &mut Cursor<'_>) -> io::Result<()> {
    let chunk = cursor.peek(64 << 10)?;
    let zeros = chunk
        .iter()
        .position(|byte| *byte != 0)
        .map_or(chunk.len(), |zeros| (zeros - 3).max(1));
    cursor.position += zeros as u64;
    Ok(())
}
