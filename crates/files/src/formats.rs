//! What the lines of the formats mean.

use flow::Timestamp;
use serde::de::DeserializeOwned;

use crate::EventTime;
use crate::malformed::Reason;
use crate::source::timed;

type Decoded<T> = Result<(Timestamp, T), Reason>;

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
