//! A place in a file, from which records are read in order.

use std::sync::Arc;

use flow::{Error, ErrorKind, Result, Timestamp};

use crate::malformed::{Malformed, Reason};
use crate::paths::DataFile;
use crate::text::{Frame, Text};

/// A record: an element with its time, or what is wrong with it.
pub(crate) type Record<T> = std::result::Result<(Timestamp, T), Malformed>;

/// What a reading gave beside its records.
pub(crate) struct Chunk {
    /// About how many bytes the records take.
    pub(crate) bytes: usize,
    /// Whether the file has no more.
    pub(crate) ended: bool,
}

/// Where a reading ends.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// The offset that it ends before.
    pub(crate) until: u64,
    /// About how many bytes of records it gives; one record at least.
    pub(crate) bytes_max: usize,
}

/// A place in a file.
pub(crate) trait Cursor<T>: Send {
    /// The offset of the next record.
    fn offset(&self) -> u64;

    /// Hands on records until the bounds or the end.
    fn read(&mut self, bounds: Bounds, emit: &mut dyn FnMut(Record<T>) -> Result<()>) -> Result<Chunk>;
}

/// How the files of a source are read.
pub(crate) trait Format<T>: Send + Sync {
    /// The place in a file at an offset that an earlier reading ended with.
    fn open(&self, file: &Arc<DataFile>, offset: u64, record_bytes_max: usize) -> Result<Box<dyn Cursor<T>>>;
}

/// What a line without its end is as an element; `None` if it is nothing.
pub(crate) type DecodeLine<T> =
    dyn Fn(&[u8]) -> Option<std::result::Result<(Timestamp, T), Reason>> + Send + Sync;

/// Files whose records are lines.
pub(crate) struct Lines<T>(pub(crate) Arc<DecodeLine<T>>);

impl<T: 'static> Format<T> for Lines<T> {
    fn open(&self, file: &Arc<DataFile>, offset: u64, record_bytes_max: usize) -> Result<Box<dyn Cursor<T>>> {
        let mut text = Text::open(file)?;
        text.skip_to(offset)?;
        Ok(Box::new(LineCursor {
            text,
            decode: self.0.clone(),
            record_bytes_max,
        }))
    }
}

struct LineCursor<T> {
    text: Text,
    decode: Arc<DecodeLine<T>>,
    record_bytes_max: usize,
}

impl<T> Cursor<T> for LineCursor<T> {
    fn offset(&self) -> u64 {
        self.text.offset()
    }

    fn read(&mut self, bounds: Bounds, emit: &mut dyn FnMut(Record<T>) -> Result<()>) -> Result<Chunk> {
        let mut chunk = Chunk {
            bytes: 0,
            ended: false,
        };
        while self.text.offset() < bounds.until && (chunk.bytes == 0 || chunk.bytes < bounds.bytes_max) {
            let Some(frame) = self.text.line(self.record_bytes_max)? else {
                chunk.ended = true;
                break;
            };
            match frame {
                Frame::Whole(bytes) => {
                    chunk.bytes += bytes;
                    let raw = &self.text.held()[..bytes];
                    match (self.decode)(without_end(raw)) {
                        Some(Ok(element)) => emit(Ok(element))?,
                        Some(Err(reason)) => {
                            let malformed = malformed(&mut self.text, bytes, reason)?;
                            emit(Err(malformed))?;
                        }
                        None => {}
                    }
                    self.text.consume(bytes);
                }
                Frame::TooLong => {
                    let malformed = skip_too_long(&mut self.text, self.record_bytes_max)?;
                    chunk.bytes += malformed.raw.len();
                    emit(Err(malformed))?;
                }
            }
        }
        within(&self.text, bounds)?;
        Ok(chunk)
    }
}

/// A line without its line feed, or carriage return and line feed.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    match line.strip_suffix(b"\n") {
        Some(line) => line.strip_suffix(b"\r").unwrap_or(line),
        None => line,
    }
}

/// The record of some bytes at the text's offset, which is malformed.
pub(crate) fn malformed(text: &mut Text, bytes: usize, reason: Reason) -> Result<Malformed> {
    let line = text.line_number()?;
    Ok(reason.at(&text.file.part, line, without_end(&text.held()[..bytes])))
}

/// Moves past a line that is too long, and says so.
pub(crate) fn skip_too_long(text: &mut Text, bytes_max: usize) -> Result<Malformed> {
    let line = text.line_number()?;
    let raw = text.skip_line()?;
    let reason = Reason::new(format_args!(
        "it is longer than a record may be: raise `record_bytes_max` bytes_max={bytes_max}"
    ));
    Ok(reason.at(&text.file.part, line, without_end(&raw)))
}

/// Fails when a record began before the bounds and ended after them.
pub(crate) fn within(text: &Text, bounds: Bounds) -> Result<()> {
    if text.offset() <= bounds.until {
        return Ok(());
    }
    Err(text
        .file
        .changed("a record does not end where the job's progress says"))
}

/// An error for a reading that panicked: in a function that the user gave, or in a decoder of damaged bytes.
pub(crate) fn panicked(file: &DataFile, error: tokio::task::JoinError) -> Error {
    let text = format!(
        "the reading of a file panicked: {error} file={}",
        file.path.display()
    );
    let kind = if error.is_panic() {
        ErrorKind::Invalid
    } else {
        ErrorKind::Retry
    };
    Error::new(kind, text).with_source(error)
}
