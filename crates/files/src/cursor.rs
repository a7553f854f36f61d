//! A place in a file, from which records are read in order.

use std::sync::Arc;

use flow::{Error, ErrorKind, Result, Timestamp};

use crate::malformed::{Malformed, Reason};
use crate::paths::DataFile;
use crate::text::Text;

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

/// How a text is cut into records, and what they are.
pub(crate) trait Records<T>: Send {
    /// Finds the record at the text's offset; `None` at the end.
    fn frame(&mut self, text: &mut Text, bytes_max: usize) -> Result<Option<Frame>>;

    /// What the record that was found last is, from its bytes in the file; `None` if it is nothing.
    fn decode(&mut self, raw: &[u8]) -> Option<std::result::Result<(Timestamp, T), Reason>>;
}

/// What stands at the offset of a text.
pub(crate) enum Frame {
    /// A record of so many bytes, its end included.
    Whole(usize),
    /// A line that no record can begin with.
    Broken(Reason),
}

/// A place in a text.
pub(crate) struct TextCursor<R> {
    pub(crate) text: Text,
    pub(crate) records: R,
    pub(crate) record_bytes_max: usize,
}

impl<T, R: Records<T>> Cursor<T> for TextCursor<R> {
    fn offset(&self) -> u64 {
        self.text.offset()
    }

    fn read(&mut self, bounds: Bounds, emit: &mut dyn FnMut(Record<T>) -> Result<()>) -> Result<Chunk> {
        let Self {
            text,
            records,
            record_bytes_max,
        } = self;
        let mut chunk = Chunk {
            bytes: 0,
            ended: false,
        };
        while text.offset() < bounds.until && (chunk.bytes == 0 || chunk.bytes < bounds.bytes_max) {
            let Some(frame) = records.frame(text, *record_bytes_max)? else {
                chunk.ended = true;
                break;
            };
            match frame {
                Frame::Whole(bytes) => {
                    chunk.bytes += bytes;
                    match records.decode(&text.held()[..bytes]) {
                        Some(Ok(element)) => emit(Ok(element))?,
                        Some(Err(reason)) => {
                            let line = text.line_number()?;
                            let raw = without_end(&text.held()[..bytes]);
                            emit(Err(reason.at(&text.file.part, line, raw)))?;
                        }
                        None => {}
                    }
                    text.consume(bytes);
                }
                Frame::Broken(reason) => {
                    let line = text.line_number()?;
                    let raw = text.skip_line()?;
                    chunk.bytes += raw.len();
                    emit(Err(reason.at(&text.file.part, line, without_end(&raw))))?;
                }
            }
        }
        if text.offset() > bounds.until {
            return Err(text
                .file
                .changed("a record does not end where the job's progress says"));
        }
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

/// Why a record that is too long is malformed.
pub(crate) fn too_long(bytes_max: usize) -> Reason {
    Reason::new(format_args!(
        "it is longer than a record may be: raise `record_bytes_max` bytes_max={bytes_max}"
    ))
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
