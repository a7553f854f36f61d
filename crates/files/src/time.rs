//! What may be an element's event time.

use std::fmt::Display;

use flow::Timestamp;

use crate::malformed::Reason;

/// What a source's `time` function may return. An element without a time, or with one outside the years -9999 to
/// 9999, is malformed.
///
/// ```
/// use files::EventTime;
///
/// let read = |text: &str| text.parse::<jiff::Timestamp>();
/// assert_eq!(read("1970-01-01T00:00:01Z").event_time(), Ok(flow::Timestamp(1000)));
/// assert!(read("yesterday").event_time().is_err());
/// ```
pub trait EventTime {
    /// The time, or why there is none.
    fn event_time(self) -> Result<Timestamp, String>;
}

impl EventTime for Timestamp {
    fn event_time(self) -> Result<Timestamp, String> {
        let years = jiff::Timestamp::MIN.as_millisecond()..=jiff::Timestamp::MAX.as_millisecond();
        if years.contains(&self.0) {
            return Ok(self);
        }
        Err(format!(
            "its event time is outside the years -9999 to 9999: is it in milliseconds? time_ms={}",
            self.0
        ))
    }
}

impl EventTime for jiff::Timestamp {
    fn event_time(self) -> Result<Timestamp, String> {
        // Rounded down, as batches are.
        Ok(Timestamp(self.as_nanosecond().div_euclid(1_000_000) as i64))
    }
}

impl<R: EventTime> EventTime for Option<R> {
    fn event_time(self) -> Result<Timestamp, String> {
        self.ok_or_else(|| "it has no event time".to_owned())?
            .event_time()
    }
}

impl<R: EventTime, E: Display> EventTime for Result<R, E> {
    fn event_time(self) -> Result<Timestamp, String> {
        self.map_err(|error| format!("its event time cannot be read: {error}"))?
            .event_time()
    }
}

/// An element with its time, or the reason why it has none.
pub(crate) fn timed<T, R: EventTime>(element: T, time: impl Fn(&T) -> R) -> Result<(Timestamp, T), Reason> {
    let at = time(&element).event_time().map_err(Reason::new)?;
    Ok((at, element))
}
