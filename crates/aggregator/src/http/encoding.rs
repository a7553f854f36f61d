//! Content encodings, and codecs of Avro containers: unpacking a body under a limit.

use std::io::{self, Read};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use event::avro::{Codec, Container, write_block, write_header};
use event::limits::BATCH_BYTES_MAX;
use flate2::read::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::room::Room;
use crate::limits::ZSTD_WINDOW_LOG_MAX;
use crate::{Error, ErrorKind, Result};

/// What a body is packed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentEncoding {
    Gzip,
    Zstd,
    Lz4,
    Deflate,
}

/// What `Accept-Encoding` of a 415 says.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip, zstd, lz4, deflate, identity");

/// The first magic number of an LZ4 frame; the legacy frame, whose blocks have 8 MiB, is not taken.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4D, 0x18];
/// The mark that ends an LZ4 frame.
const LZ4_END: [u8; 4] = [0; 4];
const FIRST_STEP_BYTES: usize = 64 << 10;

/// The encoding that `Content-Encoding` names; `None` for a body as it is.
pub(super) fn encoding_of(headers: &HeaderMap) -> Result<Option<ContentEncoding>> {
    let unsupported = |said: &str| {
        Error::new(
            ErrorKind::Unsupported,
            format_args!(
                "unknown content encoding, use one of gzip, zstd, lz4, deflate or none encoding={said:?}"
            ),
        )
    };
    let mut said = headers.get_all(header::CONTENT_ENCODING).iter();
    let encoding = match (said.next(), said.next()) {
        (None, _) => return Ok(None),
        (Some(encoding), None) => String::from_utf8_lossy(encoding.as_bytes()),
        (Some(_), Some(_)) => return Err(unsupported("several headers")),
    };
    match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(None),
        "gzip" | "x-gzip" => Ok(Some(ContentEncoding::Gzip)),
        "zstd" => Ok(Some(ContentEncoding::Zstd)),
        "lz4" => Ok(Some(ContentEncoding::Lz4)),
        "deflate" => Ok(Some(ContentEncoding::Deflate)),
        other => Err(unsupported(other)),
    }
}

/// Unpacks a body into at most `bytes_max` bytes, for which `room` is taken as they come.
///
/// # Errors
/// `Invalid` when the body is not whole and of that encoding; `TooLarge`; `Busy` when there is no room.
pub(super) fn unpacked(
    body: &[u8],
    encoding: ContentEncoding,
    bytes_max: usize,
    room: &mut Room,
) -> Result<Bytes> {
    let mut out = Unpacked {
        bytes: Vec::new(),
        bytes_max,
        packed: body.len(),
        room,
    };
    match encoding {
        ContentEncoding::Gzip => out.read(MultiGzDecoder::new(body), "gzip")?,
        ContentEncoding::Deflate => out.read(Inflate::new(body, Framing::Zlib), "deflate (zlib)")?,
        ContentEncoding::Zstd => {
            out.read_zstd(body)?;
        }
        ContentEncoding::Lz4 => {
            if !body.starts_with(&LZ4_MAGIC) {
                return Err(Error::invalid("body is not a frame of lz4"));
            }
            // A decoder that meets the end of the bytes between two blocks takes it for the end of the frame. An
            // end mark behind the body tells: it is left over when the frame has one of its own.
            let mut decoder = lz4_flex::frame::FrameDecoder::new(body.chain(&LZ4_END[..]));
            out.read(&mut decoder, "lz4")?;
            match decoder.get_ref().get_ref() {
                ([], [_, _, _, _]) => {}
                ([], _) => return Err(Error::invalid("body is not lz4: the frame is cut short")),
                (_, _) => return Err(Error::invalid("body is more than one frame of lz4, send one")),
            }
        }
    }
    Ok(out.bytes.into())
}

/// An Avro container as a queue keeps it, with blocks that are not packed: itself if they are not, else a copy of at most
/// [`BATCH_BYTES_MAX`].
///
/// # Errors
/// `Invalid` when it is not a container, or a block is not what its codec makes; `TooLarge`; `Busy` when there is no
/// room.
pub(super) fn unpacked_container(body: Bytes, room: &mut Room) -> Result<Bytes> {
    let container = Container::open(&body)?;
    if container.codec() == Codec::Null {
        return Ok(body);
    }
    let mut out = Vec::new();
    write_header(&mut out, container.schema(), container.sync());
    for block in container.blocks() {
        let block = block?;
        let mut unpacked = Unpacked {
            bytes: Vec::new(),
            bytes_max: BATCH_BYTES_MAX,
            packed: body.len() + out.capacity(),
            room: &mut *room,
        };
        match container.codec() {
            Codec::Null => unpacked.bytes.extend_from_slice(block.bytes),
            Codec::Deflate => unpacked.read(Inflate::new(block.bytes, Framing::None), "deflate")?,
            Codec::Zstandard => unpacked.read_zstd(block.bytes)?,
            Codec::Snappy => unpacked.read_snappy(block.bytes)?,
        }
        let bytes = unpacked.bytes;
        let needed = out.len() + bytes.len() + BLOCK_FRAME_BYTES_MAX;
        if needed > BATCH_BYTES_MAX {
            return Err(Error::too_large(format_args!(
                "body is too large when its blocks are unpacked, split it bytes_max={BATCH_BYTES_MAX}"
            )));
        }
        if needed > out.capacity() {
            let capacity = needed.max(2 * out.capacity()).min(BATCH_BYTES_MAX);
            room.cover(body.len() + capacity + bytes.len())?;
            out.reserve_exact(capacity - out.len());
        }
        write_block(&mut out, block.records, &bytes, container.sync());
    }
    Ok(out.into())
}

/// Whether it is a container whose blocks are packed.
pub(super) fn is_packed_container(body: &[u8]) -> bool {
    body.starts_with(b"Obj\x01")
        && Container::open(body).is_ok_and(|container| container.codec() != Codec::Null)
}

/// Two numbers and the mark around a block.
const BLOCK_FRAME_BYTES_MAX: usize = 10 + 10 + 16;

struct Unpacked<'a> {
    bytes: Vec<u8>,
    bytes_max: usize,
    packed: usize,
    room: &'a mut Room,
}

impl Unpacked<'_> {
    fn read_zstd(&mut self, packed: &[u8]) -> Result<()> {
        let not_zstd = |error| not(error, "zstd");
        let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(not_zstd)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(not_zstd)?;
        self.read(decoder, "zstd")
    }

    /// A block of a container: its length comes first, the CRC-32 of what is unpacked last.
    fn read_snappy(&mut self, packed: &[u8]) -> Result<()> {
        let not_snappy = || Error::invalid("block of an avro container is not snappy, or is damaged");
        let (packed, crc) = packed.split_last_chunk::<4>().ok_or_else(not_snappy)?;
        let bytes = snap::raw::decompress_len(packed).map_err(|_| not_snappy())?;
        if bytes > self.bytes_max {
            return Err(self.too_large());
        }
        self.room.cover(self.packed + bytes)?;
        self.bytes = snap::raw::Decoder::new()
            .decompress_vec(packed)
            .map_err(|_| not_snappy())?;
        if crc32fast::hash(&self.bytes) == u32::from_be_bytes(*crc) {
            Ok(())
        } else {
            Err(not_snappy())
        }
    }

    fn too_large(&self) -> Error {
        Error::too_large(format_args!(
            "body is too large when unpacked, split it bytes_max={}",
            self.bytes_max
        ))
    }

    fn read(&mut self, mut packed: impl Read, name: &str) -> Result<()> {
        loop {
            // One byte more than allowed tells that there is more.
            let left = self.bytes_max + 1 - self.bytes.len();
            let step = self.bytes.len().max(FIRST_STEP_BYTES).min(left);
            self.room.cover(self.packed + self.bytes.len() + step)?;
            self.bytes.reserve_exact(step);
            let read = packed
                .by_ref()
                .take(step as u64)
                .read_to_end(&mut self.bytes)
                .map_err(|error| not(error, name))?;
            if self.bytes.len() > self.bytes_max {
                return Err(self.too_large());
            }
            if read < step {
                return Ok(());
            }
        }
    }
}

fn not(error: io::Error, name: &str) -> Error {
    Error::invalid(format_args!("body is not {name}, or is cut short: {error}"))
}

/// What is around a DEFLATE stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Zlib,
}

/// A DEFLATE stream that must be whole: the reader of `flate2` takes the end of the bytes for the end of the stream.
struct Inflate<'a> {
    body: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Inflate<'a> {
    fn new(body: &'a [u8], framing: Framing) -> Self {
        Self {
            body,
            state: Decompress::new(framing == Framing::Zlib),
            ended: false,
        }
    }
}

impl Read for Inflate<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self
                .state
                .decompress(self.body, buffer, FlushDecompress::None)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            let read = (self.state.total_in() - read) as usize;
            let written = (self.state.total_out() - written) as usize;
            self.body = &self.body[read..];
            if status == Status::StreamEnd {
                self.ended = true;
                return match self.body {
                    [] => Ok(written),
                    _ => Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "bytes after the end of the stream",
                    )),
                };
            }
            match (read, written) {
                (0, 0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (_, 0) => {}
                (_, written) => return Ok(written),
            }
        }
    }
}

const _: () = assert!(1 << ZSTD_WINDOW_LOG_MAX <= BATCH_BYTES_MAX);

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;
    use crate::limits::MEMORY_BYTES_MIN;
    use crate::{Aggregator, AggregatorOptions};

    /// What there is no room for is not unpacked, however small it is packed.
    #[test]
    fn a_bomb_ends_at_the_room_there_is() {
        let options = AggregatorOptions {
            memory_bytes_max: MEMORY_BYTES_MIN,
            ..AggregatorOptions::default()
        };
        let aggregator = Aggregator::new(Arc::new(queue::MemoryQueue::default()), options);
        let room_of = |dataset: &str| Room::new(aggregator.clone(), dataset.parse().unwrap());
        let room = || room_of("a");
        let bomb = vec![b' '; BATCH_BYTES_MAX];
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&bomb).unwrap();
        let gzip = gzip.finish().unwrap();
        let mut others = room_of("b");
        others.cover(MEMORY_BYTES_MIN - (4 << 20)).unwrap();
        let refused = unpacked(&gzip, ContentEncoding::Gzip, BATCH_BYTES_MAX, &mut room());
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Busy);
        drop(others);
        let whole = unpacked(&gzip, ContentEncoding::Gzip, BATCH_BYTES_MAX, &mut room());
        assert_eq!(whole.unwrap(), bomb);
    }
}
