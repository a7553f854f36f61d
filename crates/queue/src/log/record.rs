//! The bytes of a segment: an 8-byte header (seven letters, the version), then records: a head, then batches.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | length | u32 | bytes after the checksum |
//! | checksum | u32 | CRC-32 of those bytes |
//! | kind | u8 | 1 batch, 2 head of version 1, 3 head of version 2 |
//! | offset | u64 | of the batch; of a head, the segment's first |
//! | durable | u64 | the partition's end when this was written: all before it had been synced |
//! | body | | batch: header (50 bytes), payload; head: below |
//!
//! The head of version 1 is a snapshot of the emitters (`dedup.rs`). That of version 2 is an i64, the time of
//! receipt of the newest batch in the segment before, in microseconds since 1970 (the least i64: not known), and
//! then the snapshot. Version 2 is written, both are read.
//!
//! Little endian. A length of 0 is where nothing has been written yet. `durable` tells a record that was lost in
//! a crash before its sync (nothing later can say that it was durable) from one that was damaged afterwards.

use event::{Batch, BatchHeader, DatasetName};

use crate::limits::RECORD_BODY_BYTES_MAX;
use crate::{Offset, Partition, Record, Result};

/// The start of a segment file: seven letters and the version.
pub(crate) const SEGMENT_HEADER: [u8; 8] = *b"SANDLOG\x02";
/// That of a file of the first version.
pub(crate) const SEGMENT_HEADER_1: [u8; 8] = *b"SANDLOG\x01";
/// A time of receipt that is not known.
pub(crate) const UNKNOWN: i64 = i64::MIN;
/// Length and checksum.
pub(crate) const PREFIX_BYTES: usize = 8;
/// Kind, offset, durable.
const FIXED_BYTES: usize = 17;
/// The smallest record as a whole.
pub(crate) const RECORD_BYTES_MIN: usize = PREFIX_BYTES + FIXED_BYTES;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Batch = 1,
    /// The head of version 1.
    Snapshot = 2,
    Head = 3,
}

impl Kind {
    pub(crate) fn is_head(self) -> bool {
        matches!(self, Self::Snapshot | Self::Head)
    }
}

/// A record that passed its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored<'a> {
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) durable: u64,
    pub(crate) body: &'a [u8],
}

impl Stored<'_> {
    /// Bytes of the whole record.
    pub(crate) fn bytes(&self) -> u64 {
        (RECORD_BYTES_MIN + self.body.len()) as u64
    }

    /// Of a head: the newest time of receipt in the segment before, or [`UNKNOWN`], and the snapshot.
    pub(crate) fn head(&self) -> Option<(i64, &[u8])> {
        match self.kind {
            Kind::Batch => None,
            Kind::Snapshot => Some((UNKNOWN, self.body)),
            Kind::Head => {
                let (latest, snapshot) = self.body.split_first_chunk()?;
                Some((i64::from_le_bytes(*latest), snapshot))
            }
        }
    }

    /// Of a batch: its header.
    pub(crate) fn header(&self) -> Option<BatchHeader> {
        match self.kind {
            Kind::Batch => BatchHeader::decode(self.body).ok(),
            _ => None,
        }
    }

    /// The batch in it.
    pub(crate) fn record(&self, dataset: &DatasetName, partition: Partition) -> Result<Record> {
        let header = BatchHeader::decode(self.body)?;
        // The header has been read, so it is there.
        let payload = bytes::Bytes::copy_from_slice(&self.body[BatchHeader::ENCODED_BYTES..]);
        let batch = Batch {
            dataset: dataset.clone(),
            header,
            payload,
        };
        Ok(Record {
            partition,
            offset: Offset(self.offset),
            batch,
        })
    }
}

/// The length of a record's bytes from its prefix; `None` when no record is so long or so short.
pub(crate) fn length(prefix: [u8; PREFIX_BYTES]) -> Option<usize> {
    let length = u32::from_le_bytes([prefix[0], prefix[1], prefix[2], prefix[3]]) as usize;
    (FIXED_BYTES..=FIXED_BYTES + RECORD_BODY_BYTES_MAX)
        .contains(&length)
        .then_some(PREFIX_BYTES + length)
}

/// Reads the record that is exactly these bytes; the error is what is wrong with them.
pub(crate) fn parse(bytes: &[u8]) -> Result<Stored<'_>, &'static str> {
    let (prefix, content) = bytes.split_first_chunk::<PREFIX_BYTES>().ok_or("cut short")?;
    let checksum = u32::from_le_bytes([prefix[4], prefix[5], prefix[6], prefix[7]]);
    if crc32fast::hash(content) != checksum {
        return Err("checksum does not match");
    }
    let (fixed, body) = content.split_first_chunk::<FIXED_BYTES>().ok_or("cut short")?;
    let kind = match fixed[0] {
        1 => Kind::Batch,
        2 => Kind::Snapshot,
        3 => Kind::Head,
        _ => return Err("unknown kind"),
    };
    Ok(Stored {
        kind,
        offset: u64_at(fixed, 1),
        durable: u64_at(fixed, 9),
        body,
    })
}

/// Whether bytes can be the start of a batch's record with an offset from `from` on: cheap, before any checksum.
pub(crate) fn plausible(head: &[u8; RECORD_BYTES_MIN], from: u64, within: u64) -> bool {
    let offset = u64_at(head, PREFIX_BYTES + 1);
    head[PREFIX_BYTES] == Kind::Batch as u8
        && offset >= from
        && offset - from <= within
        && u64_at(head, PREFIX_BYTES + 9) <= offset
}

/// Whether these bytes begin a segment of a version that can be read.
pub(crate) fn is_header(bytes: &[u8]) -> bool {
    bytes == SEGMENT_HEADER || bytes == SEGMENT_HEADER_1
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

/// Appends a record whose body is some parts, one after the other.
pub(crate) fn encode(out: &mut Vec<u8>, kind: Kind, offset: u64, durable: u64, body: &[&[u8]]) {
    encode_start(out, (kind, offset, durable), body, &[]);
}

/// Appends a record without the end of its body, `apart`, which is to be written behind it.
pub(crate) fn encode_start(
    out: &mut Vec<u8>,
    (kind, offset, durable): (Kind, u64, u64),
    body: &[&[u8]],
    apart: &[u8],
) {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    out.push(kind as u8);
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&durable.to_le_bytes());
    for part in body {
        out.extend_from_slice(part);
    }
    let content = start + PREFIX_BYTES;
    let length = (out.len() - content + apart.len()) as u32;
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&out[content..]);
    checksum.update(apart);
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..content].copy_from_slice(&checksum.finalize().to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_record_round_trips_and_a_flipped_bit_shows(body: Vec<u8>, offset: u64, durable: u64, flip: prop::sample::Index) {
            let mut bytes = Vec::new();
            encode(&mut bytes, Kind::Batch, offset, durable, &[&body]);
            let stored = parse(&bytes).unwrap();
            prop_assert_eq!((stored.kind, stored.offset, stored.durable, stored.body), (Kind::Batch, offset, durable, &body[..]));
            prop_assert_eq!(stored.bytes(), bytes.len() as u64);
            let (mut parts, middle) = (Vec::new(), body.len() / 2);
            encode_start(&mut parts, (Kind::Batch, offset, durable), &[&body[..middle]], &body[middle..]);
            parts.extend_from_slice(&body[middle..]);
            prop_assert_eq!(&parts, &bytes);
            prop_assert_eq!(length(*bytes.first_chunk().unwrap()), Some(bytes.len()));
            let bit = 32 + flip.index(bytes.len() * 8 - 32);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(parse(&bytes).is_err());
        }
    }
}
