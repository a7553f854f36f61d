//! The input file in blocks of whole lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What all contestants in Rust read at once.
pub(crate) const BLOCK_BYTES: usize = 64 << 10;

/// A part of a file, from one line's start to another's.
pub(crate) struct Blocks {
    file: File,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
}

impl Blocks {
    /// Part `index` of `count` parts of about the same size.
    pub(crate) fn part(path: &Path, index: usize, count: usize) -> io::Result<Self> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let at = line_start(&file, bytes * index as u64 / count as u64, bytes)?;
        let end = line_start(&file, bytes * (index as u64 + 1) / count as u64, bytes)?;
        Ok(Self {
            file,
            at,
            end,
            buffer: vec![0; BLOCK_BYTES],
        })
    }

    /// The next whole lines; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<&str>> {
        let text = lines_at(&self.file, self.at, self.end, &mut self.buffer)?;
        self.at += text.map_or(0, str::len) as u64;
        Ok(text)
    }
}

/// The first start of a line at or after `near`.
fn line_start(file: &File, near: u64, bytes: u64) -> io::Result<u64> {
    if near == 0 || near >= bytes {
        return Ok(near.min(bytes));
    }
    let mut buffer = [0; 4096];
    let read = file.read_at(&mut buffer, near - 1)?;
    let newline = buffer[..read].iter().position(|byte| *byte == b'\n');
    newline.map_or_else(
        || Err(malformed("a line of more than 4 KiB")),
        |at| Ok(near + at as u64),
    )
}

/// The whole lines between two offsets that fit into `buffer`, which starts at a line's start; `None` if there are none.
pub(crate) fn lines_at<'a>(
    file: &File,
    at: u64,
    end: u64,
    buffer: &'a mut [u8],
) -> io::Result<Option<&'a str>> {
    let wanted = buffer.len().min((end - at) as usize);
    if wanted == 0 {
        return Ok(None);
    }
    file.read_exact_at(&mut buffer[..wanted], at)?;
    let newline = buffer[..wanted].iter().rposition(|byte| *byte == b'\n');
    let whole = newline.ok_or_else(|| malformed("a line that does not fit into a block, or has no end"))?;
    let text = std::str::from_utf8(&buffer[..=whole]).map_err(|_| malformed("not UTF-8"))?;
    Ok(Some(text))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the input is not as generated: {what}"),
    )
}
