//! Batches of the calendar of a time zone.
//!
//! Days, months and years start at their first instant there, which a change of the clock may have moved; a day that a
//! zone left out is a batch without times. An hour is an hour of elapsed time from the start of its day: a day of a change
//! of the clock has 23 or 25, and where zones changed by less than an hour the last hour of that day is longer or shorter.
//!
//! Times before the year −9999 or after 9999 are taken as that year's end.

use std::fmt;

use jiff::ToSpan;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// A unit of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CalendarUnit {
    /// From the start of the day, by elapsed time.
    Hour,
    /// From midnight, or the first instant there is.
    Day,
    /// From the first day of a month.
    Month,
    /// From the first of January.
    Year,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Calendar {
    unit: CalendarUnit,
    zone: TimeZone,
    /// The start of 1970-01-01 there, which hours are counted from.
    origin: i64,
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.unit {
            CalendarUnit::Hour => "hours",
            CalendarUnit::Day => "days",
            CalendarUnit::Month => "months",
            CalendarUnit::Year => "years",
        };
        match (self.zone.iana_name(), self.zone.to_fixed_offset()) {
            (Some(name), _) => write!(f, "{unit} of {name}"),
            (None, Ok(offset)) => write!(f, "{unit} of {offset}"),
            // A zone of a POSIX rule or of a file has no name; its rule is all there is.
            (None, Err(_)) => write!(f, "{unit} of {:?}", self.zone),
        }
    }
}

const EPOCH: Date = date(1970, 1, 1);
const HOUR: i64 = 3_600_000;
/// The dates that are used: a year inside the limits of the calendar, so that nothing next to them is beyond.
const FIRST: Date = date(-9998, 1, 1);
const LAST: Date = date(9998, 12, 31);

impl Calendar {
    pub(super) fn new(unit: CalendarUnit, zone: TimeZone) -> Self {
        let origin = start_of_day(&zone, EPOCH);
        Self { unit, zone, origin }
    }

    pub(super) fn index_of(&self, time: i64) -> i64 {
        let date = self.date_of(time);
        match self.unit {
            CalendarUnit::Hour => {
                let first = self.hours_before(date);
                let last = self.hours_before(next(date)) - 1;
                let elapsed = time
                    .saturating_sub(start_of_day(&self.zone, date))
                    .div_euclid(HOUR);
                first.saturating_add(elapsed.max(0)).min(last)
            }
            CalendarUnit::Day => days(date),
            CalendarUnit::Month => (i64::from(date.year()) - 1970) * 12 + i64::from(date.month()) - 1,
            CalendarUnit::Year => i64::from(date.year()) - 1970,
        }
    }

    pub(super) fn start_of(&self, index: i64) -> i64 {
        match self.unit {
            CalendarUnit::Hour => self.start_of_hour(index),
            CalendarUnit::Day => self.start_of_date(day(index)),
            CalendarUnit::Month => self.start_of_date(month(index)),
            CalendarUnit::Year => self.start_of_date(month(index.saturating_mul(12))),
        }
    }

    fn start_of_hour(&self, index: i64) -> i64 {
        if index <= self.hours_before(FIRST) {
            return i64::MIN;
        }
        if index >= self.hours_before(next(LAST)) {
            return i64::MAX;
        }
        // Off by a day at most, for a day has 24 hours but for the changes, which take each other back.
        let guess = if index < 0 { FIRST } else { LAST };
        let mut date = day(index.div_euclid(24)).unwrap_or(guess);
        while self.hours_before(date) > index {
            date = previous(date);
        }
        while self.hours_before(next(date)) <= index {
            date = next(date);
        }
        let within = index - self.hours_before(date);
        start_of_day(&self.zone, date).saturating_add(within.saturating_mul(HOUR))
    }

    /// The hours from the origin to the start of a day; a fraction counts whole, so that days share no hour.
    fn hours_before(&self, date: Date) -> i64 {
        let elapsed = start_of_day(&self.zone, date) - self.origin;
        elapsed.div_euclid(HOUR) + i64::from(elapsed.rem_euclid(HOUR) > 0)
    }

    fn date_of(&self, time: i64) -> Date {
        let instant = match jiff::Timestamp::from_millisecond(time) {
            Ok(instant) => instant,
            Err(_) if time < 0 => jiff::Timestamp::MIN,
            Err(_) => jiff::Timestamp::MAX,
        };
        self.zone.to_datetime(instant).date().clamp(FIRST, LAST)
    }

    fn start_of_date(&self, date: Result<Date, i64>) -> i64 {
        date.map_or_else(|beyond| beyond, |date| start_of_day(&self.zone, date))
    }
}

/// Days since the epoch.
fn days(date: Date) -> i64 {
    i64::from(EPOCH.until(date).map_or(0, |span| span.get_days()))
}

/// The day of that number; beyond the calendar the least or the greatest time.
fn day(index: i64) -> Result<Date, i64> {
    let beyond = if index < 0 { i64::MIN } else { i64::MAX };
    let span = i32::try_from(index).map_err(|_| beyond)?;
    let date = EPOCH.checked_add(jiff::Span::new().try_days(span).map_err(|_| beyond)?);
    within(date.map_err(|_| beyond)?)
}

/// The first day of the month of that number since the epoch's.
fn month(index: i64) -> Result<Date, i64> {
    let beyond = if index < 0 { i64::MIN } else { i64::MAX };
    let year = i16::try_from(index.div_euclid(12).saturating_add(1970)).map_err(|_| beyond)?;
    let month = i8::try_from(index.rem_euclid(12) + 1).map_err(|_| beyond)?;
    within(Date::new(year, month, 1).map_err(|_| beyond)?)
}

/// The first date used starts all of the time before it.
fn within(date: Date) -> Result<Date, i64> {
    if date <= FIRST {
        Err(i64::MIN)
    } else if date > LAST {
        Err(i64::MAX)
    } else {
        Ok(date)
    }
}

fn next(date: Date) -> Date {
    date.saturating_add(1.day())
}

fn previous(date: Date) -> Date {
    date.saturating_sub(1.day())
}

fn start_of_day(zone: &TimeZone, date: Date) -> i64 {
    date.to_zoned(zone.clone())
        .and_then(|midnight| midnight.start_of_day())
        .map_or_else(
            |_| if date < EPOCH { i64::MIN } else { i64::MAX },
            |start| start.timestamp().as_millisecond(),
        )
}
