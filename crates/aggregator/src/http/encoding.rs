//! Content encodings: unpacking a body under a limit.

use std::io::{self, Read};

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
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
        ContentEncoding::Deflate => out.read(Zlib::new(body), "deflate (zlib)")?,
        ContentEncoding::Zstd => {
            let not_zstd = |error| not(error, "zstd");
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(not_zstd)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(not_zstd)?;
            out.read(decoder, "zstd")?;
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

struct Unpacked<'a> {
    bytes: Vec<u8>,
    bytes_max: usize,
    packed: usize,
    room: &'a mut Room,
}

impl Unpacked<'_> {
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
                return Err(Error::too_large(format_args!(
                    "body is too large when unpacked, split it bytes_max={}",
                    self.bytes_max
                )));
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

/// A zlib stream that must be whole: the reader of `flate2` takes the end of the bytes for the end of the stream.
struct Zlib<'a> {
    body: &'a [u8],
    state: Decompress,
    ended: bool,
}

impl<'a> Zlib<'a> {
    fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            state: Decompress::new(true),
            ended: false,
        }
    }
}

impl Read for Zlib<'_> {
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
