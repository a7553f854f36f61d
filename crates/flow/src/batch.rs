//! Event time cut into batches: the function from time to [`BatchId`], and back to intervals.
//!
//! An interval is half-open, `start..end` in [`Timestamp`]s. Batches touch: the end of one is the start of the next. So
//! `Timestamp(i64::MAX)`, which is no element's time, belongs to the last batch's end alone.

mod calendar;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::calendar::Calendar;
pub use self::calendar::CalendarUnit;
use crate::{Error, Timestamp};

/// The number of a batch; later batches have larger ones, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub i64);

impl BatchId {
    /// The one after.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The one before.
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "batch {}", self.0)
    }
}

/// The function from event time to batches. Total: every time has a batch, also before 1970.
///
/// Laws: `batch_of` never falls as time rises; `interval_of(batch_of(t))` holds `t`; the interval of a batch ends where
/// that of the next starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Batcher(Cut);

#[derive(Clone, Debug, PartialEq)]
enum Cut {
    /// One batch, 0, of all time.
    Unit,
    /// Of this many milliseconds each, batch 0 starting at the epoch.
    Fixed(i64),
    Calendar(Calendar),
    Switched(Box<Switched>),
}

/// `before` until `at`, and from then on `after`.
#[derive(Clone, Debug, PartialEq)]
struct Switched {
    before: Batcher,
    at: Timestamp,
    after: Batcher,
}

impl Batcher {
    /// One batch, of all time.
    pub fn unit() -> Self {
        Self(Cut::Unit)
    }

    /// Batches of this length, cut from 1970-01-01T00:00Z in both directions.
    ///
    /// # Errors
    /// `Invalid` when it is not a whole number of milliseconds, at least one.
    pub fn every(length: Duration) -> Result<Self, Error> {
        match i64::try_from(length.as_millis()) {
            Ok(millis) if millis > 0 && length.subsec_nanos().is_multiple_of(1_000_000) => {
                Ok(Self(Cut::Fixed(millis)))
            }
            _ => Err(Error::new(
                crate::ErrorKind::Invalid,
                format!("a batch must last a whole number of milliseconds, at least one: length={length:?}"),
            )),
        }
    }

    /// The hours, days, months or years of this time zone.
    pub fn calendar(unit: CalendarUnit, zone: jiff::tz::TimeZone) -> Self {
        Self(Cut::Calendar(Calendar::new(unit, zone)))
    }

    /// This one until `at`, and `after` from then on. Both sides' batches end there, and numbers go on without a gap.
    pub fn then(self, at: Timestamp, after: Self) -> Self {
        Self(Cut::Switched(Box::new(Switched {
            before: self,
            at,
            after,
        })))
    }

    /// The batch of a time.
    pub fn batch_of(&self, time: Timestamp) -> BatchId {
        BatchId(match &self.0 {
            Cut::Unit => 0,
            Cut::Fixed(millis) => time.0.div_euclid(*millis),
            Cut::Calendar(calendar) => calendar.index_of(time.0),
            Cut::Switched(switched) => return switched.batch_of(time),
        })
    }

    /// When a batch starts. A batch before all time starts at the least, one after all time at the greatest.
    pub fn start_of(&self, batch: BatchId) -> Timestamp {
        Timestamp(match &self.0 {
            Cut::Unit => match batch.0 {
                ..=0 => i64::MIN,
                1.. => i64::MAX,
            },
            Cut::Fixed(millis) => batch.0.saturating_mul(*millis),
            Cut::Calendar(calendar) => calendar.start_of(batch.0),
            Cut::Switched(switched) => return switched.start_of(batch),
        })
    }

    /// The times of a batch.
    pub fn interval_of(&self, batch: BatchId) -> Range<Timestamp> {
        self.start_of(batch)..self.start_of(batch.next())
    }

    /// The times of a run of batches.
    pub fn interval_of_all(&self, batches: &Range<BatchId>) -> Range<Timestamp> {
        self.start_of(batches.start)..self.start_of(batches.end)
    }

    /// Whether a batch starts at this time.
    pub fn is_edge(&self, time: Timestamp) -> bool {
        self.start_of(self.batch_of(time)) == time
    }

    /// The smallest run of batches that covers the interval; empty when the interval is.
    pub fn cover(&self, interval: &Range<Timestamp>) -> Range<BatchId> {
        let first = self.batch_of(interval.start);
        if interval.is_empty() {
            return first..first;
        }
        first..self.batch_of(Timestamp(interval.end.0 - 1)).next()
    }

    /// The largest run of batches that lie in the interval whole; empty when none does.
    pub fn contained(&self, interval: &Range<Timestamp>) -> Range<BatchId> {
        let mut first = self.batch_of(interval.start);
        if self.start_of(first) < interval.start {
            first = first.next();
        }
        // The batch of the end itself is cut by it, unless it is the last of all, which reaches to the greatest time.
        let end = if interval.end.0 == i64::MAX {
            self.batch_of(Timestamp(i64::MAX - 1)).next()
        } else {
            self.batch_of(interval.end)
        };
        first..end.max(first)
    }
}

/// What is cut, and how: equal for batchers that cut alike, but for time zones, which go by their names. Stores remember
/// it, so it does not change between versions.
impl fmt::Display for Batcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Cut::Unit => f.write_str("all time"),
            Cut::Fixed(millis) => write!(f, "{millis} ms"),
            Cut::Calendar(calendar) => calendar.fmt(f),
            Cut::Switched(switched) => {
                let Switched { before, at, after } = &**switched;
                write!(f, "({before} until {} then {after})", at.0)
            }
        }
    }
}

impl Switched {
    /// The last batch before the switch.
    fn last_before(&self) -> i64 {
        self.before.batch_of(Timestamp(self.at.0.saturating_sub(1))).0
    }

    fn batch_of(&self, time: Timestamp) -> BatchId {
        if time < self.at {
            return self.before.batch_of(time);
        }
        let since = self.after.batch_of(time).0 - self.after.batch_of(self.at).0;
        BatchId(self.last_before() + 1 + since)
    }

    fn start_of(&self, batch: BatchId) -> Timestamp {
        let last = self.last_before();
        if batch.0 <= last {
            return self.before.start_of(batch);
        }
        let since = batch.0.saturating_sub(last + 1);
        let there = BatchId(self.after.batch_of(self.at).0.saturating_add(since));
        self.after.start_of(there).max(self.at)
    }
}
