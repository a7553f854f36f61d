//! The stored form of a sealed batch.
//!
//! A record is a frame, little endian: length u32 of the body, CRC-32 u32 of the body, body. The body: version
//! u8 = 1, encoding u8 (0 Arrow IPC messages, 1 NDJSON), events u32, generated i64 µs since the Unix epoch, then
//! parts, each with its length u32. NDJSON has one part, the lines; Arrow has the schema, the header and the body
//! of the record batch, then header and body of each dictionary.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use event::limits::BATCH_EVENTS_MAX;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::limits::SPOOL_RECORD_BYTES_MAX;
use crate::outbox::{Payload, Sealed};
use crate::rows::Rows;

/// Length and CRC.
pub(super) const FRAME_BYTES: usize = 8;
const VERSION: u8 = 1;

/// The batch as a frame.
pub(super) fn encode(batch: &Sealed) -> Vec<u8> {
    let mut out = Vec::with_capacity(batch.bytes + 64);
    out.put_u64_le(0);
    out.put_u8(VERSION);
    out.put_u8(match batch.payload {
        Payload::Rows(_) => 0,
        Payload::Lines(_) => 1,
    });
    out.put_u32_le(batch.events);
    out.put_i64_le(batch.generated_at.as_microsecond());
    let mut part = |bytes: &Bytes| {
        // A part is of a batch, which is far smaller than 4 GiB.
        out.put_u32_le(bytes.len() as u32);
        out.put_slice(bytes);
    };
    match &batch.payload {
        Payload::Lines(lines) => part(lines),
        Payload::Rows(rows) => {
            part(&rows.schema);
            part(&rows.header);
            part(&rows.body);
            for (header, body) in &rows.dictionaries {
                part(header);
                part(body);
            }
        }
    }
    let (bytes, crc) = (out.len() - FRAME_BYTES, crc32fast::hash(&out[FRAME_BYTES..]));
    out[..4].copy_from_slice(&(bytes as u32).to_le_bytes());
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The length of the body that a frame announces, if it can be one.
pub(super) fn body_bytes(frame: [u8; FRAME_BYTES]) -> Option<usize> {
    let mut frame = &frame[..];
    Some(frame.get_u32_le() as usize).filter(|bytes| (1..=SPOOL_RECORD_BYTES_MAX).contains(bytes))
}

/// Whether the body is what the frame says.
pub(super) fn is_whole(frame: [u8; FRAME_BYTES], body: &[u8]) -> bool {
    let mut frame = &frame[4..];
    frame.get_u32_le() == crc32fast::hash(body)
}

/// Reads the body of a frame; `None` when it says what cannot be.
pub(super) fn decode(body: BytesMut) -> Option<Sealed> {
    let mut body = body.freeze();
    if body.try_get_u8().ok()? != VERSION {
        return None;
    }
    let encoding = body.try_get_u8().ok()?;
    let events = body
        .try_get_u32_le()
        .ok()
        .filter(|n| (1..=BATCH_EVENTS_MAX).contains(n))?;
    let generated_at = Timestamp::from_microsecond(body.try_get_i64_le().ok()?).ok()?;
    let mut parts = Vec::new();
    while body.has_remaining() {
        let bytes = body.try_get_u32_le().ok()? as usize;
        if bytes > body.remaining() {
            return None;
        }
        parts.push(body.split_to(bytes));
    }
    let mut parts = parts.into_iter();
    let payload = match encoding {
        1 => Payload::Lines(parts.next()?),
        0 => {
            let (schema, header, body) = (parts.next()?, parts.next()?, parts.next()?);
            let mut dictionaries = Vec::new();
            while let Some(header) = parts.next() {
                dictionaries.push((header, parts.next()?));
            }
            Payload::Rows(Rows {
                count: events,
                schema,
                dictionaries,
                header,
                body,
            })
        }
        _ => return None,
    };
    let bytes = match &payload {
        Payload::Lines(lines) => lines.len(),
        Payload::Rows(rows) => rows.bytes(),
    };
    parts.next().is_none().then_some(Sealed {
        payload,
        events,
        generated_at,
        emitted: Instant::now(),
        bytes,
        notice: None,
    })
}
