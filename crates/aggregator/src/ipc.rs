//! Arrow IPC without decoding: the messages of a Flight stream, framed and joined into streams of their own.
//!
//! Format: <https://arrow.apache.org/docs/format/Columnar.html#encapsulated-message-format>: `0xFFFFFFFF`, the
//! length of the metadata as a little endian i32, the metadata (a flatbuffer) padded so that the body begins at a
//! multiple of 8, the body.

use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::FlightData;
use bytes::{BufMut, Bytes, BytesMut};
use event::limits::BATCH_BYTES_MAX;

use crate::{Error, Result};

const CONTINUATION: u32 = 0xFFFF_FFFF;

/// The schema and dictionaries that a stream has sent so far, framed.
#[derive(Default)]
pub(crate) struct IpcStream {
    schema: Option<Bytes>,
    dictionaries: Vec<(i64, Bytes)>,
}

/// A record batch with all it takes to read it.
#[derive(Debug)]
pub(crate) struct IpcBatch {
    /// How many rows it has.
    pub(crate) rows: u64,
    /// An Arrow IPC stream, without the end marker.
    pub(crate) payload: Bytes,
}

impl IpcStream {
    /// Takes a message. A record batch comes back as a stream that stands for itself; schemas and dictionaries
    /// are kept for the batches after them.
    pub(crate) fn take(&mut self, data: &FlightData) -> Result<Option<IpcBatch>> {
        let message = root_as_message(&data.data_header)
            .map_err(|error| Error::invalid(format_args!("data_header is not an arrow message: {error}")))?;
        let body_bytes = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
        let body = data.data_body.get(..body_bytes).ok_or_else(|| {
            Error::invalid(format_args!(
                "body is shorter than its header says bytes={} bytes_said={body_bytes}",
                data.data_body.len()
            ))
        })?;
        match message.header_type() {
            MessageHeader::Schema => {
                self.schema = Some(framed(&data.data_header, body));
                self.dictionaries.clear();
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let dictionary = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| Error::invalid("dictionary message holds no dictionary"))?;
                self.keep_dictionary(
                    dictionary.id(),
                    dictionary.isDelta(),
                    framed(&data.data_header, body),
                )?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let rows = message
                    .header_as_record_batch()
                    .and_then(|batch| u64::try_from(batch.length()).ok())
                    .ok_or_else(|| Error::invalid("record batch does not say how many rows it has"))?;
                Ok(Some(IpcBatch {
                    rows,
                    payload: self.joined(&data.data_header, body)?,
                }))
            }
            other => Err(Error::invalid(format_args!(
                "not a message of a dataset message={other:?}"
            ))),
        }
    }

    /// A dictionary takes the place of the one before it with its id; a delta goes on from it.
    fn keep_dictionary(&mut self, id: i64, delta: bool, message: Bytes) -> Result<()> {
        let old = self.dictionaries.iter().position(|(known, _)| *known == id);
        match old {
            Some(at) if !delta => {
                self.dictionaries[at].1 = message;
                let mut place = 0..;
                self.dictionaries
                    .retain(|(known, _)| place.next() == Some(at) || *known != id);
            }
            _ => self.dictionaries.push((id, message)),
        }
        let bytes: usize = self.dictionaries.iter().map(|(_, message)| message.len()).sum();
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "dictionaries are too large, send fewer values bytes={bytes} bytes_max={BATCH_BYTES_MAX}"
            )));
        }
        Ok(())
    }

    fn joined(&self, header: &[u8], body: &[u8]) -> Result<Bytes> {
        let schema = self
            .schema
            .as_ref()
            .ok_or_else(|| Error::invalid("record batch came before a schema, send the schema first"))?;
        let before = self
            .dictionaries
            .iter()
            .map(|(_, message)| message.len())
            .sum::<usize>()
            + schema.len();
        let mut joined = BytesMut::with_capacity(before + framed_bytes(header, body));
        joined.extend_from_slice(schema);
        for (_, dictionary) in &self.dictionaries {
            joined.extend_from_slice(dictionary);
        }
        frame(&mut joined, header, body);
        Ok(joined.freeze())
    }
}

/// How many rows the record batches of an Arrow IPC stream have, by their headers: its frames are walked, no column is
/// read.
pub(crate) fn rows(payload: &[u8]) -> Result<u64> {
    let cut = || Error::invalid(format_args!("arrow stream is cut short bytes={}", payload.len()));
    let mut rows = 0u64;
    let mut rest = payload;
    let mut has_schema = false;
    while !rest.is_empty() {
        let (mark, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if u32::from_le_bytes(*mark) != CONTINUATION {
            return Err(Error::invalid("body is not an arrow stream, a frame has no mark"));
        }
        let (bytes, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        let bytes = u32::from_le_bytes(*bytes) as usize;
        if bytes == 0 {
            break;
        }
        let (metadata, after) = after.split_at_checked(bytes).ok_or_else(cut)?;
        let message = root_as_message(metadata)
            .map_err(|error| Error::invalid(format_args!("frame is not an arrow message: {error}")))?;
        has_schema |= message.header_type() == MessageHeader::Schema;
        if let Some(batch) = message.header_as_record_batch() {
            rows = rows.saturating_add(u64::try_from(batch.length()).map_err(|_| cut())?);
        }
        let body_bytes = usize::try_from(message.bodyLength()).map_err(|_| cut())?;
        rest = after.get(body_bytes..).ok_or_else(cut)?;
    }
    if !has_schema {
        return Err(Error::invalid("arrow stream has no schema"));
    }
    Ok(rows)
}

fn framed(header: &[u8], body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(framed_bytes(header, body));
    frame(&mut out, header, body);
    out.freeze()
}

fn framed_bytes(header: &[u8], body: &[u8]) -> usize {
    8 + header.len().next_multiple_of(8) + body.len()
}

fn frame(out: &mut BytesMut, header: &[u8], body: &[u8]) {
    let padded = header.len().next_multiple_of(8);
    out.put_u32_le(CONTINUATION);
    out.put_u32_le(u32::try_from(padded).expect("a gRPC message is shorter than 4 GiB"));
    out.extend_from_slice(header);
    out.put_bytes(0, padded - header.len());
    out.extend_from_slice(body);
}
