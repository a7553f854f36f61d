//! Files with a record a line: text and NDJSON.

use std::sync::Arc;

use flow::{Result, Timestamp};
use serde::de::DeserializeOwned;

use crate::EventTime;
use crate::cursor::{Cursor, Format, Frame, Records, TextCursor, without_end};
use crate::malformed::Reason;
use crate::paths::DataFile;
use crate::text::Text;
use crate::time::timed;

type Decoded<T> = std::result::Result<(Timestamp, T), Reason>;

/// What a line without its end is; `None` if it is nothing.
type DecodeLine<T> = dyn Fn(&[u8]) -> Option<Decoded<T>> + Send + Sync;

/// Files whose records are lines.
pub(crate) struct Lines<T>(Arc<DecodeLine<T>>);

impl<T> Lines<T> {
    pub(crate) fn new(decode: impl Fn(&[u8]) -> Option<Decoded<T>> + Send + Sync + 'static) -> Self {
        Self(Arc::new(decode))
    }
}

impl<T: 'static> Format<T> for Lines<T> {
    fn open(&self, file: &Arc<DataFile>, offset: u64, record_bytes_max: usize) -> Result<Box<dyn Cursor<T>>> {
        let mut text = Text::open(file)?;
        text.skip_to(offset)?;
        Ok(Box::new(TextCursor {
            text,
            records: Self(self.0.clone()),
            record_bytes_max,
        }))
    }
}

impl<T> Records<T> for Lines<T> {
    fn frame(&mut self, text: &mut Text, bytes_max: usize) -> Result<Option<Frame>> {
        Ok(match text.line(bytes_max)? {
            Ok(0) => None,
            Ok(bytes) => Some(Frame::Whole(bytes)),
            Err(reason) => Some(Frame::Broken(reason)),
        })
    }

    fn decode(&mut self, raw: &[u8]) -> Option<Decoded<T>> {
        (self.0)(without_end(raw))
    }
}

/// A line as text.
pub(crate) fn text<R: EventTime>(line: &[u8], time: &impl Fn(&str) -> R) -> Decoded<String> {
    match std::str::from_utf8(line) {
        Ok(text) => timed(text.to_owned(), |text| time(text)),
        Err(error) => Err(Reason {
            column: Some(error.valid_up_to() as u64 + 1),
            ..Reason::new("it is not UTF-8")
        }),
    }
}

/// A line as a JSON value; `None` if it is blank.
pub(crate) fn json<T: DeserializeOwned, R: EventTime>(
    line: &[u8],
    time: &impl Fn(&T) -> R,
) -> Option<Decoded<T>> {
    match serde_json::from_slice(line) {
        Ok(value) => Some(timed(value, time)),
        Err(_) if line.trim_ascii().is_empty() => None,
        Err(error) => {
            let text = error.to_string();
            // Of the one line that it was given; ours is another.
            let place = format!(" at line {} column {}", error.line(), error.column());
            Some(Err(Reason {
                column: Some(error.column() as u64).filter(|column| *column > 0),
                ..Reason::new(text.strip_suffix(&place).unwrap_or(&text))
            }))
        }
    }
}
