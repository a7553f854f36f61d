//! The text of a file, decompressed, from an offset on: a buffer that frames are cut from.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::ops::Range;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use flow::Result;
use memchr::{memchr, memchr_iter};

use crate::cursor::too_long;
use crate::limits::{RAW_BYTES_MAX, READ_BYTES};
use crate::malformed::Reason;
use crate::paths::DataFile;

/// Compression by the first bytes, which no text begins with; the name does not matter.
const GZIP: [u8; 2] = [0x1F, 0x8B];
const ZSTD: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The byte-order mark that some programs write before UTF-8.
const MARK: [u8; 3] = [0xEF, 0xBB, 0xBF];

enum Input {
    Plain(Take<File>),
    Packed(Box<dyn Read + Send>),
}

impl Read for Input {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(into),
            Self::Packed(text) => text.read(into),
        }
    }
}

/// The text of a file from an offset on; offsets count bytes of the decompressed text.
///
/// The end is where it was when the source was made, so that a line which is being appended is left alone.
pub(crate) struct Text {
    pub(crate) file: Arc<DataFile>,
    input: Input,
    buffer: Vec<u8>,
    filled: Range<usize>,
    /// The offset of what the buffer holds.
    offset: u64,
    /// Line feeds before the offset, once somebody has asked; those since `counted_from` until then.
    lines: u64,
    counted_from: u64,
}

impl Text {
    /// The text from its beginning.
    pub(crate) fn open(file: &Arc<DataFile>) -> Result<Self> {
        let input = input(file).map_err(|error| error.into_error(file))?;
        let mut text = Self {
            file: file.clone(),
            input,
            buffer: Vec::new(),
            filled: 0..0,
            offset: 0,
            lines: 0,
            counted_from: 0,
        };
        while text.held().len() < MARK.len() && text.fill()? {}
        if text.held().starts_with(&MARK) {
            text.consume(MARK.len());
        }
        Ok(text)
    }

    /// Moves on to a later offset at which a record begins. Plain text is not read on the way, compressed text is.
    pub(crate) fn skip_to(&mut self, offset: u64) -> Result<()> {
        if offset == 0 || offset == self.offset {
            return Ok(());
        }
        let ahead = offset.checked_sub(self.offset).ok_or_else(|| {
            self.file
                .changed("its beginning is longer than the job's progress says")
        })?;
        // The byte before is read: it has to end a record.
        self.skip(ahead - 1)?;
        if self.held().is_empty() && !self.fill()? {
            return Err(self.file.changed("it is shorter than the job's progress says"));
        }
        let before = self.held()[0];
        self.filled.start += 1;
        self.offset = offset;
        (self.lines, self.counted_from) = (0, offset);
        let more = !self.held().is_empty() || self.fill()?;
        if more && !matches!(before, b'\n' | b'\r') {
            return Err(self.file.changed(
                "a record does not begin where the job's progress says, or its last line was unfinished before",
            ));
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<()> {
        let held = bytes.min(self.held().len() as u64);
        self.filled.start += held as usize;
        let rest = bytes - held;
        if rest == 0 {
            return Ok(());
        }
        let skipped = match &mut self.input {
            Input::Plain(file) => skip_plain(file, rest),
            Input::Packed(text) => io::copy(&mut text.take(rest), &mut io::sink()),
        };
        if skipped.map_err(|error| self.file.io(error))? < rest {
            return Err(self.file.changed("it is shorter than the job's progress says"));
        }
        Ok(())
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// What is in memory from the offset on.
    pub(crate) fn held(&self) -> &[u8] {
        &self.buffer[self.filled.clone()]
    }

    /// Moves past bytes that are held.
    pub(crate) fn consume(&mut self, bytes: usize) {
        let from = self.filled.start;
        self.filled.start += bytes;
        self.offset += bytes as u64;
        self.lines += memchr_iter(b'\n', &self.buffer[from..self.filled.start]).count() as u64;
    }

    /// Holds more; false at the end.
    pub(crate) fn fill(&mut self) -> Result<bool> {
        if self.filled.is_empty() {
            self.filled = 0..0;
        } else if self.filled.start >= self.buffer.len() / 2 {
            self.buffer.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.filled.end == self.buffer.len() {
            self.buffer.resize((self.buffer.len() * 2).max(READ_BYTES), 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.filled.end..]) {
                Ok(bytes) => {
                    self.filled.end += bytes;
                    return Ok(bytes > 0);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.file.io(error)),
            }
        }
    }

    /// The bytes of the next line with its line feed: `Ok(0)` at the end, `Err` when they are more than `bytes_max`.
    pub(crate) fn line(&mut self, bytes_max: usize) -> Result<std::result::Result<usize, Reason>> {
        let mut searched = 0;
        loop {
            let held = self.held();
            let end = memchr(b'\n', &held[searched..]).map(|end| searched + end + 1);
            searched = held.len();
            if end.unwrap_or(searched) > bytes_max {
                return Ok(Err(too_long(bytes_max)));
            }
            if let Some(bytes) = end {
                return Ok(Ok(bytes));
            }
            if !self.fill()? {
                return Ok(Ok(searched));
            }
        }
    }

    /// Moves past a line without holding it, and gives its first bytes.
    pub(crate) fn skip_line(&mut self) -> Result<Vec<u8>> {
        let mut first = Vec::new();
        loop {
            let held = self.held();
            let end = memchr(b'\n', held).map(|end| end + 1);
            let bytes = end.unwrap_or(held.len());
            first.extend_from_slice(&held[..bytes.min(RAW_BYTES_MAX - first.len())]);
            self.consume(bytes);
            if end.is_some() || !self.fill()? {
                return Ok(first);
            }
        }
    }

    /// The line that the offset is in, from 1. After a `skip_to` the first call reads the file up to there.
    pub(crate) fn line_number(&mut self) -> Result<u64> {
        if self.counted_from > 0 {
            let mut before = Self::open(&self.file)?;
            while before.offset < self.counted_from {
                let bytes = before.held().len() as u64;
                if bytes == 0 && !before.fill()? {
                    break;
                }
                let bytes = (before.held().len() as u64).min(self.counted_from - before.offset);
                before.consume(bytes as usize);
            }
            self.lines += before.lines;
            self.counted_from = 0;
        }
        Ok(self.lines + 1)
    }
}

/// Why a text could not be opened.
enum OpenError {
    Changed(flow::Error),
    Io(io::Error),
}

impl OpenError {
    fn into_error(self, file: &DataFile) -> flow::Error {
        match self {
            Self::Changed(error) => error,
            Self::Io(error) => file.io(error),
        }
    }
}

fn input(file: &DataFile) -> Result<Input, OpenError> {
    let mut opened = file.open().map_err(OpenError::Changed)?;
    let first = first_bytes(&mut opened).map_err(OpenError::Io)?;
    let bytes = opened.take(file.bytes);
    Ok(if first.starts_with(&GZIP) {
        Input::Packed(Box::new(MultiGzDecoder::new(BufReader::with_capacity(
            READ_BYTES, bytes,
        ))))
    } else if first.starts_with(&ZSTD) {
        let text = zstd::Decoder::new(bytes).map_err(OpenError::Io)?;
        Input::Packed(Box::new(text))
    } else {
        Input::Plain(bytes)
    })
}

fn first_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(ZSTD.len());
    file.take(ZSTD.len() as u64).read_to_end(&mut first)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(first)
}

/// Moves a file on within its limit, and says how far.
fn skip_plain(file: &mut Take<File>, bytes: u64) -> io::Result<u64> {
    let bytes = bytes.min(file.limit());
    file.get_mut().seek(SeekFrom::Current(bytes as i64))?;
    file.set_limit(file.limit() - bytes);
    Ok(bytes)
}
